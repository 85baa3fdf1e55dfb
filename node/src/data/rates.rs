//! How much a source, and a listener, may send: messages and bytes a second.
//!
//! Asked by [`super::udp`] before a datagram is answered, and by [`super::tcp`] before it reads, which then tells what it
//! has read. Shared by all shards without a lock: a source has one of [`PLACES`] atomic cells, so that nothing here grows
//! with what peers send. Sources that fall into one cell share its rate: a collision only limits more. It must never
//! admit more than a rate times the time, and one burst; over TCP, and one read of each shard.

mod cell;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use echo_proto::backoff::random_below;
use echo_proto::spec::{LimitsPlan, Protocol, RatePlan};

use super::flows::Moment;
use super::order::SocketId;
use super::source::{PLACES, Place};
use cell::{Pair, Rates, TICKS_PER_SECOND};

/// What the sources of a node have sent, over all its listeners and shards: 1.5 MiB.
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

    /// Counts a connection of `source`, which is at `place`, among those that wait.
    pub(crate) fn queue(&self, source: IpAddr, place: Place) -> Waiting {
        let of_source = (!self.bounds(source).source.none()).then(|| (Arc::clone(&self.sources), place));
        let waiting = Waiting { of_source, listener: Arc::clone(&self.listener) };
        waiting.each(|count| count.fetch_add(1, Ordering::Relaxed));
        waiting
    }
}

/// A connection that waits, until this is dropped.
#[derive(Debug)]
pub(crate) struct Waiting {
    of_source: Option<(Arc<Sources>, Place)>,
    listener: Arc<Pair>,
}

impl Waiting {
    fn each(&self, change: impl Fn(&AtomicU32) -> u32) {
        let of_source = self.of_source.as_ref().and_then(|(sources, place)| sources.pair(*place));
        for pair in of_source.into_iter().chain([&*self.listener]) {
            change(&pair.waiting);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.each(|count| count.fetch_sub(1, Ordering::Relaxed));
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
        let ticks = self.of_source(|rates, pair| rates.over(pair, self.now));
        let ticks = ticks.max(self.bounds.listener.over(self.listener, self.now));
        (ticks > 0).then(|| time(ticks))
    }

    /// When to ask again: after that, and at a time of its own among those that wait ([`Limiter::queue`]), or all would
    /// come back for what is room for one.
    pub(crate) fn again(&self) -> Option<Duration> {
        let over = self.over()?;
        let spread = self.of_source(Rates::spread).max(self.bounds.listener.spread(self.listener));
        Some(over.saturating_add(time(random_below(usize::try_from(spread).unwrap_or(usize::MAX)) as u64)))
    }

    fn of_source(&self, ticks: impl Fn(Rates, &Pair) -> u64) -> u64 {
        self.source.map_or(0, |pair| ticks(self.bounds.source, pair))
    }

    /// Counts what was taken. Who asked [`Self::over`] before has taken one message too much at most.
    pub(crate) fn charge(&self, bytes: usize) {
        if let Some(pair) = self.source {
            self.bounds.source.charge(pair, bytes as u64, self.now);
        }
        self.bounds.listener.charge(self.listener, bytes as u64, self.now);
    }
}

fn time(ticks: u64) -> Duration {
    Duration::from_nanos(ticks.div_ceil(TICKS_PER_SECOND / 1_000_000_000))
}

fn ticks(now: Moment) -> u64 {
    now.nanos().saturating_mul(TICKS_PER_SECOND / 1_000_000_000)
}

#[cfg(test)]
mod tests;
