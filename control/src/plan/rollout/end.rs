//! How a rollout ends: completed, or `next` is taken back from those that have it.
//!
//! Called by [`super::decide`] and by the phases. Each function returns what to write or how long to wait, and must not
//! assume that what it returned was written: it may be asked again with the same facts.

use echo_proto::v1;
use v1::RolloutPhase as Phase;

use super::begin::{self, stamp};
use super::facts::Facts;
use super::progress::MASS_LOSS;
use super::{Decision, MAX_PROBLEMS, write};
use crate::plan::sync::reference;

/// Every node runs it.
pub(super) fn complete(facts: &Facts<'_>, assignment: &v1::Assignment, rollout: &v1::Rollout) -> Decision {
    let to = rollout.to.clone().unwrap_or_default();
    let on = facts.on(&to).len();
    let asked = on + facts.behind(&to).len();
    let reason = format!("{on} of {asked} nodes run revision {}", to.n);
    let cleared = v1::Assignment { stable: assignment.next.clone(), ..without_next(assignment) };
    let rollout = v1::Rollout { problems: Vec::new(), ..ended(facts, rollout, Phase::Completed, reason) };
    write(facts, Some(cleared), rollout)
}

/// Takes `next` back.
pub(super) fn turn_back(
    facts: &Facts<'_>,
    assignment: &v1::Assignment,
    rollout: &v1::Rollout,
    problems: Vec<v1::RolloutProblem>,
    reason: String,
) -> Decision {
    let rollout = v1::Rollout { problems, reason, ..moved(facts, rollout, Phase::Reverting) };
    write(facts, Some(without_next(assignment)), rollout)
}

fn without_next(assignment: &v1::Assignment) -> v1::Assignment {
    v1::Assignment { next: None, cut: 0, picked: Vec::new(), ..assignment.clone() }
}

/// `next` was taken back: those that have it are waited for.
pub(super) fn revert(facts: &Facts<'_>, assignment: &v1::Assignment, rollout: &v1::Rollout) -> Decision {
    let stable = assignment.stable.as_ref().map(|r| reference(&assignment.uid, r)).unwrap_or_default();
    let to = rollout.to.clone().unwrap_or_default();
    let behind = facts.to_return(&to, &stable);
    let late = facts.late(&behind);
    if !behind.is_empty() && late.is_empty() {
        return Decision::Wait(facts.until_late(&behind));
    }
    let superseded = rollout.problems.is_empty() && facts.newest() != to;
    let next = if superseded {
        ended(facts, rollout, Phase::Superseded, rollout.reason.clone())
    } else if late.is_empty() {
        ended(facts, rollout, Phase::Reverted, rollout.reason.clone())
    } else {
        incomplete(facts, rollout, &stable, late)
    };
    write(facts, None, next)
}

/// The rollout, with those that did not go back before what was wrong with it.
fn incomplete(
    facts: &Facts<'_>,
    rollout: &v1::Rollout,
    stable: &v1::RevisionRef,
    late: Vec<v1::RolloutProblem>,
) -> v1::Rollout {
    let reason = format!("{}; not back on revision {} in time", rollout.reason, stable.n);
    let problems = late.into_iter().chain(rollout.problems.iter().cloned()).take(MAX_PROBLEMS).collect();
    v1::Rollout { problems, ..ended(facts, rollout, Phase::RevertIncomplete, reason) }
}

/// No rollout is on its way: is there a newer revision that was not tried yet?
pub(super) fn idle(facts: &Facts<'_>, assignment: &v1::Assignment, rollout: &v1::Rollout) -> Decision {
    let newest = facts.newest();
    let stable = assignment.stable.as_ref().map(|r| reference(&assignment.uid, r));
    if rollout.to.as_ref() == Some(&newest) || stable.as_ref() == Some(&newest) {
        return match stable {
            Some(stable) if rollout.phase() == Phase::Reverted && stable != newest => strays(facts, rollout, &stable),
            _ => Decision::Wait(None),
        };
    }
    begin::next(facts, assignment, rollout, stable)
}

/// A node that was still applying `next` when that was taken back looked as if it had never left `stable`. If it comes
/// up with `next` after the end, it has its time to return as well.
fn strays(facts: &Facts<'_>, rollout: &v1::Rollout, stable: &v1::RevisionRef) -> Decision {
    let strays = facts.on(&facts.newest());
    let late = facts.late(&strays);
    if late.is_empty() {
        return Decision::Wait(facts.until_late(&strays));
    }
    write(facts, None, incomplete(facts, rollout, stable, late))
}

/// The rollout in another phase. A mass loss is over with the pause that it led to.
pub(super) fn moved(facts: &Facts<'_>, rollout: &v1::Rollout, phase: Phase) -> v1::Rollout {
    let mut conditions = rollout.conditions.clone();
    conditions.retain(|condition| phase == Phase::Paused || condition.r#type != MASS_LOSS);
    v1::Rollout { phase: phase.into(), since: stamp(facts), conditions, ..rollout.clone() }
}

pub(super) fn ended(facts: &Facts<'_>, rollout: &v1::Rollout, phase: Phase, reason: String) -> v1::Rollout {
    v1::Rollout { end_time: stamp(facts), reason, ..moved(facts, rollout, phase) }
}
