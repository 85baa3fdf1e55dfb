//! Autoscaling: nodes come and go by what the nodes do, whoever leads.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use echo_tests::cluster::{SETTLED, bound, pool_file, text};
use echo_tests::wait::{ensure, throughout};
use echo_tests::{Cluster, Process, client, eventually, tools};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Four connections a node, and a change with every round of figures.
const RULE: &str = "autoscale: {minReplicas: 1, maxReplicas: 3, target: {connections: 4}, up: {period: 0s}, \
                    down: {stabilization: 1s, step: 100%, period: 0s}}";

/// The pool of all tests, with this in the place of its number of nodes.
fn pool(scaling: &str) -> String {
    pool_file(1).replace("replicas: 1", scaling)
}

fn status(cluster: &Cluster) -> Result<Value, String> {
    let pools = cluster.echoctl().items("get pools")?;
    pools.first().map(|pool| pool["status"].clone()).ok_or("no pool".to_owned())
}

/// Waits until so many nodes are wanted; returns the conditions.
#[track_caller]
fn desired(cluster: &Cluster, replicas: u64) -> String {
    eventually(&format!("{replicas} nodes are wanted"), SETTLED, || {
        let status = status(cluster)?;
        ensure(status["desired"] == replicas, || status.to_string())?;
        Ok::<_, String>(status["conditions"].to_string())
    })
}

/// Connections that a node serves.
fn open(node: &Value, count: usize) -> Vec<TcpStream> {
    let open = || {
        let mut stream = client::connect(bound(node, "echo-tcp")).unwrap();
        client::echo_on(&mut stream, b"hello").unwrap();
        stream
    };
    (0..count).map(|_| open()).collect()
}

#[test]
fn connections_raise_a_pool_to_its_maximum_and_their_end_lowers_it_though_the_leader_was_killed() {
    let mut cluster = Cluster::start_with(&pool(RULE), &[]);
    let node = cluster.wait_nodes(1).remove(0);
    let crowd = open(&node, 20);
    cluster.wait_nodes(3);
    eventually("it is told that more are asked for", SETTLED, || {
        let sheet = cluster.echoctl().ok("describe pool/default");
        ensure(sheet.contains("TooManyReplicas") && sheet.contains("Replicas:"), || sheet.clone())
    });
    let events = cluster.echoctl().items("get events").unwrap();
    let scaled: Vec<String> =
        events.iter().filter(|e| e["reason"] == "PoolScaled").map(|e| text(e, "/message")).collect();
    assert!(scaled[0].contains("connections: 20.0 a node, over 1 of 1; wanted are 4.0"), "{scaled:?}");

    cluster.control.kill();
    drop(crowd);
    cluster.replace_control();
    eventually("the next one leads", SETTLED, || cluster.nodes());
    assert!(desired(&cluster, 1).contains("TooFewReplicas"));
    cluster.wait_nodes(1);
    cluster.echoctl().ok("delete pool/default");
    let left = cluster.etcd.get_prefix("/echo/v1/default/scales/");
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn at_its_target_a_pool_stays_as_it_is() {
    let cluster = Cluster::start_with(&pool(RULE), &[]);
    let node = cluster.wait_nodes(1).remove(0);
    let first = open(&node, 6);
    let nodes = cluster.wait_nodes(2);
    let other = nodes.iter().find(|n| bound(n, "echo-tcp") != bound(&node, "echo-tcp")).unwrap();
    let _second = open(other, 2);
    desired(&cluster, 2);
    throughout(Duration::from_secs(6), || {
        let status = status(&cluster)?;
        ensure(status["desired"] == 2, || status.to_string())
    });
    drop(first);
    cluster.wait_nodes(1);
    client::tcp_echo(bound(other, "echo-tcp"), b"the busy one stays").unwrap();
}

#[test]
fn an_autoscaler_comes_and_goes_with_the_pool_file_and_nobody_scales_beside_it() {
    let cluster = Cluster::start(2);
    let apply = |name: &str, scaling: &str| {
        let file = cluster.file(name, &pool(scaling));
        cluster.echoctl().run(&format!("apply -f {file}"))
    };
    let steady = RULE.replace("minReplicas: 1", "minReplicas: 2").replace("1s", "300s");
    let both = apply("both.yaml", &format!("replicas: 2\n  {steady}"));
    assert!(both.stderr.contains("spec.replicas: not together with spec.autoscale"), "{both:?}");

    assert_eq!(apply("on.yaml", &steady).stdout, "pool/default configured\n");
    assert_eq!(apply("on.yaml", &steady).stdout, "pool/default unchanged\n");
    desired(&cluster, 2);
    let refused = cluster.echoctl().run("scale pool/default --replicas 5");
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("is autoscaled, 2 to 3 nodes; change spec.autoscale"), "{refused:?}");

    let crowd = open(&cluster.wait_nodes(2)[0], 12);
    desired(&cluster, 3);
    drop(crowd);
    assert_eq!(apply("off.yaml", "").stdout, "pool/default configured\n");
    assert_eq!(cluster.wait_nodes(3).len(), 3, "it keeps the number that it had");
    assert!(cluster.etcd.get_prefix("/echo/v1/default/scales/").is_empty());
    cluster.echoctl().ok("scale pool/default --replicas 1");
    cluster.wait_nodes(1);
}

