//! Whether listeners refuse datagrams for their sources: the condition `SourcesAllowed`, of which control makes an event.
//!
//! One task, spawned by [`crate::app`]. It reads the data path's counters from time to time. Who sends from afar gets no
//! answer, and no log says why: an operator would take it for the network's doing. It must never name a client.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::time::Duration;

use echo_proto::ids::ListenerName;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::report::{Report, SOURCES_ALLOWED};
use crate::live::Counters;

/// How often the counters are read.
const INTERVAL: Duration = Duration::from_secs(1);
/// The condition ends after so long without a refusal: a listener's refusals are one event a minute at most.
const LASTS: Duration = Duration::from_secs(60);

/// Keeps the condition true.
///
/// # Errors
/// None: it ends with the process.
pub async fn watch(report: watch::Sender<Report>, counters: Counters) -> Result<(), Infallible> {
    let mut refused = Refused::default();
    loop {
        sleep(INTERVAL).await;
        let counts = counters.snapshot().listeners.into_iter();
        let by_name = counts.map(|listener| (listener.name, listener.counts.refused_sources()));
        if let Some(message) = refused.look(by_name, Instant::now()) {
            report.send_modify(|report| tell(message, report));
        }
    }
}

/// What was seen of the counters.
#[derive(Debug, Default)]
struct Refused {
    counts: BTreeMap<ListenerName, u64>,
    /// The listeners that are told of.
    told: BTreeSet<ListenerName>,
    /// When any of them last refused somebody.
    last: Option<Instant>,
}

impl Refused {
    /// What is to be told from now on, if that is something else than before; an empty text is nothing.
    fn look(&mut self, counts: impl Iterator<Item = (ListenerName, u64)>, now: Instant) -> Option<String> {
        let mut sums: BTreeMap<ListenerName, u64> = BTreeMap::new();
        counts.for_each(|(name, count)| *sums.entry(name).or_default() += count);
        let before = self.told.clone();
        for (name, count) in &sums {
            if self.counts.get(name).copied().unwrap_or_default() < *count {
                self.told.insert(name.clone());
                self.last = Some(now);
            }
        }
        self.counts = sums;
        if self.last.is_some_and(|last| now.saturating_duration_since(last) >= LASTS) {
            self.told.clear();
            self.last = None;
        }
        (self.told != before).then(|| message(&self.told))
    }
}

fn message(listeners: &BTreeSet<ListenerName>) -> String {
    if listeners.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = listeners.iter().map(ListenerName::as_str).collect();
    format!(
        "datagrams of sources that {} does not answer are dropped; name their ranges in guard.allow, or set \
         guard.allowPublic",
        names.join(", ")
    )
}

fn tell(message: String, report: &mut Report) {
    if message.is_empty() {
        report.clear(&[SOURCES_ALLOWED]);
    } else {
        report.warn(SOURCES_ALLOWED, "SourcesRefused", message);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn counts(counts: &[(&str, u64)]) -> impl Iterator<Item = (ListenerName, u64)> {
        counts.iter().map(|(name, count)| (name.parse().unwrap(), *count)).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn refusals_are_told_once_and_forgotten_after_a_minute_of_silence() {
        let (mut refused, start) = (Refused::default(), Instant::now());
        let at = |secs| start + Duration::from_secs(secs);
        assert_eq!(refused.look(counts(&[("a", 0), ("b", 0)]), at(0)), None);
        let told = refused.look(counts(&[("a", 3), ("b", 0)]), at(1)).unwrap();
        assert!(told.contains("sources that a does not answer"), "{told}");
        assert_eq!(refused.look(counts(&[("a", 9), ("b", 0)]), at(30)), None, "it goes on");
        let told = refused.look(counts(&[("a", 9), ("b", 1)]), at(40)).unwrap();
        assert!(told.contains("a, b"), "{told}");
        assert_eq!(refused.look(counts(&[("a", 9), ("b", 1)]), at(99)), None);
        assert_eq!(refused.look(counts(&[("a", 9), ("b", 1)]), at(100)).as_deref(), Some(""));
        assert_eq!(refused.look(counts(&[("a", 9), ("b", 1)]), at(200)), None);
        assert!(refused.look(counts(&[("a", 10), ("b", 1)]), at(201)).is_some());
    }

    #[test]
    fn the_condition_stands_while_it_is_told() {
        let mut report = Report::starting();
        tell("why".to_owned(), &mut report);
        let condition = report.conditions.first().unwrap();
        assert_eq!((condition.r#type.as_str(), condition.message.as_str()), (SOURCES_ALLOWED, "why"));
        tell(String::new(), &mut report);
        assert!(report.conditions.is_empty());
    }
}
