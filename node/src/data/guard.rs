//! Whose datagrams are served: what keeps a reflector from being turned into a weapon.
//!
//! Asked by [`super::udp`] for every datagram, before anything else. One spoofed datagram could tie two services that
//! answer to each other for ever (CERT CA-1996-01, CVE-2024-2169), or make us answer a victim that never asked. So
//! nothing is served that may come from such a service, or from somebody who could not have sent it. It must never fail
//! open: what is not known is refused.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use echo_proto::spec::GuardPlan;

use super::pktinfo::Hit;
use super::ranges::Ranges;
use super::reason::Drop;

/// Ports from which nobody asks, but many answer: those that need privileges ...
const FIRST_CLIENT_PORT: u16 = 1024;
/// ... and SSDP, NFS, STUN, mDNS, memcached.
const SERVICES: [u16; 5] = [1900, 2049, 3478, 5353, 11_211];
/// Ports in a word of [`PortSet`].
const WORD: usize = 64;

/// Where nodes answer datagrams: ports, and single sockets. Immutable; shared by the shards.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    /// From these nothing is served, whatever the address.
    everywhere: PortSet,
    /// Those of `sockets`.
    somewhere: PortSet,
    sockets: HashSet<SocketAddr>,
}

impl FromIterator<SocketAddr> for Ports {
    /// One of the unspecified address stands for all with that port.
    fn from_iter<T: IntoIterator<Item = SocketAddr>>(sockets: T) -> Self {
        let mut ports = Self::default();
        for socket in sockets {
            let (ip, port) = (socket.ip().to_canonical(), socket.port());
            if ip.is_unspecified() {
                ports.everywhere.insert(port);
            } else {
                ports.somewhere.insert(port);
                ports.sockets.insert((ip, port).into());
            }
        }
        ports
    }
}

impl Ports {
    fn contain(&self, peer: SocketAddr) -> bool {
        let port = peer.port();
        self.everywhere.contains(port)
            || self.somewhere.contains(port) && self.sockets.contains(&(peer.ip(), port).into())
    }
}

/// A set of ports.
struct PortSet(Box<[u64]>);

impl Default for PortSet {
    fn default() -> Self {
        Self(vec![0; 65_536 / WORD].into())
    }
}

impl fmt::Debug for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries((0..=u16::MAX).filter(|port| self.contains(*port))).finish()
    }
}

impl PortSet {
    fn insert(&mut self, port: u16) {
        let port = usize::from(port);
        self.0.get_mut(port / WORD).into_iter().for_each(|word| *word |= 1 << (port % WORD));
    }

    fn contains(&self, port: u16) -> bool {
        let port = usize::from(port);
        self.0.get(port / WORD).is_none_or(|word| word >> (port % WORD) & 1 == 1)
    }
}

/// Where a datagram was sent to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Destination {
    pub(super) address: IpAddr,
    /// Others may have got it as well.
    pub(super) shared: bool,
}

impl Destination {
    /// Of one that came to a socket which is bound to `bound`; `hit` is what the kernel told, which it does where that
    /// stands for many addresses.
    pub(super) fn new(bound: IpAddr, hit: Option<Hit>) -> Self {
        match hit {
            Some(hit) => Self { address: hit.address(), shared: hit.is_shared() },
            None => Self { address: bound, shared: false },
        }
    }
}

/// Whom one listener answers.
#[derive(Debug)]
pub(crate) struct Guard {
    /// `None` is everybody.
    allow: Option<Ranges>,
    allow_service_ports: Ranges,
}

impl Guard {
    pub(crate) fn new(plan: &GuardPlan) -> Self {
        let allow = plan.allow.as_deref().map(Ranges::new);
        Self { allow, allow_service_ports: Ranges::new(&plan.allow_service_ports) }
    }

    /// Whether a datagram from `peer` to `to` is served. `exempt` is asked only where the source's port speaks against
    /// it: a stamped request can't loop, since its answer says that it is one, and behind a NAT a client may have any
    /// port.
    pub(super) fn verdict(
        &self,
        fleet: &Ports,
        peer: SocketAddr,
        to: Destination,
        exempt: impl FnOnce() -> bool,
    ) -> Result<(), Drop> {
        let (source, port) = (peer.ip(), peer.port());
        if nobody(source) || port == 0 || to.shared {
            return Err(Drop::LoopGuard);
        }
        if source.is_loopback() && !to.address.is_loopback() {
            return Err(Drop::LoopGuard);
        }
        if self.allow.as_ref().is_some_and(|allow| !allow.contain(source)) {
            return Err(Drop::Acl);
        }
        let service = port < FIRST_CLIENT_PORT || SERVICES.contains(&port);
        let answers = fleet.contain(peer) || service && !self.allow_service_ports.contain(source);
        if answers && !exempt() { Err(Drop::LoopGuard) } else { Ok(()) }
    }
}

/// Whether no host has this address for itself.
fn nobody(source: IpAddr) -> bool {
    source.is_unspecified() || source.is_multicast() || source == Ipv4Addr::BROADCAST
}

#[cfg(test)]
mod tests;
