//! What the kernel makes of the options of a group of sockets.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::net::Ipv4Addr;

use super::*;

const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

#[test]
fn a_group_shares_the_port_that_its_first_socket_gets() {
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let mut group = Group::bind(protocol, ANY_PORT, 4, Claim::Free).unwrap();
        group.listen().unwrap();
        assert_ne!(group.address().port(), 0);
        for socket in &group.sockets {
            assert_eq!(socket.local_addr().unwrap().as_socket(), Some(group.address()));
            assert!(socket.reuse_port().unwrap());
        }
        assert_eq!(group.into_sockets().count(), 4);
    }
}

#[test]
fn two_groups_never_share_whoever_listens_first() {
    // Both may bind, since SO_REUSEADDR lets in whoever does not listen; only one may listen.
    let mut first = Group::bind(Protocol::Tcp, ANY_PORT, 2, Claim::Free).unwrap();
    let mut second = Group::bind(Protocol::Tcp, first.address(), 2, Claim::Free).unwrap();
    second.listen().unwrap();
    assert_eq!(first.listen().unwrap_err().kind(), io::ErrorKind::AddrInUse);

    let first = Group::bind(Protocol::Udp, ANY_PORT, 2, Claim::Free).unwrap();
    let second = Group::bind(Protocol::Udp, first.address(), 2, Claim::Free);
    assert_eq!(second.unwrap_err().kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn a_successor_stands_beside_the_group_that_leaves() {
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let mut old = Group::bind(protocol, ANY_PORT, 2, Claim::Free).unwrap();
        old.listen().unwrap();
        let wildcard = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), old.address().port());
        let mut new = Group::bind(protocol, wildcard, 2, Claim::Successor).unwrap();
        new.listen().unwrap();
    }
}

#[test]
fn no_datagrams_are_taken_at_a_broadcast_address() {
    let bind = |protocol, address: [u8; 4]| Group::bind(protocol, (address, 0).into(), 1, Claim::Free);
    for broadcast in [[127, 255, 255, 255], [255, 255, 255, 255]] {
        let error = bind(Protocol::Udp, broadcast).unwrap_err();
        assert!(error.to_string().starts_with("a broadcast address"), "{error}");
    }
    for own in [[127, 255, 255, 254], [0, 0, 0, 0]] {
        bind(Protocol::Udp, own).unwrap();
    }
}

#[test]
fn both_ways_have_room_for_a_burst() {
    let group = Group::bind(Protocol::Udp, ANY_PORT, 1, Claim::Free).unwrap();
    // As much as this host gives to whoever asks.
    let asked = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    asked.set_recv_buffer_size(UDP_RECEIVE_BUFFER).unwrap();
    asked.set_send_buffer_size(UDP_SEND_BUFFER).unwrap();
    let socket = group.sockets.first().unwrap();
    assert_eq!(socket.recv_buffer_size().unwrap(), asked.recv_buffer_size().unwrap());
    assert_eq!(socket.send_buffer_size().unwrap(), asked.send_buffer_size().unwrap());
}

#[test]
fn what_the_kernel_granted_of_buffers_is_told() {
    let socket = open(Protocol::Udp, ANY_PORT).unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    socket.set_send_buffer_size(32 * 1024).unwrap();
    let buffers = Buffers::of(&socket).unwrap();
    assert_eq!(buffers, Buffers { receive: 64 * 1024, send: 32 * 1024 });
    let shortage = buffers.shortage().unwrap();
    assert!(shortage.contains("holds 65536 bytes received and 32768 to send"), "{shortage}");
    let asked = Buffers { receive: UDP_RECEIVE_BUFFER, send: UDP_SEND_BUFFER };
    assert_eq!(asked.shortage(), None);
    assert_eq!(Group::bind(Protocol::Tcp, ANY_PORT, 1, Claim::Free).unwrap().buffers(), None);
}

#[test]
fn connections_inherit_what_bounds_a_silent_peer() {
    let mut group = Group::bind(Protocol::Tcp, "127.0.0.1:0".parse().unwrap(), 1, Claim::Free).unwrap();
    group.listen().unwrap();
    let _client = std::net::TcpStream::connect(group.address()).unwrap();
    let Some(NewSocket::Tcp(listener)) = group.into_sockets().next() else { panic!("it is of TCP") };
    // It is in the queue once the client knows that it is connected.
    let (stream, _) = listener.accept().unwrap();
    let socket = socket2::SockRef::from(&stream);
    assert!(socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap());
    assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
    assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(10));
    assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(300)));
}
