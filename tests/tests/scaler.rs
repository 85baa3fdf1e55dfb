//! Who owns the nodes: one control at a time, and that one all of them, however the one before it ended.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use echo_tests::cluster::{READY, SETTLED, bound, name, pool_file, spawn_control, text};
use echo_tests::ports::{free_port, own_loopback_address};
use echo_tests::process::{gone, kill_pid};
use echo_tests::wait::ensure;
use echo_tests::{Cluster, Echoctl, Etcd, Process, SlowPath, client, eventually, tools};
use nix::sys::signal::Signal;

/// Short, and long enough for a grant and a write over the slow path.
const LEADER_TTL: Duration = Duration::from_secs(3);
/// Of every answer on the slow path: a third of the TTL.
const DELAY: Duration = Duration::from_secs(1);

/// From the death of a leader until another leads, by the TTL of 5 s that is the default.
const SUCCESSION: Duration = Duration::from_secs(7);

/// A leader that dies is followed soon.
const LEADER: [(&str, &str); 1] = [("ECHO_LEADER_TTL", "1s")];

/// Processes whose command line names a node's directory below `dir`.
fn running(dir: &Path) -> usize {
    let nodes = format!("{}/nodes/node-", dir.file_name().unwrap().to_string_lossy());
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(&nodes)).count()
}

fn control(name: &str, dir: &Path, etcd: &str, leader_ttl: Duration) -> Process {
    let mut command = Command::new(tools::ours("echo-control"));
    command.args(["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--etcd", etcd, "--lifeline"]);
    command.args(["--leader-ttl", &format!("{}s", leader_ttl.as_secs())]);
    Process::start(name, dir, command)
}

/// What the leader key holds.
fn leader(etcd: &Etcd) -> Option<String> {
    etcd.get_prefix("/echo/v1/default/leader").into_iter().next().map(|(_, record)| record)
}

/// Waits until another than `before` leads.
#[track_caller]
fn wait_leader(etcd: &Etcd, before: Option<&String>) -> String {
    eventually("another leads", SETTLED, || leader(etcd).filter(|l| Some(l) != before).ok_or("not yet"))
}

#[test]
fn a_control_that_was_killed_while_it_started_nodes_leaves_none_unowned() {
    let mut cluster = Cluster::start(1);
    cluster.echoctl().ok("scale pool/default --replicas 8");
    eventually("more nodes are being started", SETTLED, || {
        ensure(cluster.dir().join("logs/node-2.log").exists(), || "no log of node-2".to_owned())
    });
    cluster.control.kill();
    // Also for certain what the kill leaves by chance: a node that runs, and no record of it.
    std::fs::remove_file(cluster.dir().join("nodes/node-1.json")).unwrap();
    cluster.replace_control();
    cluster.wait_nodes(8);
    cluster.echoctl().ok("scale pool/default --replicas 1");
    cluster.wait_nodes(1);
    eventually("one process is left", SETTLED, || {
        let running = running(cluster.dir());
        ensure(running == 1, || format!("{running} run"))
    });
}

#[test]
fn a_leader_on_a_slow_path_gives_up_before_another_leads() {
    let dir = tools::scratch("leaders");
    let etcd = Etcd::start(&dir);
    let path = SlowPath::start(etcd.url(), DELAY);
    let slow = control("slow", &dir, path.url(), LEADER_TTL);
    let first = wait_leader(&etcd, None);
    // It still waits for etcd's answer, and will not be able to renew.
    path.cut_requests();
    let _next = control("next", &dir, etcd.url(), LEADER_TTL);
    wait_leader(&etcd, Some(&first));
    let log = slow.log();
    let told = |what: &str| log.matches(what).count();
    let ended = told("no longer the leader") + told("leader key is gone") + told("lease expired");
    assert_eq!(told("this process is the leader"), ended, "both lead:\n{log}");
}

#[test]
fn another_leads_soon_after_the_leader_was_killed() {
    let dir = tools::scratch("succession");
    let etcd = Etcd::start(&dir);
    let ttl = Duration::from_secs(5);
    let mut first = control("first", &dir, etcd.url(), ttl);
    let leader = wait_leader(&etcd, None);
    let second = control("second", &dir, etcd.url(), ttl);
    eventually("the second knows the cluster", SETTLED, || {
        ensure(second.log().contains("the cluster's state is read"), || second.log())
    });
    first.kill();
    let killed = Instant::now();
    wait_leader(&etcd, Some(&leader));
    assert!(killed.elapsed() < SUCCESSION, "{:?}", killed.elapsed());
    println!("another leads after {:?}", killed.elapsed());
}

