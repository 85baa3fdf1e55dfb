//! Tells that etcd was away, once it is back and somebody leads.
//!
//! Part of the drive. Every control sees an outage: the one that leads then tells it, and a leader after it does not
//! tell it again.

use std::time::Duration;

use echo_proto::v1;
use tokio::time::Instant;

use super::Pass;
use super::journal::Journal;
use crate::event;
use crate::store::{StoreError, Stored};
use crate::view::{Outage, View};

/// Reason of the event.
const RETURNED: &str = "EtcdReturned";
/// An outage that was over so long before the term was for an earlier leader to tell.
const TOLD_WITHIN: Duration = Duration::from_secs(60);

/// Number of the outage that was told last.
#[derive(Debug)]
pub(super) struct Returns(u64);

impl Returns {
    /// What earlier leaders told, and what it is too late for.
    pub(super) fn recall(events: &[Stored<v1::Event>], view: &View) -> Self {
        Self(over(events, view.read(|state| state.outage()), Instant::now()))
    }

    pub(super) async fn pass(&mut self, view: &View, journal: &mut Journal) -> Result<Pass, StoreError> {
        let Some(outage) = view.read(|state| state.outage()).filter(|outage| outage.n > self.0) else {
            return Ok(Pass::Done(None));
        };
        let message = format!("etcd answers again; this control had no answer for {}", told(outage.lasted));
        let event = event::warning(RETURNED, event::of_cluster(journal.keys()), message);
        if !journal.tell(event).await? {
            return Ok(Pass::Again);
        }
        self.0 = outage.n;
        Ok(Pass::Done(None))
    }
}

/// Number of the last outage, if it is not to be told any more.
fn over(events: &[Stored<v1::Event>], last: Option<Outage>, now: Instant) -> u64 {
    let told = events.iter().filter(|event| event.value.reason == RETURNED).map(|event| event.mod_revision).max();
    let is_over =
        |outage: &Outage| told > Some(outage.revision) || now.saturating_duration_since(outage.ended) > TOLD_WITHIN;
    last.filter(is_over).map_or(0, |outage| outage.n)
}

/// In whole seconds, so that like ones fold.
fn told(lasted: Duration) -> String {
    match lasted.as_secs() {
        0 => "less than 1 s".to_owned(),
        seconds => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_by_one_leader_and_soon() {
        let now = Instant::now();
        let outage = Outage { n: 7, lasted: Duration::from_secs(12), ended: now, revision: 40 };
        let event = |mod_revision| {
            let value = event::warning(RETURNED, "cluster/test".to_owned(), "");
            Stored { value, mod_revision, create_revision: mod_revision }
        };
        assert_eq!(over(&[event(30)], Some(outage), now), 0, "that was another one");
        assert_eq!(over(&[event(41)], Some(outage), now), 7, "told by the leader before");
        assert_eq!(over(&[], Some(outage), now + TOLD_WITHIN * 2), 7, "nobody waits for it any more");
        assert_eq!(over(&[], None, now), 0);
    }

    #[test]
    fn how_long_it_was_is_told_in_seconds() {
        assert_eq!(told(Duration::from_millis(700)), "less than 1 s");
        assert_eq!(told(Duration::from_millis(12_900)), "12 s");
    }
}
