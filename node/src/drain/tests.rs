//! Leaving, with real connections.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use echo_proto::spec::{DrainPlan, LimitsPlan, ListenerPlan, Plan, Protocol, ServicePlan};
use echo_proto::v1;

use super::*;
use crate::live::{Live, LiveOptions};

/// Longer than any test may take.
const LONG: Duration = Duration::from_secs(60);

/// A node that serves echo, and where.
async fn serving() -> (Applier, watch::Receiver<Report>, SocketAddr) {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let live = Live::start(LiveOptions { shards: NonZeroUsize::MIN, address }).unwrap();
    let (cell, report) = watch::channel(Report::starting());
    let mut applier = Applier::new(live, "node-1".parse().unwrap(), "edge".parse().unwrap(), cell, None);
    let listener = ListenerPlan {
        name: "echo-tcp".parse().unwrap(),
        protocol: Protocol::Tcp,
        address: None,
        port: 0,
        service: ServicePlan::Echo { max_read: 65_536, once: false },
    };
    let plan = Plan {
        listeners: vec![listener],
        limits: LimitsPlan { max_connections: 10, idle_timeout: LONG },
        drain: DrainPlan::default(),
    };
    applier.serve(&Arc::new(plan), v1::RevisionRef::default()).await.unwrap();
    let bound = report.borrow().listeners[0].address.parse().unwrap();
    (applier, report, bound)
}

/// A connection that is known to be served.
fn connected(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    echoes(&mut stream);
    stream
}

fn echoes(stream: &mut TcpStream) {
    let mut back = [0; 2];
    stream.write_all(b"hi").unwrap();
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"hi");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_connection_is_waited_for() {
    let (applier, mut report, address) = serving().await;
    let mut stream = connected(address);
    let link = watch::channel(Link::Joining).1;
    let drained = tokio::spawn(drain(applier, report.clone(), link, Some(LONG)));
    let closed = report.wait_for(|r| r.phase == NodePhase::Draining && r.listeners.is_empty());
    timeout(LONG, closed).await.unwrap().unwrap();
    assert!(report.borrow().not_ready().is_some());
    assert!(TcpStream::connect(address).is_err(), "the listener is closed");
    echoes(&mut stream);
    assert!(!drained.is_finished());
    drop(stream);
    timeout(LONG, drained).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_ends_what_is_left() {
    let (applier, report, address) = serving().await;
    let mut stream = connected(address);
    let link = watch::channel(Link::Joining).1;
    let began = Instant::now();
    drain(applier, report, link, Some(Duration::from_millis(50))).await;
    assert!(began.elapsed() >= Duration::from_millis(50));
    assert!(stream.read(&mut [0; 1]).is_ok_and(|read| read == 0) || stream.write_all(b"x").is_err());
}

#[tokio::test]
async fn the_record_is_told_first_but_not_for_ever() {
    let (applier, report, _) = serving().await;
    let said = Box::new(report.borrow().clone());
    let (_cell, link) = watch::channel(Link::Registered(said));
    let began = Instant::now();
    drain(applier, report, link, Some(LONG)).await;
    assert!(began.elapsed() >= TELL_LIMIT, "nobody wrote the record");
}
