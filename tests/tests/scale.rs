//! Scaling: nodes come and go until there are as many as asked for.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::process::Command;

use echo_tests::cluster::{SETTLED, bound, name, pool_file, text};
use echo_tests::process::{alive, gone};
use echo_tests::wait::ensure;
use echo_tests::{Cluster, Process, client, eventually, tools};
use serde_json::Value;

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
    let pids: BTreeMap<String, u32> = nodes.iter().map(|n| (name(n), cluster.node_pid(&name(n)))).collect();

    cluster.echoctl().ok("scale pool/default --replicas 2");
    let left: Vec<String> = cluster.wait_nodes(2).iter().map(name).collect();
    for (node, pid) in pids {
        if left.contains(&node) {
            assert!(alive(pid), "{node} was left alone");
        } else {
            gone(pid, SETTLED);
        }
    }

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
    let [busier, node] = cluster.wait_nodes(2).try_into().unwrap();
    let pid = cluster.node_pid("node-2");
    let _stay = [open(&busier), open(&busier)];
    let mut open = open(&node);
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
fn a_busy_node_stays_and_an_empty_one_goes() {
    let cluster = Cluster::start(3);
    let nodes = cluster.wait_nodes(3);
    let mut kept = [open(&nodes[1]), open(&nodes[2])];
    cluster.echoctl().ok("scale pool/default --replicas 2");
    assert_eq!(cluster.wait_nodes(2).iter().map(name).collect::<Vec<_>>(), ["node-2", "node-3"]);
    kept.iter_mut().for_each(|open| client::echo_on(open, b"goes on").unwrap());
    cluster.echoctl().ok("scale pool/default --replicas 3");
    assert_eq!(cluster.wait_nodes(3).iter().map(name).collect::<Vec<_>>(), ["node-1", "node-2", "node-3"]);
}

#[test]
fn zones_stay_balanced_and_the_busy_node_of_each_stays() {
    let cluster = Cluster::start_with(&pool_file(6), &[("ECHO_NODE_ZONES", "a,b,c")]);
    let nodes = cluster.wait_nodes(6);
    let zones = |nodes: &[Value]| nodes.iter().map(|node| text(node, "/status/zone")).collect::<Vec<_>>();
    assert_eq!(zones(&nodes), ["a", "b", "c", "a", "b", "c"]);
    let mut kept = [open(&nodes[3]), open(&nodes[1])];
    client::udp_echo(bound(&nodes[5], "echo-udp"), b"a flow").unwrap();
    cluster.echoctl().ok("scale pool/default --replicas 3");
    let left = cluster.wait_nodes(3);
    assert_eq!(left.iter().map(name).collect::<Vec<_>>(), ["node-2", "node-4", "node-6"]);
    kept.iter_mut().for_each(|open| client::echo_on(open, b"goes on").unwrap());
    cluster.echoctl().ok("scale pool/default --replicas 4");
    assert_eq!(zones(&cluster.wait_nodes(4))[0], "a", "the lowest free index where all zones have one");
}

#[test]
fn a_backup_that_is_older_than_the_fleet_takes_no_node_away() {
    let mut cluster = Cluster::start(0);
    let edge = pool_file(1).replace("name: default", "name: edge");
    cluster.echoctl().ok(&format!("apply -f {}", cluster.file("edge.yaml", &edge)));
    let backup = cluster.file("backup.yaml", "");
    cluster.echoctl().ok(&format!("backup -o {backup}"));
    cluster.echoctl().ok("scale pool/edge --replicas 3");
    let nodes = cluster.wait_nodes(3);
    let pids: Vec<u32> = nodes.iter().map(|node| cluster.node_pid(&name(node))).collect();

    cluster.etcd.wipe();
    let restored = eventually("the backup is restored", SETTLED, || {
        let restored = cluster.echoctl().run(&format!("restore -f {backup}"));
        ensure(restored.code == 0, || format!("{restored:?}")).map(|()| restored)
    });
    assert!(restored.stdout.contains("pool/edge created\n"), "{restored:?}");
    assert!(restored.stderr.contains("pool/edge keeps its 3 nodes, in place of 1;"), "{restored:?}");
    assert_eq!(cluster.wait_nodes(3).iter().map(name).collect::<Vec<_>>(), ["node-1", "node-2", "node-3"]);
    assert!(pids.into_iter().all(alive));
    cluster.echoctl().ok("scale pool/edge --replicas 1");
    cluster.wait_nodes(1);
}

