//! Nodes leave, or are drained by an operator: what was begun ends by itself, and what comes back serves again.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::cell::Cell;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use echo_tests::cluster::{DRAIN, READY, SETTLED, bound, pool_on, text};
use echo_tests::lab;
use echo_tests::process::{alive, gone, kill_pid};
use echo_tests::wait::ensure;
use echo_tests::{Cluster, Process, client, eventually, tools};
use nix::sys::signal::Signal;
use serde_json::Value;

/// In a network of the test's own it is free, and found again after a drain.
const PORT: u16 = 7007;
const NODE: &str = "/echo/v1/default/nodes/default/node-1";
const INTENT: &str = "/echo/v1/default/intents/default/node-1";

/// One node that drains as `drain` says; only in a network of the test's own.
fn cluster(drain: &str) -> (Cluster, Value) {
    let pool = pool_on(1, PORT).replace(DRAIN, drain);
    let cluster = Cluster::start_with(&pool, &[]);
    let node = cluster.wait_nodes(1).remove(0);
    (cluster, node)
}

/// Waits until the node is as `holds` says.
#[track_caller]
fn until(cluster: &Cluster, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    eventually(what, SETTLED, || {
        let node = cluster.nodes()?.into_iter().next().ok_or("no node")?;
        ensure(holds(&node), || node.to_string())?;
        Ok::<_, String>(node)
    })
}

#[track_caller]
fn until_stage(cluster: &Cluster, stage: &str) -> Value {
    let told = format!("DRAIN_STAGE_{stage}");
    until(cluster, stage, |node| text(node, "/status/drain/stage") == told)
}

fn cut(node: &Value) -> u64 {
    node.pointer("/status/drain/cutConnections").and_then(Value::as_u64).unwrap_or_default()
}

fn connections(address: SocketAddr, n: usize) -> Vec<TcpStream> {
    let open = |_| {
        let mut stream = client::connect(address).unwrap();
        client::echo_on(&mut stream, b"before").unwrap();
        stream
    };
    (0..n).map(open).collect()
}

#[test]
fn a_drain_that_ends_by_itself_cuts_nobody_and_undrain_reopens_the_same_ports() {
    lab::run("a_drain_that_ends_by_itself_cuts_nobody_and_undrain_reopens_the_same_ports", || {
        let (cluster, node) = cluster("{deadline: 1h}");
        let address = bound(&node, "echo-tcp");
        let mut open = connections(address, 200);
        cluster.echoctl().ok("drain node-1 --detach");
        let closing = until_stage(&cluster, "CLOSING");
        assert_eq!(text(&closing, "/status/phase"), "NODE_PHASE_DRAINING");
        assert!(client::connect(address).is_err());
        for stream in &mut open {
            client::echo_on(stream, b"while it drains").unwrap();
        }
        drop(open);
        let drained = until_stage(&cluster, "DRAINED");
        assert_eq!((text(&drained, "/status/phase").as_str(), cut(&drained)), ("NODE_PHASE_DRAINED", 0));

        cluster.echoctl().ok("undrain node-1");
        let again = cluster.wait_nodes(1).remove(0);
        assert_eq!((bound(&again, "echo-tcp"), bound(&again, "echo-udp")), (address, bound(&node, "echo-udp")));
        client::tcp_echo(address, b"again").unwrap();
        client::udp_echo(bound(&again, "echo-udp"), b"again").unwrap();
    });
}

#[test]
fn a_lame_duck_takes_new_connections_and_force_cuts_them() {
    lab::run("a_lame_duck_takes_new_connections_and_force_cuts_them", || {
        let (cluster, node) = cluster("{lameDuck: 1h}");
        let address = bound(&node, "echo-tcp");
        cluster.echoctl().ok("drain node-1 --detach");
        until_stage(&cluster, "LAME_DUCK");
        let mut late = connections(address, 3);
        // It is taken back, and nobody has noticed.
        cluster.echoctl().ok("undrain node-1");
        cluster.wait_nodes(1);
        cluster.echoctl().ok("drain node-1 --detach");
        until_stage(&cluster, "LAME_DUCK");
        for stream in &mut late {
            client::echo_on(stream, b"still here").unwrap();
        }
        cluster.echoctl().ok("drain node-1 --force --detach");
        assert_eq!(cut(&until_stage(&cluster, "DRAINED")), 3);
        assert!(client::connect(address).is_err());
        assert!(late.iter_mut().all(|stream| client::echo_on(stream, b"cut").is_err()));
    });
}

#[test]
fn udp_is_answered_until_it_is_quiet() {
    lab::run("udp_is_answered_until_it_is_quiet", || {
        let (cluster, node) = cluster("{udpQuiet: 3s}");
        let address = bound(&node, "echo-udp");
        let asked = Cell::new(0);
        let ask = || {
            asked.set(asked.get() + 1);
            client::udp_echo(address, b"as long as somebody asks").map_err(|e| e.to_string())
        };
        ask().unwrap();
        cluster.echoctl().ok("drain node-1 --detach");
        eventually("its TCP listener closes", SETTLED, || {
            ask()?;
            ensure(client::connect(bound(&node, "echo-tcp")).is_err(), || "still open".into())
        });
        for _ in 0..50 {
            ask().unwrap();
        }
        until(&cluster, "its sources are counted", |node| {
            let flows = node.pointer("/status/live/udpFlows").and_then(Value::as_u64);
            // An estimate, and a port may come twice; ten of fifty are never lost to that.
            let counted = flows.is_some_and(|flows| (40..=2 * asked.get()).contains(&flows));
            text(node, "/status/drain/stage") == "DRAIN_STAGE_CLOSING" && counted && ask().is_ok()
        });
        assert_eq!(cut(&until_stage(&cluster, "DRAINED")), 0);
        assert!(client::udp_echo(address, b"after").is_err());
    });
}

