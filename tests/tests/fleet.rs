//! What control knows of nodes that etcd no longer vouches for, and what it tells of all of them.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::process::Command;
use std::time::Duration;

use echo_tests::cluster::{SETTLED, bound, name, text};
use echo_tests::wait::ensure;
use echo_tests::{Cluster, Process, SlowPath, client, eventually, tools};
use serde_json::Value;

/// Of the lease of a node that nobody supervises.
const LEASE_TTL: Duration = Duration::from_secs(2);
/// No such lease ends within a test.
const LONG_LEASE: Duration = Duration::from_secs(600);

/// A node of the cluster's pool that nobody starts again.
fn lonely(cluster: &Cluster, etcd: &str, lease: Duration) -> Process {
    let mut command = Command::new(tools::ours("echo-node"));
    command.args(["--id", "lonely", "--pool", "default", "--etcd", etcd, "--lifeline"]);
    command.args(["--lease-ttl", &format!("{}s", lease.as_secs()), "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    Process::start("lonely", cluster.dir(), command)
}

/// Waits until the node is shown in this state.
#[track_caller]
fn wait_sync(cluster: &Cluster, wanted: &str) -> Value {
    eventually(&format!("lonely is {wanted}"), SETTLED, || {
        let node = cluster.nodes()?.into_iter().find(|node| name(node) == "lonely").ok_or("it is not listed")?;
        ensure(text(&node, "/status/sync") == format!("SYNC_STATE_{wanted}"), || format!("{node}"))?;
        Ok::<_, String>(node)
    })
}

/// Reasons of the events of a node, as they began; without its conditions, which are this machine's.
fn reasons(cluster: &Cluster, node: &str) -> Vec<String> {
    let events = cluster.echoctl().items("get events").unwrap_or_default();
    let of_node = events.iter().filter(|event| text(event, "/object") == format!("node/{node}"));
    of_node.map(|event| text(event, "/reason")).filter(|reason| reason.starts_with("Node")).collect()
}

#[track_caller]
fn wait_event(cluster: &Cluster, node: &str, reason: &str) {
    eventually(&format!("{reason} is told of {node}"), SETTLED, || {
        let reasons = reasons(cluster, node);
        ensure(reasons.iter().any(|told| told == reason), || format!("{reasons:?}"))
    });
}

#[test]
fn a_killed_node_is_lost_until_it_comes_back() {
    let cluster = Cluster::start(1);
    let mut node = lonely(&cluster, cluster.etcd.url(), LEASE_TTL);
    wait_sync(&cluster, "SYNCED");
    node.kill();
    let key = "/echo/v1/default/nodes/default/lonely";
    eventually("its record is gone", SETTLED, || ensure(cluster.etcd.get_prefix(key).is_empty(), || "there".into()));
    let lost = wait_sync(&cluster, "LOST");
    assert!(!text(&lost, "/status/vanishTime").is_empty(), "{lost}");
    let pool = &cluster.echoctl().items("get pools").unwrap()[0];
    assert_eq!(pool.pointer("/status/nodes").and_then(Value::as_u64), Some(1), "only who lives counts: {pool}");
    wait_event(&cluster, "lonely", "NodeVanished");

    let _again = lonely(&cluster, cluster.etcd.url(), LEASE_TTL);
    wait_sync(&cluster, "SYNCED");
    wait_event(&cluster, "lonely", "NodeReturned");
    assert_eq!(reasons(&cluster, "lonely")[..3], ["NodeJoined", "NodeReady", "NodeVanished"]);
}

#[test]
fn a_node_without_etcd_is_stale_and_serves() {
    let cluster = Cluster::start(1);
    let path = SlowPath::start(cluster.etcd.url(), Duration::ZERO);
    let _node = lonely(&cluster, path.url(), LEASE_TTL);
    wait_sync(&cluster, "SYNCED");
    path.cut_requests();
    let stale = wait_sync(&cluster, "STALE");
    client::tcp_echo(bound(&stale, "echo-tcp"), b"without etcd").unwrap();
    wait_event(&cluster, "lonely", "NodeVanished");
}

#[test]
fn a_record_that_came_back_with_etcd_proves_no_life() {
    let mut cluster = Cluster::start(1);
    let mut node = lonely(&cluster, cluster.etcd.url(), LONG_LEASE);
    wait_sync(&cluster, "SYNCED");
    cluster.etcd.kill();
    node.kill();
    cluster.etcd.restart();
    wait_sync(&cluster, "LOST");
    eventually("how long etcd was away is told", SETTLED, || {
        let events = cluster.echoctl().items("get events")?;
        let told = events.iter().find(|event| text(event, "/reason") == "EtcdReturned").ok_or("not yet")?;
        let about = (text(told, "/object"), text(told, "/type"));
        ensure(about == ("cluster/default".into(), "EVENT_TYPE_WARNING".into()), || format!("{told}"))
    });
    let others = cluster.nodes().unwrap();
    let alive = others.iter().find(|node| name(node) == "node-1").unwrap();
    assert_eq!(text(alive, "/status/sync"), "SYNC_STATE_SYNCED");
}

#[test]
fn a_new_leader_tells_what_happened_while_nobody_led_and_nothing_twice() {
    let mut cluster = Cluster::start(2);
    wait_event(&cluster, "node-2", "NodeReady");
    let mut node = lonely(&cluster, cluster.etcd.url(), LEASE_TTL);
    wait_event(&cluster, "lonely", "NodeReady");
    cluster.control.kill();
    node.kill();
    let key = "/echo/v1/default/nodes/default/lonely";
    eventually("its record is gone", SETTLED, || ensure(cluster.etcd.get_prefix(key).is_empty(), || "there".into()));
    cluster.replace_control();
    wait_event(&cluster, "lonely", "NodeVanished");
    assert_eq!(reasons(&cluster, "lonely"), ["NodeJoined", "NodeReady", "NodeVanished"]);
    let events = cluster.echoctl().items("get events").unwrap();
    let joined: Vec<_> = events.iter().filter(|event| text(event, "/reason") == "NodeJoined").collect();
    assert!(joined.iter().all(|event| event["count"] == 1), "{joined:?}");
    let elected = events.iter().filter(|event| text(event, "/reason") == "LeaderElected").collect::<Vec<_>>();
    assert_eq!(elected.len(), 2);
    assert_eq!(text(elected[1], "/from"), text(elected[0], "/to"));
}
