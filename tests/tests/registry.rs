//! A node's own record: whatever an outsider does to it, the node serves on and puts it right.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use echo_tests::cluster::{READY, SETTLED, bound, name, pool_file, text};
use echo_tests::node::{History, SOON, start, start_as, wait_log};
use echo_tests::ports::{own_loopback_address, take_port};
use echo_tests::process::{alive, kill_pid};
use echo_tests::wait::ensure;
use echo_tests::{Cluster, Etcd, client, eventually, tools};
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
  rollout: {minHealthy: 100ms}
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

#[test]
fn a_dead_holder_is_waited_for_as_long_as_its_own_lease_lasts() {
    let dir = tools::scratch("registry");
    let etcd = Etcd::start(&dir);
    let mut before = start_as("before", &dir, etcd.url(), "lonely", &["--lease-ttl", "8s"]);
    wait_log(&before, "registered");
    before.kill();
    let mut after = start_as("after", &dir, etcd.url(), "lonely", &["--lease-ttl", "1s"]);
    wait_log(&after, "waiting for that registration");
    wait_log(&after, "lease=");
    assert!(after.is_running());
    // A living one is not.
    let mut other = start_as("other", &dir, etcd.url(), "lonely", &["--lease-ttl", "1s"]);
    assert_eq!(other.wait(SOON).code(), Some(1));
    let last = other.log().lines().last().unwrap_or_default().to_owned();
    assert!(last.starts_with("echo-node: node id default/lonely is held by 127.0.0.1:"), "{last}");
    assert!(last.contains(" since 20") && last.ends_with("; stop that node, or choose another --id"), "{last}");
}

#[test]
fn every_phase_of_a_start_is_written() {
    let cluster = Cluster::start(0);
    let history = History::follow(&cluster.etcd, cluster.dir());
    let address = own_loopback_address();
    let taken = take_port(address);
    let port = taken.local_addr().unwrap().port();
    let args = ["--pool", "edge", "--address", &address.to_string()];
    let _node = start(cluster.dir(), cluster.etcd.url(), "lonely", &args);
    let reach = |phase: &str| {
        eventually(phase, SETTLED, || {
            let told = history.of("/echo/v1/default/nodes/edge/lonely");
            let last = told.last().cloned().flatten().unwrap_or_default();
            ensure(text(&last, "/status/phase") == phase, || format!("{told:?}"))?;
            Ok::<_, String>(told)
        })
    };
    reach("NODE_PHASE_NO_POOL");
    let pool = pool_file(0).replace("name: default", "name: edge").replacen("port: 0", &format!("port: {port}"), 1);
    cluster.echoctl().ok(&format!("apply -f {}", cluster.file("edge.yaml", &pool)));
    let told = reach("NODE_PHASE_REJECTED");
    let record = told.last().unwrap().as_ref().unwrap();
    let conditions = record["status"]["conditions"].as_array().unwrap();
    let refused = conditions.iter().find(|condition| condition["type"] == "ConfigAccepted").unwrap();
    assert_eq!(text(refused, "/reason"), "AddressInUse");
    assert_eq!(text(refused, "/message"), format!("listener echo-tcp: bind {address}:{port}: address in use"));
    drop(taken);
    let told = reach("NODE_PHASE_READY");
    let mut phases: Vec<_> = told.iter().flatten().map(|record| text(record, "/status/phase")).collect();
    phases.dedup();
    let expected = ["STARTING", "NO_POOL", "REJECTED", "READY"].map(|phase| format!("NODE_PHASE_{phase}"));
    assert_eq!(phases, expected);
    let conditions = told.last().unwrap().as_ref().unwrap()["status"]["conditions"].to_string();
    assert!(!conditions.contains("ConfigAccepted"), "taken back: {conditions}");
    client::tcp_echo((address, port).into(), b"hello").unwrap();
}
