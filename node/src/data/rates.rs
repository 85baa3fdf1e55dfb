//! How much a source, and a listener, may send: messages and bytes a second.
//!
//! Asked by [`super::udp`] before a datagram is answered, and by [`super::tcp`] before it reads, which then tells what it
//! has read. Shared by all shards without a lock: a source has one of [`PLACES`] atomic cells, so that nothing here grows
//! with what peers send. Sources that fall into one cell share its rate: a collision only limits more. It must never
//! admit more than a rate times the time, and one burst; over TCP, and one read of each shard.
//!
//! A cell is the generic cell rate algorithm (ITU-T I.371): the time at which all that was admitted would have come, had
//! it come at the rate.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use echo_proto::spec::{LimitsPlan, Protocol, RatePlan};

use super::flows::Moment;
use super::order::SocketId;
use super::source::{PLACES, Place};

/// A cell's clock: ticks since the host's start, 16 in a nanosecond, so that a rate of 1 Gbit/s is exact to a thousandth
/// for 64 bytes, and that it wraps after 36 years.
const TICKS_PER_SECOND: u64 = 16_000_000_000;
/// The part of a second whose worth may come at once.
const BURST: u64 = 10;
/// What may always come at once, whatever the rate: one message of any size.
const ONE_MESSAGE: u64 = 1;
const LONGEST_READ: u64 = 65_536;

/// A rate, as the cells count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rate {
    per_second: u64,
    /// How far a cell may be ahead of time.
    ahead: u64,
}

impl Rate {
    /// Of `per_second` units, at least `at_once` of which may always come together.
    fn new(per_second: u64, at_once: u64) -> Self {
        let mut rate = Self { per_second: per_second.max(1), ahead: 0 };
        rate.ahead = rate.ticks((per_second / BURST).max(at_once));
        rate
    }

    /// The time that so many units take; rounded up, so that a rate is rather missed than exceeded.
    fn ticks(self, units: u64) -> u64 {
        match units.checked_mul(TICKS_PER_SECOND) {
            Some(ticks) => ticks.div_ceil(self.per_second),
            // Rates above 11.5 GB/s, or more units than ever come.
            None => {
                let ticks = (u128::from(units) * u128::from(TICKS_PER_SECOND)).div_ceil(u128::from(self.per_second));
                ticks.try_into().unwrap_or(u64::MAX)
            }
        }
    }
}

/// When all that was admitted would have come at the rate.
#[derive(Debug, Default)]
struct Cell(AtomicU64);

impl Cell {
    /// Counts so many units if they are within the rate; returns whether they are.
    fn admit(&self, rate: Rate, units: u64, now: u64) -> bool {
        let (cost, most) = (rate.ticks(units), now.saturating_add(rate.ahead));
        let next = |due: u64| due.max(now).checked_add(cost).filter(|next| *next <= most);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }

    /// Counts units that have come already.
    fn charge(&self, rate: Rate, units: u64, now: u64) {
        let cost = rate.ticks(units);
        // Never refused.
        let _ =
            self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |due| Some(due.max(now).saturating_add(cost)));
    }

    /// After how long more may come.
    fn over(&self, rate: Rate, now: u64) -> u64 {
        self.0.load(Ordering::Relaxed).saturating_sub(now.saturating_add(rate.ahead))
    }
}

/// What was admitted of messages and of bytes.
#[derive(Debug, Default)]
struct Pair {
    messages: Cell,
    bytes: Cell,
}

/// The rates of messages and of bytes of one thing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Rates {
    messages: Option<Rate>,
    bytes: Option<Rate>,
}

impl Rates {
    fn new(plan: RatePlan) -> Self {
        Self {
            messages: plan.messages.map(|rate| Rate::new(rate, ONE_MESSAGE)),
            bytes: plan.bytes.map(|rate| Rate::new(rate, LONGEST_READ)),
        }
    }

    fn none(&self) -> bool {
        self.messages.is_none() && self.bytes.is_none()
    }

    /// What is refused for its bytes has taken its place among the messages.
    fn admit(&self, pair: &Pair, bytes: u64, now: u64) -> bool {
        self.messages.is_none_or(|rate| pair.messages.admit(rate, 1, now))
            && self.bytes.is_none_or(|rate| pair.bytes.admit(rate, bytes, now))
    }

    fn charge(&self, pair: &Pair, bytes: u64, now: u64) {
        if let Some(rate) = self.messages {
            pair.messages.charge(rate, 1, now);
        }
        if let Some(rate) = self.bytes {
            pair.bytes.charge(rate, bytes, now);
        }
    }

    fn over(&self, pair: &Pair, now: u64) -> u64 {
        let messages = self.messages.map_or(0, |rate| pair.messages.over(rate, now));
        messages.max(self.bytes.map_or(0, |rate| pair.bytes.over(rate, now)))
    }
}

/// What the sources of a node have sent, over all its listeners and shards: 512 KiB for either kind of rate.
struct Sources(Box<[Pair]>);