/// The processes of a cluster of five nodes.
fn pids(cluster: &Cluster) -> [u32; 5] {
    ["1", "2", "3", "4", "5"].map(|n| cluster.node_pid(&format!("node-{n}")))
}

#[test]
fn a_snapshot_that_is_older_than_the_fleet_takes_no_node_away() {
    let steady = RULE.replace("maxReplicas: 3", "maxReplicas: 8").replace("1s", "300s");
    let mut cluster = Cluster::start_with(&pool(&steady), &[]);
    cluster.wait_nodes(1);
    let snapshot = cluster.etcd.save();
    let more = cluster.file("more.yaml", &pool(&steady.replace("minReplicas: 1", "minReplicas: 5")));
    cluster.echoctl().ok(&format!("apply -f {more}"));
    let nodes = cluster.wait_nodes(5);
    let before = pids(&cluster);
    let mut open: Vec<TcpStream> = nodes.iter().flat_map(|node| open(node, 1)).collect();
    // The leader lives on, or another one follows.
    for killed in [false, true] {
        if killed {
            cluster.control.kill();
        }
        cluster.etcd.restore(&snapshot);
        if killed {
            cluster.replace_control();
        }
        let stored =
            || cluster.etcd.get_prefix("/echo/v1/default/scales/").iter().any(|(_, v)| v.contains("5 run already"));
        eventually("the number is raised", SETTLED, || ensure(stored(), || format!("{:?}", cluster.nodes())));
        desired(&cluster, 5);
        cluster.wait_nodes(5);
        assert_eq!(pids(&cluster), before, "killed: {killed}");
        open.iter_mut().for_each(|stream| client::echo_on(stream, b"still here").unwrap());
    }
}

#[test]
fn a_pool_that_a_control_without_nodes_makes_anew_keeps_those_that_run() {
    let mut cluster = Cluster::start(5);
    cluster.wait_nodes(5);
    let before = pids(&cluster);
    let signal = |signal| before.iter().for_each(|pid| kill(Pid::from_raw(*pid as i32), signal).unwrap());
    // None of them can put its record back.
    signal(Signal::SIGSTOP);
    cluster.etcd.wipe();
    let leads = || ensure(!cluster.etcd.get_prefix("/echo/v1/default/leader").is_empty(), || "nobody does".to_owned());
    eventually("the one that runs the nodes leads", SETTLED, leads);
    let mut other = Command::new(tools::ours("echo-control"));
    other.args(["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--etcd", cluster.etcd.url(), "--lifeline"]);
    other.args(["--bootstrap-pool", &cluster.file("open.yaml", &pool(""))]);
    let _other = Process::start("other", cluster.dir(), other);
    desired(&cluster, 5);
    signal(Signal::SIGCONT);
    cluster.wait_nodes(5);
    assert_eq!(pids(&cluster), before);
}

#[test]
fn a_pool_that_is_made_anew_in_an_empty_etcd_keeps_the_nodes_that_serve() {
    let mut cluster = Cluster::start(5);
    let nodes = cluster.wait_nodes(5);
    let before = pids(&cluster);
    let mut open: Vec<TcpStream> = nodes.iter().flat_map(|node| open(node, 1)).collect();
    let steady = RULE.replace("maxReplicas: 3", "maxReplicas: 8").replace("1s", "300s");
    // Neither of them names a number.
    for scaling in ["", &steady] {
        cluster.control.kill();
        cluster.etcd.wipe();
        cluster.file("pool.yaml", &pool(scaling));
        cluster.replace_control();
        eventually("the next one leads", SETTLED, || cluster.nodes());
        desired(&cluster, 5);
        cluster.wait_nodes(5);
        assert_eq!(pids(&cluster), before, "{scaling}");
        open.iter_mut().for_each(|stream| client::echo_on(stream, b"still here").unwrap());
    }
}
