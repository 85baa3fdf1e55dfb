//! What a run came to: counts, loss by direction, and times.
//!
//! Filled by [`super::book`]; shown by `echoctl probe`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::path::Loss;

/// Longest time that is told apart, in nanoseconds: an hour; longer ones count as this.
const MAX_TIME: u64 = 3_600_000_000_000;
/// Digits of a time that are kept.
const DIGITS: u8 = 3;
/// Most distinct nodes, source addresses or DSCPs that are named.
const MAX_NAMED: usize = 1_000;

/// Times, with three significant digits.
#[derive(Debug, Clone)]
pub struct Times(Histogram<u64>);

impl Default for Times {
    #[allow(clippy::expect_used)] // Its only error is bounds that make no sense, and these are constants.
    fn default() -> Self {
        Self(Histogram::new_with_max(MAX_TIME, DIGITS).expect("an hour in three digits"))
    }
}

impl Times {
    pub(super) fn add(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The time that this share of all does not exceed, in percent; `None` if there are none.
    pub fn percentile(&self, percent: f64) -> Option<Duration> {
        (!self.0.is_empty()).then(|| Duration::from_nanos(self.0.value_at_percentile(percent)))
    }

    /// The shortest.
    pub fn min(&self) -> Option<Duration> {
        (!self.0.is_empty()).then(|| Duration::from_nanos(self.0.min()))
    }

    /// The longest.
    pub fn max(&self) -> Option<Duration> {
        (!self.0.is_empty()).then(|| Duration::from_nanos(self.0.max()))
    }
}

/// Differences of two clocks, which may be negative, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spread {
    /// How many.
    pub count: u64,
    /// Smallest.
    pub min: i64,
    /// Largest.
    pub max: i64,
    sum: i128,
}

impl Spread {
    pub(super) fn add(&mut self, value: i64) {
        (self.min, self.max) =
            if self.count == 0 { (value, value) } else { (self.min.min(value), self.max.max(value)) };
        self.count += 1;
        self.sum += i128::from(value);
    }

    /// Their mean.
    pub fn mean(&self) -> i64 {
        i64::try_from(self.sum / i128::from(self.count.max(1))).unwrap_or_default()
    }
}

/// Delays of one direction: only as good as both clocks are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OneWay {
    /// From us to the node.
    pub there: Spread,
    /// From the node to us.
    pub back: Spread,
    /// How far off all of these may be: both clocks' errors together, the largest that was told.
    pub error: Duration,
}

/// Who answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answerer {
    /// Zone of the node, as it tells.
    pub zone: String,
    /// Number of the revision that it ran last.
    pub revision: u32,
    /// Answers in all, late ones included, doubled ones not.
    pub answers: u64,
}

/// Something by direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Directions {
    /// In all.
    pub all: u64,
    /// On the way to the node.
    pub there: u64,
    /// On the way back.
    pub back: u64,
}

/// What a run came to.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Probes that left and had their time: all below but `unsent` and `cut_short` are of these.
    pub sent: u64,
    /// Probes that our own host did not send.
    pub unsent: u64,
    /// Probes that left, and were not waited for.
    pub cut_short: u64,
    /// Sent later than planned by more than an interval, and by 10 ms at least, by ourselves.
    pub behind: u64,
    /// Answered in time.
    pub answered: u64,
    /// Answered late.
    pub late: u64,
    /// Refused on the way, as ICMP told, or by a connection that failed.
    pub refused: u64,
    /// Unanswered ones, by what became of them.
    pub loss: Loss,
    /// Those of [`Loss::unknown`] that no connection took.
    pub unconnected: u64,
    /// More answers than probes.
    pub duplicates: Directions,
    /// Answers after the answer to a later probe of the flow.
    pub reordered: Directions,
    /// What came and was no answer to anything.
    pub wrong: u64,
    /// Answers with a stamp.
    pub stamped: u64,
    /// Round trips of all that were answered.
    pub rtt: Times,
    /// How many of these are the kernel's times, at both ends of the trip.
    pub rtt_by_kernel: u64,
    /// Part of the round trips that was spent in the node, as it tells.
    pub in_node: Times,
    /// Times to connect.
    pub connect: Times,
    /// Delays by direction, where both clocks' errors are known.
    pub one_way: Option<OneWay>,
    /// Who answered: nodes by their ids, others by their addresses.
    pub answerers: BTreeMap<String, Answerer>,
    /// Our addresses, as the nodes saw them.
    pub seen_as: BTreeSet<IpAddr>,
    /// DSCPs with which probes arrived.
    pub dscps: BTreeSet<u8>,
}

impl Report {
    /// Probes that were not answered, for a reason that is neither the node's nor ours: lost, or refused.
    pub fn unanswered(&self) -> u64 {
        self.loss.network() + self.refused
    }

    /// Adds one to those that may be named.
    pub(super) fn note<T: Ord>(set: &mut BTreeSet<T>, value: T) {
        if set.len() < MAX_NAMED {
            set.insert(value);
        }
    }

    /// The entry of who answered; beyond the limit, all the others together.
    pub(super) fn answerer(&mut self, name: &str) -> &mut Answerer {
        let known = self.answerers.contains_key(name) || self.answerers.len() < MAX_NAMED;
        self.answerers.entry(if known { name } else { "others" }.to_owned()).or_default()
    }
}