#[test]
fn a_leader_that_was_stopped_beyond_its_ttl_hands_over_and_writes_nothing() {
    let dir = tools::scratch("stopped");
    let etcd = Etcd::start(&dir);
    let first = control("first", &dir, etcd.url(), LEADER_TTL);
    let leader = wait_leader(&etcd, None);
    // Only then does it know.
    eventually("the first one leads", SETTLED, || {
        ensure(first.log().contains("this process is the leader"), || first.log())
    });
    first.signal(Signal::SIGSTOP);
    let _second = control("second", &dir, etcd.url(), LEADER_TTL);
    let next = wait_leader(&etcd, Some(&leader));
    // What the first one would report, now that it believes to lead still.
    etcd.put("/echo/v1/default/pools/bad", "garbage");
    first.signal(Signal::SIGCONT);
    eventually("the first one knows", SETTLED, || {
        let log = first.log();
        let told = ["no longer the leader", "leader key is gone", "lease expired", "lease is gone"];
        ensure(told.iter().any(|what| log.contains(what)), || log.clone())
    });
    let reports = || {
        let events = etcd.get_prefix("/echo/v1/default/events/");
        events.into_iter().filter(|(_, event)| event.contains("InvalidRecord")).collect::<Vec<_>>()
    };
    eventually("the bad key is reported", SETTLED, || ensure(!reports().is_empty(), || "not yet".to_owned()));
    assert_eq!(reports().len(), 1, "only one of them wrote");
    assert!(reports()[0].1.contains("\"count\":1"), "{:?}", reports());
    assert_eq!(self::leader(&etcd), Some(next));
}

#[test]
fn a_killed_node_is_replaced_and_told() {
    let cluster = Cluster::start(1);
    let node = cluster.wait_nodes(1).remove(0);
    let ip = bound(&node, "echo-tcp").ip();
    kill_pid(cluster.node_pid("node-1"), Signal::SIGKILL);
    let serves = || {
        let node =
            cluster.nodes()?.into_iter().find(|n| text(n, "/status/incarnation") != text(&node, "/status/incarnation"));
        let node = node.ok_or("the old life is still listed")?;
        ensure(text(&node, "/status/phase") == "NODE_PHASE_READY", || "not ready".to_owned())?;
        client::tcp_echo(bound(&node, "echo-tcp"), b"again").map_err(|e| e.to_string())?;
        Ok::<_, String>(bound(&node, "echo-tcp"))
    };
    let address = eventually("another process serves", SETTLED, serves);
    assert_eq!(address.ip(), ip);
    eventually("it is told", SETTLED, || {
        let events = cluster.echoctl().items("get events")?;
        let told =
            events.iter().any(|e| text(e, "/reason") == "NodeReplaced" && text(e, "/message").contains("signal 9"));
        ensure(told, || format!("{events:?}"))
    });
}

/// Waits until so many nodes serve, of which so many run below each of these directories.
#[track_caller]
fn wait_runs(echoctl: &Echoctl, dirs: [&Path; 2], runs: [usize; 2]) {
    eventually(&format!("{runs:?} nodes run"), READY, || {
        let nodes = echoctl.items("get nodes")?;
        let ready = nodes.iter().filter(|node| text(node, "/status/phase") == "NODE_PHASE_READY").count();
        let found = dirs.map(running);
        let told = || format!("{found:?} run, {ready} of {} are ready", nodes.len());
        ensure(found == runs && ready == runs.iter().sum::<usize>() && nodes.len() == ready, told)
    });
}

