//! A node's life with etcd and its own death: whatever is lost, it serves on, says so, and is back in time.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::process::Command;
use std::time::{Duration, Instant};

use echo_tests::cluster::{SETTLED, bound, pool_file, text};
use echo_tests::node::{History, SOON, record, start, start_as, wait_log, wait_record, writes};
use echo_tests::process::kill_pid;
use echo_tests::wait::ensure;
use echo_tests::{Cluster, Etcd, Process, client, eventually, tools};
use nix::sys::signal::Signal;
use serde_json::Value;

const LONELY: &str = "/echo/v1/default/nodes/default/lonely";
const NODE_1: &str = "/echo/v1/default/nodes/default/node-1";
/// Lease of the nodes here, unless a test says otherwise.
const TTL: Duration = Duration::from_secs(2);
/// How long etcd stays away: longer than it takes a node to reach its longest wait.
const OUTAGE: Duration = Duration::from_secs(6);

/// Waits until `what` has lasted so long.
fn last(what: &str, long: Duration) {
    let began = Instant::now();
    eventually(what, 2 * long, || ensure(began.elapsed() >= long, String::new));
}

#[track_caller]
fn wait_gone(etcd: &Etcd, key: &str) -> Duration {
    let began = Instant::now();
    eventually("the record is gone", SOON, || ensure(record(etcd, key).is_none(), || "still there".into()));
    began.elapsed()
}

#[test]
fn a_killed_node_is_gone_within_its_lease_and_a_second() {
    let dir = tools::scratch("lifecycle");
    let etcd = Etcd::start(&dir);
    let mut nodes = ["a", "b", "c"].map(|id| start(&dir, etcd.url(), id, &["--lease-ttl", "2s"]));
    eventually("all are registered", SOON, || ensure(writes(&etcd).len() == 3, || format!("{:?}", writes(&etcd))));
    nodes.iter_mut().for_each(Process::kill);
    let killed = Instant::now();
    let left = |most: usize| {
        eventually("their records go", SOON, || ensure(writes(&etcd).len() <= most, || "still there".into()));
        killed.elapsed()
    };
    // The median of three: one slow moment of a busy machine breaks no promise.
    let after = left(1);
    left(0);
    println!("killed with a lease of {TTL:?}: gone after {after:.1?}");
    assert!(after <= TTL + Duration::from_secs(1), "{after:?}");
}

#[test]
fn a_node_paused_beyond_its_lease_registers_anew_at_once() {
    let dir = tools::scratch("lifecycle");
    let etcd = Etcd::start(&dir);
    let node = start(&dir, etcd.url(), "lonely", &["--lease-ttl", "9s"]);
    let before = wait_record(&etcd, LONELY, |_| true);
    node.signal(Signal::SIGSTOP);
    wait_gone(&etcd, LONELY);
    let woken = Instant::now();
    node.signal(Signal::SIGCONT);
    let after = wait_record(&etcd, LONELY, |_| true);
    println!("woken after its lease: registered anew after {:.1?}", woken.elapsed());
    assert_ne!(before.lease, after.lease);
    assert!(woken.elapsed() < Duration::from_secs(2), "a heartbeat would have come 3 s later");
}

/// Takes etcd away from five nodes for a while; all must have written anew within five seconds of its return.
fn outage(how: &str, take: impl FnOnce(&mut Etcd), give_back: impl FnOnce(&mut Etcd)) {
    let dir = tools::scratch("lifecycle");
    let mut etcd = Etcd::start(&dir);
    let ids = ["a", "b", "c", "d", "e"];
    let nodes = ids.map(|id| start(&dir, etcd.url(), id, &["--lease-ttl", "4s"]));
    let before = eventually("all are registered", SOON, || {
        let writes = writes(&etcd);
        ensure(writes.len() == ids.len(), || format!("{writes:?}"))?;
        writes.into_iter().max().ok_or_else(String::new)
    });
    take(&mut etcd);
    nodes.iter().for_each(|node| wait_log(node, "not registered; serving on"));
    last("the outage", OUTAGE);
    give_back(&mut etcd);
    let back = Instant::now();
    eventually("all have written anew", SOON, || {
        let writes = writes(&etcd);
        ensure(writes.len() == ids.len() && writes.iter().all(|at| *at > before), || format!("{before}: {writes:?}"))
    });
    println!("etcd {how}: all wrote anew {:.1?} after it answered", back.elapsed());
    assert!(back.elapsed() < Duration::from_secs(5));
}

#[test]
fn every_node_writes_anew_within_five_seconds_of_a_killed_etcds_return() {
    outage("killed", Etcd::kill, Etcd::restart);
}

#[test]
fn every_node_writes_anew_within_five_seconds_of_a_stopped_etcds_return() {
    outage("stopped", |etcd| etcd.signal(Signal::SIGSTOP), |etcd| etcd.signal(Signal::SIGCONT));
}

