//! The laws of rollouts, each checked by itself, from what is written and what nodes say, not by what the planner thinks.

use std::collections::{BTreeMap, BTreeSet};

use echo_proto::ids::{NodeId, runs_next};
use tokio::time::Instant;

use self::causes::Causes;
use self::passing::Passing;
use super::super::*;
use crate::plan::sync::is_asked;

mod causes;
mod giving;
mod passing;

/// How long the record of a node outlives it.
const LEASE_TTL: Duration = Duration::from_secs(10);

/// What was seen of a pool's life.
pub(super) struct Watcher {
    /// Revisions that were taken back: none of them may come again.
    taken_back: BTreeSet<u32>,
    /// Since when each node serves a revision without a break, as the same process or one that came after it in order.
    serves: BTreeMap<NodeId, (u32, String, Instant)>,
    /// Orders that were carried out.
    order: u64,
    causes: Causes,
    passing: Passing,
}

fn next_of(assignment: &v1::Assignment) -> Option<u32> {
    assignment.next.as_ref().map(|next| next.n)
}

fn stable_of(assignment: &v1::Assignment) -> u32 {
    assignment.stable.as_ref().unwrap().n
}

fn is_over(phase: Phase) -> bool {
    matches!(phase, Phase::Completed | Phase::Reverted | Phase::Superseded | Phase::RevertIncomplete)
}

impl Watcher {
    pub(super) fn new(world: &World) -> Self {
        let mut watcher = Self {
            taken_back: BTreeSet::new(),
            serves: BTreeMap::new(),
            order: 0,
            causes: Causes::new(world.now),
            passing: Passing::new(world),
        };
        watcher.look(world);
        watcher
    }

    /// Notes who serves what.
    pub(super) fn look(&mut self, world: &World) {
        self.serves.retain(|id, _| world.nodes.contains_key(id));
        for (id, status) in &world.nodes {
            let now = (serves(world, id, status), status.incarnation.clone(), world.now);
            let known = self.serves.entry(id.clone()).or_insert(now.clone());
            if world.left.get(id) == Some(&known.1) {
                known.1.clone_from(&now.1);
            }
            if (known.0, &known.1) != (now.0, &now.1) {
                *known = now;
            }
        }
        self.causes.look(world);
        self.passing.look(world);
    }

    /// How long a node serves this revision.
    fn serves_for(&self, world: &World, id: &NodeId, n: u32) -> Option<Duration> {
        let (serves, _, since) = self.serves.get(id)?;
        (*serves == n).then(|| world.now - *since)
    }

    /// A leader that waits has something to wait for.
    pub(super) fn waits(&self, world: &World, wait: Option<Duration>) {
        let phase = world.rollout().phase();
        let must_end = matches!(phase, Phase::Progressing | Phase::Reverting);
        assert!(
            !must_end || wait.is_some() || !world.doubtful.is_empty() || !world.late.is_empty(),
            "it waits for nothing: {:?} {:?}",
            world.rollout,
            world.nodes
        );
        let rollout = world.rollout();
        let tries = matches!(phase, Phase::Progressing | Phase::Paused);
        assert!(!tries || rollout.to == world.pool.revision, "a newer revision is waiting");
        let due = world.pool.order.as_ref().filter(|order| order.rollout == rollout.id && order.id > rollout.order);
        assert!(due.is_none(), "an order is waiting: {due:?}");
        if phase == Phase::Progressing {
            assert_eq!(refusal(world, rollout), None, "a refusal is waiting: {rollout:?}");
        }
    }

