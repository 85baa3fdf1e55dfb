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
    /// Since when it is away, and how often it went.
    away: Option<Instant>,
    gaps: u32,
    /// Whether it was away for long, or too often, or another process came in its place.
    lost: bool,
    /// What its process had counted until it was to run this, and until it was last seen to run something else.
    begun: Counted,
    without: Counted,
}

/// So often a node may be away for a moment.
const MAX_GAPS: u32 = 2;

impl Duty {
    fn look(&mut self, status: Option<&v1::NodeStatus>, now: Instant) {
        match status {
            Some(status) if status.incarnation == self.incarnation => self.away = None,
            // What an earlier process did is none of this one's doing.
            Some(_) => (self.lost, self.begun, self.without) = (true, Counted::default(), Counted::default()),
            None => {
                self.gaps += u32::from(self.away.is_none());
                let away = now - *self.away.get_or_insert(now);
                self.lost |= away >= LEASE_TTL || self.gaps > MAX_GAPS;
            }
        }
    }
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
            duty.look(world.nodes.get(id), world.now);
        }
        for (id, status) in &world.nodes {
            let tries = runs_next(assignment, id);
            let revision = next_of(assignment).filter(|_| tries).unwrap_or(stable_of(assignment));
            self.note(world, id, is_about(world, id), revision);
            if is_pinned(world, id)
                && let Some(duty) = self.duties.get_mut(id)
            {
                duty.without = world.counted[id];
            }
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
        let (begun, without) = match known {
            Some(duty) if duty.revision == revision && another => Default::default(),
            Some(duty) if duty.revision == revision => (duty.begun, duty.without),
            // What it did while the rollout was not about it was not asked for, and may be taken for either.
            Some(duty) if !duty.asked && !another => (duty.begun, world.counted[id]),
            _ => (world.counted[id], world.counted[id]),
        };
        let since = world.now;
        let duty = Duty { since, asked, revision, incarnation, away: None, gaps: 0, lost: false, begun, without };
        self.duties.insert(id.clone(), duty);
    }

    /// Whether it counts as lost on what it was to run.
    pub(super) fn is_lost(&self, id: &NodeId) -> bool {
        self.duties.get(id).is_some_and(|duty| duty.lost)
    }

    /// What is about to be written.
    pub(super) fn judge(&mut self, world: &World, was: &v1::Rollout, is: &v1::Rollout) {
        if is.health != was.health {
            self.only_what_it_did_is_counted(world, was, &is.health);
        }
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
        let resumed = was.phase() == Phase::Paused && is.phase() == Phase::Progressing;
        if is.id != was.id || resumed {
            // Who resumes it knows what was until then.
            self.duties.clear();
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
            self.only_what_it_did_is_counted(world, was, reason);
        } else if reason.starts_with("the Agent of ") {
            self.hangs(world, was, reason);
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
            assert!(duty.asked && duty.revision == tried && duty.lost, "it was not lost: {is:?}");
        }
    }

    /// Whom the rollout was about for as long as nodes have to answer.
    fn silent(&self, world: &World, was: &v1::Rollout, is: &v1::Rollout, revision: u32) {
        for problem in is.problems.iter().filter(|problem| !was.problems.contains(problem)) {
            let duty = &self.duties[&problem.node.parse().unwrap()];
            let asked_for = world.now - duty.since.max(world.begun).max(self.phase_since);
            let sure = world.doubtful.iter().all(|id| id.as_str() != problem.node);
            assert!(sure && duty.asked && duty.revision == revision, "it was not asked: {is:?}");
            assert!(asked_for >= world_policy(was).ack_deadline, "it was asked for {asked_for:?}: {is:?}");
        }
    }

    /// `3 of 1000 messages failed, 5 of 2000 before`: what nodes did as they are now, with the revision and without it.
    fn only_what_it_did_is_counted(&self, world: &World, was: &v1::Rollout, words: &str) {
        let numbers: Vec<u64> = words.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
        let &[failures, messages, failures_before, messages_before, ..] = numbers.as_slice() else { return };
        let tried = was.to.as_ref().unwrap().n;
        let (mut now, mut before) = (Counted::default(), Counted::default());
        for (id, duty) in self.duties.iter().filter(|(_, duty)| duty.asked && duty.revision == tried) {
            now = now.plus(world.counted[id].since(duty.begun));
            before = before.plus(duty.without);
        }
        let told = (Counted { messages, failures }, Counted { messages: messages_before, failures: failures_before });
        let is_true =
            |told: Counted, counted: Counted| told.messages <= counted.messages && told.failures <= counted.failures;
        assert!(is_true(told.0, now) && is_true(told.1, before), "{words}: it was {now:?}, {before:?} before");
    }

    /// Those whose Agents do not answer.
    fn hangs(&self, world: &World, was: &v1::Rollout, reason: &str) {
        let asked_for = world.now - self.phase_since.max(world.begun);
        assert!(asked_for >= world_policy(was).ack_deadline, "it was asked for {asked_for:?}: {reason}");
        let tries = |id: &NodeId| runs_next(world.assignment.as_ref().unwrap(), id) && is_about(world, id);
        let hangs = |id: &NodeId| reason.contains(id.as_str()) && tries(id);
        assert!(world.silent.iter().any(hangs), "nobody hangs: {reason}");
    }
}
