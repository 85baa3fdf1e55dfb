//! How long this control had no answer from etcd, last time.
//!
//! Kept by the view, told by the drive once etcd is back. Time is passed in.

use std::time::Duration;

use tokio::time::Instant;

/// Where etcd had no new term, a shorter one is a connection that broke, and no outage.
const BRIEF: Duration = Duration::from_millis(500);

/// A time without an answer from etcd that is over. Whether etcd or the way to it was at fault is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// Tells it from earlier ones of this process.
    pub n: u64,
    /// How long it lasted.
    pub lasted: Duration,
    /// When it was over.
    pub ended: Instant,
    /// etcd's revision as far as it was known then.
    pub revision: i64,
}

/// What is known of the present one and the last.
#[derive(Debug, Default)]
pub(super) struct Outages {
    since: Option<Instant>,
    last: Option<Outage>,
}

impl Outages {
    pub(super) fn last(&self) -> Option<Outage> {
        self.last
    }

    /// etcd owes an answer since then.
    pub(super) fn begin(&mut self, since: Instant) {
        self.since.get_or_insert(since);
    }

    /// etcd answers `now`, and has told up to `revision`. `resumed`: its term goes on.
    pub(super) fn end(&mut self, resumed: bool, revision: i64, now: Instant) {
        let lasted = self.since.take().map(|since| now.saturating_duration_since(since));
        if let Some(lasted) = lasted.filter(|lasted| !resumed || *lasted >= BRIEF) {
            let n = self.last.map_or(0, |last| last.n).saturating_add(1);
            self.last = Some(Outage { n, lasted, ended: now, revision });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_lasts_from_the_first_failure_to_the_answer() {
        let (mut outages, begin) = (Outages::default(), Instant::now());
        let after = |seconds| begin + Duration::from_secs(seconds);
        outages.end(false, 3, begin);
        outages.begin(after(1));
        outages.begin(after(4));
        assert_eq!(outages.last(), None, "it goes on");
        outages.end(true, 5, after(9));
        outages.end(false, 6, after(10));
        let outage = Outage { n: 1, lasted: Duration::from_secs(8), ended: after(9), revision: 5 };
        assert_eq!(outages.last(), Some(outage));
    }

    #[test]
    fn a_short_one_counts_only_where_etcd_had_a_new_term() {
        let (mut outages, begin) = (Outages::default(), Instant::now());
        let mut after = |resumed| {
            outages.begin(begin);
            outages.end(resumed, 3, begin + BRIEF / 2);
            outages.last().map(|last| last.n)
        };
        assert_eq!([after(true), after(false), after(true), after(false)], [None, Some(1), Some(1), Some(2)]);
    }
}
