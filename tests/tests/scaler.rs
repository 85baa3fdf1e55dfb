//! Who owns the nodes: one control at a time, and that one all of them, however the one before it ended.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use echo_tests::cluster::SETTLED;
use echo_tests::wait::ensure;
use echo_tests::{Cluster, Etcd, Process, SlowPath, eventually, tools};

/// Short, and long enough for a grant and a write over the slow path.
const LEADER_TTL: Duration = Duration::from_secs(3);
/// Of every answer on the slow path: a third of the TTL.
const DELAY: Duration = Duration::from_secs(1);

/// Processes whose command line names a node's directory below `dir`.
fn running(dir: &Path) -> usize {
    let nodes = format!("{}/nodes/node-", dir.file_name().unwrap().to_string_lossy());
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(&nodes)).count()
}

fn control(name: &str, dir: &Path, etcd: &str) -> Process {
    let mut command = Command::new(tools::ours("echo-control"));
    command.args(["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--etcd", etcd, "--lifeline"]);
    command.args(["--leader-ttl", &format!("{}s", LEADER_TTL.as_secs())]);
    Process::start(name, dir, command)
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
    let holder = || etcd.get_prefix("/echo/v1/default/leader").into_iter().next().map(|(_, record)| record);
    let slow = control("slow", &dir, path.url());
    let first = eventually("the first control has the leader key", SETTLED, || holder().ok_or("nobody has"));
    // It still waits for etcd's answer, and will not be able to renew.
    path.cut_requests();
    let _next = control("next", &dir, etcd.url());
    eventually("the next control has the leader key", SETTLED, || {
        ensure(holder().is_some_and(|record| record != first), || "not yet".to_owned())
    });
    let log = slow.log();
    let told = |what: &str| log.matches(what).count();
    let ended = told("no longer the leader") + told("leader key is gone") + told("lease expired");
    assert_eq!(told("this process is the leader"), ended, "both lead:\n{log}");
}
