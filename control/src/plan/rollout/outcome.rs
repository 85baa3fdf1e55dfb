//! What became of a pool's revisions, kept in the record of its newest rollout: events are gone after a day.
//!
//! Called by [`super::write`] for all that is written. It must keep no more than it may, of the pool's present life only.

use echo_proto::v1;
use v1::{RevisionEnd as End, RolloutPhase as Phase};

use super::facts::Facts;
use super::report::overtaken;

/// Most revisions of which it is kept: some more than there are kept revisions.
const MAX_OUTCOMES: usize = 32;
/// Longest reason that is kept.
const MAX_REASON_CHARS: usize = 256;

/// The rollout with what became of the revisions until now.
pub(super) fn noted(facts: &Facts<'_>, rollout: v1::Rollout) -> v1::Rollout {
    let lives = |before: &&v1::Rollout| before.to.as_ref().is_some_and(|to| to.uid == facts.uid());
    let before = facts.rollout.filter(lives);
    let mut outcomes = before.map(|before| before.outcomes.clone()).unwrap_or_default();
    if rollout.phase() == Phase::Progressing && before.is_some_and(|before| before.id != rollout.id) {
        outcomes.extend(overtaken(facts).rev().take(MAX_OUTCOMES).map(|n| skipped(facts, n)));
    }
    if let Some(outcome) = outcome(&rollout) {
        outcomes.retain(|other| other.n != outcome.n);
        outcomes.push(outcome);
    }
    outcomes.sort_by_key(|outcome| outcome.n);
    let old = outcomes.len().saturating_sub(MAX_OUTCOMES);
    outcomes.drain(..old);
    v1::Rollout { outcomes, ..rollout }
}

/// How it ended, if it did.
fn outcome(rollout: &v1::Rollout) -> Option<v1::RevisionOutcome> {
    let end = match rollout.phase() {
        Phase::Completed => End::Completed,
        Phase::RevertIncomplete => End::RevertIncomplete,
        Phase::Reverted | Phase::Superseded if !rollout.aborted_by.is_empty() => End::Aborted,
        Phase::Reverted => End::Reverted,
        Phase::Superseded => End::Superseded,
        Phase::Unspecified | Phase::Progressing | Phase::Paused | Phase::Reverting => return None,
    };
    let reason = rollout.reason.chars().take(MAX_REASON_CHARS).collect();
    let n = rollout.to.as_ref()?.n;
    Some(v1::RevisionOutcome { n, end: end.into(), reason, time: rollout.end_time })
}

fn skipped(facts: &Facts<'_>, n: u32) -> v1::RevisionOutcome {
    let reason = format!("revision {} is newer", facts.newest().n);
    v1::RevisionOutcome { n, end: End::Skipped.into(), reason, time: Some(facts.now.into()) }
}
