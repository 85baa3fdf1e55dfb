//! A node's own record: whatever an outsider does to it, the node serves on and puts it right.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use echo_tests::cluster::{READY, SETTLED, bound, name, text};
use echo_tests::process::{alive, kill_pid};
use echo_tests::wait::ensure;
use echo_tests::{Cluster, Etcd, Process, client, eventually, tools};
use nix::sys::signal::Signal;

const NODE_1: &str = "/echo/v1/default/nodes/default/node-1";
const NODE_2: &str = "/echo/v1/default/nodes/default/node-2";

/// Waits until the key holds the record of this life of the node.
#[track_caller]
fn wait_record(etcd: &Etcd, key: &str, incarnation: &str) {
    eventually(&format!("{key} is right again"), SETTLED, || {
        let found = etcd.get_prefix(key);
        ensure(found.iter().any(|(_, value)| value.contains(incarnation)), || format!("{found:?}"))
    });
}

#[test]
fn a_serving_node_rights_its_record_and_cuts_nobody() {
    let cluster = Cluster::start(1);
    let nodes = cluster.wait_nodes(1);
    let incarnation = text(&nodes[0], "/status/incarnation");
    let pid = cluster.node_pid("node-1");
    let mut open = client::connect(bound(&nodes[0], "echo-tcp")).unwrap();
    client::echo_on(&mut open, b"before").unwrap();

    // The node hears of none of these, and has nothing new to say.
    cluster.etcd.put(NODE_1, "garbage");
    wait_record(&cluster.etcd, NODE_1, &incarnation);
    cluster.etcd.delete(NODE_1);
    wait_record(&cluster.etcd, NODE_1, &incarnation);
    cluster.etcd.etcdctl(&["put", "--ignore-lease", NODE_1, "garbage under its own lease"]);
    wait_record(&cluster.etcd, NODE_1, &incarnation);

    // Here it has.
    cluster.etcd.put(NODE_1, "garbage");
    cluster.echoctl().ok(&format!("apply -f {}", cluster.file("greet.yaml", GREETING)));
    cluster.wait_nodes(1);
    wait_record(&cluster.etcd, NODE_1, &incarnation);
    client::echo_on(&mut open, b"after").unwrap();
    assert!(alive(pid) && cluster.node_pid("node-1") == pid);
}

const GREETING: &str = "apiVersion: echo/v1
kind: Pool
metadata: {name: default}
spec:
  replicas: 1
  template:
    listeners:
    - {name: greet, protocol: TCP, port: 0, service: {greet: {}}}
";

#[test]
fn a_node_starts_over_garbage_in_its_place() {
    let cluster = Cluster::start(2);
    cluster.wait_nodes(2);
    let pid = cluster.node_pid("node-2");
    kill_pid(pid, Signal::SIGSTOP);
    cluster.etcd.put(NODE_2, "garbage");
    kill_pid(pid, Signal::SIGKILL);
    eventually("node-2 has another process", READY, || ensure(cluster.node_pid("node-2") != pid, || "not yet".into()));
    let nodes = cluster.wait_nodes(2);
    let node = nodes.iter().find(|node| name(node) == "node-2").unwrap();
    client::tcp_echo(bound(node, "echo-tcp"), b"hello").unwrap();
}

/// A node that nobody scales, without a state directory.
fn node(log: &str, dir: &Path, etcd: &Etcd, lease_ttl: &str) -> Process {
    let mut command = Command::new(tools::ours("echo-node"));
    command.args(["--id", "lonely", "--etcd", etcd.url(), "--lease-ttl", lease_ttl, "--lifeline"]);
    command.args(["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    Process::start(log, dir, command)
}

#[track_caller]
fn wait_log(node: &Process, what: &str) {
    eventually(what, Duration::from_secs(20), || ensure(node.log().contains(what), || node.log()));
}

#[test]
fn a_dead_holder_is_waited_for_as_long_as_its_own_lease_lasts() {
    let dir = tools::scratch("registry");
    let etcd = Etcd::start(&dir);
    let mut before = node("before", &dir, &etcd, "8s");
    wait_log(&before, "registered");
    before.kill();
    let mut after = node("after", &dir, &etcd, "1s");
    wait_log(&after, "waiting for that registration");
    wait_log(&after, "lease=");
    assert!(after.is_running());
    // A living one is not.
    let mut other = node("other", &dir, &etcd, "1s");
    assert_eq!(other.wait(Duration::from_secs(20)).code(), Some(1));
    assert!(other.log().contains("node id default/lonely is held by 127.0.0.1:"), "{}", other.log());
}
