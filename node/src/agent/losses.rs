//! What the node itself has lost or refused of late: when each reason last occurred, and the condition `FilesExhausted`.
//!
//! One task, spawned by [`crate::app`]; the Agent service reads what it found. It must never ask more of the shards than
//! to read their counters.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::report::{FILES_EXHAUSTED, Report};
use crate::live::Counters;

/// How often the counters are read: as exactly is told when something occurred last.
const PERIOD: Duration = Duration::from_secs(1);
/// For how long it is told.
const TOLD_FOR: Duration = Duration::from_secs(3600);
/// The process is no longer out of files once it has not been for so long: the longest pause of an accept is a second.
const FILES_CALM: Duration = Duration::from_secs(30);
/// The reason that is counted when the process is out of files.
const NO_FILE: &str = "file_limit";

/// A count, and when it last grew.
#[derive(Debug, Clone, Copy, Default)]
struct Loss {
    count: u64,
    last: Option<SystemTime>,
}

/// When each reason last occurred; cheap to clone. The lock is between the task and who reads: no shard takes it.
#[derive(Debug, Clone, Default)]
pub struct Losses(Arc<Mutex<BTreeMap<&'static str, Loss>>>);

impl Losses {
    /// When each reason of the last hour last occurred, to the second.
    pub fn last_times(&self, now: SystemTime) -> BTreeMap<String, SystemTime> {
        let losses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = |time: &SystemTime| now.duration_since(*time).is_ok_and(|ago| ago <= TOLD_FOR);
        losses.iter().filter_map(|(reason, loss)| Some(((*reason).to_owned(), loss.last.filter(recent)?))).collect()
    }

    /// Reads the counters once a second from now on, and keeps the condition true.
    ///
    /// # Errors
    /// None: it ends with the process.
    pub async fn watch(self, counters: Counters, report: watch::Sender<Report>) -> Result<(), Infallible> {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let (total, now) = (counters.snapshot().total, SystemTime::now());
            self.note(total.dropped.iter().chain(&total.rejected).map(|(reason, count)| (*reason, *count)), now);
            report.send_if_modified(|report| self.tell(report, now));
        }
    }

    fn note(&self, counts: impl Iterator<Item = (&'static str, u64)>, now: SystemTime) {
        let mut losses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (reason, count) in counts {
            let loss = losses.entry(reason).or_default();
            if count > loss.count {
                *loss = Loss { count, last: Some(now) };
            }
        }
    }

    /// Sets or takes back the condition; whether that changed anything.
    fn tell(&self, report: &mut Report, now: SystemTime) -> bool {
        let told = report.conditions.iter().any(|c| c.r#type == FILES_EXHAUSTED);
        let last = self.last_times(now).get(NO_FILE).copied();
        let exhausted = last.is_some_and(|last| now.duration_since(last).is_ok_and(|ago| ago <= FILES_CALM));
        if exhausted && !told {
            let message = "no file was left for a connection, which waits in the kernel's queue; raise `ulimit -Hn` \
                           (systemd: LimitNOFILE) or lower limits.maxConnections";
            report.warn(FILES_EXHAUSTED, "FileLimit", message.to_owned());
        } else if !exhausted && told {
            report.clear(&[FILES_EXHAUSTED]);
        }
        exhausted != told
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    const AFTER: fn(u64) -> SystemTime = |s| SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + s);

    #[test]
    fn a_reason_is_told_with_when_it_last_occurred_for_an_hour() {
        let losses = Losses::default();
        losses.note([("rate_limit", 2), ("sndbuf", 0)].into_iter(), AFTER(0));
        losses.note([("rate_limit", 3)].into_iter(), AFTER(7));
        losses.note([("rate_limit", 3)].into_iter(), AFTER(8));
        let told = losses.last_times(AFTER(9));
        assert_eq!((told.len(), told["rate_limit"]), (1, AFTER(7)));
        assert!(losses.last_times(AFTER(7 + 3601)).is_empty());
    }

    #[test]
    fn to_be_out_of_files_is_a_condition_until_it_is_calm() {
        let (losses, mut report) = (Losses::default(), Report::starting());
        losses.note([("max_connections", 5)].into_iter(), AFTER(0));
        assert!(!losses.tell(&mut report, AFTER(0)), "a limit that holds is as it should be");
        losses.note([(NO_FILE, 1)].into_iter(), AFTER(1));
        assert!(losses.tell(&mut report, AFTER(1)));
        assert_eq!((report.conditions.len(), report.conditions[0].reason.as_str()), (1, "FileLimit"));
        assert!(!losses.tell(&mut report, AFTER(31)), "no news");
        assert!(losses.tell(&mut report, AFTER(32)) && report.conditions.is_empty());
    }
}
