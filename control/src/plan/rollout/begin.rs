//! How a rollout comes to be: a pool's first, the next one, and one whose record was lost.
//!
//! Called by [`super::decide`] and the phases' ends. Each returns what to write, and must not assume that what it returned
//! was written: it may be asked again with the same facts.

use echo_proto::v1;
use v1::RolloutPhase as Phase;

use super::facts::Facts;
use super::steps::Steps;
use super::{Decision, end, pick, write};
use crate::plan::sync::reference;

/// A life of the pool that was never assigned: its newest revision is stable at once.
pub(super) fn first(facts: &Facts<'_>) -> Decision {
    let id = facts.rollout.map_or(0, |r| r.id).saturating_add(1);
    let assignment =
        v1::Assignment { uid: facts.uid().to_owned(), rollout: id, stable: Some(embed(facts)), ..Default::default() };
    let rollout = started(facts, id, Phase::Completed, None);
    let ended = end::ended(facts, &rollout, Phase::Completed, "first revision of the pool".to_owned());
    write(facts, Some(assignment), ended)
}

/// The rollout of the newest revision, from `stable`: its canaries are named, or its first wave is given it.
pub(super) fn next(
    facts: &Facts<'_>,
    assignment: &v1::Assignment,
    before: &v1::Rollout,
    stable: Option<v1::RevisionRef>,
) -> Decision {
    let id = before.id.max(assignment.rollout).saturating_add(1);
    let mut rollout = started(facts, id, Phase::Progressing, stable);
    let mut assignment =
        v1::Assignment { rollout: id, next: Some(embed(facts)), cut: 0, picked: Vec::new(), ..assignment.clone() };
    let steps = Steps::of(facts.policy, rollout.now);
    let target = steps.target(0, facts.staying().count());
    if steps.is_canary(0) {
        // Given it once it is known what they do without it.
        rollout.canaries = pick::canaries(facts, &rollout, target);
    } else if facts.mass_loss.is_none()
        && let Some(given) = pick::wave(facts, &assignment, target, steps.is_last(0))
    {
        // After a mass loss nobody is given it before it was asked whether that is this rollout's matter.
        assignment = given;
    }
    write(facts, Some(assignment), rollout)
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
            let rollout = started(facts, id, Phase::Progressing, from);
            // Who was a canary is not known any more: all that are named count as such. A cut comes after them.
            let step = if assignment.cut > 0 { rollout.steps.saturating_sub(1) } else { 0 };
            v1::Rollout { to, step, canaries: assignment.picked.clone(), reason: missing.to_owned(), ..rollout }
        }
        None if from.as_ref() == Some(&newest) => {
            let rollout = started(facts, id, Phase::Completed, None);
            end::ended(facts, &rollout, Phase::Completed, missing.to_owned())
        }
        None => {
            let reason = format!("{missing}; apply again to try revision {}", newest.n);
            end::ended(facts, &started(facts, id, Phase::Reverted, from), Phase::Reverted, reason)
        }
    }
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
        steps: Steps::of(facts.policy, pool.now).count(),
        policy: Some(pool.spec.as_ref().and_then(|spec| spec.rollout.clone()).unwrap_or_default()),
        // Orders until now were for other rollouts.
        order: pool.order.as_ref().filter(|order| order.rollout < id).map_or(0, |order| order.id),
        ..Default::default()
    }
}

fn embed(facts: &Facts<'_>) -> v1::AssignedRevision {
    let newest = facts.newest();
    let config = facts.pool.spec.as_ref().and_then(|s| s.template.clone());
    v1::AssignedRevision { n: newest.n, digest: newest.digest, config: Some(config.unwrap_or_default()) }
}

pub(super) fn stamp(facts: &Facts<'_>) -> Option<prost_types::Timestamp> {
    Some(facts.now.into())
}
