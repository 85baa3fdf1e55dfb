//! Keeps `guard/ports` short enough to be stored and read, however many sockets the fleet has.
//!
//! Called with what is to be told. Where nodes choose their ports, each has sockets of its own, and tens of thousands of
//! them are more than one value holds. Then those ports are refused from everywhere that save most, and no more than
//! must be: a client that has such a port is not served, which is less than two nodes that answer each other for ever.
//! It must never leave out a socket. Pure.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// Most bytes of the sockets that are told one by one. Every port there is takes 0.4 MB beside them; nodes read 1 MiB.
const MAX_SOCKET_BYTES: usize = 600 * 1024;
/// Of a socket, beside its own text: its quotes, and the comma.
const AROUND: usize = 3;

/// Moves ports from the sockets to those that are refused from everywhere, until the others fit; tells how many.
pub(super) fn fit(ports: &mut BTreeSet<u32>, sockets: &mut BTreeSet<String>) -> usize {
    let mut bytes: usize = sockets.iter().map(|socket| socket.len() + AROUND).sum();
    if bytes <= MAX_SOCKET_BYTES {
        return 0;
    }
    let port = |socket: &str| socket.parse::<SocketAddr>().map(|socket| u32::from(socket.port())).ok();
    let mut saved: BTreeMap<u32, usize> = BTreeMap::new();
    for socket in sockets.iter() {
        *saved.entry(port(socket).unwrap_or_default()).or_default() += socket.len() + AROUND;
    }
    let mut most: Vec<(u32, usize)> = saved.into_iter().collect();
    most.sort_by_key(|(port, saved)| (Reverse(*saved), *port));
    let mut moved = BTreeSet::new();
    for (port, saved) in most {
        if bytes <= MAX_SOCKET_BYTES {
            break;
        }
        bytes -= saved;
        moved.insert(port);
    }
    sockets.retain(|socket| port(socket).is_some_and(|port| !moved.contains(&port)));
    ports.extend(&moved);
    moved.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_proto::codec::{self, MAX_DOCUMENT_BYTES};
    use echo_proto::v1;

    /// So many nodes with a port each, one after the other.
    fn sockets(count: u32) -> BTreeSet<String> {
        let ip = |n: u32| std::net::Ipv4Addr::from(0x0a64_0000 + n);
        (0..count).map(|n| format!("{}:{}", ip(n), 32_768 + n % 28_000)).collect()
    }

    #[test]
    fn what_fits_is_told_one_by_one() {
        let (mut ports, mut told) = (BTreeSet::from([7007]), sockets(20_000));
        assert_eq!(fit(&mut ports, &mut told), 0);
        assert_eq!((ports, told), (BTreeSet::from([7007]), sockets(20_000)));
    }

    #[test]
    fn of_too_many_none_is_left_out_and_no_more_are_refused_from_everywhere_than_must_be() {
        let (mut ports, mut told) = ((0..32_768).collect::<BTreeSet<u32>>(), sockets(60_000));
        let moved = fit(&mut ports, &mut told);
        assert_eq!(ports.len(), 32_768 + moved);
        // The first 4,000 ports are those of three nodes each, all others of two.
        assert!((0..4_000).all(|n| ports.contains(&(32_768 + n))));
        assert!((4_000..28_000).contains(&moved), "{moved}");
        let covered = |socket: &String| {
            let port = socket.parse::<SocketAddr>().map(|socket| u32::from(socket.port()));
            told.contains(socket) != port.is_ok_and(|port| ports.contains(&port))
        };
        assert!(sockets(60_000).iter().all(covered));
        let (udp, udp_sockets) = (ports.into_iter().collect(), told.into_iter().collect());
        let bytes = codec::to_json(&v1::GuardPorts { udp, udp_sockets, trace: None }).len();
        assert!((MAX_SOCKET_BYTES..MAX_DOCUMENT_BYTES).contains(&bytes), "{bytes}");
    }
}
