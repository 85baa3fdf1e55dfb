//! Nobody is passed over: more are given `next`, and a step is done, only when all that have it serve with it and
//! answer, and nobody else went without a word just before.

use super::*;

/// Who is there, and who went, since this leader leads and the rollout began or was resumed.
pub(super) struct Passing {
    leader: Instant,
    rollout: v1::Rollout,
    given: Given,
    /// Since when nodes have been given what they have now.
    staged: Instant,
    /// Those that the rollout is about.
    there: BTreeMap<NodeId, There>,
    /// When those went that had no `next`, and told nobody.
    went: BTreeMap<NodeId, Instant>,
}

/// Who is given what.
type Given = (Option<u32>, Vec<String>, u64);

fn given(world: &World) -> Given {
    let assignment = world.assignment.as_ref().unwrap();
    (next_of(assignment), assignment.picked.clone(), assignment.cut)
}

struct There {
    since: Instant,
    incarnation: String,
    tries: bool,
}

impl Passing {
    pub(super) fn new(world: &World) -> Self {
        Self {
            leader: world.begun,
            rollout: world.rollout().clone(),
            given: given(world),
            staged: world.now,
            there: BTreeMap::new(),
            went: BTreeMap::new(),
        }
    }

    pub(super) fn look(&mut self, world: &World) {
        self.begin_anew(world);
        let gone = self.there.iter().filter(|(id, _)| !world.nodes.contains_key(*id));
        for (id, _) in gone.filter(|(id, there)| !there.tries && world.left.get(*id) != Some(&there.incarnation)) {
            self.went.entry(id.clone()).or_insert(world.now);
        }
        self.went.retain(|id, _| !world.nodes.contains_key(id));
        self.there.retain(|id, _| is_about(world, id));
        for (id, status) in world.nodes.iter().filter(|(id, _)| is_about(world, id)) {
            let tries = runs_next(world.assignment.as_ref().unwrap(), id);
            let known = self.there.get(id).filter(|there| there.incarnation == status.incarnation);
            let since = known.map_or(world.now, |there| there.since);
            self.there.insert(id.clone(), There { since, incarnation: status.incarnation.clone(), tries });
        }
    }

    fn begin_anew(&mut self, world: &World) {
        let (was, is) = (&self.rollout, world.rollout());
        let resumed = was.phase() == Phase::Paused && is.phase() == Phase::Progressing;
        let another_leads = self.leader != world.begun;
        if is.id != was.id || resumed || another_leads {
            self.there.clear();
            self.went.clear();
        }
        let stage = |rollout: &v1::Rollout| (rollout.id, rollout.phase, rollout.step, rollout.canaries.len());
        if stage(is) != stage(was) || self.given != given(world) || another_leads {
            self.staged = world.now;
        }
        (self.leader, self.rollout, self.given) = (world.begun, is.clone(), given(world));
    }

    /// More are about to be given `next`.
    pub(super) fn nobody_is_behind(&self, world: &World, watcher: &Watcher, was: &v1::Rollout) {
        for id in self.waited_for(world, watcher, was) {
            let n = was.to.as_ref().unwrap().n;
            assert_eq!(serves(world, id, &world.nodes[id]), n, "{id} is behind: {was:?}");
        }
    }

    /// A step is about to be passed.
    pub(super) fn all_are_well(&self, world: &World, watcher: &Watcher, was: &v1::Rollout) {
        let policy = world_policy(was);
        let enough = if was.now { Duration::ZERO } else { policy.min_healthy };
        for id in self.waited_for(world, watcher, was).filter(|id| self.there[*id].since <= self.staged) {
            let served = watcher.serves_for(world, id, was.to.as_ref().unwrap().n);
            assert!(served.is_some_and(|served| served >= enough), "{id} served for {served:?}: {was:?}");
        }
        for (id, there) in &self.there {
            // One answer may be missing of who gave one since it is healthy.
            let is_late = world.late.contains(id) && world.heard.get(id).is_none_or(|heard| *heard < self.staged);
            let silent = world.silent.contains(id) || is_late;
            assert!(!there.tries || !silent || was.now, "{id} does not answer");
            assert!(there.tries || !was.canaries.contains(&id.to_string()), "{id} is a canary, and was not asked");
        }
        for (id, at) in &self.went {
            assert!(world.now - *at >= LEASE_TTL, "{id} went {:?} ago, and more may follow", world.now - *at);
        }
    }

    /// Those that have `next`, and came in time: neither lost nor so late that the others had all their time.
    fn waited_for<'p>(
        &'p self,
        world: &World,
        watcher: &Watcher,
        was: &v1::Rollout,
    ) -> impl Iterator<Item = &'p NodeId> {
        let deadline = world_policy(was).ack_deadline;
        let in_time = |there: &There| there.since.saturating_duration_since(self.staged) < deadline;
        let is_lost = |id: &NodeId| !world.nodes.contains_key(id) || watcher.causes.is_lost(id);
        let waited_for = self.there.iter().filter(|(id, there)| there.tries && in_time(there) && !is_lost(id));
        waited_for.map(|(id, _)| id).collect::<Vec<_>>().into_iter()
    }
}
