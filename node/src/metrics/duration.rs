//! How long connections live, as an OpenTelemetry histogram.
//!
//! Fed when somebody collects, by [`super::register`]. A histogram of the SDK takes two locks and a hash for each
//! value, which is nothing for a shard to do: shards count by class, and here each new connection of a class is
//! recorded with the mean of the new ones. So counts and sums are exact; only the smallest and the largest value are
//! not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use echo_proto::telemetry::names;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter};

use super::attributes;
use crate::data::counters::{Counters, Identity};
use crate::data::reason::{End, Reason};
use crate::data::slot::{LIFE_BOUNDS, Slot};

/// Connections of a class, and their nanoseconds together.
type Class = (u64, u64);

/// Carries the shards' classes into a histogram.
pub(super) struct Durations {
    histogram: Histogram<f64>,
    counters: Counters,
    pool: Arc<str>,
    /// What was recorded already. Two collectors may come at once.
    seen: Mutex<HashMap<Identity, Vec<Class>>>,
}

impl Durations {
    pub(super) fn new(meter: &Meter, counters: &Counters, pool: &Arc<str>) -> Self {
        let histogram = meter
            .f64_histogram(names::CONNECTION_DURATION)
            .with_unit("s")
            .with_description("Life of TCP connections that ended")
            .with_boundaries(LIFE_BOUNDS.to_vec())
            .build();
        Self { histogram, counters: counters.clone(), pool: Arc::clone(pool), seen: Mutex::default() }
    }

    /// Records the connections that ended since it was last called.
    pub(super) fn record(&self) {
        self.new_ones(|seconds, count, attributes| {
            for _ in 0..count {
                self.histogram.record(seconds, attributes);
            }
        });
    }

    /// Tells their mean life by class, and how many there are.
    fn new_ones(&self, mut tell: impl FnMut(f64, u64, &[KeyValue])) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let listeners = self.counters.all_slots();
        seen.retain(|identity, _| listeners.iter().any(|(known, _)| known == identity));
        for (identity, slots) in listeners {
            let now = classes(&slots);
            let base = attributes(&identity.name, identity.protocol, identity.port, &self.pool);
            let last = seen.insert(identity, now.clone()).unwrap_or_else(|| vec![(0, 0); now.len()]);
            for (index, (now, last)) in now.into_iter().zip(last).enumerate() {
                let (count, nanos) = (now.0.saturating_sub(last.0), now.1.saturating_sub(last.1));
                if count > 0 {
                    let (end, class) = (index / CLASSES, index % CLASSES);
                    let mean = within(class, nanos as f64 / 1e9 / count as f64);
                    let error = End::ALL.get(end).filter(|(end, _)| !end.in_order());
                    let error = error.map(|(_, label)| KeyValue::new(names::ERROR_TYPE, *label));
                    tell(mean, count, &base.iter().cloned().chain(error).collect::<Vec<_>>());
                }
            }
        }
    }
}

/// Classes of one end.
const CLASSES: usize = LIFE_BOUNDS.len() + 1;

/// The classes of all ends, one after the other, over all shards.
fn classes(slots: &[Arc<Slot>]) -> Vec<Class> {
    let mut sums: Vec<Class> = vec![(0, 0); End::ALL.len() * CLASSES];
    for slot in slots {
        for (sum, class) in sums.iter_mut().zip(slot.lives.iter().flat_map(|lives| lives.each())) {
            *sum = (sum.0 + class.0, sum.1.wrapping_add(class.1));
        }
    }
    sums
}

/// Keeps a mean in its class: a shard may have counted a connection of which the nanoseconds are still to come.
fn within(class: usize, mean: f64) -> f64 {
    let above = class.checked_sub(1).and_then(|below| LIFE_BOUNDS.get(below)).map_or(0.0, |bound| bound.next_up());
    let upper = LIFE_BOUNDS.get(class).copied().unwrap_or(f64::MAX);
    mean.clamp(above, upper)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use echo_proto::spec::Protocol;

    use super::*;

    #[test]
    fn each_connection_is_recorded_once_in_its_class() {
        let counters = Counters::new(2);
        let identity = Identity { name: "e".parse().unwrap(), protocol: Protocol::Tcp, port: 7007 };
        let slots = counters.slots(identity);
        let meter = opentelemetry::global::meter("test");
        let durations = Durations::new(&meter, &counters, &"edge".into());
        let new_ones = || {
            let mut told = Vec::new();
            durations.new_ones(|seconds, count, attributes| {
                let error = attributes.iter().find(|a| a.key.as_str() == names::ERROR_TYPE);
                told.push((seconds, count, error.map(|a| a.value.to_string())));
            });
            told
        };
        for (slot, millis) in slots.iter().zip([600, 800]) {
            slot.end(End::Peer, Duration::from_millis(millis));
        }
        slots.first().unwrap().end(End::Idle, Duration::from_secs(300));
        assert_eq!(new_ones(), [(0.7, 2, None), (300.0, 1, Some("idle_timeout".to_owned()))]);
        assert_eq!(new_ones(), []);
        slots.last().unwrap().end(End::Peer, Duration::from_secs(7_200));
        assert_eq!(new_ones(), [(7_200.0, 1, None)]);
    }

    #[test]
    fn a_mean_stays_in_its_class() {
        assert!(within(0, 0.2) <= 0.001);
        assert!(within(1, 0.0005) > 0.001);
        assert!((within(12, 9_000.0) - 9_000.0).abs() < 1e-9);
    }
}
