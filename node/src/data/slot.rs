//! What one shard counts of one listener.
//!
//! Written by its shard only, read by [`super::counters`] at any time. It must never be shared by two writers: a count
//! is a load and a store, not an atomic addition, and a slot has cache lines of its own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::reason::{Drop, End, MAX_REASONS, Reason, Refusal};

/// A number that only grows; one thread adds to it.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// For the owning shard only.
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// For anybody.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts by reason; `R` is one of the enums of [`super::reason`].
#[derive(Debug)]
pub(crate) struct CountBy<R: Reason>([Count; MAX_REASONS], std::marker::PhantomData<R>);

impl<R: Reason> Default for CountBy<R> {
    fn default() -> Self {
        Self(Default::default(), std::marker::PhantomData)
    }
}

impl<R: Reason> CountBy<R> {
    /// For the owning shard only.
    pub(crate) fn add(&self, reason: R, n: u64) {
        if let Some(count) = self.0.get(reason.place()) {
            count.add(n);
        }
    }

    /// Reasons that ever occurred, with their counts.
    pub(crate) fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
        R::ALL.iter().zip(&self.0).map(|((_, label), count)| (*label, count.get())).filter(|(_, n)| *n > 0)
    }

    /// All reasons together.
    pub(crate) fn sum(&self) -> u64 {
        self.0.iter().map(Count::get).sum()
    }
}

/// Upper bounds of the classes that a connection's life falls into, in seconds; there is one class more.
pub(crate) const LIFE_BOUNDS: [f64; 12] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 3600.0];

/// How long connections lived, by class: how many, and their nanoseconds together.
#[derive(Debug, Default)]
pub(crate) struct Lives([(Count, Count); LIFE_BOUNDS.len() + 1]);

impl Lives {
    /// For the owning shard only.
    fn add(&self, life: Duration) {
        let class = LIFE_BOUNDS.partition_point(|bound| *bound < life.as_secs_f64());
        if let Some((count, nanos)) = self.0.get(class) {
            count.add(1);
            nanos.add(u64::try_from(life.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    /// Each class, shortest first: how many, and their nanoseconds together.
    pub(crate) fn each(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().map(|(count, nanos)| (count.get(), nanos.get()))
    }
}

/// What one shard counts of one listener. Aligned to two cache lines, since processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Slot {
    pub(crate) accepted: Count,
    pub(crate) ended: CountBy<End>,
    /// By how they ended, in the order of [`End::ALL`].
    pub(crate) lives: [Lives; End::ALL.len()],
    pub(crate) refused: CountBy<Refusal>,
    pub(crate) received_bytes: Count,
    pub(crate) transmitted_bytes: Count,
    pub(crate) received_packets: Count,
    pub(crate) transmitted_packets: Count,
    pub(crate) exchanges: Count,
    /// Times that a TCP connection was not read for a while, for its rate.
    pub(crate) paced: Count,
    pub(crate) dropped: CountBy<Drop>,
}

impl Slot {
    /// A connection has ended after `life`.
    pub(crate) fn end(&self, end: End, life: Duration) {
        self.ended.add(end, 1);
        if let Some(lives) = self.lives.get(end.place()) {
            lives.add(life);
        }
    }
}
