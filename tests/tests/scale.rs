//! Scaling: nodes come and go until there are as many as asked for.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::process::Command;

use echo_tests::cluster::{SETTLED, bound, name, pool_file};
use echo_tests::process::{alive, gone};
use echo_tests::wait::ensure;
use echo_tests::{Cluster, Process, client, eventually, tools};

#[test]
fn a_pool_grows_and_shrinks() {
    let cluster = Cluster::start(1);
    assert_eq!(cluster.echoctl().ok("scale pool/default --replicas 4"), "pool/default scaled from 1 to 4\n");
    let nodes = cluster.wait_nodes(4);
    for node in &nodes {
        client::tcp_echo(bound(node, "echo-tcp"), b"hello").unwrap();
        client::udp_echo(bound(node, "echo-udp"), b"hello").unwrap();
    }
    assert_eq!(nodes.iter().map(name).collect::<Vec<_>>(), ["node-1", "node-2", "node-3", "node-4"]);
    let pids: Vec<u32> = nodes.iter().map(|n| cluster.node_pid(&name(n))).collect();

    cluster.echoctl().ok("scale pool/default --replicas 2");
    let left = cluster.wait_nodes(2);
    assert_eq!(left.iter().map(name).collect::<Vec<_>>(), ["node-1", "node-2"]);
    gone(pids[2], SETTLED);
    gone(pids[3], SETTLED);
    assert!(alive(pids[0]) && alive(pids[1]), "the others were left alone");

    // The file still says one node, but replicas are not part of a revision.
    let file = cluster.file("same.yaml", &pool_file(2));
    assert_eq!(cluster.echoctl().ok(&format!("apply -f {file}")), "pool/default unchanged\n");
    assert_eq!(cluster.echoctl().items("get revisions").unwrap().len(), 1);

    cluster.echoctl().ok("scale pool/default --replicas 0");
    cluster.wait_nodes(0);
    cluster.echoctl().ok("scale pool/default --replicas 1");
    cluster.wait_nodes(1);
}

#[test]
fn an_open_connection_is_drained_before_its_node_leaves() {
    let cluster = Cluster::start(2);
    let node = cluster.wait_nodes(2).remove(1);
    let pid = cluster.node_pid("node-2");
    let mut open = client::connect(bound(&node, "echo-tcp")).unwrap();
    client::echo_on(&mut open, b"before").unwrap();
    cluster.echoctl().ok("scale pool/default --replicas 1");
    eventually("the listener closes", SETTLED, || {
        ensure(client::connect(bound(&node, "echo-tcp")).is_err(), || "still open".into())
    });
    client::echo_on(&mut open, b"while it drains").unwrap();
    assert!(alive(pid));
    drop(open);
    gone(pid, SETTLED);
    cluster.wait_nodes(1);
}

#[test]
fn a_watch_tells_what_changes() {
    let cluster = Cluster::start(1);
    let mut command = Command::new(tools::ours("echoctl"));
    command.env("ECHO_SERVER", format!("http://{}", cluster.address())).args(["get", "pools", "-w", "-o", "json"]);
    let watch = Process::start("watch", cluster.dir(), command);
    let told = |replicas: u32| {
        let wanted = format!("\"replicas\":{replicas},");
        eventually(&format!("the watch tells of {replicas}"), SETTLED, || {
            let log: String = watch.log().split_whitespace().collect();
            ensure(log.contains(&wanted), || log.clone())
        });
    };
    told(1);
    cluster.echoctl().ok("scale pool/default --replicas 2");
    told(2);
}

#[test]
fn rollout_status_waits_for_the_nodes_and_fails_where_one_cannot_run_it() {
    let cluster = Cluster::start(1);
    cluster.echoctl().ok("scale default --replicas 3");
    let said = cluster.echoctl().ok("rollout status default --timeout 20s");
    assert!(said.contains("all 3 nodes of pool/default run revision 1"), "{said}");
    // A first revision is stable at once, and yet no node can run it: 192.0.2.1 is nobody's (RFC 5737).
    let file = pool_file(1).replace("name: default", "name: bad").replace("port: 0,", "port: 0, address: 192.0.2.1,");
    cluster.echoctl().ok(&format!("apply -f {}", cluster.file("bad.yaml", &file)));
    let failed = cluster.echoctl().run("rollout status bad --timeout 20s");
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.stderr.contains("rejected revision 1: listener echo-tcp: bind 192.0.2.1:0"), "{failed:?}");
}