    /// What is about to be written.
    pub(super) fn judge(&mut self, world: &World, next: &Next) {
        let (before, after) = (world.assignment.as_ref().unwrap(), next.assignment.as_ref());
        let after = after.unwrap_or(before);
        let (was, is) = (world.rollout(), &next.rollout);
        assert!(is != was || after != before, "nothing new is written: {is:?}");
        Self::order_of_phases(was, is, after);
        giving::judge(world, was, is, before, after);
        Self::orders_are_carried_out_once(was, is, world);
        Self::only_canaries_run_it_before_they_passed(world, was, is, after);
        Self::stable_is_what_was_tried(world, was, is, before, after);
        self.nobody_is_passed_over(world, was, is, before, after);
        Self::losses_are_judged_late(world, was, is);
        self.what_was_taken_back_stays_away(before, after, is);
        self.causes.judge(world, was, is);
        assert!(is.order >= self.order, "an order came back");
        self.order = is.order;
    }

    fn order_of_phases(was: &v1::Rollout, is: &v1::Rollout, after: &v1::Assignment) {
        assert!(is.id == was.id || (is.id == was.id + 1 && is_over(was.phase())), "one began before the last ended");
        assert!(is.id != was.id || is.step >= was.step, "a step back");
        assert!(is.id != was.id || !is_over(was.phase()) || is_over(is.phase()), "one that was over goes on");
        assert!(is.id != was.id || was.phase() != Phase::Reverting || is.phase() != Phase::Progressing);
        let tries = matches!(is.phase(), Phase::Progressing | Phase::Paused);
        assert_eq!(next_of(after).is_some(), tries, "{is:?}");
        assert!(!tries || after.rollout == is.id);
        assert!(!tries || next_of(after) == is.to.as_ref().map(|to| to.n));
    }

    fn orders_are_carried_out_once(was: &v1::Rollout, is: &v1::Rollout, world: &World) {
        let aborted = is.reason.starts_with("aborted") && is.id == was.id && was.phase() != is.phase();
        if aborted && is.phase() == Phase::Reverting {
            let order = world.pool.order.as_ref().unwrap();
            assert!(order.kind() == v1::RolloutOrderKind::Abort && order.rollout == is.id && was.order < order.id);
        }
    }

    fn only_canaries_run_it_before_they_passed(
        world: &World,
        was: &v1::Rollout,
        is: &v1::Rollout,
        after: &v1::Assignment,
    ) {
        let canaries = world_policy(is).canaries > 0 && !is.now;
        if !canaries || next_of(after).is_none() {
            return;
        }
        assert!(is.id == was.id || is.canaries.len() <= world_policy(is).canaries as usize, "too many canaries");
        if is.step == 0 {
            let runs = world.nodes.keys().filter(|id| runs_next(after, id));
            let others: Vec<_> = runs.filter(|id| !is.canaries.contains(&id.to_string())).collect();
            assert!(others.is_empty() && after.cut == 0, "{others:?} run it before the canaries passed");
        }
        for name in is.canaries.iter().filter(|id| is.id != was.id || !was.canaries.contains(id)) {
            let id = name.parse().unwrap();
            assert!(is_asked(&world.nodes[&id]), "{id} drains, and is to be a canary");
            assert!(!world.doubtful.contains(&id), "{id} may be dead, and is to be a canary");
            assert!(!after.pins.iter().any(|pin| pin.node == *name), "{id} is pinned, and is to be a canary");
        }
    }

    /// A step is over: somebody served the revision for long enough, and nobody who is there refused it.
    fn was_healthy(&self, world: &World, rollout: &v1::Rollout) {
        let to = rollout.to.as_ref().unwrap();
        let enough = if rollout.now { Duration::ZERO } else { world_policy(rollout).min_healthy };
        let healthy = |id: &NodeId| self.serves_for(world, id, to.n).is_some_and(|served| served >= enough);
        assert!(world.nodes.keys().any(healthy), "nobody was healthy for long enough: {rollout:?} {:?}", world.nodes);
        assert_eq!(refusal(world, rollout), None, "it went on over a refusal");
    }

