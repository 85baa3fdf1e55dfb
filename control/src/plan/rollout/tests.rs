//! The rollout, step by step: what is written, and what is waited for.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, HashSet};
use std::time::SystemTime;

use echo_proto::ids::{NodeId, PoolName};
use echo_proto::spec::RolloutPlan;
use tokio::time::Instant;
use v1::NodePhase::{Drained, Draining, Ready};

use super::*;

mod deadlines;
mod lost;
mod orders;
mod waves;

/// A pool with its nodes; what `decide` writes becomes its state.
struct World {
    name: PoolName,
    pool: v1::PoolRecord,
    policy: RolloutPlan,
    replicas: u32,
    assignment: Option<v1::Assignment>,
    rollout: Option<v1::Rollout>,
    nodes: BTreeMap<NodeId, v1::NodeStatus>,
    left: HashSet<NodeId>,
    recalled: Option<v1::Revision>,
    mass_loss: Option<MassLoss>,
    memory: Memory,
    begun: Instant,
    now: Instant,
    reasons: Vec<String>,
}

const ACK_DEADLINE: Duration = Duration::from_secs(30);
const MIN_HEALTHY: Duration = Duration::from_secs(10);

fn revision(n: u32) -> v1::RevisionRef {
    v1::RevisionRef { uid: "uid-1".into(), n, digest: format!("digest-{n}") }
}

fn id(i: u32) -> NodeId {
    format!("node-{i}").parse().unwrap()
}

impl World {
    /// A pool at revision 1 with `nodes` that run it. Changes reach all nodes in one step.
    fn new(nodes: u32) -> Self {
        Self { pool: v1::PoolRecord { now: true, ..Self::staged(nodes).pool }, ..Self::staged(nodes) }
    }

    /// The same with the default policy: a canary, a quarter, all.
    fn staged(nodes: u32) -> Self {
        let metadata = v1::ObjectMeta { uid: "uid-1".into(), generation: 1, ..Default::default() };
        let pool = v1::PoolRecord { metadata: Some(metadata), revision: Some(revision(1)), ..Default::default() };
        let now = Instant::now();
        let mut world = Self {
            name: "edge".parse().unwrap(),
            pool,
            policy: RolloutPlan::default(),
            replicas: nodes,
            assignment: None,
            rollout: None,
            nodes: BTreeMap::new(),
            left: HashSet::new(),
            recalled: None,
            mass_loss: None,
            memory: Memory::new(now),
            begun: now,
            now,
            reasons: Vec::new(),
        };
        world.writes();
        (1..=nodes).for_each(|i| world.join(i));
        // Long enough to judge losses.
        world.pass(Duration::from_secs(3600));
        world
    }

    /// The pool file's policy.
    fn govern(&mut self, policy: v1::RolloutPolicy) {
        self.policy = echo_proto::spec::check_rollout(&policy).unwrap();
        self.pool.spec.get_or_insert_default().rollout = Some(policy);
    }

    fn join(&mut self, i: u32) {
        let mut status =
            v1::NodeStatus { applied: Some(revision(1)), incarnation: format!("life-{i}"), ..Default::default() };
        status.set_phase(Ready);
        self.nodes.insert(id(i), status);
    }

    fn node(&mut self, i: u32) -> &mut v1::NodeStatus {
        self.nodes.get_mut(&id(i)).unwrap()
    }

    /// The process is another one.
    fn restart(&mut self, i: u32) {
        self.node(i).incarnation += " again";
    }

    fn apply(&mut self, n: u32) {
        self.pool.revision = Some(revision(n));
    }

    fn order(&mut self, kind: v1::RolloutOrderKind) {
        let id = self.pool.order.as_ref().map_or(0, |order| order.id) + 1;
        let rollout = self.rollout().id;
        self.pool.order =
            Some(v1::RolloutOrder { id, rollout, kind: kind.into(), author: "ann".into(), ..Default::default() });
    }

    fn ack(&mut self, i: u32, n: u32) {
        self.node(i).applied = Some(revision(n));
    }

    /// All that are to run revision `n` do.
    fn ack_given(&mut self, n: u32) -> Vec<u32> {
        let given = self.given();
        given.iter().for_each(|i| self.ack(*i, n));
        given
    }

    /// Who is to run `next`.
    fn given(&self) -> Vec<u32> {
        let assignment = self.assignment.as_ref().unwrap();
        (1..=9_999)
            .filter(|i| self.nodes.contains_key(&id(*i)) && echo_proto::ids::runs_next(assignment, &id(*i)))
            .collect()
    }

    fn nack(&mut self, i: u32, n: u32) {
        let rollout = self.rollout.as_ref().unwrap().id;
        let (listener, cause) = ("echo-tcp".to_owned(), "bind 127.0.0.1:7: address in use".to_owned());
        self.node(i).rejection =
            Some(v1::Rejection { revision: Some(revision(n)), rollout, listener, cause, ..Default::default() });
    }

    /// Time goes by; the leader looks before and after it.
    fn pass(&mut self, time: Duration) {
        self.decide();
        self.now += time;
    }

    /// Another leader takes over.
    fn elect(&mut self) {
        self.memory = Memory::new(self.now);
        self.begun = self.now;
    }

    fn decide(&mut self) -> Decision {
        let mut facts = Facts {
            name: &self.name,
            pool: &self.pool,
            replicas: self.replicas,
            policy: &self.policy,
            assignment: self.assignment.as_ref(),
            rollout: self.rollout.as_ref(),
            nodes: self.nodes.iter().map(|(id, status)| NodeFacts::new(id, status)).collect(),
            recalled: self.recalled.clone(),
            mass_loss: self.mass_loss.clone(),
            since: Since::default(),
            now: SystemTime::UNIX_EPOCH,
        };
        let absent = Absent { left: &self.left, watched_for: self.now - self.begun };
        self.memory.look(&mut facts, absent, self.now);
        decide(&facts)
    }

    /// Decides, which must write, and takes the write over.
    fn writes(&mut self) -> Phase {
        let Decision::Write(next) = self.decide() else { panic!("waits: {:?}", self.rollout) };
        self.assignment = next.assignment.or(self.assignment.take());
        self.rollout = Some(next.rollout);
        self.reasons.extend(next.events.into_iter().map(|e| e.reason));
        self.rollout.as_ref().unwrap().phase()
    }

    fn waits(&mut self) -> Option<Duration> {
        match self.decide() {
            Decision::Wait(wait) => wait,
            other => panic!("{other:?}"),
        }
    }

    /// The revision without which it can't go on.
    fn decides_lost(&mut self) -> v1::RevisionRef {
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
    let mut world = World::new(0);
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
    world.rollout.as_mut().unwrap().phase = 99;
    world.apply(2);
    assert_eq!(world.waits(), None);
}