#[test]
fn a_node_takes_over_its_own_old_record_at_once() {
    let dir = tools::scratch("lifecycle");
    let etcd = Etcd::start(&dir);
    let state = dir.join("state").display().to_string();
    let args = ["--lease-ttl", "60s", "--state-dir", &state];
    let mut before = start_as("before", &dir, etcd.url(), "lonely", &args);
    let old = wait_record(&etcd, LONELY, |_| true);
    before.kill();
    let _after = start_as("after", &dir, etcd.url(), "lonely", &args);
    let began = Instant::now();
    wait_record(&etcd, LONELY, |record| record.lease != old.lease);
    println!("killed with a lease of 60 s: its next life registered after {:.1?}", began.elapsed());
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_shard_that_ends_ends_its_node_which_says_why() {
    let dir = tools::scratch("lifecycle");
    let etcd = Etcd::start(&dir);
    let history = History::follow(&etcd, &dir);
    let mut node = start(&dir, etcd.url(), "lonely", &["--lease-ttl", "60s"]);
    wait_record(&etcd, LONELY, |_| true);
    echo_tests::fault::fail_wait_for_events(node.pid(), "shard-0");
    assert_eq!(node.wait(SOON).code(), Some(1));
    let told = eventually("the record is given back", SOON, || {
        let told = history.of(LONELY);
        ensure(told.last() == Some(&None), || format!("{told:?}"))?;
        Ok::<_, String>(told)
    });
    let last_words = told[told.len() - 2].as_ref().unwrap();
    let condition = &last_words["status"]["conditions"][0];
    assert_eq!((text(condition, "/type").as_str(), text(condition, "/reason").as_str()), ("DataPath", "ShardEnded"));
    let message = text(condition, "/message");
    assert!(message.starts_with("data path ended: shard 0 ended: it panicked: "), "{message}");
    assert!(node.log().contains(&format!("echo-node: {message}\n")), "{}", node.log());
}

#[test]
fn a_full_etcd_costs_a_node_nothing_but_its_writes() {
    let dir = tools::scratch("lifecycle");
    let etcd = Etcd::start_small(&dir);
    let node = start(&dir, etcd.url(), "lonely", &["--lease-ttl", "2s"]);
    let before = wait_record(&etcd, LONELY, |_| true);
    etcd.fill();
    // It has something to write, and can't.
    etcd.delete(LONELY);
    wait_log(&node, "database space exceeded");
    last("a refusal longer than the lease", 2 * TTL);
    let late = start(&dir, etcd.url(), "late", &[]);
    wait_log(&late, "grant a lease: etcdserver: mvcc: database space exceeded; compact and defragment it");
    etcd.make_room();
    let back = Instant::now();
    let after = wait_record(&etcd, LONELY, |_| true);
    println!("etcd has room again: written after {:.1?}", back.elapsed());
    assert_eq!(before.lease, after.lease, "the lease was kept meanwhile");
    assert!(back.elapsed() < Duration::from_secs(5));
    assert_eq!(node.log().matches("database space exceeded").count(), 1, "said once: {}", node.log());
    wait_record(&etcd, "/echo/v1/default/nodes/default/late", |_| true);
}

/// The number of the revision that a node says it serves.
fn applied(etcd: &Etcd) -> Option<u64> {
    let (_, value) = etcd.get_prefix(NODE_1).pop()?;
    serde_json::from_str::<Value>(&value).ok()?.pointer("/status/applied/n")?.as_u64()
}

#[test]
fn a_restored_backup_is_followed_and_cuts_nobody() {
    let mut cluster = Cluster::start(1);
    let nodes = cluster.wait_nodes(1);
    let pid = cluster.node_pid("node-1");
    let backup = cluster.etcd.save();
    let more = pool_file(1) + "    - {name: more, protocol: TCP, port: 0, service: {echo: {}}}\n";
    cluster.echoctl().ok(&format!("apply -f {}", cluster.file("more.yaml", &more)));
    eventually("revision 2 is served", SETTLED, || {
        ensure(applied(&cluster.etcd) == Some(2), || cluster.echoctl().run("get nodes").stdout)
    });
    let mut open = client::connect(bound(&nodes[0], "echo-tcp")).unwrap();
    client::echo_on(&mut open, b"before").unwrap();

    cluster.etcd.restore(&backup);
    eventually("revision 1 is served again", SETTLED, || {
        ensure(applied(&cluster.etcd) == Some(1), || format!("{:?}", cluster.etcd.get_prefix(NODE_1)))
    });
    client::echo_on(&mut open, b"after").unwrap();
    assert_eq!(cluster.node_pid("node-1"), pid);
}

#[test]
fn a_wiped_etcd_stops_nothing() {
    let mut cluster = Cluster::start(1);
    let nodes = cluster.wait_nodes(1);
    let mut open = client::connect(bound(&nodes[0], "echo-tcp")).unwrap();
    // It would write the pool anew.
    cluster.control.kill();
    cluster.etcd.wipe();
    eventually("the node says that its assignment is missing", SETTLED, || {
        let found = cluster.etcd.get_prefix(NODE_1);
        let told = found.iter().any(|(_, value)| value.contains(r#""type":"Assigned","reason":"KeyMissing""#));
        ensure(told, || format!("{found:?}"))
    });
    client::echo_on(&mut open, b"no pool").unwrap();
    client::udp_echo(bound(&nodes[0], "echo-udp"), b"no pool").unwrap();
}

#[test]
fn a_compaction_that_a_node_slept_through_is_no_loss() {
    let mut cluster = Cluster::start(1);
    cluster.wait_nodes(1);
    let pid = cluster.node_pid("node-1");
    kill_pid(pid, Signal::SIGSTOP);
    // The connection is gone, and so is the history from where the node knows it.
    cluster.etcd.restart();
    let (key, value) = cluster.etcd.get_prefix("/echo/v1/default/assignments/default").pop().unwrap();
    cluster.etcd.put(&key, &value);
    cluster.etcd.compact();
    kill_pid(pid, Signal::SIGCONT);
    let log = cluster.dir().join("logs/node-1.log");
    eventually("the node reads its keys again", SETTLED, || {
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        ensure(log.contains("history was compacted"), || log)
    });
    cluster.wait_nodes(1);
    let more = pool_file(1) + "    - {name: more, protocol: TCP, port: 0, service: {echo: {}}}\n";
    cluster.echoctl().ok(&format!("apply -f {}", cluster.file("more.yaml", &more)));
    eventually("the node follows again", SETTLED, || ensure(applied(&cluster.etcd) == Some(2), String::new));
}

#[test]
fn a_state_directory_of_another_node_is_refused_with_its_name() {
    let dir = tools::scratch("lifecycle");
    let state = dir.join("state").display().to_string();
    let nobody = "http://127.0.0.1:1";
    let mut first = start(&dir, nobody, "a", &["--state-dir", &state, "--pool", "p", "--cluster", "c"]);
    wait_log(&first, "not registered");
    let mut second = start(&dir, nobody, "b", &["--state-dir", &state]);
    assert_eq!(second.wait(SOON).code(), Some(1));
    assert!(second.log().contains(&format!("in use by process {};", first.pid())), "{}", second.log());
    first.kill();
    let mut second = start(&dir, nobody, "b", &["--state-dir", &state]);
    assert_eq!(second.wait(SOON).code(), Some(1));
    let refused = format!("echo-node: state directory {state} belongs to node a of pool p in cluster c; ");
    assert!(second.log().contains(&refused), "{}", second.log());
}

#[test]
fn a_disk_that_hangs_keeps_a_node_from_nothing() {
    let dir = tools::scratch("lifecycle");
    let etcd = Etcd::start(&dir);
    let state = dir.join("state").display().to_string();
    let mut node = start(&dir, etcd.url(), "lonely", &["--state-dir", &state]);
    let before = wait_record(&etcd, LONELY, |_| true);
    // Who opens it to write waits for a reader that never comes.
    let pipe = dir.join("state/registration.new");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    etcd.etcdctl(&["lease", "revoke", &format!("{:x}", before.lease)]);
    wait_record(&etcd, LONELY, |record| record.lease != before.lease);
    wait_log(&node, "no answer from the disk within 2.0 s");
    // It wants the disk as well: a drained node must not serve after a start without etcd.
    etcd.put("/echo/v1/default/intents/default/lonely", r#"{"kind":"INTENT_KIND_DRAIN"}"#);
    eventually("it is drained", SOON, || {
        let found = etcd.get_prefix(LONELY);
        ensure(found.iter().any(|(_, value)| value.contains("NODE_PHASE_DRAINED")), || format!("{found:?}"))
    });
    node.signal(Signal::SIGTERM);
    assert_eq!(node.wait(SOON).code(), Some(0), "{}", node.log());
}

#[test]
fn a_folder_of_somebody_else_is_refused_untouched() {
    let dir = tools::scratch("lifecycle");
    let state = dir.join("somebody");
    std::fs::create_dir(&state).unwrap();
    std::fs::write(state.join("identity"), "SECRET-KEY").unwrap();
    let mut node = start(&dir, "http://127.0.0.1:1", "a", &["--state-dir", &state.display().to_string()]);
    assert_eq!(node.wait(SOON).code(), Some(1));
    let refused = format!("echo-node: state directory {} holds \"identity\", which is no node's; ", state.display());
    assert!(node.log().contains(&refused), "{}", node.log());
    assert_eq!(std::fs::read_to_string(state.join("identity")).unwrap(), "SECRET-KEY");
    assert_eq!(std::fs::read_dir(&state).unwrap().count(), 1);
}
