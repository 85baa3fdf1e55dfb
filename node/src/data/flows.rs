//! Who sends datagrams to a shard, and when the last one came.
//!
//! Written by [`super::udp`] for what it admits, each shard its own; read by drains and by the Agent through
//! [`super::counters`]. A source is a hash that picks a place in a table of fixed size: nothing here grows with what
//! peers send, and no address is kept. Measured: 14 ns a batch for the clock and 4 ns a datagram, of some 2,700.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Places that sources fall into, a power of two. Some share one; how full the table is tells how many do.
const PLACES: usize = 4096;
/// A source counts for so long after its last datagram, and up to a second more.
const RECENT_SECONDS: u64 = 10;
const NANOS_PER_SECOND: u64 = 1_000_000_000;
/// Beyond so many it is only said that there are more: nine in ten places are taken, and what is left tells little.
pub const MAX_FLOWS: u32 = 10_000;

/// What one shard has seen.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Flows {
    /// Time of the last datagram; 0 before the first.
    last: AtomicU64,
    /// Second of the last datagram by place; 0 before the first.
    places: Box<[AtomicU32]>,
}

/// Nanoseconds of the kernel's coarse clock: some milliseconds late, but it costs next to nothing. Never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

/// How many sources sent something of late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowCount {
    /// An estimate.
    pub flows: u32,
    /// There are more, but nobody knows how many.
    pub capped: bool,
}

impl Moment {
    /// This moment.
    pub(crate) fn now() -> Self {
        let since_boot = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).map(Duration::from).unwrap_or_default();
        Self::at(since_boot)
    }

    /// The moment so long after the host's start.
    pub(crate) fn at(since_boot: Duration) -> Self {
        Self(u64::try_from(since_boot.as_nanos()).unwrap_or(u64::MAX).max(1))
    }

    /// Since the host's start.
    pub(crate) fn nanos(self) -> u64 {
        self.0
    }

    fn second(self) -> u64 {
        self.0 / NANOS_PER_SECOND + 1
    }
}

impl Default for Flows {
    fn default() -> Self {
        Self { last: AtomicU64::new(0), places: (0..PLACES).map(|_| AtomicU32::new(0)).collect() }
    }
}

impl Flows {
    /// For the owning shard only, once for each datagram of a batch.
    pub(crate) fn source(&self, source: SocketAddr, now: Moment) {
        if let Some(place) = self.places.get(mix(number(source)) as usize % PLACES) {
            place.store(now.second() as u32, Ordering::Relaxed);
        }
    }

    /// For the owning shard only, once for each batch.
    pub(crate) fn datagrams(&self, now: Moment) {
        self.last.store(now.0, Ordering::Relaxed);
    }
}

/// How long no shard has got a datagram; `None` if none ever did.
pub(crate) fn idle(shards: &[Arc<Flows>], now: Moment) -> Option<Duration> {
    let last = shards.iter().map(|flows| flows.last.load(Ordering::Relaxed)).max().filter(|last| *last > 0)?;
    Some(Duration::from_nanos(now.0.saturating_sub(last)))
}

/// How many sources sent something of late, those of several shards counted once.
pub(crate) fn count(shards: &[Arc<Flows>], now: Moment) -> FlowCount {
    let recent = |second: &AtomicU32| {
        let second = u64::from(second.load(Ordering::Relaxed));
        second > 0 && now.second().saturating_sub(second) <= RECENT_SECONDS
    };
    let taken = |place: &usize| shards.iter().any(|flows| flows.places.get(*place).is_some_and(recent));
    let free = PLACES - (0..PLACES).filter(taken).count();
    // Linear counting (Whang and others, 1990): of n sources at random, n = -m ln(free / m) are expected to leave so many
    // of m places free.
    let places = PLACES as f64;
    let flows = if free == 0 { f64::INFINITY } else { -places * (free as f64 / places).ln() };
    FlowCount { flows: flows.round().min(MAX_FLOWS.into()) as u32, capped: flows > MAX_FLOWS.into() }
}

/// Address and port as a number that others rarely have.
fn number(source: SocketAddr) -> u64 {
    let address = match source.ip() {
        IpAddr::V4(v4) => v4.to_bits().into(),
        // Hosts of a network differ in the low half, networks in the high one.
        IpAddr::V6(v6) => (v6.to_bits() as u64) ^ ((v6.to_bits() >> 64) as u64).wrapping_mul(3),
    };
    address.rotate_left(16) ^ u64::from(source.port())
}

/// Spreads what differs in a few bits over all bits; no two numbers become the same (the last step of MurmurHash3).
pub(super) fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn later(than_start: u64) -> Moment {
        Moment::at(Duration::from_secs(1_000) + Duration::from_millis(than_start))
    }

    fn shards() -> Vec<Arc<Flows>> {
        (0..2).map(|_| Arc::default()).collect()
    }

    /// `n` sources that differ in little but the port, as many clients behind one address do.
    fn after(n: u64) -> FlowCount {
        let shards = shards();
        for source in 0..n {
            let address = IpAddr::from([127, 0, 0, (source >> 16) as u8 + 1]);
            shards.iter().cycle().nth(source as usize % 2).unwrap().source((address, source as u16).into(), later(0));
        }
        count(&shards, later(0))
    }

    #[test]
    fn a_few_sources_are_counted_and_many_are_estimated() {
        for n in [0, 1, 3, 10] {
            assert_eq!(after(n), FlowCount { flows: n as u32, capped: false });
        }
        for n in [100, 1_000, 5_000, 9_000] {
            let FlowCount { flows, capped } = after(n);
            assert!(!capped && u64::from(flows).abs_diff(n) * 20 <= n, "{flows} instead of {n}");
        }
        assert_eq!(after(50_000), FlowCount { flows: MAX_FLOWS, capped: true });
        assert_eq!(after(500_000), FlowCount { flows: MAX_FLOWS, capped: true });
    }

    #[test]
    fn a_source_of_two_shards_is_one_and_is_forgotten_when_it_falls_silent() {
        let shards = shards();
        shards.iter().for_each(|flows| flows.source(([127, 0, 0, 1], 7).into(), later(0)));
        assert_eq!(count(&shards, later(0)).flows, 1);
        assert_eq!(count(&shards, later(10_000)).flows, 1);
        assert_eq!(count(&shards, later(11_000)).flows, 0);
    }

    #[test]
    fn the_last_datagram_of_any_shard_counts() {
        let shards = shards();
        assert_eq!(idle(&shards, later(0)), None);
        shards.first().unwrap().datagrams(later(0));
        shards.last().unwrap().datagrams(later(5));
        assert_eq!(idle(&shards, later(7)), Some(Duration::from_millis(2)));
        assert!(Moment::now() > Moment(1), "the clock can be read");
    }
}
