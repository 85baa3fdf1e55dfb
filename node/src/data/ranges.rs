//! Ranges of addresses, as the data path asks for them.
//!
//! Made from a plan by [`crate::live`]; asked by [`super::guard`] for each datagram, and by [`super::ticket`] for each
//! connection from a load balancer. Pure.

use std::net::IpAddr;

use ipnet::IpNet;

/// Ranges of addresses, as network and mask.
#[derive(Debug, Default)]
pub(crate) struct Ranges {
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl Ranges {
    pub(crate) fn new(ranges: &[IpNet]) -> Self {
        let v4 = ranges.iter().filter_map(|range| match range {
            IpNet::V4(range) => Some((range.network().to_bits(), range.netmask().to_bits())),
            IpNet::V6(_) => None,
        });
        let v6 = ranges.iter().filter_map(|range| match range {
            IpNet::V6(range) => Some((range.network().to_bits(), range.netmask().to_bits())),
            IpNet::V4(_) => None,
        });
        Self { v4: v4.collect(), v6: v6.collect() }
    }

    /// Whether `address` is in one of them; IPv4 in IPv6's clothes is not.
    pub(super) fn contain(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => self.v4.iter().any(|(network, mask)| v4.to_bits() & mask == *network),
            IpAddr::V6(v6) => self.v6.iter().any(|(network, mask)| v6.to_bits() & mask == *network),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_contain_what_they_say(network: u32, other: u32, prefix in 0_u8..=32, near in 0_u32..4) {
            let range = IpNet::new(Ipv4Addr::from(network).into(), prefix).unwrap().trunc();
            for address in [other, network ^ near] {
                let address = IpAddr::from(Ipv4Addr::from(address));
                prop_assert_eq!(Ranges::new(&[range]).contain(address), range.contains(&address));
            }
        }

        #[test]
        fn ranges_of_ipv6_do_as_well(network: u128, other: u128, prefix in 0_u8..=128, near in 0_u128..4) {
            let range = IpNet::new(Ipv6Addr::from(network).into(), prefix).unwrap().trunc();
            for address in [other, network ^ near] {
                let address = IpAddr::from(Ipv6Addr::from(address));
                prop_assert_eq!(Ranges::new(&[range]).contain(address), range.contains(&address));
            }
        }
    }
}
