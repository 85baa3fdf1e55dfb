//! What was asked for as a load that makes sense, or all mistakes in it.
//!
//! Used by `bench`. Pure.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use echo_probe::load::{ANSWER_TIMEOUT, Load, MAX_SIZE, MIN_DATAGRAM, Transport};

use super::Args;
use crate::args::Global;
use crate::failure::Failure;

/// Connections where nobody says how many.
const CONNECTIONS: usize = 16;
/// Most connections: each is a file, and from one address to another one port.
const MAX_CONNECTIONS: usize = 20_000;
/// Most messages in flight on each.
const MAX_IN_FLIGHT: usize = 65_536;
/// Most bytes in flight in all, which this process has to hold.
const MAX_BYTES: usize = 1 << 30;
/// Messages a second that no machine gets beyond.
const MAX_RATE: u32 = 10_000_000;
/// How long it may take.
const DURATIONS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(24 * 3_600);
/// Files of this process besides its connections.
const OTHER_FILES: u64 = 64;

/// What was asked for, of as many connections as fit the nodes where nobody says how many.
#[derive(Debug)]
pub(super) struct Wish {
    load: Load,
    connections: Option<usize>,
}

/// Takes what makes sense by itself, in a process that may open so many files.
///
/// # Errors
/// All mistakes.
pub(super) fn check(args: &Args, global: &Global, files: u64) -> Result<Wish, Failure> {
    let transport = args.transport.transport();
    let (connections, in_flight, size) =
        (args.connections.map(usize_of), usize_of(args.in_flight), usize_of(args.size));
    let mut mistakes = Vec::from_iter(args.to.check().err().map(|failure| failure.to_string()));
    let mut within = |flag: &str, value: usize, range: RangeInclusive<usize>| {
        if !range.contains(&value) {
            mistakes.push(format!("--{flag}: {value} is not possible; {} to {} are", range.start(), range.end()));
        }
    };
    within("connections", connections.unwrap_or(CONNECTIONS), 1..=MAX_CONNECTIONS);
    within("in-flight", in_flight, 1..=MAX_IN_FLIGHT);
    within("size", size, if transport == Transport::Udp { MIN_DATAGRAM } else { 1 }..=MAX_SIZE);
    args.rate.into_iter().for_each(|rate| within("rate", usize_of(rate), 1..=usize_of(MAX_RATE)));
    mistakes.extend((!DURATIONS.contains(&args.duration)).then(|| {
        let (least, most) = (DURATIONS.start(), DURATIONS.end().as_secs() / 3_600);
        format!("--duration: {:?} is not possible; {least:?} to {most}h are", args.duration)
    }));
    let load = Load {
        transport,
        connections: connections.unwrap_or(CONNECTIONS),
        reconnect: args.reconnect,
        size,
        in_flight,
        duration: args.duration,
        timeout: global.timeout.filter(|_| global.given.timeout).unwrap_or(ANSWER_TIMEOUT),
        rate: args.rate.and_then(NonZeroU32::new),
    };
    mistakes.extend(clashes(&load, files));
    Failure::usage(&mistakes)?;
    Ok(Wish { load, connections })
}

/// What does not go together.
fn clashes(load: &Load, files: u64) -> Vec<String> {
    let mut clashes = Vec::new();
    if load.reconnect && load.transport == Transport::Udp {
        clashes.push("--reconnect is for tcp: UDP has no connections".to_owned());
    }
    if load.reconnect && load.in_flight > 1 {
        clashes.push("--in-flight is 1 with --reconnect: each connection carries one message".to_owned());
    }
    let Load { connections, in_flight, size, .. } = *load;
    if (1..=MAX_CONNECTIONS).contains(&connections) && connections as u64 + OTHER_FILES > files {
        clashes.push(format!(
            "--connections: {connections} are more than this process may open ({files} files); raise `ulimit -Hn`"
        ));
    }
    let bytes = connections.saturating_mul(in_flight).saturating_mul(size);
    if bytes > MAX_BYTES && connections <= MAX_CONNECTIONS && in_flight <= MAX_IN_FLIGHT && size <= MAX_SIZE {
        clashes.push(format!(
            "--connections x --in-flight x --size: {} MiB would be in flight; at most {} MiB",
            bytes.div_ceil(1 << 20),
            MAX_BYTES >> 20
        ));
    }
    clashes
}

/// The load for so many nodes.
///
/// # Errors
/// Some of them would get none.
pub(super) fn load(wish: &Wish, target: &str, nodes: usize) -> Result<Load, Failure> {
    match wish.connections {
        Some(few) if few < nodes => {
            let told = format!("--connections: {few} are too few for the {nodes} nodes of {target}; at least one each");
            Err(Failure::Usage(told))
        }
        Some(_) => Ok(wish.load),
        None => Ok(Load { connections: CONNECTIONS.max(nodes), ..wish.load }),
    }
}

fn usize_of(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(connections: Option<usize>) -> Wish {
        let load = Load {
            transport: Transport::Tcp,
            connections: connections.unwrap_or(CONNECTIONS),
            reconnect: false,
            size: 64,
            in_flight: 1,
            duration: Duration::from_secs(1),
            timeout: ANSWER_TIMEOUT,
            rate: None,
        };
        Wish { load, connections }
    }

    #[test]
    fn each_node_gets_a_connection() {
        let connections = |wish: &Wish, nodes| load(wish, "pool/edge", nodes).map(|load| load.connections).ok();
        assert_eq!((connections(&wish(None), 3), connections(&wish(None), 100)), (Some(16), Some(100)));
        assert_eq!((connections(&wish(Some(3)), 3), connections(&wish(Some(2)), 3)), (Some(3), None));
    }

    #[test]
    fn what_this_process_cannot_hold_is_refused() {
        let of = |connections, in_flight, size| Load { connections, in_flight, size, ..wish(None).load };
        assert_eq!(clashes(&of(1_000, 16, 65_507), 1_064), [""; 0]);
        assert!(clashes(&of(1_000, 1, 64), 1_063).concat().contains("raise `ulimit -Hn`"));
        assert!(clashes(&of(1_000, 17, 65_507), 2_000).concat().contains("1063 MiB would be in flight; at most 1024"));
        assert_eq!(clashes(&of(usize::MAX, 1, 64), 100), [""; 0], "that is told of the range alone");
    }
}
