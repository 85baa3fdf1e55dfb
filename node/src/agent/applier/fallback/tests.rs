//! What a node knows from its state directory, with real datagrams.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::UdpSocket;
use std::sync::Arc;

use echo_proto::ids::Digest;
use tokio::time::timeout;

use super::super::tests::{Bench, PATIENCE, applied, loopback, revision, stable};
use super::*;
use crate::agent::state_dir::tests::{Scratch, owner};
use crate::agent::state_dir::{PORTS, StateDir};

/// A revision that echoes datagrams, on any port.
fn udp(n: u32) -> v1::AssignedRevision {
    let mut config = revision(n, 0).config.unwrap();
    config.listeners[0].protocol = v1::Protocol::Udp.into();
    v1::AssignedRevision { n, digest: Digest::of(&config).to_string(), config: Some(config) }
}

/// A socket of somebody who asks.
fn asker() -> UdpSocket {
    let socket = UdpSocket::bind((loopback(), 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

#[tokio::test]
async fn damaged_ports_are_told_apart_from_none() {
    let scratch = Scratch::new();
    let dir = Arc::new(StateDir::open(&scratch.0, owner("node-1")).unwrap());
    let saved = SavedConfig::new(Arc::clone(&dir));
    assert_eq!(saved.load_ports().await, Ok(None));
    dir.replace(PORTS, r#"{"udp": [70000]}"#).unwrap();
    let error = saved.load_ports().await.unwrap_err();
    assert!(error.contains(PORTS) && error.contains("70000"), "{error}");
}

#[tokio::test]
async fn ports_that_could_not_be_saved_are_saved_when_they_are_told_again() {
    let scratch = Scratch::new();
    let dir = Arc::new(StateDir::open(&scratch.0, owner("node-1")).unwrap());
    let saved = SavedConfig::new(Arc::clone(&dir));
    let mut bench = Bench::start_with(Some(saved.clone()));
    std::fs::remove_dir_all(&scratch.0).unwrap();
    let told = FleetPorts { sockets: vec!["192.0.2.1:7".parse().unwrap()], trace: None };
    bench.fleet_ports.send_replace(Some(told.clone()));
    // Ports go before what is assigned: it has tried by then.
    bench.assign(&stable(1, 0));
    bench.until(applied(1)).await;
    std::fs::create_dir(&scratch.0).unwrap();
    assert_eq!(saved.load_ports().await, Ok(None));
    bench.fleet_ports.send_replace(Some(told.clone()));
    let kept = async { while saved.load_ports().await != Ok(Some(told.sockets.clone())) {} };
    timeout(PATIENCE, kept).await.unwrap();
    bench.end().await.end().await;
}

#[tokio::test]
async fn the_fleets_ports_hold_from_the_next_start_on_without_etcd() {
    let scratch = Scratch::new();
    let dir = Arc::new(StateDir::open(&scratch.0, owner("node-1")).unwrap());
    let saved = || Some(SavedConfig::new(Arc::clone(&dir)));
    let (fleet, friend) = (asker(), asker());
    let bench = Bench::start_with(saved());
    let sockets = vec![fleet.local_addr().unwrap()];
    bench.fleet_ports.send_replace(Some(FleetPorts { sockets, trace: None }));
    let kept = async { while saved().unwrap().load_ports().await.unwrap().is_none() {} };
    timeout(PATIENCE, kept).await.unwrap();
    bench.end().await.end().await;

    let mut bench = Bench::start_with(saved());
    bench.assign(&v1::Assignment { stable: Some(udp(1)), ..stable(1, 0) });
    let node = bench.until(applied(1)).await.listeners[0].address.clone();
    fleet.send_to(b"an answer", &node).unwrap();
    friend.send_to(b"a question", &node).unwrap();
    assert_eq!(friend.recv(&mut [0; 64]).unwrap(), 10, "and what came before it was dealt with");
    fleet.set_nonblocking(true).unwrap();
    assert!(fleet.recv(&mut [0; 64]).is_err(), "answered what may be an answer");
    bench.end().await.end().await;
}
