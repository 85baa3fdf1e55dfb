//! The transitions of a rollout, one function a phase.
//!
//! Called by [`super::decide`] only. Each returns what to write or how long to wait, and must not assume that what it
//! returned was written: it may be asked again with the same facts.

use echo_proto::v1;
use v1::RolloutPhase as Phase;

use super::facts::{Facts, seconds};
use super::{Decision, Next, report};
use crate::plan::sync::reference;

/// A life of the pool that was never assigned: its newest revision is stable at once.
pub(super) fn first(facts: &Facts<'_>) -> Decision {
    let id = facts.rollout.map_or(0, |r| r.id).saturating_add(1);
    let assignment =
        v1::Assignment { uid: facts.uid().to_owned(), rollout: id, stable: Some(embed(facts)), ..Default::default() };
    let rollout = started(facts, id, Phase::Completed, None);
    write(facts, Some(assignment), ended(facts, &rollout, Phase::Completed, "first revision of the pool".to_owned()))
}

/// The rollout's record is gone (deleted by hand): what the assignment says is all that is known. A newest revision
/// that is not assigned may have been taken back, so it counts as such.
pub(super) fn restore(facts: &Facts<'_>, assignment: &v1::Assignment) -> Decision {
    write(facts, None, restored(facts, assignment))
}

/// The rollout that an assignment tells of.
pub(super) fn restored(facts: &Facts<'_>, assignment: &v1::Assignment) -> v1::Rollout {
    let from = assignment.stable.as_ref().map(|r| reference(&assignment.uid, r));
    let newest = facts.newest();
    let missing = "the rollout's record was missing";
    let id = assignment.rollout;
    match &assignment.next {
        Some(next) => {
            let to = Some(reference(&assignment.uid, next));
            v1::Rollout { to, reason: missing.to_owned(), ..started(facts, id, Phase::Progressing, from) }
        }
        None if from.as_ref() == Some(&newest) => {
            ended(facts, &started(facts, id, Phase::Completed, None), Phase::Completed, missing.to_owned())
        }
        None => {
            let reason = format!("{missing}; apply again to try revision {}", newest.n);
            ended(facts, &started(facts, id, Phase::Reverted, from), Phase::Reverted, reason)
        }
    }
}

/// Nodes were given `next`.
pub(super) fn progress(facts: &Facts<'_>, assignment: &v1::Assignment, rollout: &v1::Rollout) -> Decision {
    let Some(to) = assignment.next.as_ref().map(|next| reference(&assignment.uid, next)) else {
        // Cleared by hand.
        return turn_back(facts, assignment, rollout, Vec::new(), "next is missing in the assignment".to_owned());
    };
    let newest = facts.newest();
    if newest != to {
        let reason = format!("superseded by revision {}", newest.n);
        return turn_back(facts, assignment, rollout, Vec::new(), reason);
    }
    let refusals = facts.refusals(&to, rollout.id);
    if let Some(first) = refusals.first() {
        let reason = report::told(first);
        return turn_back(facts, assignment, rollout, refusals, reason);
    }
    let (asked, behind) = (facts.asked().count(), facts.behind(&to));
    if behind.is_empty() && (asked > 0 || facts.replicas == 0) {
        let assignment = v1::Assignment { stable: assignment.next.clone(), next: None, cut: 0, ..assignment.clone() };
        let reason = format!("{asked} of {asked} nodes run revision {}", to.n);
        return write(facts, Some(assignment), ended(facts, rollout, Phase::Completed, reason));
    }
    if asked == 0 {
        return alone(facts, assignment, rollout);
    }
    let late = facts.late(&behind);
    if let Some(first) = late.first() {
        let reason = report::told(first);
        return turn_back(facts, assignment, rollout, late, reason);
    }
    Decision::Wait(facts.until_late(&behind))
}

/// Nobody is there to try `next`: a revision that nobody acknowledged must not become stable, nor be waited for without
/// an end.
fn alone(facts: &Facts<'_>, assignment: &v1::Assignment, rollout: &v1::Rollout) -> Decision {
    if facts.in_phase < facts.ack_deadline {
        return Decision::Wait(Some(facts.ack_deadline.saturating_sub(facts.in_phase)));
    }
    let reason = format!("no live node within {}; apply again once there is one", seconds(facts.ack_deadline));
    turn_back(facts, assignment, rollout, Vec::new(), reason)
}

