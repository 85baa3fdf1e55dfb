//! `echo-node --config FILE`: a node by itself, without etcd and without control.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use echo_tests::cluster::pool_file;
use echo_tests::ports::{free_port, own_loopback_address};
use echo_tests::{Etcd, Process, client, eventually, node, tools};
use nix::sys::signal::Signal;

const SOON: Duration = Duration::from_secs(10);

fn node(dir: &Path, config: &str, address: SocketAddr) -> Process {
    node_with(dir, config, address, &[])
}

fn node_with(dir: &Path, config: &str, address: SocketAddr, args: &[&str]) -> Process {
    let file = dir.join("pool.yaml");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(tools::ours("echo-node"));
    command.arg("--config").arg(file).args(["--address", &address.ip().to_string(), "--lifeline"]);
    command.args(["--grpc", &format!("{}:0", address.ip()), "--http", &format!("{}:0", address.ip())]);
    command.args(args);
    Process::start("node", dir, command)
}

#[test]
fn it_serves_its_file_and_drains_on_sigterm() {
    let dir = tools::scratch("standalone");
    let ip = own_loopback_address();
    let address = SocketAddr::from((ip, free_port(ip)));
    let config = pool_file(1).replace("port: 0", &format!("port: {}", address.port()));
    let mut node = node(&dir, &config, address);
    eventually("it serves TCP", SOON, || client::tcp_echo(address, b"hello"));
    client::udp_echo(address, b"hello").unwrap();
    client::udp_echo(address, b"").unwrap();

    let mut open = client::connect(address).unwrap();
    client::echo_on(&mut open, b"before").unwrap();
    node.signal(Signal::SIGTERM);
    eventually("the listener closes", SOON, || match client::connect(address) {
        Err(_) => Ok(()),
        Ok(_) => Err("still open"),
    });
    client::echo_on(&mut open, b"while it drains").unwrap();
    drop(open);
    assert_eq!(node.wait(SOON).code(), Some(0), "{}", node.log());
}

#[test]
fn every_mistake_of_its_file_is_told() {
    let dir = tools::scratch("standalone");
    let config = pool_file(1).replacen("port: 0", "port: 70000, colour: red", 1);
    let mut node = node(&dir, &config, SocketAddr::from((own_loopback_address(), 0)));
    assert_eq!(node.wait(SOON).code(), Some(1));
    let log = node.log();
    assert!(log.contains("spec.template.listeners[0].port: 70000"), "{log}");
    assert!(log.contains("spec.template.listeners[0].colour: unknown field"), "{log}");
}

#[test]
fn a_second_sigterm_ends_it_at_once() {
    let dir = tools::scratch("standalone");
    let ip = own_loopback_address();
    let address = SocketAddr::from((ip, free_port(ip)));
    let config = pool_file(1).replacen("port: 0", &format!("port: {}", address.port()), 1);
    let mut node = node(&dir, &config, address);
    eventually("it serves TCP", SOON, || client::tcp_echo(address, b"hello"));
    let mut open = client::connect(address).unwrap();
    client::echo_on(&mut open, b"holds it").unwrap();
    node.signal(Signal::SIGTERM);
    eventually("the listener closes", SOON, || match client::connect(address) {
        Err(_) => Ok(()),
        Ok(_) => Err("still open"),
    });
    assert!(node.is_running(), "an open connection holds a drain");
    node.signal(Signal::SIGTERM);
    node.wait(SOON);
}

#[test]
fn a_file_goes_before_what_etcd_once_told() {
    let dir = tools::scratch("standalone");
    let etcd = Etcd::start(&dir);
    let ip = own_loopback_address();
    let (asker, state) = (UdpSocket::bind((ip, 0)).unwrap(), dir.join("state").display().to_string());
    asker.set_read_timeout(Some(SOON)).unwrap();
    let ports = format!(r#"{{"udpSockets": ["{}"]}}"#, asker.local_addr().unwrap());
    etcd.put("/echo/v1/default/guard/ports", &ports);
    node::assign(&etcd, 1, node::revision(1, free_port(ip)), None);
    let (address, id) = (ip.to_string(), ["--id", "lonely", "--state-dir", &state]);
    let args = ["--address", &address, "--good-after", "10ms", "--state-dir", &state];
    let mut before = node::start(&dir, etcd.url(), "lonely", &args);
    node::wait_log(&before, "saved for a start without etcd");
    eventually("the ports are saved", SOON, || std::fs::metadata(dir.join("state/ports")));
    before.signal(Signal::SIGTERM);
    assert!(before.wait(SOON).success(), "{}", before.log());

    let address = SocketAddr::from((ip, free_port(ip)));
    let config = pool_file(1).replace("port: 0", &format!("port: {}", address.port()));
    let config = config.replace("{udpQuiet: 100ms}", "{lameDuck: 1h}");
    let node = node_with(&dir, &config, address, &id);
    node::wait_log(&node, "started");
    node.signal(Signal::SIGTERM);
    // What was saved is read before anything else is heeded.
    node::wait_log(&node, "draining");
    asker.send_to(b"hello", address).unwrap();
    assert_eq!(asker.recv(&mut [0; 16]).unwrap(), 5, "its file knows of no such port");
    client::tcp_echo(address, b"hello").unwrap();
}