    /// Neither when more are given the revision nor when a step is done.
    fn nobody_is_passed_over(
        &self,
        world: &World,
        was: &v1::Rollout,
        is: &v1::Rollout,
        before: &v1::Assignment,
        after: &v1::Assignment,
    ) {
        let goes_on = is.id == was.id && was.phase() == Phase::Progressing;
        let nobody_was_asked = world.replicas == 0 && before.picked.is_empty() && before.cut == 0;
        let completes = is.phase() == Phase::Completed && !nobody_was_asked;
        if goes_on && (is.step > was.step || completes) {
            self.was_healthy(world, is);
            self.passing.all_are_well(world, self, was);
        }
        let is_canary = !was.now && was.step == 0 && !was.canaries.is_empty();
        if goes_on
            && !is_canary
            && next_of(after).is_some()
            && (&before.picked, before.cut) != (&after.picked, after.cut)
        {
            self.passing.nobody_is_behind(world, self, was);
        }
    }

    fn stable_is_what_was_tried(
        world: &World,
        was: &v1::Rollout,
        is: &v1::Rollout,
        before: &v1::Assignment,
        after: &v1::Assignment,
    ) {
        let completes = is.id == was.id && !is_over(was.phase()) && is.phase() == Phase::Completed;
        assert_eq!(completes, stable_of(before) != stable_of(after), "stable is not what was completed");
        if completes {
            assert_eq!(Some(stable_of(after)), next_of(before));
            let mut about = world.nodes.keys().filter(|id| is_about(world, id));
            assert!(about.all(|id| runs_next(before, id)), "it completes over the heads of those who were not asked");
        }
    }

    fn losses_are_judged_late(world: &World, was: &v1::Rollout, is: &v1::Rollout) {
        let stops = matches!(is.phase(), Phase::Reverting | Phase::Paused) && was.phase() == Phase::Progressing;
        if stops && is.reason.contains("were lost on") {
            assert!(world.now - world.begun >= Duration::from_secs(20), "losses were judged too early");
        }
    }

    fn what_was_taken_back_stays_away(&mut self, before: &v1::Assignment, after: &v1::Assignment, is: &v1::Rollout) {
        if let Some(n) = next_of(after) {
            assert!(!self.taken_back.contains(&n), "revision {n} was taken back, and comes again");
        }
        assert!(!self.taken_back.contains(&stable_of(after)), "what was taken back is stable");
        if let Some(n) = next_of(before).filter(|_| is.phase() == Phase::Reverting) {
            self.taken_back.insert(n);
        }
    }
}

/// A node that is there, and refused the rollout's revision in it.
fn refusal<'w>(world: &'w World, rollout: &v1::Rollout) -> Option<&'w NodeId> {
    let refuses = |(id, status): &(&'w NodeId, &v1::NodeStatus)| {
        let this = |r: &v1::Rejection| r.rollout == rollout.id && r.revision == rollout.to;
        status.rejection.as_ref().is_some_and(this) && is_asked(status) && !is_pinned(world, id)
    };
    world.nodes.iter().find(refuses).map(|(id, _)| id)
}

/// Whether it is to be pinned, or is not unpinned yet.
fn is_pinned(world: &World, id: &NodeId) -> bool {
    let assigned = world.assignment.iter().flat_map(|a| &a.pins).map(|pin| &pin.node);
    world.pool.pins.iter().map(|pin| &pin.node).chain(assigned).any(|node| node == id.as_str())
}

/// Whether a rollout is about the node.
fn is_about(world: &World, id: &NodeId) -> bool {
    world.nodes.get(id).is_some_and(is_asked) && !is_pinned(world, id)
}

/// The revision with which a node serves for sure.
fn serves(world: &World, id: &NodeId, status: &v1::NodeStatus) -> u32 {
    let ready = status.phase() == Ready && !world.doubtful.contains(id);
    status.applied.as_ref().filter(|_| ready).map_or(0, |applied| applied.n)
}

fn world_policy(rollout: &v1::Rollout) -> echo_proto::spec::RolloutPlan {
    echo_proto::spec::check_rollout(rollout.policy.as_ref().unwrap()).unwrap()
}
