//! What the kernel tells of datagrams, and what becomes of answers that go together.
#![allow(clippy::unwrap_used)]

use std::net::UdpSocket;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, SystemTime};

use echo_proto::spec::Protocol;
use socket2::SockRef;

use super::super::order::NewSocket;
use super::super::socket::{Claim, Group, ask_for_envelope};
use super::*;

/// What the kernel tells of a datagram that `client` sends to `host`, at a socket of ours on `bound`.
fn told(bound: &str, client: &UdpSocket, host: &str) -> Option<(Told, SocketAddr)> {
    // A host without IPv6 has nothing to tell here.
    let group = Group::bind(Protocol::Udp, bound.parse().unwrap(), 1, Claim::Free).ok()?;
    let address = group.address();
    let Some(NewSocket::Udp(socket)) = group.into_sockets().next() else { return None };
    ask_for_envelope(&socket, address.ip(), true).unwrap();
    client.send_to(b"what is seen", (host, address.port())).unwrap();
    let (mut batch, mut seen) = (Batch::new(), None);
    while batch.receive(socket.as_fd()).is_err() {}
    batch.answer(|datagram| {
        seen = Some((datagram.told, datagram.peer));
        None
    });
    seen
}

#[test]
fn the_kernel_tells_what_a_socket_asks_for_on_every_kind_of_address() {
    for (bound, own, host, many) in [
        ("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1", false),
        ("0.0.0.0:0", "127.0.0.1:0", "127.0.0.9", true),
        ("[::]:0", "127.0.0.1:0", "127.0.0.9", true),
        ("[::]:0", "[::1]:0", "::1", true),
        ("[::1]:0", "[::1]:0", "::1", false),
    ] {
        let Ok(client) = UdpSocket::bind(own) else { continue };
        if host.contains(':') {
            SockRef::from(&client).set_unicast_hops_v6(42).unwrap();
            SockRef::from(&client).set_tclass_v6(0xb8).unwrap();
        } else {
            client.set_ttl(42).unwrap();
            SockRef::from(&client).set_tos_v4(0xb8).unwrap();
        }
        let Some((told, peer)) = told(bound, &client, host) else { continue };
        assert_eq!((told.ttl, told.traffic_class), (Some(42), Some(0xb8)), "{bound} {host}");
        assert_eq!(peer, client.local_addr().unwrap());
        assert_eq!(told.hit.map(|hit| hit.address().to_string()), many.then(|| host.to_owned()));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let age = now.saturating_sub(told.received.unwrap());
        assert!(age < Duration::from_secs(60), "{age:?}");
    }
}

/// A socket that answers, and who asks it.
struct Echo {
    socket: UdpSocket,
    batch: Batch,
    together: Cell<bool>,
}

impl Echo {
    fn on(address: &str) -> Option<Self> {
        let group = Group::bind(Protocol::Udp, address.parse().unwrap(), 1, Claim::Free).ok()?;
        let Some(NewSocket::Udp(socket)) = group.into_sockets().next() else { return None };
        Some(Self { socket, batch: Batch::new(), together: Cell::new(true) })
    }

    fn port(&self) -> u16 {
        self.socket.local_addr().unwrap().port()
    }

    /// Takes what has come, something at least, and queues the answers.
    fn take(&mut self) -> usize {
        while self.batch.receive(self.socket.as_fd()).is_err() {}
        let received = self.batch.received;
        self.batch.answer(|datagram| Some(datagram.bytes.len()));
        received
    }

    fn send(&mut self) -> Vec<Sent> {
        let mut told = Vec::new();
        self.batch.send(self.socket.as_fd(), &self.together, |sent| told.push(sent));
        told
    }
}

fn client(own: &str) -> UdpSocket {
    let client = UdpSocket::bind(own).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    client
}

#[test]
fn only_equal_answers_on_one_way_go_together() {
    let answer = |peer: &str, hit: &str, len| {
        let way = (peer.parse().unwrap(), Some((hit.parse().unwrap(), 0)));
        Answer { place: 0, peer_bytes: 0, control_bytes: 0, way, len }
    };
    let (one, other) = ("192.0.2.1:5000", "192.0.2.1:5001");
    let (ours, also_ours) = ("192.0.2.8", "192.0.2.9");
    let mut batch = Batch::new();
    batch.answers = vec![
        answer(one, ours, 64),
        answer(one, ours, 64),
        answer(other, ours, 64),
        answer(other, also_ours, 64),
        answer(other, also_ours, 63),
        answer(other, also_ours, 0),
        answer(other, also_ours, 0),
        answer(one, ours, LONGEST_TOGETHER),
        answer(one, ours, LONGEST_TOGETHER),
        answer(one, ours, LONGEST_TOGETHER + 1),
        answer(one, ours, LONGEST_TOGETHER + 1),
    ];
    batch.point(0, true);
    assert_eq!(batch.runs, [2, 1, 1, 1, 1, 1, 2, 1, 1]);
    batch.point(1, true);
    assert_eq!(batch.runs, [1, 1, 1, 1, 1, 1, 2, 1, 1]);
    batch.point(0, false);
    assert_eq!(batch.runs, [1; 11]);
    batch.answers.clear();
}

