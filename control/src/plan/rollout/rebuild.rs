//! An assignment that is missing or unreadable though its pool lives: deleted or overwritten by hand.
//!
//! Used by [`super::decide`], and by the drive, which reads the revision that is needed. The newest revision must not be
//! taken for stable here, since it may be the very one that was taken back: what was stable is told by the rollout's
//! record, else by the nodes. Only a life of the pool that neither knows is a new one.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use echo_proto::v1;
use v1::RolloutPhase as Phase;

use super::facts::Facts;
use super::{Decision, Next, begin};
use crate::event;

/// The revision to which the nodes of a pool without an assignment are to return, where the pool's own template is not
/// that of it: the drive has to read it from `revisions/`.
pub(super) fn lost_stable(facts: &Facts<'_>) -> Option<v1::RevisionRef> {
    let lost = if facts.assigned().is_none() { stable(facts) } else { None };
    lost.filter(|stable| *stable != facts.newest())
}

/// Writes the assignment anew, or the first one of a new pool.
pub(super) fn rebuild(facts: &Facts<'_>) -> Decision {
    let Some(stable) = stable(facts) else { return begin::first(facts) };
    let rollout = facts.rollout.filter(|r| of(facts, r));
    if rollout.is_some_and(|r| r.phase() == Phase::Unspecified) {
        // A newer control drives it.
        return Decision::Wait(None);
    }
    let Some(config) = template(facts, &stable) else { return Decision::Lost(stable) };
    let stable = v1::AssignedRevision { n: stable.n, digest: stable.digest, config: Some(config) };
    let id = facts.rollout.map_or(1, |r| r.id.max(1));
    let n = stable.n;
    let assignment =
        v1::Assignment { uid: facts.uid().to_owned(), rollout: id, stable: Some(stable), ..Default::default() };
    let message = format!("the assignment was missing or could not be read; written anew with revision {n} as stable");
    let told = event::warning("AssignmentRebuilt", event::of_pool(facts.name), message);
    let next = match rollout {
        // As it was; one that was on its way finds its `next` missing, and is taken back.
        Some(rollout) => Next { assignment: Some(assignment), rollout: rollout.clone(), events: vec![told] },
        None => {
            let rollout = begin::restored(facts, &assignment);
            Next { assignment: Some(assignment), rollout, events: vec![told] }
        }
    };
    Decision::Write(Box::new(next))
}

fn stable(facts: &Facts<'_>) -> Option<v1::RevisionRef> {
    let rollout = facts.rollout.filter(|r| of(facts, r));
    let told = rollout.and_then(|r| if r.phase() == Phase::Completed { r.to.clone() } else { r.from.clone() });
    told.filter(|stable| stable.uid == facts.uid()).or_else(|| run_by_most(facts))
}

/// Whether a rollout is of this life of the pool.
fn of(facts: &Facts<'_>, rollout: &v1::Rollout) -> bool {
    rollout.to.as_ref().is_some_and(|to| to.uid == facts.uid())
}

/// What most nodes run; of two that as many run, the older one.
fn run_by_most(facts: &Facts<'_>) -> Option<v1::RevisionRef> {
    let mut counts: BTreeMap<(u32, &str), usize> = BTreeMap::new();
    for run in facts.nodes.iter().filter_map(|node| node.status.applied.as_ref()).filter(|r| r.uid == facts.uid()) {
        *counts.entry((run.n, run.digest.as_str())).or_default() += 1;
    }
    let ((n, digest), _) = counts.into_iter().max_by_key(|((n, _), count)| (*count, Reverse(*n)))?;
    Some(v1::RevisionRef { uid: facts.uid().to_owned(), n, digest: digest.to_owned() })
}

fn template(facts: &Facts<'_>, revision: &v1::RevisionRef) -> Option<v1::PoolTemplate> {
    if *revision == facts.newest() {
        return Some(facts.pool.spec.as_ref().and_then(|s| s.template.clone()).unwrap_or_default());
    }
    facts.recalled.iter().find(|r| r.revision.as_ref() == Some(revision))?.template.clone()
}
