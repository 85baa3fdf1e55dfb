//! Garbage in keys of ours: an event tells it, and nothing else stops.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::Ipv4Addr;

use echo_tests::cluster::{SETTLED, bound, pool_file, text};
use echo_tests::ports::take_port;
use echo_tests::wait::ensure;
use echo_tests::{Cluster, client, eventually};
use serde_json::Value;

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
        ("intents/default/node-1", "7"),
        ("events/zzz", "no event"),
        ("nonsense/of/ours", "?"),
    ];
    for (key, value) in keys {
        cluster.etcd.put(&format!("/echo/v1/default/{key}"), value);
    }
    for (key, _) in keys {
        eventually(&format!("an event tells of {key}"), SETTLED, || {
            let events = cluster.echoctl().items("get events")?;
            let told = |e: &Value| text(e, "/reason") == "InvalidRecord" && text(e, "/object").contains(key);
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
fn an_intent_that_makes_no_sense_takes_nothing_back() {
    let cluster = Cluster::start(1);
    let node = cluster.wait_nodes(1).remove(0);
    let key = "/echo/v1/default/intents/default/node-1";
    let log = cluster.dir().join("logs/node-1.log");
    let drained_by = |who: &str| {
        cluster.etcd.put(key, &format!(r#"{{"kind":"INTENT_KIND_DRAIN","author":"{who}"}}"#));
        eventually("it is drained", SETTLED, || {
            let node = cluster.nodes()?.into_iter().next().ok_or("no node")?;
            let told = (text(&node, "/status/phase"), text(&node, "/status/drain/reason"));
            ensure(told == ("NODE_PHASE_DRAINED".to_owned(), format!("drained by {who}")), || node.to_string())?;
            Ok::<_, String>(text(&node, "/status/drain/startTime"))
        })
    };
    let began = drained_by("ann");
    for (n, value) in ["garbage{", r#"{"kind":"INTENT_KIND_QUIESCE"}"#].into_iter().enumerate() {
        cluster.etcd.put(key, value);
        eventually("the node says so", SETTLED, || {
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            ensure(log.matches("can't be read; going by the last one").count() > n, || log)
        });
        assert!(client::connect(bound(&node, "echo-tcp")).is_err(), "{value}");
    }
    assert_eq!(drained_by("bob"), began, "it is still the same drain");
    cluster.etcd.delete(key);
    cluster.wait_nodes(1);
}

#[test]
fn a_garbage_or_deleted_assignment_is_written_anew() {
    let cluster = Cluster::start(2);
    let nodes = cluster.wait_nodes(2);
    let key = "/echo/v1/default/assignments/default";
    let rebuilt = |times: usize| {
        eventually("the assignment is written anew", SETTLED, || {
            let events = cluster.echoctl().items("get events")?;
            let told = events.iter().filter(|e| text(e, "/reason") == "AssignmentRebuilt").count();
            ensure(told == times, || format!("told {told} times"))
        });
    };
    cluster.etcd.put(key, "garbage");
    rebuilt(1);
    for node in &nodes {
        client::tcp_echo(bound(node, "echo-tcp"), b"hello").unwrap();
    }
    cluster.etcd.delete(key);
    rebuilt(2);
    for node in cluster.wait_nodes(2) {
        client::tcp_echo(bound(&node, "echo-tcp"), b"hello").unwrap();
    }
}

#[test]
fn a_deleted_assignment_does_not_bring_back_a_revision_that_was_taken_back() {
    let cluster = Cluster::start(2);
    let foreign = take_port(Ipv4Addr::new(127, 0, 0, 2));
    let port = foreign.local_addr().unwrap().port();
    let taken = format!("    - {{name: taken, protocol: TCP, port: {port}, service: {{echo: {{}}}}}}\n");
    let file = cluster.file("taken.yaml", &(pool_file(2) + &taken));
    cluster.echoctl().ok(&format!("apply -f {file}"));
    assert_eq!(cluster.echoctl().run("rollout status pool/default --timeout 20s").code, 1);

    cluster.etcd.delete("/echo/v1/default/assignments/default");
    let stable = |node: &Value| node.pointer("/status/applied/n").and_then(Value::as_u64) == Some(1);
    eventually("all nodes run revision 1 again", SETTLED, || {
        let events = cluster.echoctl().items("get events")?;
        ensure(events.iter().any(|e| text(e, "/reason") == "AssignmentRebuilt"), || "not rebuilt yet".to_owned())?;
        let nodes = cluster.nodes()?;
        ensure(nodes.len() == 2 && nodes.iter().all(stable), || format!("{nodes:?}"))
    });
    assert_eq!(cluster.echoctl().run("rollout status pool/default --timeout 20s").code, 1, "it is still taken back");
    for node in cluster.nodes().unwrap() {
        client::tcp_echo(bound(&node, "echo-tcp"), b"hello").unwrap();
    }
}

#[test]
fn a_stored_pool_that_is_none_is_told_to_who_asks_and_can_be_made_again() {
    let cluster = Cluster::start(1);
    let key = "/echo/v1/default/pools/edge";
    cluster.etcd.put(key, "{}");
    let file = cluster.file("edge.yaml", &pool_file(0).replace("name: default", "name: edge"));
    for line in [format!("apply -f {file}"), "rollout status pool/edge --watch=false".into(), "get pools edge".into()] {
        let output = cluster.echoctl().run(&line);
        assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{line}: {output:?}");
        assert!(output.stderr.contains(&format!("etcdctl del {key}")), "{line}: {output:?}");
    }
    assert_eq!(cluster.etcd.get_prefix(key), [(key.to_owned(), "{}".to_owned())], "nothing was stored");
    assert!(cluster.etcd.get_prefix("/echo/v1/default/revisions/edge/").is_empty());
    cluster.etcd.delete(key);
    assert_eq!(cluster.echoctl().ok(&format!("apply -f {file}")), "pool/edge created\n");
}