impl Default for Sources {
    fn default() -> Self {
        Self((0..PLACES).map(|_| Pair::default()).collect())
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

impl Sources {
    fn pair(&self, place: Place) -> Option<&Pair> {
        self.0.get(place.index())
    }
}

/// What was sent to a node, kept from plan to plan for as long as the rates are the same.
#[derive(Debug, Default)]
pub(crate) struct Cells {
    per_source: RatePlan,
    per_listener: RatePlan,
    sources: Arc<Sources>,
    listeners: HashMap<SocketId, Arc<Pair>>,
}

impl Cells {
    /// For the plan that follows, with these listeners. Where the rates are others, what was sent is forgotten: cells
    /// hold times of the old rate, which would go on to limit whoever has used it up.
    pub(crate) fn next(&self, limits: &LimitsPlan, listeners: impl Iterator<Item = SocketId>) -> Self {
        let LimitsPlan { per_source, per_listener, .. } = *limits;
        let sources = if self.per_source == per_source { Arc::clone(&self.sources) } else { Arc::default() };
        let kept = self.per_listener == per_listener;
        let pair = |id| self.listeners.get(&id).filter(|_| kept).cloned().unwrap_or_default();
        Self { per_source, per_listener, sources, listeners: listeners.map(|id| (id, pair(id))).collect() }
    }

    /// The rates of `plan` for the listener `id` of `protocol`; `None` if there are none, as for one that is bound to
    /// the loopback address `address` by default.
    pub(crate) fn limiter(
        &self,
        id: SocketId,
        plan: &LimitsPlan,
        protocol: Protocol,
        address: IpAddr,
    ) -> Option<Limiter> {
        let bounds = |loopback| Bounds {
            source: Rates::new(plan.source_rate(protocol, loopback)),
            listener: Rates::new(plan.listener_rate(protocol, loopback)),
        };
        let (loopback, others) = (bounds(true), bounds(false));
        let needed = if address.is_loopback() { loopback } else { others };
        let (sources, listener) = (Arc::clone(&self.sources), self.listeners.get(&id).cloned().unwrap_or_default());
        let any = !needed.source.none() || !needed.listener.none();
        any.then_some(Limiter { sources, listener, loopback, others })
    }
}

/// The rates that hold for some of a listener's sources.
#[derive(Debug, Clone, Copy, Default)]
struct Bounds {
    source: Rates,
    listener: Rates,
}

/// The rates that hold for a listener; what was sent is shared by all copies of it.
#[derive(Debug, Clone)]
pub(crate) struct Limiter {
    sources: Arc<Sources>,
    listener: Arc<Pair>,
    loopback: Bounds,
    others: Bounds,
}

impl Limiter {
    fn bounds(&self, source: IpAddr) -> &Bounds {
        if source.is_loopback() { &self.loopback } else { &self.others }
    }

    /// Counts a message if it is within the rates; returns whether it is. What its source may not send counts for no
    /// listener.
    pub(crate) fn admit(&self, source: IpAddr, bytes: usize, now: Moment) -> bool {
        let (bounds, bytes, now) = (self.bounds(source), bytes as u64, ticks(now));
        let of_source = || self.sources.pair(Place::of(source));
        (bounds.source.none() || of_source().is_none_or(|pair| bounds.source.admit(pair, bytes, now)))
            && bounds.listener.admit(&self.listener, bytes, now)
    }

    /// What holds now for a connection of `source`, which is at `place`.
    pub(crate) fn turn(&self, source: IpAddr, place: Place, now: Moment) -> Turn<'_> {
        let bounds = self.bounds(source);
        let source = if bounds.source.none() { None } else { self.sources.pair(place) };
        Turn { bounds, source, listener: &self.listener, now: ticks(now) }
    }
}

/// The rates of a connection, at one moment.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    bounds: &'a Bounds,
    source: Option<&'a Pair>,
    listener: &'a Pair,
    now: u64,
}

impl Turn<'_> {
    /// How long not to take more; `None`: something may be taken now.
    pub(crate) fn over(&self) -> Option<Duration> {
        let source = self.source.map_or(0, |pair| self.bounds.source.over(pair, self.now));
        let ticks = source.max(self.bounds.listener.over(self.listener, self.now));
        (ticks > 0).then(|| Duration::from_nanos(ticks.div_ceil(TICKS_PER_SECOND / 1_000_000_000)))
    }

    /// Counts what was taken. Who asked [`Self::over`] before has taken one message too much at most.
    pub(crate) fn charge(&self, bytes: usize) {
        if let Some(pair) = self.source {
            self.bounds.source.charge(pair, bytes as u64, self.now);
        }
        self.bounds.listener.charge(self.listener, bytes as u64, self.now);
    }
}

fn ticks(now: Moment) -> u64 {
    now.nanos().saturating_mul(TICKS_PER_SECOND / 1_000_000_000)
}

#[cfg(test)]
mod tests;
