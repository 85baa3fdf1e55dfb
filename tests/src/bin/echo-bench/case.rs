//! The work that servers are measured on, and what the project asks of `echo-node` there.

use std::time::Duration;

use echo_probe::load::{ANSWER_TIMEOUT, Load, Transport};

use crate::kind::Kind;
use crate::pool::Setup;
use crate::target::Bound;

/// One kind of work.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) transport: Transport,
    pub(crate) connections: usize,
    /// A connection for each message.
    pub(crate) reconnect: bool,
    pub(crate) in_flight: usize,
    pub(crate) size: usize,
    /// The first is what the others are compared with, `echo-node` the second.
    pub(crate) servers: &'static [Kind],
    /// What is asked of `echo-node`, beside the first server.
    pub(crate) wanted: Wanted,
}

/// A bound on the server's CPU time, seen from either side.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wanted {
    /// For one echo.
    TimeAtMost(f64),
    /// Echoes for each second of it.
    RateAtLeast(f64),
}

const NODE: Kind = Kind::Node(Setup::Full);
const TCP: &[Kind] =
    &[Kind::Epoll, NODE, Kind::Tokio, Kind::Fortio, Kind::Asyncio, Kind::Threads, Kind::Socat, Kind::Ncat];
const UDP: &[Kind] = &[Kind::Blocking, NODE, Kind::Epoll, Kind::Tokio, Kind::Fortio, Kind::Asyncio, Kind::Socat];

const fn tcp(name: &'static str, title: &'static str, in_flight: usize, size: usize) -> Case {
    let (connections, reconnect, wanted) = (64, false, Wanted::TimeAtMost(1.05));
    Case { name, title, transport: Transport::Tcp, connections, reconnect, in_flight, size, servers: TCP, wanted }
}

const fn udp(name: &'static str, title: &'static str, connections: usize, in_flight: usize, most: f64) -> Case {
    let (reconnect, wanted) = (false, Wanted::TimeAtMost(most));
    Case { name, title, transport: Transport::Udp, connections, reconnect, in_flight, size: 64, servers: UDP, wanted }
}

pub(crate) const TCP_64: Case = tcp("tcp-64", "TCP, 64 connections x 1 in flight, 64 B", 1, 64);
pub(crate) const UDP_16X16: Case = udp("udp-16x16", "UDP, 16 sockets x 16 in flight, 64 B", 16, 16, 0.75);

/// All of it.
pub(crate) const CASES: &[Case] = &[
    TCP_64,
    tcp("tcp-64-pipelined", "TCP, 64 connections x 16 in flight, 64 B", 16, 64),
    tcp("tcp-16k", "TCP, 64 connections x 1 in flight, 16 KiB", 1, 16_384),
    Case {
        name: "connect",
        title: "TCP, connect, one echo of 64 B, close; 16 at a time",
        transport: Transport::Tcp,
        connections: 16,
        reconnect: true,
        in_flight: 1,
        size: 64,
        servers: TCP,
        wanted: Wanted::RateAtLeast(0.95),
    },
    UDP_16X16,
    udp("udp-64x1", "UDP, 64 sockets x 1 in flight, 64 B", 64, 1, 0.95),
];

impl Case {
    /// Whether it is about datagrams.
    pub(crate) fn udp(&self) -> bool {
        self.transport == Transport::Udp
    }

    /// The load of it, for so long.
    pub(crate) fn load(&self, duration: Duration) -> Load {
        Load {
            transport: self.transport,
            connections: self.connections,
            reconnect: self.reconnect,
            size: self.size,
            in_flight: self.in_flight,
            duration,
            timeout: ANSWER_TIMEOUT,
            rate: None,
        }
    }
}

impl Wanted {
    pub(crate) fn bound(self) -> Bound {
        match self {
            Self::TimeAtMost(most) => Bound::AtMost(most),
            Self::RateAtLeast(least) => Bound::AtLeast(least),
        }
    }
}
