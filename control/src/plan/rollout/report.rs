//! What people read about a rollout: its events, and the words for a problem.
//!
//! Used by the steps only. A problem's text names node, listener and cause, as `rollout status` prints it.

use std::cmp::Ordering;
use std::ops::RangeInclusive;

use echo_proto::v1;
use v1::RolloutPhase as Phase;

use super::facts::Facts;
use crate::event;
use crate::words::add_nobody;

/// The events that go with a rollout's new state.
pub(super) fn events(facts: &Facts<'_>, rollout: &v1::Rollout) -> Vec<v1::Event> {
    let Some(before) = facts.rollout.filter(|before| before.id == rollout.id) else {
        return began(facts, rollout);
    };
    if before.phase != rollout.phase {
        return vec![changed(facts, before.phase(), rollout)];
    }
    let n = rollout.to.as_ref().map_or(0, |to| to.n);
    let which = format!("rollout {} of revision {n}", rollout.id);
    let about = event::of_pool(facts.name);
    if before.step != rollout.step {
        let (at, of) = (rollout.step.saturating_add(1), rollout.steps);
        let passed = add_nobody(&(before.step.saturating_add(1)..rollout.step));
        let message = format!("{which} goes on with step {at} of {of}{passed}");
        return vec![event::normal("RolloutAdvanced", about, message)];
    }
    if before.canaries.len() < rollout.canaries.len() {
        let added = rollout.canaries.iter().skip(before.canaries.len()).cloned().collect::<Vec<_>>().join(", ");
        return vec![event::normal("CanaryAdded", about, format!("{which} is also tried by {added}"))];
    }
    if rollout.phase() == Phase::Paused
        && before.problems != rollout.problems
        && let Some(problem) = rollout.problems.first()
    {
        let message = format!("{which} is paused, and goes wrong meanwhile: {}", told(problem));
        return vec![event::warning("RolloutRefused", about, message)];
    }
    Vec::new()
}

/// The events of a rollout's first state.
fn began(facts: &Facts<'_>, rollout: &v1::Rollout) -> Vec<v1::Event> {
    let mut events = vec![changed(facts, Phase::Unspecified, rollout)];
    if rollout.phase() == Phase::Progressing {
        events.extend(skipped(facts));
    }
    events
}

/// The event of a rollout's new phase.
fn changed(facts: &Facts<'_>, before: Phase, rollout: &v1::Rollout) -> v1::Event {
    let (reason, verb) = match (before, rollout.phase()) {
        (_, Phase::Completed) => ("RolloutCompleted", "completed"),
        (_, Phase::Reverting) => ("RolloutReverting", "is taken back"),
        (_, Phase::Reverted) => ("RolloutReverted", "was taken back"),
        (_, Phase::Superseded) => ("RolloutSuperseded", "gave way to a newer one"),
        (_, Phase::RevertIncomplete) => ("RolloutRevertIncomplete", "was taken back, but not by all nodes"),
        (_, Phase::Paused) => ("RolloutPaused", "is paused"),
        (Phase::Paused, Phase::Progressing) => ("RolloutResumed", "goes on"),
        (_, Phase::Progressing | Phase::Unspecified) => ("RolloutStarted", "started"),
    };
    let n = rollout.to.as_ref().map_or(0, |to| to.n);
    let canaries = match rollout.canaries.as_slice() {
        canaries if reason == "RolloutStarted" && !canaries.is_empty() => format!(" on {}", canaries.join(", ")),
        _ => String::new(),
    };
    let why = if rollout.reason.is_empty() { String::new() } else { format!(": {}", rollout.reason) };
    let message = format!("rollout {} of revision {n} {verb}{canaries}{why}", rollout.id);
    let make =
        if rollout.problems.is_empty() && rollout.conditions.is_empty() { event::normal } else { event::warning };
    let event = make(reason, event::of_pool(facts.name), message);
    v1::Event { from: short(before), to: short(rollout.phase()), actor: actor(facts, rollout, &event), ..event }
}

/// Who ordered it, where somebody did just now.
fn actor(facts: &Facts<'_>, rollout: &v1::Rollout, event: &v1::Event) -> String {
    let new = facts.rollout.is_some_and(|before| before.id == rollout.id && before.order < rollout.order);
    let order = facts.pool.order.as_ref().filter(|_| new);
    order.map(|order| order.author.clone()).filter(|author| !author.is_empty()).unwrap_or_else(|| event.actor.clone())
}

/// The revisions between the one tried last and the newest, which overtook them.
pub(super) fn overtaken(facts: &Facts<'_>) -> RangeInclusive<u32> {
    let newest = facts.newest();
    let tried = facts.rollout.and_then(|r| r.to.as_ref()).filter(|to| to.uid == newest.uid).map_or(0, |to| to.n);
    tried.saturating_add(1)..=newest.n.saturating_sub(1)
}

fn skipped(facts: &Facts<'_>) -> Option<v1::Event> {
    let (first, last) = overtaken(facts).into_inner();
    let which = match first.cmp(&last) {
        Ordering::Less => format!("revisions {first} to {last} were skipped"),
        Ordering::Equal => format!("revision {first} was skipped"),
        Ordering::Greater => return None,
    };
    let message = format!("{which}: revision {} is newer", facts.newest().n);
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
