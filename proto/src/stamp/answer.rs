//! The node's part of a stamp.

use std::net::{IpAddr, SocketAddr};

use super::names::{Identity, Name};
use super::{ANSWER, Kind, Request, STAMP_BYTES, VERSION, at, kind};

/// Bits of `known`.
mod known {
    pub(super) const RECEIVED: u16 = 1;
    pub(super) const RECEIVED_BY_KERNEL: u16 = 1 << 1;
    pub(super) const TRANSMITTED: u16 = 1 << 2;
    pub(super) const TRANSMITTED_BY_KERNEL: u16 = 1 << 3;
    pub(super) const TTL: u16 = 1 << 4;
    pub(super) const TRAFFIC_CLASS: u16 = 1 << 5;
    pub(super) const CLOCK_ERROR: u16 = 1 << 6;
    pub(super) const NODE_CUT: u16 = 1 << 7;
    pub(super) const ZONE_CUT: u16 = 1 << 8;
}

/// A moment by the node's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time {
    /// Nanoseconds since 1970-01-01 UTC.
    pub nanos: u64,
    /// Taken by the kernel, where it saw the packet; else by the node, which was later or earlier.
    pub kernel: bool,
}

/// How a request came to the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// When.
    pub time: Option<Time>,
    /// Address and port of the node that were hit.
    pub hit: SocketAddr,
    /// Client's address and port, as the node saw them.
    pub client: SocketAddr,
    /// TTL or hop limit.
    pub ttl: Option<u8>,
    /// DSCP (upper 6 bits) and ECN.
    pub traffic_class: Option<u8>,
}

/// What the node has received of the request's flow, this request included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Drawn when the node began to count the flow: with another one it began anew, and this tells nothing of what came
    /// before.
    pub memory: u16,
    /// Requests that arrived, those that were dropped included.
    pub count: u64,
    /// Those of them whose sequence was in the window already.
    pub duplicates: u64,
    /// The lowest sequence that arrived.
    pub lowest: u64,
    /// The highest sequence that arrived.
    pub highest: u64,
    /// Bit n: sequence `highest - n` arrived.
    pub window: u64,
    /// Requests that the node itself dropped.
    pub dropped: u64,
    /// Datagrams, of whoever, that the node's receive queue had no room for since the flow began: what did not arrive
    /// may be among them.
    pub overflowed: u32,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What was asked.
    pub request: Request,
    /// Who answers.
    pub identity: Identity,
    /// How the request came.
    pub arrival: Arrival,
    /// What has come of its flow.
    pub seen: Seen,
    /// When the answer was sent.
    pub transmitted: Option<Time>,
}

impl Answer {
    /// Reads an answer of this version, with what was asked.
    pub fn read(message: &[u8]) -> Option<Self> {
        let whole = u32::from_be_bytes(at::LENGTH.get(message)) as usize == message.len();
        let ours = kind(message) == Kind::Answer && at::VERSION.byte(message) == VERSION;
        (ours && whole && message.len() >= STAMP_BYTES).then(|| Self::fields(message))
    }

    fn fields(stamp: &[u8]) -> Self {
        let known = u16::from_be_bytes(at::KNOWN.get(stamp));
        let is = |bit: u16| known & bit != 0;
        let time = |told, by_kernel, nanos| is(told).then_some(Time { nanos, kernel: is(by_kernel) });
        Self {
            request: Request::fields(stamp),
            identity: Identity {
                node: Name::from_wire(at::NODE.get(stamp), is(known::NODE_CUT)),
                zone: Name::from_wire(at::ZONE.get(stamp), is(known::ZONE_CUT)),
                revision: u32::from_be_bytes(at::REVISION.get(stamp)),
                digest: at::DIGEST.get(stamp),
                clock_error: is(known::CLOCK_ERROR).then(|| u32::from_be_bytes(at::CLOCK_ERROR.get(stamp))),
            },
            arrival: Arrival {
                time: time(known::RECEIVED, known::RECEIVED_BY_KERNEL, at::RECEIVED.number(stamp)),
                hit: socket(at::HIT_ADDRESS.get(stamp), at::HIT_PORT.get(stamp)),
                client: socket(at::CLIENT_ADDRESS.get(stamp), at::CLIENT_PORT.get(stamp)),
                ttl: is(known::TTL).then(|| at::TTL.byte(stamp)),
                traffic_class: is(known::TRAFFIC_CLASS).then(|| at::TRAFFIC_CLASS.byte(stamp)),
            },
            seen: Seen {
                memory: u16::from_be_bytes(at::MEMORY.get(stamp)),
                count: at::COUNT.number(stamp),
                duplicates: at::DUPLICATES.number(stamp),
                lowest: at::LOWEST.number(stamp),
                highest: at::HIGHEST.number(stamp),
                window: at::WINDOW.number(stamp),
                dropped: at::DROPPED.number(stamp),
                overflowed: u32::from_be_bytes(at::OVERFLOWED.get(stamp)),
            },
            transmitted: time(known::TRANSMITTED, known::TRANSMITTED_BY_KERNEL, at::TRANSMITTED.number(stamp)),
        }
    }
}