#[test]
fn nodes_that_another_control_started_are_neither_doubled_nor_stopped() {
    let mut cluster = Cluster::start_with(&pool_file(3), &LEADER);
    let (ip, dir) = (own_loopback_address(), tools::scratch("other-host"));
    std::fs::write(dir.join("pool.yaml"), pool_file(3)).unwrap();
    let env = LEADER.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let address = (ip, free_port(ip)).into();
    let mut second = spawn_control(&dir, cluster.etcd.url(), address, &env);
    let echoctl = Echoctl::new(&format!("http://{address}"));
    eventually("it follows", SETTLED, || ensure(second.log().contains("the cluster's state is read"), || second.log()));
    let before = cluster.nodes().unwrap().iter().map(|node| text(node, "/status/incarnation")).collect::<Vec<_>>();
    cluster.control.kill();
    let home = cluster.dir().to_owned();
    let dirs = [home.as_path(), dir.as_path()];

    echoctl.ok("scale default -r 4");
    wait_runs(&echoctl, dirs, [3, 1]);
    let after = echoctl.items("get nodes").unwrap();
    assert_eq!(after.iter().map(name).collect::<Vec<_>>(), ["node-1", "node-2", "node-3", "node-4"]);
    assert!(before.iter().zip(&after).all(|(before, node)| *before == text(node, "/status/incarnation")));

    echoctl.ok("scale default -r 2");
    wait_runs(&echoctl, dirs, [3, 0]);
    let told = || {
        let shown = echoctl.ok("describe pool/default");
        shown.contains("StartedElsewhere").then_some(shown).ok_or("not told yet")
    };
    let shown = eventually("it is told who can't be stopped", SETTLED, told);
    let cause = "1 node too many, which the control that leads did not start and does not stop: node-1 on";
    assert!(shown.contains(cause) && shown.contains("`echoctl delete node/node-3` ends one"), "{shown}");
    echoctl.ok("delete node/node-3");
    wait_runs(&echoctl, dirs, [2, 0]);

    kill_pid(cluster.node_pid("node-1"), Signal::SIGKILL);
    wait_runs(&echoctl, dirs, [1, 1]);

    second.kill();
    cluster.replace_control();
    eventually("the first one is back", SETTLED, || {
        let scaled = cluster.echoctl().run("scale default -r 3");
        ensure(scaled.code == 0, || format!("{scaled:?}"))
    });
    wait_runs(&cluster.echoctl(), dirs, [2, 1]);
}

#[test]
fn a_leader_that_starts_no_nodes_says_so_and_one_that_does_what_its_host_cannot_hold() {
    let dir = tools::scratch("idle");
    let (etcd, ip) = (Etcd::start(&dir), own_loopback_address());
    let mut idle = control("idle", &dir, etcd.url(), Duration::from_secs(1));
    let record = wait_leader(&etcd, None);
    std::fs::write(dir.join("pool.yaml"), pool_file(2)).unwrap();
    let address = (ip, free_port(ip)).into();
    let second = spawn_control(&dir, etcd.url(), address, &[]);
    let echoctl = Echoctl::new(&format!("http://{address}"));
    eventually("the pool is there", SETTLED, || ensure(!echoctl.items("get pools")?.is_empty(), || second.log()));

    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    let cause = format!("the control that leads, {} on ", text(&record, "/address"));
    let scaled = echoctl.run("scale default -r 3");
    assert!(scaled.stderr.contains(&cause) && scaled.stderr.contains("runs with --scaler none"), "{scaled:?}");
    std::fs::write(dir.join("four.yaml"), pool_file(4)).unwrap();
    let applied = echoctl.run(&format!("apply -f {} --dry-run=server", dir.join("four.yaml").display()));
    assert!(applied.code == 0 && applied.stderr.contains(&cause), "{applied:?}");
    let says = |line: &str, what: &str| {
        eventually(what, SETTLED, || {
            let told = echoctl.run(line).stdout;
            ensure(told.contains(&cause) && told.contains(what), || told)
        });
    };
    says("describe pool/default", "NoScaler");
    says("doctor", "this control, which would, does not lead");
    says("doctor", "0 of 3 nodes ready: 3 not there; the control that leads");

    idle.kill();
    eventually("the one that does leads", READY, || {
        let nodes = echoctl.items("get nodes")?;
        ensure(nodes.len() == 3, || format!("{nodes:?}"))
    });
    let refused = echoctl.run("scale default -r 300");
    assert!(refused.code != 0 && refused.stderr.contains("300 is too large; at most 254"), "{refused:?}");
}

#[test]
fn the_nodes_of_a_deleted_pool_end() {
    let cluster = Cluster::start(2);
    cluster.wait_nodes(2);
    let pid = cluster.node_pid("node-2");
    cluster.echoctl().ok("delete pool/default");
    gone(pid, SETTLED);
    eventually("nothing is listed", SETTLED, || {
        let nodes = cluster.nodes()?;
        ensure(nodes.is_empty(), || format!("{nodes:?}"))
    });
}

#[test]
fn a_drained_node_goes_first_and_leaves_no_intent() {
    let cluster = Cluster::start(3);
    cluster.wait_nodes(3);
    cluster.echoctl().ok("drain node/node-1");
    cluster.echoctl().ok("scale pool/default --replicas 2");
    let left: Vec<String> = cluster.wait_nodes(2).iter().map(name).collect();
    assert_eq!(left, ["node-2", "node-3"]);
    eventually("its intent is gone", SETTLED, || {
        let intents = cluster.etcd.get_prefix("/echo/v1/default/intents/");
        ensure(intents.is_empty(), || format!("{intents:?}"))
    });
}
