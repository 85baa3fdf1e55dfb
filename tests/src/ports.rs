//! Addresses and ports that nobody else takes, between the moment they are chosen and the moment they are bound.
//!
//! Used by all that starts a server at an address which others must know before. The kernel hands ports out from 32768
//! on, to whoever connects or binds port 0: none of these may be one of them.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

/// Below the kernel's own, and above what services have by custom.
const PORTS: Range<u16> = 20_000..32_000;

/// A random address of 127.0.0.0/8.
pub fn own_loopback_address() -> Ipv4Addr {
    let mut bytes = [0; 3];
    getrandom::fill(&mut bytes).expect("the kernel has random bytes");
    let [a, b, c] = bytes;
    Ipv4Addr::new(127, a.max(1), b, c.clamp(1, 254))
}

/// A port that is free at this address.
pub fn free_port(address: Ipv4Addr) -> u16 {
    take_port(address).local_addr().expect("a bound socket has an address").port()
}

/// Such a port, and whoever holds it.
///
/// # Panics
/// When the address is none of this host's.
pub fn take_port(address: Ipv4Addr) -> TcpListener {
    let ports = std::iter::repeat_with(|| fastrand::u16(PORTS)).take(PORTS.len());
    let taken = ports.map(|port| TcpListener::bind((address, port))).find_map(Result::ok);
    taken.unwrap_or_else(|| panic!("no port is to be had at {address}"))
}
