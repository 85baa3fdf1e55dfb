//! How long connections live, as an OpenTelemetry histogram.
//!
//! Fed once a second, and when somebody collects, by [`super::register`]. A histogram of the SDK takes a lock for each
//! value, which is nothing for a shard to do: shards count by class, and here each new connection of a class is recorded
//! with the mean of the new ones, its attributes looked up once for all of them. So counts and sums are exact; only the
//! smallest and the largest value are not. It must never hold up the control side, which has one thread: a busy second
//! is recorded in slices.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use echo_proto::telemetry::names;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter};
use tokio::task::yield_now;
use tokio::time::{MissedTickBehavior, interval};

use super::attributes;
use crate::data::counters::{Counters, Identity};
use crate::data::reason::{End, Reason};
use crate::data::slot::{LIFE_BOUNDS, Slot};

/// How often new ones are looked for.
const PERIOD: Duration = Duration::from_secs(1);
/// Most connections that are recorded at once: well under a millisecond's work.
const SLICE: u64 = 1_000;

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

    /// Records whatever ends from now on.
    pub(super) async fn run(self: Arc<Self>) -> Result<(), Infallible> {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            while self.record() {
                yield_now().await;
            }
        }
    }

    /// Records a slice of the connections that ended since it was last called. Whether there are more.
    pub(super) fn record(&self) -> bool {
        self.new_ones(|seconds, count, attributes| {
            // Looked up for each, the attributes cost a sixth of the instructions that a short connection takes.
            let histogram = self.histogram.bind(attributes);
            for _ in 0..count {
                histogram.record(seconds);
            }
        })
    }

    /// Tells their mean life by class, and how many there are, of [`SLICE`] at most. Whether there are more.
    fn new_ones(&self, mut tell: impl FnMut(f64, u64, &[KeyValue])) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let listeners = self.counters.all_slots();
        seen.retain(|identity, _| listeners.iter().any(|(known, _)| known == identity));
        let (mut room, mut more) = (SLICE, false);
        for (identity, slots) in listeners {
            let base = attributes(&identity.name, identity.protocol, identity.port, &self.pool);
            let now = classes(&slots);
            let seen = seen.entry(identity).or_insert_with(|| vec![(0, 0); now.len()]);
            for (index, (now, seen)) in now.into_iter().zip(seen).enumerate() {
                let count = now.0.saturating_sub(seen.0);
                let (taken, nanos) = part(now, *seen, room);
                more |= taken < count;
                if taken > 0 {
                    (room, *seen) = (room - taken, (seen.0 + taken, seen.1 + nanos));
                    let (end, class) = (index / CLASSES, index % CLASSES);
                    let mean = within(class, nanos as f64 / 1e9 / taken as f64);
                    let error = End::ALL.get(end).filter(|(end, _)| !end.in_order());
                    let error = error.map(|(_, label)| KeyValue::new(names::ERROR_TYPE, *label));
                    tell(mean, taken, &base.iter().cloned().chain(error).collect::<Vec<_>>());
                }
            }
        }
        more
    }
}

/// What is new in a class, `room` connections at most, with their share of the nanoseconds.
fn part(now: Class, seen: Class, room: u64) -> Class {
    let (count, nanos) = (now.0.saturating_sub(seen.0), now.1.saturating_sub(seen.1));
    let taken = count.min(room);
    let share = u128::from(nanos) * u128::from(taken) / u128::from(count.max(1));
    (taken, u64::try_from(share).unwrap_or(u64::MAX))
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
    fn a_busy_second_is_recorded_in_slices_and_whole() {
        let counters = Counters::new(1);
        let identity = Identity { name: "e".parse().unwrap(), protocol: Protocol::Tcp, port: 7007 };
        let slots = counters.slots(identity);
        let ended = 2 * SLICE + 7;
        for _ in 0..ended {
            slots.first().unwrap().end(End::Peer, Duration::from_millis(700));
        }
        let durations = Durations::new(&opentelemetry::global::meter("test"), &counters, &"edge".into());
        let (mut slices, mut sum) = (Vec::new(), 0.0);
        let mut more = true;
        while more {
            more = durations.new_ones(|seconds, count, _| {
                slices.push(count);
                sum += seconds * count as f64;
            });
        }
        assert_eq!(slices, [SLICE, SLICE, 7]);
        assert!((sum - 0.7 * ended as f64).abs() < 1e-6, "{sum}");
    }

    #[test]
    fn a_mean_stays_in_its_class() {
        assert!(within(0, 0.2) <= 0.001);
        assert!(within(1, 0.0005) > 0.001);
        assert!((within(12, 9_000.0) - 9_000.0).abs() < 1e-9);
    }
}
