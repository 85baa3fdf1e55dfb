//! Peers that send and never read: what each costs a node is bounded, and the node serves on.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::{ErrorKind, Write as _};
use std::net::{SocketAddr, TcpStream};

use echo_tests::cluster::{SETTLED, bound, name, text};
use echo_tests::process::rss_kib;
use echo_tests::wait::ensure;
use echo_tests::{Cluster, client, eventually};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

/// Peers that never read.
const PEERS: u32 = 500;
/// What a node may keep of each: one read, as large as a shard's buffer.
const READ_KIB: u64 = 64;
/// What an allocator may add to all of them by rounding and by holes between them, in KiB.
const ROUNDING_KIB: u64 = 4 * 1024;
/// A peer's buffer in the kernel, each way.
const PEER_BUFFER: usize = 4 * 1024;
/// Most bytes of a segment, as on Ethernet. The kernel's buffers at the node grow with it: with those of loopback, the
/// peers would hold more than a gigabyte of its memory before any was held up.
const SEGMENT: u32 = 1460;
/// What a peer tries to send at a time: more than one read.
static PIECE: [u8; 64 * 1024] = [7; 64 * 1024];
/// Pieces that a peer may send before the node is looked at again.
const PIECES: usize = 8;

/// Connected, has had one echo, and will never read again.
fn peer(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(PEER_BUFFER).unwrap();
    socket.set_send_buffer_size(PEER_BUFFER).unwrap();
    socket.set_tcp_mss(SEGMENT).unwrap();
    socket.connect(&address.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    client::echo_on(&mut stream, b"hello").unwrap();
    stream.set_nonblocking(true).unwrap();
    stream
}

/// Sends until its own socket would block, for some pieces at most; returns how many bytes it took.
fn send(peer: &mut TcpStream) -> usize {
    let pieces = (0..PIECES).map_while(|_| match peer.write(&PIECE) {
        Ok(sent) => Some(sent),
        Err(e) if e.kind() == ErrorKind::WouldBlock => None,
        Err(e) => panic!("the node has ended a connection whose peer only does not read: {e}"),
    });
    pieces.sum()
}

/// Bytes that the node has read and written so far.
fn bytes(cluster: &Cluster) -> Result<[u64; 2], String> {
    let node = &cluster.nodes()?[0];
    let figure = |name| text(node, name).parse::<u64>().map_err(|e| format!("{name}: {e} in {node}"));
    Ok([figure("/status/live/receivedBytes")?, figure("/status/live/transmittedBytes")?])
}

#[test]
fn peers_that_never_read_cost_one_read_each_at_most() {
    let cluster = Cluster::start(1);
    let node = cluster.wait_nodes(1).remove(0);
    let (address, pid) = (bound(&node, "echo-tcp"), cluster.node_pid(&name(&node)));
    let mut peers: Vec<TcpStream> = (0..PEERS).map(|_| peer(address)).collect();
    let (before, most) = (rss_kib(pid).unwrap(), u64::from(PEERS) * READ_KIB);

    let mut last = [0; 2];
    let kept = eventually("all are held up, and the node's counters stand still", SETTLED, || {
        let sent: usize = peers.iter_mut().map(send).sum();
        let now = bytes(&cluster)?;
        // Counters that are read while they go on: the second may be ahead of the first.
        let kept = now[0].saturating_sub(now[1]) / 1024;
        let grown = rss_kib(pid).unwrap().saturating_sub(before);
        assert!(kept <= most, "the node keeps {kept} KiB for {PEERS} peers that do not read, above {most}");
        assert!(
            grown <= most + ROUNDING_KIB,
            "the node's memory has grown by {grown} KiB for {PEERS} peers that do not read, of which it keeps {kept} \
             KiB: more than {READ_KIB} KiB each and {ROUNDING_KIB} in all"
        );
        let still = sent == 0 && std::mem::replace(&mut last, now) == now;
        ensure(still, || format!("{sent} bytes sent, {now:?} read and written"))?;
        Ok::<_, String>(kept)
    });
    assert!(kept > 0, "nothing was left over: the peers have read");

    client::tcp_echo(address, b"who reads is served meanwhile").unwrap();
    drop(peers);
    eventually("they are gone", SETTLED, || {
        let connections = cluster.nodes()?[0].pointer("/status/live/connections").and_then(Value::as_u64);
        ensure(connections.unwrap_or_default() == 0, || format!("{connections:?} left"))
    });
    client::tcp_echo(address, b"and after").unwrap();
}
