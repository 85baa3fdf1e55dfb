//! A rollout stops for a cause: an order, a newer revision, many that vanish at once, a node that refused, was lost or
//! silent, what fails, or that nobody is there.

use super::*;

/// Who was to run what, and what became of them.
pub(super) struct Causes {
    duties: BTreeMap<NodeId, Duty>,
    /// When somebody that was to run `next` was last seen to serve with it.
    served: Instant,
    /// Since when the rollout is in its phase.
    phase_since: Instant,
}

/// What a node was to run when it was seen last.
struct Duty {
    since: Instant,
    /// Whether the rollout was about it.
    asked: bool,
    revision: u32,
    /// The process that was there then.
    incarnation: String,
    /// Whether it was away since, or another process came in its place.
    missed: bool,
    /// How much had failed until it was to run this.
    failures: u64,
}

impl Causes {
    pub(super) fn new(now: Instant) -> Self {
        Self { duties: BTreeMap::new(), served: now, phase_since: now }
    }

    /// Notes who is there, and who serves with `next`.
    pub(super) fn look(&mut self, world: &World) {
        let assignment = world.assignment.as_ref().unwrap();
        self.duties.retain(|id, duty| world.left.get(id) != Some(&duty.incarnation));
        for (id, duty) in &mut self.duties {
            duty.missed |= world.nodes.get(id).is_none_or(|status| status.incarnation != duty.incarnation);
        }
        for (id, status) in &world.nodes {
            let tries = runs_next(assignment, id);
            let revision = next_of(assignment).filter(|_| tries).unwrap_or(stable_of(assignment));
            self.note(world, id, is_about(world, id), revision);
            if tries && is_about(world, id) && serves(world, id, status) == revision {
                self.served = world.now;
            }
        }
    }

    fn note(&mut self, world: &World, id: &NodeId, asked: bool, revision: u32) {
        let incarnation = world.nodes[id].incarnation.clone();
        let known = self.duties.get(id);
        let another = known.is_some_and(|duty| duty.incarnation != incarnation);
        if known.is_some_and(|duty| (duty.asked, duty.revision) == (asked, revision) && (asked || !another)) {
            return;
        }
        let failures = match known {
            Some(_) if another => 0,
            Some(duty) if duty.revision == revision => duty.failures,
            _ => world.counted[id].failures,
        };
        let duty = Duty { since: world.now, asked, revision, incarnation, missed: false, failures };
        self.duties.insert(id.clone(), duty);
    }

    /// What is about to be written.
    pub(super) fn judge(&mut self, world: &World, was: &v1::Rollout, is: &v1::Rollout) {
        if is.id == was.id && is.phase() != was.phase() {
            match is.phase() {
                Phase::Reverting | Phase::Paused => self.it_stops_for_a_cause(world, was, is),
                Phase::RevertIncomplete => self.silent(world, was, is, stable_of(world.assignment.as_ref().unwrap())),
                _ => {}
            }
        }
        if is.id != was.id || is.phase() != was.phase() {
            (self.phase_since, self.served) = (world.now, world.now);
        }
    }

    fn it_stops_for_a_cause(&self, world: &World, was: &v1::Rollout, is: &v1::Rollout) {
        let tried = was.to.as_ref().unwrap().n;
        let reason = is.reason.as_str();

        if reason.starts_with("superseded by revision ") {
            assert_ne!(world.pool.revision, was.to, "{is:?}");
        } else if reason.starts_with("aborted by ") || reason.starts_with("paused by ") {
            assert!(is.order > was.order, "nobody ordered it: {is:?}");
        } else if reason.starts_with("MassLoss: ") {
            assert!(world.mass_loss.is_some(), "{is:?}");
        } else if reason.contains("nodes were lost on revision") {
            self.lost(is, tried);
        } else if reason.contains("; apply again once there is one") {
            let alone = world.now - self.served.max(world.begun);
            assert!(alone >= world_policy(was).ack_deadline, "somebody was there {alone:?} ago: {is:?}");
        } else if reason.contains("more than maxFailures") {
            assert!(self.fails(world, tried), "nothing fails: {is:?}");
        } else if reason.contains("no answer within") {
            self.silent(world, was, is, tried);
        } else {
            assert!(refusal(world, was).is_some(), "nobody refused: {is:?}");
        }
    }

    /// Whom the rollout was about, and who was away or came back as another process since it was to run `tried`.
    fn lost(&self, is: &v1::Rollout, tried: u32) {
        for problem in &is.problems {
            let duty = &self.duties[&problem.node.parse().unwrap()];
            assert!(duty.asked && duty.revision == tried && duty.missed, "it was not lost: {is:?}");
        }
    }

    /// Whom the rollout was about for as long as nodes have to answer.
    fn silent(&self, world: &World, was: &v1::Rollout, is: &v1::Rollout, revision: u32) {
        for problem in is.problems.iter().filter(|problem| !was.problems.contains(problem)) {
            let duty = &self.duties[&problem.node.parse().unwrap()];
            let asked_for = world.now - duty.since.max(world.begun).max(self.phase_since);
            assert!(duty.asked && duty.revision == revision, "it was not asked: {is:?}");
            assert!(asked_for >= world_policy(was).ack_deadline, "it was asked for {asked_for:?}: {is:?}");
        }
    }

    fn fails(&self, world: &World, tried: u32) -> bool {
        let failed = |id: &NodeId, duty: &Duty| duty.missed || world.counted[id].failures > duty.failures;
        self.duties.iter().any(|(id, duty)| duty.asked && duty.revision == tried && failed(id, duty))
    }
}
