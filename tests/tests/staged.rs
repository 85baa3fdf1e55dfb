//! A revision is tried by few before many, and taken back by itself when they fare worse with it.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use echo_tests::cluster::{SETTLED, bound, name, pool_file, text};
use echo_tests::ports::take_port;
use echo_tests::process::kill_pid;
use echo_tests::wait::ensure;
use echo_tests::{Cluster, client, eventually};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Records of nodes expire after 2 s, and as long again after that they are lost; none is before the leader has watched
/// for as long.
const LOST: Duration = Duration::from_secs(30);

/// Sixty seconds that nobody waits for: what happens meanwhile is what ends the rollout.
const PATIENT: &str = "rollout: {minHealthy: 60s}";

/// The pool's file with another rollout policy, and `more` at its end.
fn changed(nodes: u32, policy: &str, more: &str) -> String {
    let file = pool_file(nodes);
    assert!(file.contains("rollout: {minHealthy: 100ms}"), "{file}");
    file.replace("rollout: {minHealthy: 100ms}", policy) + more
}

fn listener(port: u16) -> String {
    format!("    - {{name: more, protocol: TCP, port: {port}, service: {{echo: {{}}}}}}\n")
}

fn rollout(cluster: &Cluster) -> Value {
    let values = cluster.etcd.get_prefix("/echo/v1/default/rollouts/default");
    values.first().and_then(|(_, value)| serde_json::from_str(value).ok()).unwrap_or_default()
}

/// Waits until the rollout of revision 2 is in this phase.
fn wait_phase(cluster: &Cluster, phase: &str, deadline: Duration) -> Value {
    eventually(phase, deadline, || {
        let rollout = rollout(cluster);
        let there = rollout.pointer("/to/n") == Some(&2.into()) && text(&rollout, "/phase").ends_with(phase);
        ensure(there, || rollout.to_string())?;
        Ok::<_, String>(rollout)
    })
}

/// The version of each node's record.
fn versions(nodes: &[Value]) -> Vec<(String, String)> {
    nodes.iter().map(|node| (name(node), text(node, "/metadata/resourceVersion"))).collect()
}

/// The canary serves revision 2.
fn wait_canary(cluster: &Cluster) -> Value {
    eventually("the canary serves it", SETTLED, || {
        let nodes = cluster.nodes()?;
        let canary = nodes.iter().find(|node| node.pointer("/status/applied/n") == Some(&2.into()));
        canary.cloned().ok_or_else(|| format!("{nodes:?}"))
    })
}

#[test]
fn a_canary_that_refuses_takes_it_back_and_no_other_node_hears_of_it() {
    let cluster = Cluster::start(3);
    let before = versions(&cluster.wait_nodes(3));
    let foreign = take_port(Ipv4Addr::new(127, 0, 0, 1));
    let more = listener(foreign.local_addr().unwrap().port());
    let file = cluster.file("taken.yaml", &changed(3, PATIENT, &more));
    cluster.echoctl().ok(&format!("apply -f {file}"));
    let status = cluster.echoctl().run("rollout status pool/default --timeout 20s");
    assert_eq!(status.code, 1, "{status:?}");
    assert!(format!("{status:?}").contains("node-1"), "{status:?}");
    let ended = wait_phase(&cluster, "REVERTED", SETTLED);
    assert!(text(&ended, "/reason").starts_with("node-1: listener more: bind"), "{ended}");
    assert_eq!(ended.pointer("/canaries"), Some(&serde_json::json!(["node-1"])));
    let after = versions(&cluster.nodes().unwrap());
    assert_eq!(before.get(1..), after.get(1..), "the others' records are as they were");
}

#[test]
fn a_canary_that_dies_of_it_takes_it_back_and_serves_what_was_good() {
    let cluster = Cluster::start(3);
    let before = versions(&cluster.wait_nodes(3));
    let file = cluster.file("more.yaml", &changed(3, PATIENT, &listener(0)));
    cluster.echoctl().ok(&format!("apply -f {file}"));
    let canary = wait_canary(&cluster);
    kill_pid(cluster.node_pid("node-1"), Signal::SIGKILL);
    let ended = wait_phase(&cluster, "REVERTED", SETTLED);
    assert!(text(&ended, "/reason").starts_with("node-1: the node died within 10s of applying it"), "{ended}");
    let back = eventually("it serves what was good", SETTLED, || {
        let node = cluster.nodes()?.into_iter().find(|node| name(node) == "node-1").ok_or("away")?;
        let good =
            node.pointer("/status/applied/n") == Some(&1.into()) && text(&node, "/status/phase").ends_with("READY");
        ensure(good, || node.to_string())?;
        Ok::<_, String>(node)
    });
    assert_ne!(text(&back, "/status/incarnation"), text(&canary, "/status/incarnation"), "another process");
    assert_eq!(text(&back, "/status/rejection/reason"), "Crashed");
    client::udp_echo(bound(&back, "echo-udp"), b"after it").unwrap();
    let table = cluster.echoctl().ok("get nodes");
    assert!(table.contains("node-1: rejected revision 2: the node died within 10s of applying it"), "{table}");
    let after = versions(&cluster.nodes().unwrap());
    assert_eq!(before.get(1..), after.get(1..), "the others never had it");
}

