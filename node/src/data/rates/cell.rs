//! The generic cell rate algorithm (ITU-T I.371): a cell holds the time at which all that was admitted would have come,
//! had it come at the rate.
//!
//! Used by [`super`] alone. Without a lock; times are passed in, as ticks.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use echo_proto::spec::RatePlan;

/// A cell's clock: ticks since the host's start, 16 in a nanosecond, so that a rate of 1 Gbit/s is exact to a thousandth
/// for 64 bytes, and that it wraps after 36 years.
pub(super) const TICKS_PER_SECOND: u64 = 16_000_000_000;
/// The part of a second whose worth may come at once.
pub(super) const BURST: u64 = 10;
/// What may always come at once, whatever the rate: one message of any size.
pub(super) const ONE_MESSAGE: u64 = 1;
pub(super) const LONGEST_READ: u64 = 65_536;

/// A rate, as the cells count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    /// The time that one unit takes, in parts of a tick: messages are charged without a division.
    each: u64,
    /// How far a cell may be ahead of time.
    pub(super) ahead: u64,
}

/// Parts of a tick, as a power of two: the most with which the slowest rate, one a second, fits.
const PART_BITS: u32 = 30;
const _: () = assert!(TICKS_PER_SECOND.leading_zeros() >= PART_BITS);

impl Rate {
    /// Of `per_second` units, at least `at_once` of which may always come together.
    pub(super) fn new(per_second: u64, at_once: u64) -> Self {
        let mut rate = Self { each: (TICKS_PER_SECOND << PART_BITS).div_ceil(per_second.max(1)), ahead: 0 };
        rate.ahead = rate.ticks((per_second / BURST).max(at_once));
        rate
    }

    /// The time that so many units take; rounded up, so that a rate is rather missed than exceeded.
    pub(super) fn ticks(self, units: u64) -> u64 {
        let parts = u128::from(units) * u128::from(self.each);
        u64::try_from(parts.div_ceil(1 << PART_BITS)).unwrap_or(u64::MAX)
    }
}

/// When all that was admitted would have come at the rate.
#[derive(Debug, Default)]
pub(super) struct Cell(pub(super) AtomicU64);

impl Cell {
    /// Counts so many units if they are within the rate; returns whether they are.
    pub(super) fn admit(&self, rate: Rate, units: u64, now: u64) -> bool {
        let (cost, most) = (rate.ticks(units), now.saturating_add(rate.ahead));
        let next = |due: u64| due.max(now).checked_add(cost).filter(|next| *next <= most);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }

    /// Counts units that have come already.
    pub(super) fn charge(&self, rate: Rate, units: u64, now: u64) {
        let cost = rate.ticks(units);
        // Never refused.
        let _ =
            self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |due| Some(due.max(now).saturating_add(cost)));
    }

    /// After how long more may come.
    pub(super) fn over(&self, rate: Rate, now: u64) -> u64 {
        self.0.load(Ordering::Relaxed).saturating_sub(now.saturating_add(rate.ahead))
    }
}

/// What was admitted of messages and of bytes.
#[derive(Debug, Default)]
pub(super) struct Pair {
    pub(super) messages: Cell,
    pub(super) bytes: Cell,
    /// Connections that wait until they may send more.
    pub(super) waiting: AtomicU32,
}

/// The rates of messages and of bytes of one thing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Rates {
    pub(super) messages: Option<Rate>,
    pub(super) bytes: Option<Rate>,
}

impl Rates {
    pub(super) fn new(plan: RatePlan) -> Self {
        Self {
            messages: plan.messages.map(|rate| Rate::new(rate, ONE_MESSAGE)),
            bytes: plan.bytes.map(|rate| Rate::new(rate, LONGEST_READ)),
        }
    }

    pub(super) fn none(&self) -> bool {
        self.messages.is_none() && self.bytes.is_none()
    }

    /// What is refused for its bytes has taken its place among the messages.
    pub(super) fn admit(&self, pair: &Pair, bytes: u64, now: u64) -> bool {
        self.messages.is_none_or(|rate| pair.messages.admit(rate, 1, now))
            && self.bytes.is_none_or(|rate| pair.bytes.admit(rate, bytes, now))
    }

    pub(super) fn charge(&self, pair: &Pair, bytes: u64, now: u64) {
        if let Some(rate) = self.messages {
            pair.messages.charge(rate, 1, now);
        }
        if let Some(rate) = self.bytes {
            pair.bytes.charge(rate, bytes, now);
        }
    }

    pub(super) fn over(&self, pair: &Pair, now: u64) -> u64 {
        let messages = self.messages.map_or(0, |rate| pair.messages.over(rate, now));
        messages.max(self.bytes.map_or(0, |rate| pair.bytes.over(rate, now)))
    }

    /// Over what time those that wait are to come back, so that they come one by one: twice as often as the rate has room
    /// for them.
    pub(super) fn spread(self, pair: &Pair) -> u64 {
        let others = u64::from(pair.waiting.load(Ordering::Relaxed).saturating_sub(1));
        let messages = self.messages.map_or(0, |rate| rate.ticks(1));
        let each = messages.max(self.bytes.map_or(0, |rate| rate.ticks(LONGEST_READ)));
        (each / 2).saturating_mul(others)
    }
}
