//! What people read about a rollout: its events, and the words for a problem.
//!
//! Used by the steps only. A problem's text names node, listener and cause, as `rollout status` prints it.

use std::cmp::Ordering;

use echo_proto::v1;
use v1::RolloutPhase as Phase;

use super::facts::Facts;
use crate::event;

/// The events that go with a rollout's new state.
pub(super) fn events(facts: &Facts<'_>, rollout: &v1::Rollout) -> Vec<v1::Event> {
    let mut events = vec![changed(facts, rollout)];
    if rollout.phase() == Phase::Progressing {
        events.extend(skipped(facts));
    }
    events
}

/// The event of a rollout's new phase.
fn changed(facts: &Facts<'_>, rollout: &v1::Rollout) -> v1::Event {
    let (reason, verb) = match rollout.phase() {
        Phase::Completed => ("RolloutCompleted", "completed"),
        Phase::Reverting => ("RolloutReverting", "is taken back"),
        Phase::Reverted => ("RolloutReverted", "was taken back"),
        Phase::Superseded => ("RolloutSuperseded", "gave way to a newer one"),
        Phase::RevertIncomplete => ("RolloutRevertIncomplete", "was taken back, but not by all nodes"),
        Phase::Progressing | Phase::Paused | Phase::Unspecified => ("RolloutStarted", "started"),
    };
    let n = rollout.to.as_ref().map_or(0, |to| to.n);
    let why = if rollout.reason.is_empty() { String::new() } else { format!(": {}", rollout.reason) };
    let message = format!("rollout {} of revision {n} {verb}{why}", rollout.id);
    let make = if rollout.problems.is_empty() { event::normal } else { event::warning };
    // A rollout's first state has no state before.
    let before = facts.rollout.filter(|r| r.id == rollout.id).map_or(Phase::Unspecified, v1::Rollout::phase);
    let event = make(reason, event::of_pool(facts.name), message);
    v1::Event { from: short(before), to: short(rollout.phase()), ..event }
}

/// The revisions between the one tried last and the newest, which overtook them.
fn skipped(facts: &Facts<'_>) -> Option<v1::Event> {
    let newest = facts.newest();
    let tried = facts.rollout.and_then(|r| r.to.as_ref()).filter(|to| to.uid == newest.uid).map_or(0, |to| to.n);
    let (first, last) = (tried.checked_add(1)?, newest.n.checked_sub(1)?);
    let which = match first.cmp(&last) {
        Ordering::Less => format!("revisions {first} to {last} were skipped"),
        Ordering::Equal => format!("revision {first} was skipped"),
        Ordering::Greater => return None,
    };
    let message = format!("{which}: revision {} is newer", newest.n);
    Some(event::normal("RevisionSkipped", event::of_pool(facts.name), message))
}

/// `PROGRESSING`; empty for the phase before the first.
fn short(phase: Phase) -> String {
    match phase {
        Phase::Unspecified => String::new(),
        phase => phase.as_str_name().trim_start_matches("ROLLOUT_PHASE_").to_owned(),
    }
}

/// `node-1: listener echo-tcp: bind 127.0.0.1:7007: address in use`
pub(super) fn told(problem: &v1::RolloutProblem) -> String {
    let v1::RolloutProblem { node, listener, cause } = problem;
    // A node's cause may name the listener itself.
    if listener.is_empty() || cause.contains(listener.as_str()) {
        return format!("{node}: {cause}");
    }
    format!("{node}: listener {listener}: {cause}")
}