/// Makes the answer of a [`Request`], in its place and of its length. Its own part, and all beyond the stamp, stays.
///
/// The caller has read the request from the same `message`.
pub fn write(message: &mut [u8], by: &Identity, arrival: &Arrival, seen: &Seen, transmitted: Option<Time>) {
    at::DIRECTION.put(message, [ANSWER]);
    at::KNOWN.put(message, known_of(by, arrival, transmitted).to_be_bytes());
    at::RECEIVED.put_number(message, arrival.time.map_or(0, |time| time.nanos));
    at::TRANSMITTED.put_number(message, transmitted.map_or(0, |time| time.nanos));
    at::HIT_ADDRESS.put(message, mapped(arrival.hit.ip()));
    at::CLIENT_ADDRESS.put(message, mapped(arrival.client.ip()));
    at::HIT_PORT.put(message, arrival.hit.port().to_be_bytes());
    at::CLIENT_PORT.put(message, arrival.client.port().to_be_bytes());
    at::TTL.put(message, [arrival.ttl.unwrap_or_default()]);
    at::TRAFFIC_CLASS.put(message, [arrival.traffic_class.unwrap_or_default()]);
    at::MEMORY.put(message, seen.memory.to_be_bytes());
    at::COUNT.put_number(message, seen.count);
    at::DUPLICATES.put_number(message, seen.duplicates);
    at::LOWEST.put_number(message, seen.lowest);
    at::HIGHEST.put_number(message, seen.highest);
    at::WINDOW.put_number(message, seen.window);
    at::DROPPED.put_number(message, seen.dropped);
    at::REVISION.put(message, by.revision.to_be_bytes());
    at::DIGEST.put(message, by.digest);
    at::CLOCK_ERROR.put(message, by.clock_error.unwrap_or_default().to_be_bytes());
    at::OVERFLOWED.put(message, seen.overflowed.to_be_bytes());
    at::NODE.put(message, by.node.wire());
    at::ZONE.put(message, by.zone.wire());
}

fn known_of(by: &Identity, arrival: &Arrival, transmitted: Option<Time>) -> u16 {
    let kernel = |time: Option<Time>| time.is_some_and(|time| time.kernel);
    [
        (arrival.time.is_some(), known::RECEIVED),
        (kernel(arrival.time), known::RECEIVED_BY_KERNEL),
        (transmitted.is_some(), known::TRANSMITTED),
        (kernel(transmitted), known::TRANSMITTED_BY_KERNEL),
        (arrival.ttl.is_some(), known::TTL),
        (arrival.traffic_class.is_some(), known::TRAFFIC_CLASS),
        (by.clock_error.is_some(), known::CLOCK_ERROR),
        (by.node.is_cut(), known::NODE_CUT),
        (by.zone.is_cut(), known::ZONE_CUT),
    ]
    .into_iter()
    .fold(0, |known, (is, bit)| if is { known | bit } else { known })
}

fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

fn socket(address: [u8; 16], port: [u8; 2]) -> SocketAddr {
    SocketAddr::new(IpAddr::from(address).to_canonical(), u16::from_be_bytes(port))
}
