//! A listener that moves to another address of its own port: old and new sockets stand side by side for a moment.

use std::sync::atomic::AtomicBool;
use std::thread;

use socket2::{Domain, Socket as AnySocket, Type};

use super::*;

const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// An echo listener at an address.
fn at(name: &str, protocol: &str, address: IpAddr, port: u16) -> String {
    format!(
        "{{name: {name}, protocol: {protocol}, address: {address}, port: {port}, allowEphemeral: true, service: {{echo: {{}}}}}}"
    )
}

/// A node that serves `protocol` on all addresses, and its port.
async fn everywhere(protocol: &str) -> (Node, u16) {
    let mut node = Node::on(ANY);
    node.apply(&at("e", protocol, ANY, 0)).await.unwrap();
    let port = node.address("e").port();
    (node, port)
}

fn serves(protocol: &str, target: SocketAddr) -> bool {
    if protocol == "TCP" {
        return echoes(&mut connect(target), b"hello");
    }
    let client = udp_client("127.0.0.1:0");
    client.send_to(b"hello", target).unwrap();
    client.recv(&mut [0; 16]).unwrap() == 5
}

#[tokio::test]
async fn a_listener_moves_to_another_address_of_its_port() {
    for protocol in ["TCP", "UDP"] {
        let (mut node, port) = everywhere(protocol).await;
        let (first, second) = (own_address(), own_address());
        for address in [first, ANY, second, first] {
            node.apply(&at("e", protocol, address, port)).await.unwrap();
            let target = SocketAddr::new(if address == ANY { second } else { address }, port);
            assert!(serves(protocol, target), "{protocol} {target}");
        }
    }
}

#[tokio::test]
async fn a_stranger_that_would_share_the_port_is_refused_on_a_move_too() {
    for (protocol, kind) in [("TCP", Type::STREAM), ("UDP", Type::DGRAM)] {
        let (mut node, port) = everywhere(protocol).await;
        let own = own_address();
        node.apply(&at("e", protocol, own, port)).await.unwrap();
        let stranger = AnySocket::new(Domain::IPV4, kind, None).unwrap();
        stranger.set_reuse_port(true).unwrap();
        stranger.bind(&SocketAddr::new(own_address(), port).into()).unwrap();
        if protocol == "TCP" {
            stranger.listen(1).unwrap();
        }
        let error = node.apply(&at("e", protocol, ANY, port)).await.unwrap_err();
        assert_eq!(error.to_string(), format!("listener e: bind 0.0.0.0:{port}: address in use"));
        assert!(serves(protocol, SocketAddr::new(own, port)));
        drop(stranger);
        node.apply(&at("e", protocol, ANY, port)).await.unwrap();
        assert!(serves(protocol, SocketAddr::new(own_address(), port)));
    }
}

#[tokio::test]
async fn a_refused_move_loses_no_datagram() {
    let (mut node, port) = everywhere("UDP").await;
    let target = SocketAddr::new(own_address(), port);
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let client = udp_client("127.0.0.1:0");
                for number in 0..u64::MAX {
                    if stop.load(Ordering::Relaxed) {
                        return number;
                    }
                    client.send_to(&number.to_be_bytes(), target).unwrap();
                    let mut answer = [0; 16];
                    assert_eq!(client.recv_from(&mut answer).unwrap(), (8, target));
                    assert_eq!(answer[..8], number.to_be_bytes());
                }
                0
            })
        })
        .collect();
    // The first of them is bound, and takes what goes to that address; the second is of no host's.
    let refused = format!("{}, {}", at("e", "UDP", target.ip(), port), at("far", "UDP", [192, 0, 2, 1].into(), port));
    for _ in 0..100 {
        let error = node.apply(&refused).await.unwrap_err();
        assert_eq!(error.cause(), format!("bind 192.0.2.1:{port}: address not available on this host"));
    }
    stop.store(true, Ordering::Relaxed);
    let sent: u64 = clients.into_iter().map(|client| client.join().unwrap()).sum();
    eventually("all are counted where they were meant for", || node.counts("e").received_packets == sent).await;
    assert!(node.counts("e").dropped.is_empty());
}
