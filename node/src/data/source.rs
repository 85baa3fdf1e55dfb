//! Who sends, as far as limits go: an IPv4 address, or a /64 of IPv6; and its place among those that limits are kept at.
//!
//! Asked by [`super::gate`] for connections and by [`super::rates`] for what they and datagrams carry. It must never let
//! anybody compute which addresses fall into another's place.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::LazyLock;

use super::flows::mix;

/// Places that sources fall into, all of an `u16`. Sources of one place share its limits: a collision only limits more.
pub(super) const PLACES: usize = 65_536;

/// Random, and the same for all limits and shards of a process.
static SECRET: LazyLock<[u64; 2]> = LazyLock::new(|| {
    let random = RandomState::new();
    [0, 1].map(|number| random.hash_one(number))
});

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Source(u64);

/// A source's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(u16);

impl Source {
    fn of(address: IpAddr) -> Self {
        match address {
            // As `::ffff:a.b.c.d` has it, in a /64 that nobody has.
            IpAddr::V4(v4) => Self(0xffff_0000_0000 | u64::from(v4.to_bits())),
            IpAddr::V6(v6) => Self((v6.to_bits() >> 64) as u64),
        }
    }
}

impl Place {
    /// Of `address`, which is not one of IPv4 in IPv6's clothes. Whoever chooses two sources and knows no secret finds
    /// them in one place with a chance of 1 in 32,768 at most (multiply-shift: Dietzfelbinger and others, 1997). Who tries
    /// for long may learn with whom it shares one, which only limits both more.
    pub(crate) fn of(address: IpAddr) -> Self {
        let [addend, factor] = *SECRET;
        Self((mix(Source::of(address).0.wrapping_add(addend)).wrapping_mul(factor | 1) >> 48) as u16)
    }

    /// As the index of a table of [`PLACES`].
    pub(super) fn index(self) -> usize {
        self.0.into()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_source_is_an_ipv4_address_or_a_64_of_ipv6() {
        let source = |address: &str| Source::of(address.parse().unwrap());
        assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff::9"));
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
    }

    #[test]
    fn sources_are_spread_over_all_places() {
        let hosts = |n: u32| IpAddr::from(n.to_be_bytes());
        let networks = |n: u32| IpAddr::from((0x2001_0db8_u128 << 96 | u128::from(n) << 64).to_be_bytes());
        let far = |n: u32| IpAddr::from((u128::from(n) << 108).to_be_bytes());
        for sources in [hosts, networks, far] {
            let places: HashSet<usize> = (1..=1_000).map(|n| Place::of(sources(n)).index()).collect();
            // Of 1,000 at random, some 8 share one.
            assert!(places.len() > 900, "{}", places.len());
            assert!(places.iter().all(|place| *place < PLACES));
        }
    }
}