#[test]
fn who_was_drained_and_dies_comes_back_drained() {
    lab::run("who_was_drained_and_dies_comes_back_drained", || {
        let (cluster, node) = cluster("{}");
        cluster.echoctl().ok("drain node-1");
        let pid = cluster.node_pid("node-1");
        kill_pid(pid, Signal::SIGKILL);
        let incarnation = text(&node, "/status/incarnation");
        let after = until(&cluster, "another life of it is drained", |node| {
            text(node, "/status/incarnation") != incarnation && text(node, "/status/phase") == "NODE_PHASE_DRAINED"
        });
        assert_eq!(after.pointer("/status/listeners").and_then(Value::as_array).map_or(0, Vec::len), 0);
        assert!(client::connect(bound(&node, "echo-tcp")).is_err());
        cluster.echoctl().ok("undrain node-1");
        cluster.wait_nodes(1);
        client::tcp_echo(bound(&node, "echo-tcp"), b"again").unwrap();
    });
}

#[test]
fn a_drain_or_a_cordon_that_etcd_has_lost_can_be_taken_back() {
    lab::run("a_drain_or_a_cordon_that_etcd_has_lost_can_be_taken_back", || {
        let (mut cluster, node) = cluster("{}");
        let backup = cluster.etcd.save();
        for (wish, takes_back, held) in
            [("drain", "undrain", "/status/drain/stage"), ("cordon", "uncordon", "/status/cordonedBy")]
        {
            cluster.echoctl().ok(&format!("{wish} node-1"));
            until(&cluster, "it is held back", |node| !text(node, held).is_empty());
            cluster.etcd.restore(&backup);
            eventually("it holds back though nothing tells it to", SETTLED, || {
                let (intents, records) = (cluster.etcd.get_prefix(INTENT), cluster.etcd.get_prefix(NODE));
                let record = records.first().and_then(|(_, json)| serde_json::from_str::<Value>(json).ok());
                let held = record.is_some_and(|record| !text(&record, held).is_empty());
                ensure(held && intents.is_empty(), || format!("{intents:?} {records:?}"))
            });
            let said = eventually("control is back", SETTLED, || {
                let run = cluster.echoctl().run(&format!("{takes_back} node-1"));
                ensure(run.code == 0, || run.stderr.clone())?;
                Ok::<_, String>(run.stdout)
            });
            assert_eq!(said, format!("node/node-1 {takes_back}ed\n"));
            until(&cluster, "it is back", |node| text(node, held).is_empty());
            cluster.wait_nodes(1);
            client::tcp_echo(bound(&node, "echo-tcp"), b"again").unwrap();
            eventually("no wish is left", SETTLED, || ensure(cluster.etcd.get_prefix(INTENT).is_empty(), String::new));
        }
    });
}

#[test]
fn who_was_cordoned_before_a_drain_is_cordoned_after_it() {
    lab::run("who_was_cordoned_before_a_drain_is_cordoned_after_it", || {
        let (cluster, _) = cluster("{}");
        cluster.echoctl().ok("cordon node-1");
        cluster.echoctl().ok("drain node-1");
        let said = cluster.echoctl().ok("undrain node-1");
        assert!(
            said.starts_with("node/node-1 undrained, and cordoned by ") && said.ends_with(" as before\n"),
            "{said}"
        );
        until(&cluster, "it serves, cordoned", |node| {
            text(node, "/status/phase") == "NODE_PHASE_READY" && !text(node, "/status/cordonedBy").is_empty()
        });
    });
}

#[test]
fn a_node_drains_without_etcd_as_well() {
    lab::run("a_node_drains_without_etcd_as_well", || {
        let (mut cluster, node) = cluster("{deadline: 1h}");
        let address = bound(&node, "echo-tcp");
        let pid = cluster.node_pid("node-1");
        let mut open = connections(address, 3);
        cluster.etcd.kill();
        kill_pid(pid, Signal::SIGTERM);
        eventually("the listener closes", SETTLED, || {
            ensure(client::connect(address).is_err(), || "still open".into())
        });
        for stream in &mut open {
            client::echo_on(stream, b"while it drains").unwrap();
        }
        assert!(alive(pid));
        drop(open);
        gone(pid, SETTLED);
        cluster.etcd.restart();
        cluster.wait_nodes(1);
    });
}

#[test]
fn a_retired_node_says_that_it_leaves_before_its_record_goes() {
    lab::run("a_retired_node_says_that_it_leaves_before_its_record_goes", || {
        let (cluster, node) = cluster("{}");
        let mut command = Command::new(tools::foreign("etcdctl"));
        command.env("ETCDCTL_API", "3").args(["--endpoints", cluster.etcd.url(), "watch", NODE, "--rev", "1"]);
        let watch = Process::start("watch", cluster.dir(), command);
        let pid = cluster.node_pid("node-1");
        let intent = |incarnation: &str| {
            format!(r#"{{"kind":"INTENT_KIND_RETIRE","author":"ann","incarnation":"{incarnation}"}}"#)
        };
        let incarnation = text(&node, "/status/incarnation");
        cluster.etcd.put(INTENT, &intent(&incarnation));
        gone(pid, READY);
        let told = eventually("its record is gone", SETTLED, || {
            let log: String = watch.log().split_whitespace().collect();
            let told = log.split_once("DELETE").map(|(before, _)| before.to_owned());
            told.ok_or(log)
        });
        let last = told.rsplit("PUT").next().unwrap();
        assert!(last.contains(r#""reason":"retiredbyann""#) && last.contains(r#""exits":true"#), "{last}");
    });
}