/// A connection that its node serves.
fn open(node: &Value) -> TcpStream {
    let mut open = client::connect(bound(node, "echo-tcp")).unwrap();
    client::echo_on(&mut open, b"before").unwrap();
    open
}

#[test]
fn a_file_that_asks_for_more_nodes_than_a_host_can_hold_is_refused_at_the_field() {
    let cluster = Cluster::start(0);
    let apply = |scaling: &str, flags: &str| {
        let file = pool_file(0).replace("name: default", "name: edge").replace("replicas: 0", scaling);
        cluster.echoctl().run(&format!("apply -f {} {flags}", cluster.file("edge.yaml", &file)))
    };
    let rule =
        |least: u32| format!("autoscale: {{minReplicas: {least}, maxReplicas: 300, target: {{connections: 9}}}}");
    let beyond = "is too large; at most 254 of all pools: the control that leads, ";
    for (scaling, mistake) in [
        ("replicas: 255".to_owned(), format!("spec.replicas: 255 {beyond}")),
        (rule(255), format!("spec.autoscale.minReplicas: 255 {beyond}")),
    ] {
        for flags in ["", "--dry-run=server"] {
            let refused = apply(&scaling, flags);
            assert_eq!((refused.code, refused.stdout.as_str()), (1, ""), "{refused:?}");
            assert!(refused.stderr.starts_with("error: ") && refused.stderr.contains(&mistake), "{refused:?}");
        }
    }
    assert!(cluster.etcd.get_prefix("/echo/v1/default/pools/edge").is_empty(), "nothing was stored");
    let warned = apply(&rule(1), "--dry-run=server");
    let told = format!("warning: pool/edge never grows to its maximum: spec.autoscale.maxReplicas: 300 {beyond}");
    assert!(warned.code == 0 && warned.stderr.starts_with(&told), "{warned:?}");
}

#[test]
fn a_pool_made_smaller_than_what_runs_on_other_hosts_names_who_stays_and_how_to_end_it() {
    let cluster = Cluster::start(1);
    let record = |node: &str| format!("/echo/v1/default/nodes/default/{node}");
    let (_, own) = cluster.etcd.get_prefix(&record("node-1")).remove(0);
    let mut other: Value = serde_json::from_str(&own).unwrap();
    other["status"]["host"] = "far".into();
    cluster.etcd.put(&record("node-9"), &other.to_string());
    eventually("that is one too many, and ours goes", SETTLED, || {
        let left: Vec<String> = cluster.nodes()?.iter().map(name).collect();
        ensure(left == ["node-9"], || format!("{left:?}"))
    });
    let told = "warning: pool/default: 1 node too many, which the control that leads did not start and does not stop: \
                node-9 on far; `echoctl delete node/node-9` ends one\n";
    for line in ["scale default -r 0", &format!("apply -f {}", cluster.file("none.yaml", &pool_file(0)))] {
        assert_eq!(cluster.echoctl().run(&format!("{line} --dry-run=server")).stderr, told, "{line}");
    }
    assert_eq!(cluster.echoctl().run("scale default -r 1 --dry-run=server").stderr, "");
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
    let pools = cluster.echoctl().run("get pools");
    let told = "bad: no node serves revision 1 yet; `echoctl rollout status pool/bad` tells why";
    assert!((pools.stdout + &pools.stderr).contains(told));
    // Several at once, with and without their type; one that is not there keeps the others from nothing.
    let several = cluster.echoctl().run("scale bad absent pool/default --replicas 2");
    assert_eq!(several.stdout, "pool/bad scaled from 1 to 2\npool/default scaled from 3 to 2\n");
    assert!(several.code == 1 && several.stderr.contains("\"absent\" not found"), "{several:?}");
}
