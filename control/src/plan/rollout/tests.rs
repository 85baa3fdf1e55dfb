//! The rollout, step by step: what is written, and what is waited for.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::SystemTime;

use echo_proto::ids::PoolName;
use v1::NodePhase::{Drained, Draining, Ready};

use super::*;

mod deadlines;
mod lost;

/// A pool with its nodes; what `decide` writes becomes its state.
struct World {
    name: PoolName,
    pool: v1::PoolRecord,
    replicas: u32,
    assignment: Option<v1::Assignment>,
    rollout: Option<v1::Rollout>,
    /// With how long ago they joined.
    nodes: Vec<(String, v1::NodeStatus, Duration)>,
    recalled: Option<v1::Revision>,
    in_phase: Duration,
    reasons: Vec<String>,
}

const ACK_DEADLINE: Duration = Duration::from_secs(30);

fn revision(n: u32) -> v1::RevisionRef {
    v1::RevisionRef { uid: "uid-1".into(), n, digest: format!("digest-{n}") }
}

impl World {
    /// A pool at revision 1 with `nodes` that run it.
    fn new(nodes: u32) -> Self {
        let metadata = v1::ObjectMeta { uid: "uid-1".into(), generation: 1, ..Default::default() };
        let pool = v1::PoolRecord { metadata: Some(metadata), revision: Some(revision(1)), ..Default::default() };
        let mut world = Self {
            name: "edge".parse().unwrap(),
            pool,
            replicas: nodes,
            assignment: None,
            rollout: None,
            nodes: Vec::new(),
            recalled: None,
            in_phase: Duration::ZERO,
            reasons: Vec::new(),
        };
        world.writes();
        (1..=nodes).for_each(|i| world.join(i));
        world
    }

    fn join(&mut self, i: u32) {
        let mut status = v1::NodeStatus { applied: Some(revision(1)), ..Default::default() };
        status.set_phase(Ready);
        self.nodes.push((format!("node-{i}"), status, Duration::from_secs(3600)));
    }

    fn node(&mut self, i: usize) -> &mut v1::NodeStatus {
        &mut self.nodes.get_mut(i - 1).unwrap().1
    }

    fn apply(&mut self, n: u32) {
        self.pool.revision = Some(revision(n));
    }

    fn ack(&mut self, i: usize, n: u32) {
        self.node(i).applied = Some(revision(n));
    }

    fn nack(&mut self, i: usize, n: u32) {
        let rollout = self.rollout.as_ref().unwrap().id;
        let (listener, cause) = ("echo-tcp".to_owned(), "bind 127.0.0.1:7: address in use".to_owned());
        self.node(i).rejection =
            Some(v1::Rejection { revision: Some(revision(n)), rollout, listener, cause, ..Default::default() });
    }

    fn decide(&self) -> Decision {
        let nodes = self.nodes.iter().map(|(id, status, known_for)| NodeFacts {
            id,
            status,
            asked_for: self.in_phase.min(*known_for),
            restarted: !status.incarnation.is_empty(),
        });
        decide(&Facts {
            name: &self.name,
            pool: &self.pool,
            replicas: self.replicas,
            ack_deadline: ACK_DEADLINE,
            assignment: self.assignment.as_ref(),
            rollout: self.rollout.as_ref(),
            nodes: nodes.collect(),
            recalled: self.recalled.clone(),
            in_phase: self.in_phase,
            now: SystemTime::UNIX_EPOCH,
        })
    }

    /// Decides, which must write, and takes the write over.
    fn writes(&mut self) -> Phase {
        let Decision::Write(next) = self.decide() else { panic!("waits: {:?}", self.rollout) };
        self.assignment = next.assignment.or(self.assignment.take());
        self.rollout = Some(next.rollout);
        self.reasons.extend(next.events.into_iter().map(|e| e.reason));
        self.in_phase = Duration::ZERO;
        self.rollout.as_ref().unwrap().phase()
    }

    fn waits(&self) -> Option<Duration> {
        match self.decide() {
            Decision::Wait(wait) => wait,
            other => panic!("{other:?}"),
        }
    }

    /// The revision without which it can't go on.
    fn decides_lost(&self) -> v1::RevisionRef {
        match self.decide() {
            Decision::Lost(revision) => revision,
            other => panic!("{other:?}"),
        }
    }

    /// Revision `n` is found among the stored ones.
    fn recall(&mut self, n: u32) {
        let template = Some(v1::PoolTemplate::default());
        self.recalled = Some(v1::Revision { revision: Some(revision(n)), template, ..Default::default() });
    }

