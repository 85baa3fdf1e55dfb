//! Garbage in keys of ours: an event tells it, and nothing else stops.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use echo_tests::cluster::{SETTLED, bound, text};
use echo_tests::wait::ensure;
use echo_tests::{Cluster, client, eventually};

#[test]
fn every_unreadable_record_is_an_event_and_the_rest_works_on() {
    let cluster = Cluster::start(2);
    let nodes = cluster.wait_nodes(2);
    let keys = [
        ("nodes/default/intruder", "\u{1}\u{2} not json"),
        ("pools/intruder", "{\"spec\": 7}"),
        ("rollouts/intruder", "[]"),
        ("assignments/intruder", "{"),
        ("revisions/intruder/0000000001", "null"),
        ("intents/default/node-1", "{\"kind\": []}"),
        ("events/zzz", "no event"),
        ("nonsense/of/ours", "?"),
    ];
    for (key, value) in keys {
        cluster.etcd.put(&format!("/echo/v1/default/{key}"), value);
    }
    for key in ["nodes/default/intruder", "pools/intruder", "assignments/intruder", "rollouts/intruder"] {
        eventually(&format!("an event tells of {key}"), SETTLED, || {
            let events = cluster.echoctl().items("get events")?;
            let told =
                |e: &serde_json::Value| text(e, "/reason") == "InvalidRecord" && text(e, "/object").contains(key);
            ensure(events.iter().any(told), || format!("{} events", events.len()))
        });
    }
    for line in ["get nodes", "get pools", "get revisions", "get events"] {
        cluster.echoctl().ok(line);
    }
    cluster.echoctl().ok("scale pool/default --replicas 3");
    cluster.wait_nodes(3);
    for node in &nodes {
        client::tcp_echo(bound(node, "echo-tcp"), b"hello").unwrap();
    }
}

#[test]
fn a_garbage_assignment_leaves_the_nodes_serving_and_deleting_it_repairs_the_pool() {
    let cluster = Cluster::start(2);
    let nodes = cluster.wait_nodes(2);
    let key = "/echo/v1/default/assignments/default";
    cluster.etcd.put(key, "garbage");
    eventually("an event tells of it", SETTLED, || {
        let events = cluster.echoctl().items("get events")?;
        let told = |e: &serde_json::Value| text(e, "/reason") == "InvalidRecord" && text(e, "/object").contains(key);
        ensure(events.iter().any(told), || format!("{} events", events.len()))
    });
    for node in &nodes {
        client::tcp_echo(bound(node, "echo-tcp"), b"hello").unwrap();
    }
    cluster.etcd.delete(key);
    cluster.wait_nodes(2);
    for node in cluster.nodes().unwrap() {
        client::tcp_echo(bound(&node, "echo-tcp"), b"hello").unwrap();
    }
}
