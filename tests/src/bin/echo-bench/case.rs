//! The work that servers are measured on, and what the project asks of `echo-node` there.

use echo_probe::load::Transport;

use crate::server::Kind;

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
    /// Most CPU time of `echo-node` for one echo, over that of the first server.
    pub(crate) wanted: f64,
}

const TCP: &[Kind] = &[Kind::Epoll, Kind::Node, Kind::Tokio, Kind::Asyncio, Kind::Threads];
const UDP: &[Kind] = &[Kind::UdpOneCall, Kind::Node, Kind::TokioUdp, Kind::AsyncioUdp];
const CONNECT: &[Kind] = &[Kind::Epoll, Kind::Node, Kind::Tokio, Kind::Asyncio, Kind::Threads];

const fn tcp(name: &'static str, title: &'static str, in_flight: usize, size: usize) -> Case {
    let (connections, reconnect) = (64, false);
    Case { name, title, transport: Transport::Tcp, connections, reconnect, in_flight, size, servers: TCP, wanted: 1.05 }
}

const fn udp(name: &'static str, title: &'static str, connections: usize, in_flight: usize, wanted: f64) -> Case {
    let reconnect = false;
    Case { name, title, transport: Transport::Udp, connections, reconnect, in_flight, size: 64, servers: UDP, wanted }
}

/// All of it.
pub(crate) const CASES: &[Case] = &[
    tcp("tcp-64", "TCP, 64 connections x 1 in flight, 64 B", 1, 64),
    tcp("tcp-64-pipelined", "TCP, 64 connections x 16 in flight, 64 B", 16, 64),
    tcp("tcp-16k", "TCP, 64 connections x 1 in flight, 16 KiB", 1, 16_384),
    udp("udp-16x16", "UDP, 16 sockets x 16 in flight, 64 B", 16, 16, 0.75),
    udp("udp-64x1", "UDP, 64 sockets x 1 in flight, 64 B", 64, 1, 0.95),
    Case {
        name: "connect",
        title: "TCP, connect, one echo of 64 B, close; 16 at a time",
        transport: Transport::Tcp,
        connections: 16,
        reconnect: true,
        in_flight: 1,
        size: 64,
        servers: CONNECT,
        // At least 0.95 of its rate for each second of CPU time.
        wanted: 1.0 / 0.95,
    },
];
