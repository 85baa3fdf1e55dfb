//! The stored revisions of a pool, for who wants one of them by its number.
//!
//! Used by undo and by pins. One that is not kept any more is told apart from one that never was, and those that there
//! are, are named.

use echo_proto::ids::PoolName;
use echo_proto::v1;

use super::Api;
use super::error::ApiError;
use crate::store::{MAX_PAGE, prefix_end};

/// Those of a pool that can be read, of all its lives, oldest first.
#[derive(Debug)]
pub(super) struct Kept(Vec<v1::Revision>);

impl Api {
    pub(super) async fn kept_revisions(&self, name: &PoolName) -> Result<Kept, ApiError> {
        let prefix = self.store.keys().revisions(Some(name));
        let page = self.store.page(prefix.as_bytes(), &prefix_end(&prefix), MAX_PAGE, 0).await?;
        let revisions = page.entries.iter().filter_map(|entry| entry.decode::<v1::Revision>().ok()).map(|r| r.value);
        Ok(Kept(revisions.collect()))
    }
}

impl Kept {
    /// The revision `wanted` of the pool's present life.
    pub(super) fn find(&self, name: &PoolName, pool: &v1::PoolRecord, wanted: u32) -> Result<&v1::Revision, ApiError> {
        if let Some(found) = self.of(pool).find(|revision| n(revision) == wanted) {
            return Ok(found);
        }
        let newest = pool.revision.as_ref().map_or(0, |r| r.n);
        let (object, kept) = (format!("revision/{name}-{wanted}"), self.numbers(pool));
        if wanted == 0 || wanted > newest {
            let text = format!("revision {wanted} of pool/{name} not found; it has {kept}");
            return Err(ApiError::missing(object, text));
        }
        let text = format!("revision {wanted} of pool/{name} is not kept any more; it has {kept}");
        Err(ApiError::unmet("REVISION_PRUNED", object, text))
    }

    /// What the nodes ran before the newest, or the last one before that which differs from the newest. Those after it
    /// were taken back, or never tried: `rollout` tells, also where that of the newest is still to come, and of those
    /// before it as far as it knows. Where it does not, the last one before the newest that differs from it.
    pub(super) fn before(
        &self,
        name: &PoolName,
        pool: &v1::PoolRecord,
        rollout: Option<&v1::Rollout>,
    ) -> Result<&v1::Revision, ApiError> {
        let newest = pool.revision.as_ref().map_or(0, |r| r.n);
        // A revision that was tried twice stands twice: going from one to the other would undo nothing.
        let undone = pool.revision.as_ref().map(|r| r.digest.as_str());
        let differs = |r: &&v1::Revision| r.revision.as_ref().map(|r| r.digest.as_str()) != undone;
        let last = ran_before(pool, rollout).map_or(newest.saturating_sub(1), |ran| ran.n);
        let uid = pool.metadata.as_ref().map(|m| m.uid.as_str());
        let rollout = rollout.filter(|rollout| rollout.to.as_ref().map(|to| to.uid.as_str()) == uid);
        let ends = rollout.map_or(&[][..], |rollout| &rollout.outcomes);
        let ended = |r: &v1::Revision| ends.iter().find(|end| end.n == n(r)).map(v1::RevisionOutcome::end);
        let was_good = |r: &&v1::Revision| ended(r).is_none_or(|end| end == v1::RevisionEnd::Completed);
        self.of(pool).filter(|r| n(r) <= last).filter(differs).filter(was_good).last().ok_or_else(|| {
            let kept = self.numbers(pool);
            let text = format!(
                "pool/{name} has no revision that its nodes ran before its newest and that differs from it, so there is \
                 nothing to go back to; it has {kept}"
            );
            ApiError::unmet("NO_EARLIER_REVISION", crate::event::of_pool(name), text)
        })
    }

    fn of(&self, pool: &v1::PoolRecord) -> impl Iterator<Item = &v1::Revision> {
        let uid = pool.metadata.as_ref().map_or("", |m| m.uid.as_str()).to_owned();
        self.0.iter().filter(move |r| r.revision.as_ref().is_some_and(|r| r.uid == uid))
    }

    /// `2, 4, 5`
    fn numbers(&self, pool: &v1::PoolRecord) -> String {
        self.of(pool).map(|r| n(r).to_string()).collect::<Vec<_>>().join(", ")
    }
}

/// What all nodes of the pool ran when its newest revision was applied, where the newest rollout tells.
fn ran_before<'r>(pool: &v1::PoolRecord, rollout: Option<&'r v1::Rollout>) -> Option<&'r v1::RevisionRef> {
    let rollout = rollout?;
    let completed = rollout.phase() == v1::RolloutPhase::Completed && rollout.to != pool.revision;
    let ran = if completed { &rollout.to } else { &rollout.from };
    // Of an earlier life of the pool's it tells nothing.
    ran.as_ref().filter(|ran| pool.revision.as_ref().is_some_and(|newest| newest.uid == ran.uid && newest.n > ran.n))
}

