//! Whom `echoctl bench` meets beside real nodes: peers that change, drop, or never take what comes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::thread;

use socket2::{Domain, Socket, Type};

/// A TCP peer that sends back what `answer` makes of each read.
pub(crate) fn tcp_peer(answer: impl Fn(&mut [u8]) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || {
                let mut buffer = [0; 2_000];
                while let Ok(n @ 1..) = stream.read(&mut buffer) {
                    answer(&mut buffer[..n]);
                    let _ = stream.write_all(&buffer[..n]);
                }
            });
        }
    });
    address
}

/// A UDP peer that answers all but those datagrams, by their number, that `drops`.
pub(crate) fn udp_peer(drops: fn(u64) -> bool) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 2_000];
        for number in 0.. {
            let Ok((len, peer)) = socket.recv_from(&mut buffer) else { return };
            if !drops(number) {
                let _ = socket.send_to(&buffer[..len], peer);
            }
        }
    });
    address
}

/// A TCP peer whose queue is full: who connects to it is told nothing, neither yes nor no.
pub(crate) struct Full {
    pub(crate) address: SocketAddr,
    _sockets: Vec<Socket>,
}

impl Full {
    /// As full as it gets, with more than its queue has room for.
    pub(crate) fn start() -> Self {
        let new = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let listener = new();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let waiting = (0..8).map(|_| {
            let socket = new();
            socket.set_nonblocking(true).unwrap();
            // In progress, or already connected.
            let _ = socket.connect(&address.into());
            socket
        });
        let _sockets = waiting.chain([listener]).collect();
        Self { address, _sockets }
    }
}
