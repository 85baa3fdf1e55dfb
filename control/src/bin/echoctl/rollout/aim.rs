//! Which revision's rollout is followed, and what became of it where another one came. Pure.
//!
//! Used by `rollout status`. Without a number it is the newest revision there is when it is first asked: who waits for
//! their own change must not take another's end for its.

use echo_proto::v1::{self, RevisionEnd};

use super::progress::End;

/// The revision that is meant.
#[derive(Debug)]
pub(super) struct Aim {
    pool: String,
    /// As typed.
    wanted: Option<u32>,
    /// As found.
    revision: Option<v1::RevisionRef>,
}

impl Aim {
    pub(super) fn new(pool: &str, wanted: Option<u32>) -> Self {
        Self { pool: pool.to_owned(), wanted, revision: None }
    }

    /// Whether a rollout is that of the revision that is meant.
    pub(super) fn is_at(&self, rollout: &v1::Rollout) -> bool {
        self.revision.is_some() && rollout.to == self.revision
    }

    /// The end, where the pool's newest rollout is not, or not any more, that of the revision that is meant.
    pub(super) fn missed(&mut self, message: &v1::WatchRolloutResponse) -> Option<End> {
        let newest = message.newest.as_ref()?;
        let wanted = self.wanted.unwrap_or(newest.n);
        let this = self.revision.get_or_insert_with(|| v1::RevisionRef { n: wanted, ..newest.clone() });
        let n = this.n;
        if this.uid == newest.uid && n == newest.n {
            *this = newest.clone();
            return None;
        }
        let pool = &self.pool;
        if this.uid != newest.uid {
            return Some(End::Failed(format!("pool/{pool} was deleted and made anew, and revision {n} went with it")));
        }
        if n > newest.n {
            let newest = newest.n;
            return Some(End::Failed(format!("pool/{pool} has no revision {n} yet; revision {newest} is its newest")));
        }
        let rollout = message.rollout.as_ref();
        let at = rollout.and_then(|rollout| rollout.to.as_ref()).filter(|to| to.uid == newest.uid);
        let mut outcomes = rollout.into_iter().flat_map(|rollout| &rollout.outcomes);
        if let Some(outcome) = outcomes.find(|outcome| outcome.n == n) {
            return Some(self.ended(outcome, newest.n));
        }
        match at.map_or(0, |at| at.n) {
            at if at == n => {
                *this = rollout.and_then(|rollout| rollout.to.clone()).unwrap_or_default();
                None
            }
            at if at < n => Some(End::Failed(self.overtaken(newest.n, ""))),
            _ => Some(End::Failed(format!(
                "it is not known any more what became of revision {n} of pool/{pool}; revision {} is its newest",
                newest.n
            ))),
        }
    }

    fn ended(&self, outcome: &v1::RevisionOutcome, newest: u32) -> End {
        let (pool, n, why) = (&self.pool, outcome.n, &outcome.reason);
        match outcome.end() {
            RevisionEnd::Completed => End::Passed(format!(
                "revision {n} of pool/{pool} completed ({why}); revision {newest} was applied since"
            )),
            RevisionEnd::Superseded | RevisionEnd::Skipped => End::Failed(self.overtaken(newest, why)),
            RevisionEnd::Reverted | RevisionEnd::RevertIncomplete | RevisionEnd::Aborted | RevisionEnd::Unspecified => {
                End::Failed(format!(
                    "revision {n} of pool/{pool} was taken back: {why}; revision {newest} was applied since"
                ))
            }
        }
    }

    fn overtaken(&self, newest: u32, why: &str) -> String {
        let (pool, n) = (&self.pool, self.revision.as_ref().map_or(0, |revision| revision.n));
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        format!(
            "revision {n} of pool/{pool} was overtaken before every node ran it{why}; `echoctl rollout status pool/{pool}` \
             follows revision {newest}"
        )
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(uid: &str, n: u32) -> Option<v1::RevisionRef> {
        Some(v1::RevisionRef { uid: uid.into(), n, digest: format!("d{n}") })
    }

    /// The rollout of revision `to`, where `newest` is stored, and those before ended like this.
    fn message(to: u32, newest: u32, ends: &[(u32, RevisionEnd)]) -> v1::WatchRolloutResponse {
        let outcome = |(n, end): &(u32, RevisionEnd)| {
            let reason = "as ann wanted".to_owned();
            v1::RevisionOutcome { n: *n, end: (*end).into(), reason, ..Default::default() }
        };
        let outcomes = ends.iter().map(outcome).collect();
        let rollout = Some(v1::Rollout { to: at("u", to), outcomes, ..Default::default() });
        v1::WatchRolloutResponse { rollout, pending: to != newest, newest: at("u", newest) }
    }

    fn failed(end: Option<End>) -> String {
        match end {
            Some(End::Failed(text)) => text,
            other => format!("not failed: {other:?}"),
        }
    }

    #[test]
    fn the_newest_is_meant_and_another_ones_end_is_not_its() {
        use RevisionEnd::{Completed, Reverted, Skipped, Superseded};
        let begun = || {
            let mut aim = Aim::new("edge", None);
            assert_eq!(aim.missed(&message(5, 5, &[])), None);
            assert_eq!(aim.missed(&message(5, 6, &[])), None, "it is taken back for 6");
            assert!(aim.is_at(&message(5, 6, &[]).rollout.unwrap()));
            aim
        };
        let text = failed(begun().missed(&message(5, 6, &[(5, Superseded)])));
        let told = "revision 5 of pool/edge was overtaken before every node ran it: as ann wanted; `echoctl rollout \
                    status pool/edge` follows revision 6";
        assert_eq!(text, told);
        assert!(failed(begun().missed(&message(7, 7, &[(5, Skipped)]))).contains("was overtaken"));
        assert!(failed(begun().missed(&message(6, 6, &[(5, Reverted)]))).contains("was taken back: as ann wanted"));
        let passed = "revision 5 of pool/edge completed (as ann wanted); revision 6 was applied since";
        assert_eq!(begun().missed(&message(6, 6, &[(5, Completed)])), Some(End::Passed(passed.into())));
        assert!(failed(begun().missed(&message(7, 7, &[]))).contains("not known any more"));
        let anew = v1::WatchRolloutResponse { newest: at("v", 5), ..message(5, 5, &[]) };
        assert!(failed(begun().missed(&anew)).contains("made anew"));
    }

    #[test]
    fn one_that_waits_is_overtaken_by_the_next_at_once() {
        let mut aim = Aim::new("edge", None);
        assert_eq!(aim.missed(&message(4, 5, &[])), None);
        assert!(failed(aim.missed(&message(4, 6, &[]))).contains("revision 5 of pool/edge was overtaken"));
    }

    #[test]
    fn a_number_means_that_revision_whatever_is_the_newest() {
        let end = |n, message: &v1::WatchRolloutResponse| Aim::new("edge", Some(n)).missed(message);
        let told = message(6, 6, &[(5, RevisionEnd::Completed)]);
        assert!(matches!(end(5, &told), Some(End::Passed(_))));
        assert_eq!(end(6, &told), None);
        let text = failed(end(7, &told));
        assert_eq!(text, "pool/edge has no revision 7 yet; revision 6 is its newest");
    }
}
