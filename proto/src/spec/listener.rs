//! Listeners: names, ports, and which of them can't stand together.
//!
//! Part of the validity rule; called by [`super::Check::template`] only.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

use super::{Check, ListenerPlan, MAX_LISTENERS, Protocol};
use crate::ids::ListenerName;
use crate::v1;

/// Linux' default `ip_local_port_range`: a client's socket may hold such a port when the node wants it.
const EPHEMERAL: RangeInclusive<u16> = 32_768..=60_999;

impl Check {
    pub(super) fn listeners(&mut self, path: &str, listeners: &[v1::Listener]) -> Vec<ListenerPlan> {
        if listeners.is_empty() {
            self.fail(path, "at least one listener is needed");
        }
        if listeners.len() > MAX_LISTENERS {
            self.fail(path, format!("{} listeners; at most {MAX_LISTENERS}", listeners.len()));
        }
        let mut plans = Vec::with_capacity(listeners.len());
        for (index, listener) in listeners.iter().enumerate().take(MAX_LISTENERS) {
            plans.extend(self.listener(&format!("{path}[{index}]"), listener));
        }
        self.unique_names(path, listeners);
        self.unique_ports(path, listeners);
        plans
    }

    fn listener(&mut self, path: &str, listener: &v1::Listener) -> Option<ListenerPlan> {
        let name = listener.name.parse::<ListenerName>();
        if let Err(e) = &name {
            self.fail(&format!("{path}.name"), e.to_string());
        }
        let protocol = protocol(listener);
        if protocol.is_none() {
            self.fail(&format!("{path}.protocol"), "required: TCP or UDP");
        }
        let address = self.address(path, listener);
        let port = self.port(path, listener, protocol);
        let service = self.service(path, listener.service.as_ref(), protocol);
        let guard = self.guard(&format!("{path}.guard"), listener.guard.as_ref(), protocol);
        let balancers = listener.proxy_protocol.as_ref();
        let balancers = balancers.map(|given| self.balancers(&format!("{path}.proxyProtocol"), given, protocol));
        let (name, protocol, port, service) = (name.ok()?, protocol?, port?, service?);
        Some(ListenerPlan { name, protocol, address, port, service, guard, balancers })
    }

    fn address(&mut self, path: &str, listener: &v1::Listener) -> Option<IpAddr> {
        let path = format!("{path}.address");
        match address(listener) {
            Address::Named(address) if address.is_multicast() => {
                self.fail(&path, format!("{address} is a multicast address"));
                None
            }
            Address::Named(address) if address == Ipv4Addr::BROADCAST => {
                self.fail(&path, format!("{address} is a broadcast address"));
                None
            }
            Address::Named(address) => Some(address),
            Address::Nodes => None,
            Address::Unreadable => {
                self.fail(&path, format!("expected an IP address, got {:?}", listener.address));
                None
            }
        }
    }

    fn port(&mut self, path: &str, listener: &v1::Listener, protocol: Option<Protocol>) -> Option<u16> {
        let path = format!("{path}.port");
        let Ok(port) = u16::try_from(listener.port) else {
            self.fail(&path, format!("{} is not a port; use 1 to 65535, or 0 for any free one", listener.port));
            return None;
        };
        if protocol == Some(Protocol::Udp) && EPHEMERAL.contains(&port) && !listener.allow_ephemeral {
            self.fail(&path, format!("{port} is an ephemeral port; choose another or set allowEphemeral: true"));
        }
        Some(port)
    }

    fn unique_names(&mut self, path: &str, listeners: &[v1::Listener]) {
        let mut seen = HashSet::new();
        for (index, listener) in listeners.iter().enumerate().take(MAX_LISTENERS) {
            if !listener.name.is_empty() && !seen.insert(&listener.name) {
                self.fail(
                    &format!("{path}[{index}].name"),
                    format!("{:?} is taken by another listener", listener.name),
                );
            }
        }
    }

    /// Two listeners on one port: also when only one of them names its address, which may be the node's.
    fn unique_ports(&mut self, path: &str, listeners: &[v1::Listener]) {
        let overlap = |a: &v1::Listener, b: &v1::Listener| match (address(a), address(b)) {
            (Address::Named(a), Address::Named(b)) => overlap(a, b),
            (a, b) => a != Address::Unreadable && b != Address::Unreadable,
        };
        let clash = |a: &v1::Listener, b: &v1::Listener| {
            a.port != 0 && a.port == b.port && protocol(a) == protocol(b) && overlap(a, b)
        };
        for (index, listener) in listeners.iter().enumerate().take(MAX_LISTENERS) {
            let earlier = listeners.iter().take(index).find(|other| clash(listener, other));
            if let Some(other) = earlier {
                let what = protocol(listener).map_or("", Protocol::label).to_uppercase();
                let cause = format!("{what} port {} is taken by listener {:?}", listener.port, other.name);
                self.fail(&format!("{path}[{index}].port"), cause);
            }
        }
    }
}

impl From<Protocol> for v1::Protocol {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => Self::Tcp,
            Protocol::Udp => Self::Udp,
        }
    }
}

fn protocol(listener: &v1::Listener) -> Option<Protocol> {
    match listener.protocol() {
        v1::Protocol::Tcp => Some(Protocol::Tcp),
        v1::Protocol::Udp => Some(Protocol::Udp),
        v1::Protocol::Unspecified => None,
    }
}

/// Where a listener asks to be bound.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Address {
    /// There; an IPv4 address that is written as one of IPv6 is an IPv4 address.
    Named(IpAddr),
    /// At the node's own address, whatever that is.
    Nodes,
    /// That is a mistake, told elsewhere.
    Unreadable,
}

fn address(listener: &v1::Listener) -> Address {
    if listener.address.is_empty() {
        return Address::Nodes;
    }
    listener.address.parse::<IpAddr>().map_or(Address::Unreadable, |address| Address::Named(address.to_canonical()))
}

/// Whether two sockets on these addresses, with one port, could get each other's traffic. A node binds `::` for both
/// families, and every other IPv6 address for its own only.
pub fn overlap(a: IpAddr, b: IpAddr) -> bool {
    let covers = |any: IpAddr, other: IpAddr| any.is_unspecified() && (any.is_ipv6() || other.is_ipv4());
    a == b || covers(a, b) || covers(b, a)
}
