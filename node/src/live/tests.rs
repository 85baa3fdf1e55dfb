//! The data path as a client sees it, over loopback, through the doorway.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod apply;
mod limits;
mod load;
mod moves;
mod stamp;
mod tcp;
mod udp;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant as Clock;

use tokio::time::sleep;

use echo_proto::codec::{self, Strictness};
use echo_proto::{spec, v1};

use super::*;
use crate::data::counters::{Counts, FlowCount};

/// Time for anything to happen that must happen.
const PATIENCE: Duration = Duration::from_secs(10);

/// A data path by itself.
struct Node {
    live: Live,
}

impl Node {
    fn on(address: IpAddr) -> Self {
        let shards = NonZeroUsize::new(2).unwrap();
        Self { live: Live::start(LiveOptions { shards, address, who: who() }).unwrap() }
    }

    /// On an address of its own, serving `listeners`.
    async fn serving(listeners: &str) -> Self {
        let mut node = Self::on(own_address());
        node.apply(listeners).await.unwrap();
        node
    }

    async fn apply(&mut self, listeners: &str) -> Result<Vec<Bound>, ApplyError> {
        self.apply_with(listeners, "{}").await
    }

    async fn apply_with(&mut self, listeners: &str, limits: &str) -> Result<Vec<Bound>, ApplyError> {
        self.live.apply(&plan(listeners, limits), &v1::RevisionRef { n: 7, ..Default::default() }).await
    }

    fn address(&self, listener: &str) -> SocketAddr {
        self.live.sockets.iter().map(Socket::bound).find(|b| b.name.as_str() == listener).unwrap().address
    }

    fn connect(&self, listener: &str) -> TcpStream {
        connect(self.address(listener))
    }

    fn counts(&self, listener: &str) -> Counts {
        let snapshot = self.live.counters().snapshot();
        snapshot.listeners.into_iter().find(|l| l.name.as_str() == listener).unwrap().counts
    }
}

fn who() -> Who {
    let who = Who { node: "n-1".to_owned(), pool: "edge".to_owned(), ..Who::default() };
    who.clock_error.set(Some(Duration::from_millis(3)));
    who
}

/// A loopback address of this test alone, so that nobody else takes a port that it has left.
fn own_address() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, high | 0x80, low, NEXT.fetch_add(1, Ordering::Relaxed)).into()
}

/// A plan from the list of listeners and the limits of a pool file.
fn plan(listeners: &str, limits: &str) -> Plan {
    let yaml = format!("{{listeners: [{listeners}], limits: {limits}}}");
    let document = codec::parse_yaml(&yaml).unwrap().remove(0);
    let template = codec::decode::<v1::PoolTemplate>(&document, Strictness::Strict).strictly().unwrap();
    spec::check_template(&template).unwrap()
}

/// The echo listener that most tests use.
const ECHO: &str = "{name: echo, protocol: TCP, port: 0, service: {echo: {}}}";

/// A listener on a port that is not 0.
fn listener(name: &str, protocol: &str, port: u16, service: &str) -> String {
    format!("{{name: {name}, protocol: {protocol}, port: {port}, allowEphemeral: true, service: {service}}}")
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A UDP socket that waits long enough for an answer.
fn udp_client(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Sends `bytes` and reads as many back.
fn echoes(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    let mut back = vec![0; bytes.len()];
    stream.write_all(bytes).is_ok() && stream.read_exact(&mut back).is_ok() && back == bytes
}

/// Reads until the peer closes; an error such as a reset is the test's failure.
fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Bytes that show when a part is lost, doubled or moved.
fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// Waits until `holds`.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Clock::now() + PATIENCE;
    while !holds() {
        assert!(Clock::now() < end, "never: {what}");
        sleep(Duration::from_millis(2)).await;
    }
}
