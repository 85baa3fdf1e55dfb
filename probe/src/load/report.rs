//! What became of a load.
//!
//! Written by the senders of [`super`], read by who asked for it.

use std::fmt;
use std::iter::Sum;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::time::Instant;

/// Longest latency that is told apart, in nanoseconds: a minute.
const MAX_LATENCY: u64 = 60_000_000_000;
/// Digits of a latency that are kept.
const LATENCY_DIGITS: u8 = 3;
/// Latencies that a sender keeps until it adds them to those of all.
const FRESH: usize = 32;

/// What became of a load, or of the part of it that one address got.
#[derive(Debug, Default)]
pub struct Report {
    /// Messages that were sent.
    pub sent: u64,
    /// Echoes that came back right.
    pub echoes: u64,
    /// Answers that were not what was sent.
    pub mismatches: u64,
    /// Messages without an answer.
    pub lost: u64,
    /// Right answers that nobody waited for any more: late, or doubled.
    pub strays: u64,
    /// Messages of an open loop that this program sent later than [`super::LATE`]: what was measured is then also
    /// itself.
    pub late_sends: u64,
    /// Messages of an open loop that were as late because all room was taken by messages without an answer.
    pub held: u64,
    /// Messages of an open loop that were meant to go and never did.
    pub unsent: u64,
    /// Datagrams that this host's kernel did not take (ENOBUFS).
    pub refused: u64,
    /// Connections and sockets that failed.
    pub errors: u64,
    /// The first of those, in words.
    pub first_error: Option<String>,
    /// When the senders began, and when they were to end.
    pub(super) begin: Option<Instant>,
    pub(super) end: Option<Instant>,
    /// When the last answer came.
    last: Option<Instant>,
    latency: Latency,
}

/// In nanoseconds. The senders to one address fill one histogram: many would fit into no cache.
struct Latency {
    /// Made when it is first needed: what a sender's part begins from has none, and it is large.
    all: Arc<LazyLock<Mutex<Histogram<u64>>>>,
    /// Those that are not yet in it.
    fresh: Vec<u64>,
}

impl Latency {
    fn all(&self) -> MutexGuard<'_, Histogram<u64>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&mut self) {
        let Self { all, fresh } = self;
        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
        fresh.drain(..).for_each(|nanos| all.saturating_record(nanos));
    }
}

impl Default for Latency {
    fn default() -> Self {
        Self { all: Arc::new(LazyLock::new(|| Mutex::new(histogram()))), fresh: Vec::new() }
    }
}

#[allow(clippy::expect_used)] // Its only error is bounds that make no sense, and these are constants.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(MAX_LATENCY, LATENCY_DIGITS).expect("a minute in three digits")
}

/// Its counters would fill pages.
impl fmt::Debug for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let latency = self.all();
        let at = |quantile| Duration::from_nanos(latency.value_at_quantile(quantile));
        write!(f, "{} from {:?} to {:?}, median {:?}", latency.len(), at(0.0), at(1.0), at(0.5))
    }
}

impl Report {
    /// Whether there were echoes, and all came back once and right.
    pub fn is_clean(&self) -> bool {
        self.echoes > 0 && [self.mismatches, self.lost, self.strays, self.refused, self.errors] == [0; 5]
    }

    /// From the start to the end of the sending, or to the last answer, if that came later.
    pub fn elapsed(&self) -> Duration {
        let end = self.end.max(self.last);
        end.zip(self.begin).map_or(Duration::ZERO, |(end, begin)| end.saturating_duration_since(begin))
    }

    /// Echoes a second.
    pub fn rate(&self) -> f64 {
        self.per_second(self.echoes)
    }

    /// So many of something, a second.
    pub fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.elapsed().as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// The latency that this share of the echoes did not exceed; 0 is the shortest, 0.5 the median, 1 the longest.
    pub fn latency(&self, share: f64) -> Duration {
        Duration::from_nanos(self.latency.all().value_at_quantile(share))
    }

    /// All latencies as (up to and with so many nanoseconds, echoes), shortest first, without empty steps.
    pub fn latencies(&self) -> impl Iterator<Item = (u64, u64)> {
        let latency = self.latency.all();
        let steps = latency.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value()));
        steps.collect::<Vec<_>>().into_iter()
    }

    /// One for a sender to the same address, to be [settled](Self::settle) and [added](Self::add).
    pub(super) fn part(&self) -> Self {
        let latency = Latency { all: Arc::clone(&self.latency.all), fresh: Vec::with_capacity(FRESH) };
        Self { latency, ..Self::default() }
    }

    /// Counts an answer that came `now` to a message that was meant to go then.
    pub(super) fn judged(&mut self, right: bool, intended: Instant, now: Instant) {
        self.last = Some(now);
        if !right {
            self.mismatches += 1;
            return;
        }
        self.echoes += 1;
        let nanos = now.saturating_duration_since(intended).as_nanos();
        self.latency.fresh.push(u64::try_from(nanos).unwrap_or(u64::MAX));
        if self.latency.fresh.len() >= FRESH {
            self.latency.settle();
        }
    }

    /// Counts the latencies that are not yet counted.
    pub(super) fn settle(&mut self) {
        self.latency.settle();
    }

    pub(super) fn failed(&mut self, error: impl fmt::Display) {
        self.errors += 1;
        self.first_error.get_or_insert_with(|| error.to_string());
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.echoes += other.echoes;
        self.mismatches += other.mismatches;
        self.lost += other.lost;
        self.strays += other.strays;
        self.late_sends += other.late_sends;
        self.held += other.held;
        self.unsent += other.unsent;
        self.refused += other.refused;
        self.errors += other.errors;
        self.first_error = self.first_error.take().or_else(|| other.first_error.clone());
        // All began at the same time.
        self.begin = self.begin.or(other.begin);
        self.end = self.end.max(other.end);
        self.last = self.last.max(other.last);
        if !Arc::ptr_eq(&self.latency.all, &other.latency.all) {
            // Same bounds, so that everything fits.
            let _ = self.latency.all().add(&*other.latency.all());
        }
    }
}

impl<'a> Sum<&'a Report> for Report {
    fn sum<I: Iterator<Item = &'a Report>>(reports: I) -> Self {
        let mut all = Self::default();
        reports.for_each(|report| all.add(report));
        all
    }
}
