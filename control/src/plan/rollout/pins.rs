//! Pins: what the pool's record wants of single nodes, put into the assignment that they read.
//!
//! Applied by [`super::decide`] to whatever else it decides. Nobody waits for a pinned node. A revision that is not kept
//! any more can't be embedded: the pin is left out, and the pool's condition says so.

use echo_proto::v1;

use super::begin::stamp;
use super::facts::Facts;
use super::{Decision, Next};
use crate::event;

/// Type of the condition, and reason of its event.
const PIN_FAILED: &str = "PinFailed";

/// The revisions that pins need, and that are neither assigned nor recalled; none of those that are known to be gone.
pub(super) fn needed(facts: &Facts<'_>) -> Vec<u32> {
    let (_, failed) = settle(facts, &facts.assigned().cloned().unwrap_or_default());
    if facts.rollout.is_some_and(|rollout| told(rollout) == message(&failed)) {
        return Vec::new();
    }
    let mut revisions: Vec<u32> = failed.iter().map(|pin| pin.revision).collect();
    revisions.sort_unstable();
    revisions.dedup();
    revisions
}

/// The decision with the pins in what it writes; a wait becomes a write where they are not as they should be yet.
pub(super) fn pin(facts: &Facts<'_>, decision: Decision) -> Decision {
    let pinned = |a: &v1::Assignment| !a.pins.is_empty() || !a.pinned.is_empty();
    let none = facts.pool.pins.is_empty() && !facts.assigned().is_some_and(pinned);
    let (wait, next) = match (decision, facts.rollout) {
        (Decision::Write(next), _) => (None, *next),
        (Decision::Wait(wait), Some(rollout)) if !none || !told(rollout).is_empty() => {
            (Some(wait), Next { assignment: None, rollout: rollout.clone(), events: Vec::new() })
        }
        (decision, _) => return decision,
    };
    let Some(assignment) = next.assignment.as_ref().or(facts.assigned()) else {
        return Decision::Write(Box::new(next));
    };
    let (assignment, failed) = settle(facts, assignment);
    let changed = Some(&assignment) != facts.assigned();
    match wait {
        Some(wait) if !changed && told(&next.rollout) == message(&failed) => Decision::Wait(wait),
        _ => {
            Decision::Write(Box::new(Next { assignment: changed.then_some(assignment), ..tell(facts, next, &failed) }))
        }
    }
}

/// The assignment with the pins that can be, and those that can't.
fn settle<'a>(facts: &Facts<'a>, assignment: &v1::Assignment) -> (v1::Assignment, Vec<&'a v1::Pin>) {
    let mut assignment = v1::Assignment { pins: Vec::new(), pinned: Vec::new(), ..assignment.clone() };
    let mut failed = Vec::new();
    for pin in &facts.pool.pins {
        let held = [&assignment.stable, &assignment.next].into_iter().flatten().chain(&assignment.pinned);
        if !held.into_iter().any(|revision| revision.n == pin.revision) {
            let Some(revision) = find(facts, pin.revision) else {
                failed.push(pin);
                continue;
            };
            assignment.pinned.push(revision);
        }
        assignment.pins.push(v1::AssignedPin { node: pin.node.clone(), n: pin.revision });
    }
    (assignment, failed)
}

/// A revision with its config, from what is assigned already or from the stored ones.
fn find(facts: &Facts<'_>, n: u32) -> Option<v1::AssignedRevision> {
    let assigned = facts.assigned().into_iter().flat_map(|a| a.stable.iter().chain(&a.next).chain(&a.pinned));
    if let Some(assigned) = assigned.into_iter().find(|revision| revision.n == n) {
        return Some(assigned.clone());
    }
    let is = |r: &&v1::RevisionRef| r.n == n && r.uid == facts.uid();
    facts.recalled.iter().find_map(|stored| {
        let digest = stored.revision.as_ref().filter(is)?.digest.clone();
        Some(v1::AssignedRevision { n, digest, config: Some(stored.template.clone()?) })
    })
}

/// What the rollout's condition says of pins; empty: nothing.
fn told(rollout: &v1::Rollout) -> &str {
    let condition = rollout.conditions.iter().find(|condition| condition.r#type == PIN_FAILED);
    condition.map_or("", |condition| condition.message.as_str())
}

fn message(failed: &[&v1::Pin]) -> String {
    let which = |pin: &&v1::Pin| format!("node/{} to revision {}", pin.node, pin.revision);
    let which: Vec<String> = failed.iter().map(which).collect();
    if which.is_empty() {
        return String::new();
    }
    format!("not pinned, as it is not kept any more: {}; `echoctl unpin`, or pin another", which.join(", "))
}

/// What could not be pinned, as a condition and once as an event.
fn tell(facts: &Facts<'_>, mut next: Next, failed: &[&v1::Pin]) -> Next {
    let message = message(failed);
    if told(&next.rollout) == message {
        return next;
    }
    next.rollout.conditions.retain(|condition| condition.r#type != PIN_FAILED);
    if !message.is_empty() {
        next.events.push(event::warning(PIN_FAILED, event::of_pool(facts.name), message.clone()));
        next.rollout.conditions.push(v1::PoolCondition {
            r#type: PIN_FAILED.to_owned(),
            status: true,
            reason: "RevisionPruned".to_owned(),
            message,
            transition_time: stamp(facts),
        });
    }
    next
}