/// The number of a revision.
pub(super) fn n(revision: &v1::Revision) -> u32 {
    revision.revision.as_ref().map_or(0, |r| r.n)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn reference(n: u32, digest: &str) -> v1::RevisionRef {
        v1::RevisionRef { uid: "u".into(), n, digest: digest.into() }
    }

    fn kept(revisions: &[(u32, &str)]) -> Kept {
        let revision =
            |(n, digest): &(u32, &str)| v1::Revision { revision: Some(reference(*n, digest)), ..Default::default() };
        let other = v1::RevisionRef { uid: "earlier".into(), n: 3, digest: "x".into() };
        let other = v1::Revision { revision: Some(other), ..Default::default() };
        Kept(revisions.iter().map(revision).chain([other]).collect())
    }

    fn pool(n: u32, digest: &str) -> v1::PoolRecord {
        let metadata = v1::ObjectMeta { uid: "u".into(), ..Default::default() };
        v1::PoolRecord { metadata: Some(metadata), revision: Some(reference(n, digest)), ..Default::default() }
    }

    #[test]
    fn the_one_before_is_the_last_that_differs() {
        let name: PoolName = "edge".parse().unwrap();
        let before = |revisions: &[(u32, &str)], n: u32, digest| {
            kept(revisions).before(&name, &pool(n, digest), None).map(super::n)
        };
        assert_eq!(before(&[(2, "a"), (4, "b"), (5, "c")], 5, "c"), Ok(4));
        assert_eq!(before(&[(2, "a"), (4, "b"), (5, "b")], 5, "b"), Ok(2));
        let none = before(&[(4, "b"), (5, "b")], 5, "b").unwrap_err();
        assert!(none.to_string().contains("nothing to go back to; it has 4, 5"), "{none}");
    }

    fn rollout(from: (u32, &str), to: (u32, &str), phase: v1::RolloutPhase) -> v1::Rollout {
        let (from, to) = (Some(reference(from.0, from.1)), Some(reference(to.0, to.1)));
        v1::Rollout { from, to, phase: phase.into(), ..Default::default() }
    }

    #[test]
    fn the_one_before_is_what_the_nodes_ran() {
        use v1::RolloutPhase::{Completed, Progressing, Reverted, Superseded};
        let kept = kept(&[(3, "a"), (4, "b"), (5, "c")]);
        let before = |rollout| kept.before(&"edge".parse().unwrap(), &pool(5, "c"), Some(&rollout)).map(n);
        assert_eq!(before(rollout((3, "a"), (5, "c"), Completed)), Ok(3), "4 was taken back as well");
        assert_eq!(before(rollout((4, "b"), (5, "c"), Reverted)), Ok(4));
        assert_eq!(before(rollout((3, "a"), (4, "b"), Reverted)), Ok(3), "5 was not begun, and 4 is known to be bad");
        assert_eq!(before(rollout((3, "a"), (4, "b"), Superseded)), Ok(3));
        assert_eq!(before(rollout((3, "a"), (4, "b"), Progressing)), Ok(3), "4 gives way to 5");
        assert_eq!(before(rollout((3, "a"), (4, "b"), Completed)), Ok(4), "5 was not begun");
        let mut earlier = rollout((3, "a"), (4, "b"), Reverted);
        earlier.from.as_mut().unwrap().uid = "earlier".into();
        assert_eq!(before(earlier), Ok(4), "of an earlier life");
        let lost = before(rollout((2, "x"), (5, "c"), Completed)).unwrap_err();
        assert!(lost.to_string().contains("nothing to go back to"), "3 and 4 never were what the nodes ran: {lost}");
    }

    #[test]
    fn an_undo_of_an_undo_passes_over_what_was_taken_back() {
        let kept = kept(&[(9, "b"), (10, "c"), (11, "d"), (12, "e"), (13, "d")]);
        let outcome = |n, end: v1::RevisionEnd| v1::RevisionOutcome { n, end: end.into(), ..Default::default() };
        let mut rollout = rollout((11, "d"), (12, "e"), v1::RolloutPhase::Superseded);
        let before =
            |rollout: &v1::Rollout| kept.before(&"edge".parse().unwrap(), &pool(13, "d"), Some(rollout)).map(n).ok();
        assert_eq!(before(&rollout), Some(10), "nothing is known of it");
        for end in [v1::RevisionEnd::Reverted, v1::RevisionEnd::Aborted, v1::RevisionEnd::Skipped] {
            rollout.outcomes = vec![outcome(9, v1::RevisionEnd::Completed), outcome(10, end)];
            assert_eq!(before(&rollout), Some(9), "{end:?}");
        }
    }

    #[test]
    fn a_good_revision_that_was_applied_again_is_not_undone_to_the_bad_one_between() {
        let rollout = rollout((3, "a"), (5, "a"), v1::RolloutPhase::Completed);
        let before = |revisions: &[(u32, &str)]| {
            kept(revisions).before(&"edge".parse().unwrap(), &pool(5, "a"), Some(&rollout)).map(n)
        };
        assert_eq!(before(&[(2, "z"), (3, "a"), (4, "b"), (5, "a")]), Ok(2));
        assert!(before(&[(3, "a"), (4, "b"), (5, "a")]).is_err());
    }

    #[test]
    fn a_pruned_one_and_an_unknown_one_are_not_the_same() {
        let name: PoolName = "edge".parse().unwrap();
        let find = |wanted| kept(&[(4, "b"), (5, "c")]).find(&name, &pool(5, "c"), wanted).map(n);
        assert_eq!(find(4), Ok(4));
        let pruned = find(3).unwrap_err();
        assert!(matches!(&pruned, ApiError::Precondition(it) if it.kind == "REVISION_PRUNED"), "{pruned:?}");
        assert_eq!(pruned.to_string(), "revision 3 of pool/edge is not kept any more; it has 4, 5");
        let unknown = find(9).unwrap_err();
        assert!(matches!(unknown, ApiError::NotFound(_)), "{unknown:?}");
        assert_eq!(unknown.to_string(), "revision 9 of pool/edge not found; it has 4, 5");
    }
}
