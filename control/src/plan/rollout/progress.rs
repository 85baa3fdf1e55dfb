//! A rollout on its way: who is given `next`, when to go on, when to stop.
//!
//! Called by [`super::decide`] only. What it returns may not have been written when it is asked again.

use std::time::Duration;

use echo_proto::v1;
use v1::RolloutPhase as Phase;

use super::begin::stamp;
use super::end::{complete, turn_back};
use super::facts::{Facts, seconds};
use super::order::{self, pause};
use super::steps::Steps;
use super::{Decision, MAX_PROBLEMS, health, judge, pick, write};
use crate::plan::sync::reference;

/// Type of the condition, and what the reason begins with.
pub(super) const MASS_LOSS: &str = "MassLoss";

/// Who does not say in time what it does without the revision is given that all the same.
const FIGURES_DEADLINE: Duration = Duration::from_secs(1);

/// What the health of a rollout begins with while nodes hang.
const NOT_HEALTHY: &str = "not healthy: ";

/// Nodes were given `next`.
pub(super) fn underway(facts: &Facts<'_>, assignment: &v1::Assignment, rollout: &v1::Rollout) -> Decision {
    let Some(to) = assignment.next.as_ref().map(|next| reference(&assignment.uid, next)) else {
        // Cleared by hand.
        return turn_back(facts, assignment, rollout, Vec::new(), "next is missing in the assignment".to_owned());
    };
    let newest = facts.newest();
    if newest != to {
        let reason = format!("superseded by revision {}", newest.n);
        return turn_back(facts, assignment, rollout, Vec::new(), reason);
    }
    if let Some(carried_out) = order::carry_out(facts, assignment, rollout) {
        return carried_out;
    }
    if rollout.phase() == Phase::Paused {
        return paused(facts, rollout, &to);
    }
    if let Some(lost) = facts.mass_loss.as_ref().filter(|lost| lost.ago <= facts.since.exposed) {
        let mut rollout = rollout.clone();
        rollout.conditions.push(condition(facts, &lost.message));
        return pause(facts, &rollout, Vec::new(), format!("{MASS_LOSS}: {}", lost.message));
    }
    if let Some(trouble) = judge::trouble(facts, rollout, &to) {
        let rollout = &v1::Rollout { health: health::words(facts, rollout), ..rollout.clone() };
        if facts.policy_of(rollout).auto_revert {
            return turn_back(facts, assignment, rollout, trouble.problems, trouble.reason);
        }
        return pause(facts, rollout, trouble.problems, trouble.reason);
    }
    Step::of(facts, assignment, rollout).go_on(&to)
}

fn condition(facts: &Facts<'_>, message: &str) -> v1::PoolCondition {
    v1::PoolCondition {
        r#type: MASS_LOSS.to_owned(),
        status: true,
        reason: "NodesVanished".to_owned(),
        message: message.to_owned(),
        transition_time: stamp(facts),
    }
}

/// Nothing is given or taken back; who refuses meanwhile is told.
fn paused(facts: &Facts<'_>, rollout: &v1::Rollout, to: &v1::RevisionRef) -> Decision {
    let refusals = facts.refusals(to, rollout.id);
    if refusals.is_empty() || refusals == rollout.problems {
        return Decision::Wait(None);
    }
    write(facts, None, v1::Rollout { problems: refusals, ..rollout.clone() })
}

/// The step that a rollout is in.
struct Step<'f> {
    facts: &'f Facts<'f>,
    assignment: &'f v1::Assignment,
    rollout: &'f v1::Rollout,
    steps: Steps,
    at: u32,
    /// Nodes that the rollout is about.
    nodes: usize,
    min_healthy: Duration,
}

impl<'f> Step<'f> {
    fn of(facts: &'f Facts<'f>, assignment: &'f v1::Assignment, rollout: &'f v1::Rollout) -> Self {
        let policy = facts.policy_of(rollout);
        let steps = Steps::of(&policy, rollout.now);
        let min_healthy = if rollout.now { Duration::ZERO } else { policy.min_healthy };
        let (at, nodes) = (steps.at(rollout), facts.staying().count());
        Self { facts, assignment, rollout, steps, at, nodes, min_healthy }
    }

    /// Nothing is wrong: who is still to answer, to stay healthy, or to be given `next`?
    fn go_on(&self, to: &v1::RevisionRef) -> Decision {
        if self.nodes == 0 && self.facts.since.gone == 0 {
            return self.alone();
        }
        let canary = self.steps.is_canary(self.at);
        let target = self.steps.target(self.at, self.nodes);
        if canary && let Some(called_in) = self.call_in(target) {
            return called_in;
        }
        let (acked, behind) = self.facts.answers(to);
        let wait = [self.facts.until_late(&behind), self.facts.since.decided_in].into_iter().flatten().min();
        if !behind.is_empty() || !self.facts.since.misses_few() {
            return Decision::Wait(wait);
        }
        if !canary && let Some(given) = pick::wave(self.facts, self.assignment, target, self.steps.is_last(self.at)) {
            return write(self.facts, Some(given), self.rollout.clone());
        }
        if acked.is_empty() {
            return self.alone();
        }
        if self.facts.since.hangs() {
            return self.hung(wait);
        }
        if self.rollout.health.starts_with(NOT_HEALTHY) {
            return write(self.facts, None, v1::Rollout { health: String::new(), ..self.rollout.clone() });
        }
        // The others are asked once canaries have `next`: what they do without it is to be known before they are given it.
        let to_count = canary && self.facts.since.uncounted > 0;
        let to_count = FIGURES_DEADLINE.checked_sub(self.facts.since.staged).filter(|left| to_count && !left.is_zero());
        match self.facts.since.healthy.map(|healthy| self.min_healthy.saturating_sub(healthy)) {
            Some(Duration::ZERO) if to_count.is_none() && !self.facts.since.is_unheard() => self.pass(),
            // Each answer is looked at, and who gives none hangs.
            Some(Duration::ZERO) => Decision::Wait(wait.into_iter().chain(to_count).min()),
            None => Decision::Wait(wait),
            Some(left) => Decision::Wait(wait.into_iter().chain([left]).min()),
        }
    }