/// `next` was taken back.
pub(super) fn revert(facts: &Facts<'_>, assignment: &v1::Assignment, rollout: &v1::Rollout) -> Decision {
    let stable = assignment.stable.as_ref().map(|r| reference(&assignment.uid, r)).unwrap_or_default();
    let behind = facts.behind(&stable);
    let late = facts.late(&behind);
    if !behind.is_empty() && late.is_empty() {
        return Decision::Wait(facts.until_late(&behind));
    }
    let superseded = rollout.problems.is_empty() && facts.newest() != rollout.to.clone().unwrap_or_default();
    let next = if superseded {
        ended(facts, rollout, Phase::Superseded, rollout.reason.clone())
    } else if late.is_empty() {
        ended(facts, rollout, Phase::Reverted, rollout.reason.clone())
    } else {
        incomplete(facts, rollout, &stable, late)
    };
    write(facts, None, next)
}

fn incomplete(
    facts: &Facts<'_>,
    rollout: &v1::Rollout,
    stable: &v1::RevisionRef,
    late: Vec<v1::RolloutProblem>,
) -> v1::Rollout {
    let reason = format!("{}; not back on revision {} in time", rollout.reason, stable.n);
    v1::Rollout { problems: late, ..ended(facts, rollout, Phase::RevertIncomplete, reason) }
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
    let id = rollout.id.max(assignment.rollout).saturating_add(1);
    let next = v1::Assignment {
        rollout: id,
        next: Some(embed(facts)),
        cut: u64::MAX,
        picked: Vec::new(),
        ..assignment.clone()
    };
    write(facts, Some(next), started(facts, id, Phase::Progressing, stable))
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

/// Takes `next` back.
fn turn_back(
    facts: &Facts<'_>,
    assignment: &v1::Assignment,
    rollout: &v1::Rollout,
    problems: Vec<v1::RolloutProblem>,
    reason: String,
) -> Decision {
    let cleared = v1::Assignment { next: None, cut: 0, picked: Vec::new(), ..assignment.clone() };
    let rollout = v1::Rollout { problems, reason, ..moved(facts, rollout, Phase::Reverting) };
    write(facts, Some(cleared), rollout)
}

fn started(facts: &Facts<'_>, id: u32, phase: Phase, from: Option<v1::RevisionRef>) -> v1::Rollout {
    let pool = facts.pool;
    v1::Rollout {
        pool: facts.name.to_string(),
        id,
        phase: phase.into(),
        from,
        to: Some(facts.newest()),
        since: stamp(facts),
        start_time: stamp(facts),
        author: pool.author.clone(),
        message: pool.message.clone(),
        now: pool.now,
        generation: pool.metadata.as_ref().map_or(0, |m| m.generation),
        ..Default::default()
    }
}

fn moved(facts: &Facts<'_>, rollout: &v1::Rollout, phase: Phase) -> v1::Rollout {
    v1::Rollout { phase: phase.into(), since: stamp(facts), ..rollout.clone() }
}

fn ended(facts: &Facts<'_>, rollout: &v1::Rollout, phase: Phase, reason: String) -> v1::Rollout {
    v1::Rollout { end_time: stamp(facts), reason, ..moved(facts, rollout, phase) }
}

fn embed(facts: &Facts<'_>) -> v1::AssignedRevision {
    let newest = facts.newest();
    let config = facts.pool.spec.as_ref().and_then(|s| s.template.clone());
    v1::AssignedRevision { n: newest.n, digest: newest.digest, config: Some(config.unwrap_or_default()) }
}

fn stamp(facts: &Facts<'_>) -> Option<prost_types::Timestamp> {
    Some(facts.now.into())
}

fn write(facts: &Facts<'_>, assignment: Option<v1::Assignment>, rollout: v1::Rollout) -> Decision {
    let events = report::events(facts, &rollout);
    Decision::Write(Box::new(Next { assignment, rollout, events }))
}