    fn stable(&self) -> u32 {
        self.assignment.as_ref().unwrap().stable.as_ref().unwrap().n
    }

    fn next(&self) -> Option<u32> {
        self.assignment.as_ref().unwrap().next.as_ref().map(|next| next.n)
    }

    fn rollout(&self) -> &v1::Rollout {
        self.rollout.as_ref().unwrap()
    }
}

#[test]
fn the_first_revision_is_stable_at_once() {
    let world = World::new(0);
    assert_eq!((world.stable(), world.next()), (1, None));
    assert_eq!((world.rollout().id, world.rollout().phase()), (1, Phase::Completed));
    assert_eq!(world.rollout().reason, "first revision of the pool");
    assert_eq!(world.reasons, ["RolloutCompleted"]);
    assert_eq!(world.waits(), None, "and then nothing is left to do");
}

#[test]
fn all_nodes_acknowledge() {
    let mut world = World::new(2);
    world.apply(2);
    assert_eq!(world.writes(), Phase::Progressing);
    assert_eq!((world.stable(), world.next()), (1, Some(2)));
    assert_eq!(world.assignment.as_ref().unwrap().cut, u64::MAX);
    assert_eq!(world.assignment.as_ref().unwrap().rollout, world.rollout().id);
    world.ack(1, 2);
    assert_eq!(world.waits(), Some(ACK_DEADLINE));
    world.ack(2, 2);
    assert_eq!(world.writes(), Phase::Completed);
    assert_eq!((world.stable(), world.next()), (2, None));
    assert_eq!(world.rollout().reason, "2 of 2 nodes run revision 2");
    assert_eq!(world.reasons, ["RolloutCompleted", "RolloutStarted", "RolloutCompleted"]);
    assert_eq!(world.waits(), None);
}

#[test]
fn one_rejection_takes_it_back_and_it_is_not_tried_again() {
    let mut world = World::new(2);
    world.apply(2);
    world.writes();
    world.ack(1, 2);
    world.nack(2, 2);
    assert_eq!(world.writes(), Phase::Reverting);
    assert_eq!((world.stable(), world.next()), (1, None));
    let problem = world.rollout().problems.first().unwrap().clone();
    assert_eq!((problem.node.as_str(), problem.listener.as_str()), ("node-2", "echo-tcp"));
    assert_eq!(world.waits(), Some(ACK_DEADLINE), "node-1 still runs revision 2");
    world.ack(1, 1);
    assert_eq!(world.writes(), Phase::Reverted);
    assert_eq!(world.rollout().reason, "node-2: listener echo-tcp: bind 127.0.0.1:7: address in use");
    assert_eq!(world.waits(), None, "revision 2 is not assigned again by itself");
    world.apply(3);
    assert_eq!(world.writes(), Phase::Progressing);
    assert_eq!(world.next(), Some(3));
    assert_eq!(world.waits(), Some(ACK_DEADLINE), "the old rejection is not of this rollout");
}

#[test]
fn who_leaves_or_is_drained_does_not_block() {
    let mut world = World::new(3);
    world.apply(2);
    world.writes();
    world.ack(1, 2);
    world.node(2).set_phase(Draining);
    world.node(3).set_phase(Drained);
    assert_eq!(world.writes(), Phase::Completed);
}

#[test]
fn a_newer_revision_clears_next_first_and_skips_those_between() {
    let mut world = World::new(1);
    world.apply(2);
    world.writes();
    world.ack(1, 2);
    world.apply(5);
    assert_eq!(world.writes(), Phase::Reverting);
    assert_eq!((world.rollout().reason.as_str(), world.next()), ("superseded by revision 5", None));
    assert_eq!(world.waits(), Some(ACK_DEADLINE), "the node must return first");
    world.ack(1, 1);
    assert_eq!(world.writes(), Phase::Superseded);
    world.reasons.clear();
    assert_eq!(world.writes(), Phase::Progressing);
    assert_eq!((world.next(), world.rollout().id), (Some(5), 3));
    assert_eq!(world.reasons, ["RolloutStarted", "RevisionSkipped"]);
}

#[test]
fn phases_of_a_newer_control_are_left_alone() {
    let mut world = World::new(1);
    world.rollout.as_mut().unwrap().set_phase(Phase::Paused);
    world.apply(2);
    assert_eq!(world.waits(), None);
}