    /// Nodes that serve with `next` by their records do not answer: whether they are lost is known when those run out. Where
    /// they do not, the nodes live, and it may be the way to them that is cut: an operator has to look.
    fn hung(&self, wait: Option<Duration>) -> Decision {
        let names: Vec<&str> = self.facts.since.hanging.iter().map(String::as_str).take(MAX_PROBLEMS).collect();
        let silent = format!("the Agent of {} does not answer", names.join(", "));
        let deadline = self.facts.policy_of(self.rollout).ack_deadline;
        let Some(left) = deadline.checked_sub(self.facts.since.hung).filter(|left| !left.is_zero()) else {
            return pause(self.facts, self.rollout, Vec::new(), format!("{silent} for {}", seconds(deadline)));
        };
        let health = format!("{NOT_HEALTHY}{silent}");
        if self.rollout.health == health {
            return Decision::Wait([wait, Some(left)].into_iter().flatten().min());
        }
        write(self.facts, None, v1::Rollout { health, ..self.rollout.clone() })
    }

    /// Nobody is there to try `next`: a revision that nobody acknowledged must not become stable, nor be waited for
    /// without an end. A pool that is to have no nodes has nobody to ask, unless somebody was asked and is gone.
    fn alone(&self) -> Decision {
        let Facts { replicas, ref since, .. } = *self.facts;
        let nobody_was_asked = self.assignment.picked.is_empty() && self.assignment.cut == 0;
        if replicas == 0 && self.nodes == 0 && nobody_was_asked {
            return complete(self.facts, self.assignment, self.rollout);
        }
        let deadline = self.facts.policy_of(self.rollout).ack_deadline;
        if since.deserted < deadline {
            return Decision::Wait(Some(deadline - since.deserted));
        }
        let (there, pinned) = (self.facts.nodes.len(), self.facts.nodes.iter().filter(|node| node.pinned).count());
        let who = match there {
            0 => "no live node".to_owned(),
            there => {
                format!("no node that could try it ({pinned} of {there} are pinned, the others leave or are lost)")
            }
        };
        let reason = format!("{who} for {}; apply again once there is one", seconds(deadline));
        turn_back(self.facts, self.assignment, self.rollout, Vec::new(), reason)
    }

    /// Canaries: named first, in place of those that are gone as well, then given `next` once it is known what they do
    /// without it. `None`: all that there are to be have it.
    fn call_in(&self, target: usize) -> Option<Decision> {
        let named = pick::canaries(self.facts, self.rollout, target);
        if !named.is_empty() {
            let canaries = self.rollout.canaries.iter().cloned().chain(named).collect();
            return Some(write(self.facts, None, v1::Rollout { canaries, ..self.rollout.clone() }));
        }
        let waiting: Vec<_> = pick::waiting(self.facts, self.rollout).collect();
        let counted = waiting.iter().filter_map(|node| node.figures_before());
        let before: Vec<_> = self.rollout.before.iter().cloned().chain(counted).collect();
        let staged = self.facts.since.staged;
        if waiting.is_empty() {
            return None;
        }
        if before.len() < self.rollout.before.len() + waiting.len() && staged < FIGURES_DEADLINE {
            return Some(Decision::Wait(Some(FIGURES_DEADLINE - staged)));
        }
        let picked = waiting.iter().map(|node| node.id.to_string());
        let picked = self.assignment.picked.iter().cloned().chain(picked).collect();
        let assignment = v1::Assignment { picked, ..self.assignment.clone() };
        Some(write(self.facts, Some(assignment), v1::Rollout { before, ..self.rollout.clone() }))
    }

    /// The step is done: the next one in which somebody is given `next`, or the end. Not while others are missing that were
    /// there just now: they are no reason to be done sooner, and may be the first of many.
    fn pass(&self) -> Decision {
        let vanished = self.facts.since.vanished;
        if vanished.saturating_mul(judge::ONE_LOSS_IN) > self.nodes + vanished {
            return Decision::Wait(self.facts.since.settled_in);
        }
        let rollout = &v1::Rollout { health: health::words(self.facts, self.rollout), ..self.rollout.clone() };
        let given = self.facts.staying().filter(|node| node.given).count();
        if self.steps.is_last(self.at) || given == self.nodes {
            return complete(self.facts, self.assignment, rollout);
        }
        let is_next = |step: &u32| self.steps.is_last(*step) || self.steps.target(*step, self.nodes) > given;
        let step = (self.at.saturating_add(1)..self.steps.count()).find(is_next).unwrap_or(self.at);
        let target = self.steps.target(step, self.nodes);
        let assignment = pick::wave(self.facts, self.assignment, target, self.steps.is_last(step));
        let rollout = v1::Rollout { step, since: stamp(self.facts), ..rollout.clone() };
        write(self.facts, assignment, rollout)
    }
}
