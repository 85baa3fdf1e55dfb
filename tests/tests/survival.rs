//! Processes are killed; the cluster goes on.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use echo_tests::cluster::{READY, bound, name, text};
use echo_tests::process::{alive, kill_pid};
use echo_tests::wait::ensure;
use echo_tests::{Cluster, client, eventually};
use nix::sys::signal::Signal;

#[test]
fn killed_control_stops_nothing_and_its_successor_adopts_the_nodes() {
    let mut cluster = Cluster::start(2);
    let nodes = cluster.wait_nodes(2);
    let pids: Vec<u32> = nodes.iter().map(|n| cluster.node_pid(&name(n))).collect();
    let mut open = client::connect(bound(&nodes[0], "echo-tcp")).unwrap();
    client::echo_on(&mut open, b"before").unwrap();

    // The lifeline of the test's Process stays open: only control itself dies.
    cluster.control.kill();
    for (node, pid) in nodes.iter().zip(&pids) {
        assert!(alive(*pid));
        client::tcp_echo(bound(node, "echo-tcp"), b"without control").unwrap();
        client::udp_echo(bound(node, "echo-udp"), b"without control").unwrap();
    }
    cluster.replace_control();
    cluster.wait_nodes(2);
    client::echo_on(&mut open, b"after").unwrap();

    // It drives: it can replace a node that it did not start itself.
    kill_pid(pids[1], Signal::SIGKILL);
    eventually("node-2 has another process", READY, || {
        ensure(cluster.node_pid("node-2") != pids[1], || "not yet".into())
    });
    cluster.wait_nodes(2);
    assert_eq!(cluster.node_pid("node-1"), pids[0], "the other one was left alone");
}

#[test]
fn a_killed_node_comes_back_under_its_name_and_address() {
    let cluster = Cluster::start(2);
    let before = cluster.wait_nodes(2);
    let pid = cluster.node_pid("node-2");
    kill_pid(pid, Signal::SIGKILL);
    let after = eventually("node-2 serves in another life", READY, || {
        let nodes = cluster.nodes()?;
        let node = nodes.into_iter().find(|n| name(n) == "node-2").ok_or("no node-2")?;
        let other = text(&node, "/status/incarnation") != text(&before[1], "/status/incarnation");
        ensure(other && text(&node, "/status/phase") == "NODE_PHASE_READY", || format!("{node}"))?;
        Ok::<_, String>(node)
    });
    assert_eq!(bound(&after, "echo-tcp").ip(), bound(&before[1], "echo-tcp").ip());
    client::tcp_echo(bound(&after, "echo-tcp"), b"again").unwrap();
}

#[test]
fn etcd_may_die_and_return_under_traffic() {
    let mut cluster = Cluster::start(2);
    let nodes = cluster.wait_nodes(2);
    let mut open = client::connect(bound(&nodes[0], "echo-tcp")).unwrap();
    cluster.etcd.kill();
    for node in &nodes {
        client::echo_on(&mut open, b"no etcd").unwrap();
        client::tcp_echo(bound(node, "echo-tcp"), b"no etcd").unwrap();
        client::udp_echo(bound(node, "echo-udp"), b"no etcd").unwrap();
    }
    let refused = cluster.echoctl().run("get pools");
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("etcd"), "{}", refused.stderr);
    assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);

    cluster.etcd.restart();
    cluster.wait_nodes(2);
    client::echo_on(&mut open, b"etcd again").unwrap();
    cluster.echoctl().ok("scale pool/default --replicas 3");
    cluster.wait_nodes(3);
}
