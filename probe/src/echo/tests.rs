//! Good and bad answers, each from a peer made for it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket as StdUdpSocket};
use std::thread;

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(50);

/// A TCP peer that takes one connection and treats it so.
fn tcp_peer(treat: impl FnOnce(std::net::TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || treat(listener.accept().unwrap().0));
    address
}

/// A UDP peer that answers one datagram so.
fn udp_peer(answer: impl FnOnce(&mut Vec<u8>) + Send + 'static) -> SocketAddr {
    let socket = StdUdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = vec![0; 70_000];
        let (n, client) = socket.recv_from(&mut buffer).unwrap();
        buffer.truncate(n);
        answer(&mut buffer);
        socket.send_to(&buffer, client).unwrap();
    });
    address
}

#[tokio::test]
async fn a_long_payload_comes_back_while_it_is_sent() {
    let address = tcp_peer(|mut stream| {
        let mut buffer = vec![0; 10_000];
        while let Ok(n @ 1..) = stream.read(&mut buffer) {
            stream.write_all(&buffer[..n]).unwrap();
        }
    });
    let payload = vec![7; 20 << 20];
    assert!(tcp_echo(address, &payload, PATIENCE).await.unwrap() > Duration::ZERO);
}

#[tokio::test]
async fn datagrams_of_any_size_are_compared() {
    for len in [0, 1, 65_507] {
        let address = udp_peer(|_| {});
        udp_echo(address, &vec![3; len], PATIENCE).await.unwrap();
    }
    let longer = udp_echo(udp_peer(|answer| answer.push(0)), b"abc", PATIENCE).await.unwrap_err();
    assert!(matches!(longer, ProbeError::Mismatch { at: 3, received: 4, sent: 3, .. }), "{longer}");
    let other = udp_echo(udp_peer(|answer| answer[1] = b'x'), b"abc", PATIENCE).await.unwrap_err();
    assert!(matches!(other, ProbeError::Mismatch { at: 1, received: 3, .. }), "{other}");
}

#[tokio::test]
async fn a_wrong_or_short_answer_is_told() {
    let address = tcp_peer(|mut stream| {
        stream.read_exact(&mut [0; 3]).unwrap();
        stream.write_all(b"abx").unwrap();
    });
    let error = tcp_echo(address, b"abc", PATIENCE).await.unwrap_err();
    let text = format!("tcp echo from {address}: 3 bytes came back for 3, the first wrong one at 2");
    assert_eq!((error.to_string(), error.label()), (text, "mismatch"));

    let address = tcp_peer(|mut stream| {
        stream.read_exact(&mut [0; 3]).unwrap();
        stream.write_all(b"a").unwrap();
    });
    let error = tcp_echo(address, b"abc", PATIENCE).await.unwrap_err();
    assert_eq!(error.to_string(), format!("tcp echo from {address}: closed after 1 of 3 bytes"));
}

#[tokio::test]
async fn nobody_there_is_told() {
    // A port that the kernel gives to nobody.
    let free = "127.0.0.1:1".parse().unwrap();
    let error = tcp_echo(free, b"abc", PATIENCE).await.unwrap_err();
    assert_eq!(error.to_string(), format!("tcp echo from {free}: connection refused; nobody listens there"));

    let deaf = StdUdpSocket::bind("127.0.0.1:0").unwrap();
    let address = deaf.local_addr().unwrap();
    let error = udp_echo(address, b"abc", SHORT).await.unwrap_err();
    assert_eq!(error.to_string(), format!("udp echo from {address}: no answer within 50 ms"));
}