#[test]
fn what_goes_together_arrives_as_what_it_was_from_the_address_that_was_hit() {
    for (bound, own, hosts) in [
        ("127.0.0.1:0", "127.0.0.1:0", ["127.0.0.1"; 2]),
        ("0.0.0.0:0", "127.0.0.1:0", ["127.0.0.1", "127.0.0.9"]),
        ("[::]:0", "127.0.0.1:0", ["127.0.0.1", "127.0.0.9"]),
        ("[::]:0", "[::1]:0", ["::1"; 2]),
    ] {
        // A host without IPv6 has nothing to tell here.
        let Some(mut echo) = Echo::on(bound) else { continue };
        let client = client(own);
        let asked: Vec<_> = hosts.iter().flat_map(|host| (0..12_u8).map(move |n| (*host, [n; 64]))).collect();
        for (host, message) in &asked {
            client.send_to(message, (*host, echo.port())).unwrap();
        }
        let mut taken = 0;
        while taken < asked.len() {
            taken += echo.take();
            echo.send();
        }
        for (host, message) in asked {
            let mut answer = [0; 65];
            let (len, from) = client.recv_from(&mut answer).unwrap();
            assert_eq!((answer.get(..len), from.ip().to_string()), (Some(&message[..]), host.to_owned()), "{bound}");
        }
        assert!(echo.together.get(), "{bound}: this kernel cuts");
    }
}

#[test]
fn what_the_kernel_does_not_cut_goes_one_by_one() {
    let mut echo = Echo::on("127.0.0.1:0").unwrap();
    let on: c_int = 1;
    let len = size_of::<c_int>() as socklen_t;
    // SAFETY: `on` is as long as `len` says. Without checksums the kernel cuts nothing.
    let set = unsafe {
        libc::setsockopt(echo.socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, (&raw const on).cast(), len)
    };
    assert_eq!(set, 0);
    let client = client("127.0.0.1:0");
    let mut taken = 0;
    while taken < 2 {
        for _ in 0..3 {
            client.send_to(b"one by one", ("127.0.0.1", echo.port())).unwrap();
        }
        taken = echo.take();
    }
    assert_eq!(echo.send(), [Sent::Out { datagrams: taken as u64, bytes: 10 * taken as u64 }]);
    assert!(!echo.together.get(), "it is not tried again");
    (0..taken).for_each(|_| assert_eq!(client.recv(&mut [0; 99]).unwrap(), 10));
}

/// A socket whose peer may send more than a datagram of UDP holds, or stop reading: neither is to be had of loopback.
fn pair() -> (UnixDatagram, UnixDatagram) {
    let (own, peer) = UnixDatagram::pair().unwrap();
    own.set_nonblocking(true).unwrap();
    peer.set_nonblocking(true).unwrap();
    (own, peer)
}

#[test]
fn what_does_not_fit_is_seen_to_be_cut_off() {
    let (own, peer) = pair();
    peer.send(&vec![7; PAYLOAD + 1]).unwrap();
    peer.send(&vec![7; PAYLOAD]).unwrap();
    let mut batch = Batch::new();
    assert_eq!(batch.receive(own.as_fd()).unwrap(), Received { datagrams: 2, all: true });
    let mut seen = Vec::new();
    batch.answer(|datagram| {
        seen.push((datagram.bytes.len(), datagram.truncated));
        None
    });
    assert_eq!(seen, [(PAYLOAD, true), (PAYLOAD, false)]);
}

#[test]
fn what_comes_in_numbers_is_taken_in_ever_larger_batches_and_none_is_left() {
    let echo = Echo::on("127.0.0.1:0").unwrap();
    let (client, mut batch) = (client("127.0.0.1:0"), Batch::new());
    let mut taken = |count: usize| {
        (0..count).for_each(|_| assert_eq!(client.send_to(b"one", ("127.0.0.1", echo.port())).unwrap(), 3));
        std::iter::from_fn(|| batch.receive(echo.socket.as_fd()).ok()).map(|r| (r.datagrams, r.all)).collect::<Vec<_>>()
    };
    assert_eq!(taken(70), [(4, false), (8, false), (16, false), (32, false), (10, true)]);
    assert_eq!(taken(1), [(1, true)]);
    assert_eq!(taken(4), [(4, false)], "all that there was, but who knows");
    assert_eq!(CALLS_TO_GROW, 3);
}

#[test]
fn a_full_send_buffer_is_told_and_not_waited_for() {
    let (own, peer) = pair();
    (0..3).for_each(|n| assert_eq!(peer.send(&[n; 8]).unwrap(), 8));
    let mut batch = Batch::new();
    assert_eq!(batch.receive(own.as_fd()).unwrap(), Received { datagrams: 3, all: true });
    batch.answer(|datagram| Some(datagram.bytes.len()));
    while own.send(b"not read").is_ok() {}
    let mut told = Vec::new();
    batch.send(own.as_fd(), &Cell::new(false), |sent| told.push(sent));
    assert_eq!(told, [Sent::Lost { datagrams: 3, cause: Drop::SendBuffer }]);
}

#[test]
fn whom_the_kernel_does_not_name_is_nobody() {
    // SAFETY: numbers, for which zero is a value.
    let mut storage: sockaddr_storage = unsafe { zeroed() };
    storage.ss_family = libc::AF_INET as _;
    let named = size_of::<sockaddr_in>() as socklen_t;
    assert_eq!(peer(&storage, named), "0.0.0.0:0".parse().unwrap());
    // SAFETY: the storage is as large and as aligned as any address.
    let earlier = unsafe { &mut *(&raw mut storage).cast::<sockaddr_in>() };
    (earlier.sin_addr.s_addr, earlier.sin_port) = (u32::from_ne_bytes([192, 0, 2, 1]), 7_u16.to_be());
    assert_eq!(peer(&storage, named), "192.0.2.1:7".parse().unwrap());
    assert_eq!(peer(&storage, 0), "0.0.0.0:0".parse().unwrap(), "not who sent an earlier one");
}