#[test]
fn a_wave_stops_at_a_refusal() {
    let cluster = Cluster::start(4);
    let before = versions(&cluster.wait_nodes(4));
    let foreign = take_port(Ipv4Addr::new(127, 0, 0, 2));
    let more = listener(foreign.local_addr().unwrap().port());
    let policy = "rollout: {waves: [50%, 100%], minHealthy: 100ms}";
    let file = cluster.file("taken.yaml", &changed(4, policy, &more));
    cluster.echoctl().ok(&format!("apply -f {file}"));
    let ended = wait_phase(&cluster, "REVERTED", SETTLED);
    assert_eq!(
        (ended.pointer("/step"), text(&ended, "/canaries/0")),
        (Some(&1.into()), "node-1".to_owned()),
        "{ended}"
    );
    assert!(text(&ended, "/reason").starts_with("node-2: listener more: bind"), "{ended}");
    let after = versions(&cluster.nodes().unwrap());
    assert_ne!(before.first(), after.first(), "the canary had it");
    assert_eq!(before.get(2..), after.get(2..), "those of the last wave never had");
}

#[test]
fn a_canary_that_drops_what_it_did_not_drop_before_takes_it_back() {
    let cluster = Cluster::start(2);
    // As many as it takes to compare with.
    for node in cluster.wait_nodes(2) {
        (0..1_000).for_each(|_| client::udp_echo(bound(&node, "echo-udp"), b"before").unwrap());
    }
    let limit = "    limits: {perSource: {messages: 1}}\n";
    let file = cluster.file("limited.yaml", &changed(2, PATIENT, limit));
    cluster.echoctl().ok(&format!("apply -f {file}"));
    let canary = wait_canary(&cluster);
    let SocketAddr::V4(echo) = bound(&canary, "echo-udp") else { panic!("IPv4") };
    let socket = UdpSocket::bind((*echo.ip(), 0)).unwrap();
    eventually("it is taken back", SETTLED, || {
        (0..200).for_each(|_| assert_eq!(socket.send_to(b"hello", echo).unwrap(), 5));
        let rollout = rollout(&cluster);
        ensure(text(&rollout, "/phase").ends_with("REVERTED"), || rollout.to_string())
    });
    let ended = rollout(&cluster);
    assert!(text(&ended, "/reason").contains("messages failed") && !text(&ended, "/health").is_empty(), "{ended}");
}

#[test]
fn a_canary_that_is_lost_takes_it_back() {
    let cluster = Cluster::start(3);
    cluster.wait_nodes(3);
    let file = cluster.file("more.yaml", &changed(3, PATIENT, &listener(0)));
    cluster.echoctl().ok(&format!("apply -f {file}"));
    let canary = name(&wait_canary(&cluster));
    let pid = cluster.node_pid(&canary);
    kill_pid(pid, Signal::SIGSTOP);
    eventually("it is told that the canary hangs, before its record is gone", LOST, || {
        let rollout = rollout(&cluster);
        let told = text(&rollout, "/health") == format!("not healthy: the Agent of {canary} does not answer");
        ensure(told, || rollout.to_string())
    });
    let ended = wait_phase(&cluster, "REVERTED", LOST);
    kill_pid(pid, Signal::SIGCONT);
    assert_eq!(text(&ended, "/reason"), "1 of 1 nodes were lost on revision 2, 0 of 3 on revision 1", "{ended}");
    eventually("it is back on revision 1", SETTLED, || {
        let nodes = cluster.nodes()?;
        let good = |node: &Value| node.pointer("/status/applied/n") == Some(&1.into());
        ensure(nodes.len() == 3 && nodes.iter().all(good), || format!("{nodes:?}"))
    });
}

#[test]
fn a_mass_loss_pauses_what_it_has_nothing_to_do_with() {
    let cluster = Cluster::start(4);
    cluster.wait_nodes(4);
    let file = cluster.file("more.yaml", &changed(4, PATIENT, &listener(0)));
    cluster.echoctl().ok(&format!("apply -f {file}"));
    wait_canary(&cluster);
    let stopped: Vec<u32> = ["node-2", "node-3", "node-4"].map(|node| cluster.node_pid(node)).to_vec();
    stopped.iter().for_each(|pid| kill_pid(*pid, Signal::SIGSTOP));
    let paused = wait_phase(&cluster, "PAUSED", LOST);
    stopped.iter().for_each(|pid| kill_pid(*pid, Signal::SIGCONT));
    assert!(text(&paused, "/reason").starts_with("MassLoss: 3 of 4 nodes of pool default vanished"), "{paused}");
    let pools = cluster.echoctl().items("get pools").unwrap();
    assert_eq!(text(pools.first().unwrap(), "/status/conditions/0/type"), "MassLoss", "{pools:?}");
    cluster.echoctl().ok("rollout abort pool/default");
    wait_phase(&cluster, "REVERTED", SETTLED);
}
