//! Processes that nobody supervises are killed and stopped, each on a host of its own; what each costs.
//!
//! Every test prints its cells of the table in the README.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::{Duration, Instant};

use echo_tests::cluster::{READY, text};
use echo_tests::eventually;
use echo_tests::lab::net::{Net, TTL};
use echo_tests::lab::{self};
use echo_tests::node::writes;
use echo_tests::traffic::Faults;
use echo_tests::wait::{ensure, throughout};
use nix::sys::signal::Signal;

/// Control asks the Agent of a vanished node in this time.
const ASKED: Duration = Duration::from_secs(15);
/// Another control drives after this; the leader's lease is 5 s.
const TAKEOVER: Duration = Duration::from_secs(7);
/// Each node writes again within this after etcd came back.
const NEW_WRITE: Duration = Duration::from_secs(5);
/// How long etcd is dead.
const DEAD: Duration = Duration::from_secs(30);
/// Longer than any lease of these clusters.
const PAUSE: Duration = Duration::from_secs(7);

#[test]
fn a_node_that_is_stopped_or_killed_is_lost_and_only_that_one() {
    lab::run("a_node_that_is_stopped_or_killed_is_lost_and_only_that_one", || {
        let mut net = Net::start();
        let (traffic, mut faults) = (net.traffic(), Faults::default());
        faults.begin("node-a");
        net.nodes[0].process.signal(Signal::SIGSTOP);
        let lost = net.wait_sync(0, "node-a", &["LOST"], TTL + ASKED);
        net.nodes[0].process.signal(Signal::SIGCONT);
        let back = net.wait_sync(0, "node-a", &["SYNCED"], READY);
        faults.end("node-a");
        println!(
            "cell: node stopped | its connections wait, and go on; LOST after {lost:.1?}; SYNCED {back:.1?} after it goes on"
        );

        faults.begin("node-a");
        let start = Instant::now();
        net.nodes[0].process.kill();
        eventually("its record is gone", READY, || ensure(!net.is_registered("node-a"), || "there".into()));
        let gone = start.elapsed();
        let lost = gone + net.wait_sync(0, "node-a", &["LOST"], ASKED);
        net.nodes[0].restart();
        let back = net.wait_sync(0, "node-a", &["SYNCED"], READY);
        faults.end("node-a");
        let report = traffic.stop();
        assert!(report.unexplained(&faults).is_empty(), "{:?}", report.unexplained(&faults).first());
        let reset = report.losses.iter().any(|loss| loss.kind == "tcp" && !loss.cause.starts_with("answered"));
        assert!(reset, "a killed node's connection fails");
        println!(
            "cell: node killed | its connections are reset, the other node serves on; gone from the registry after {gone:.1?} (TTL {TTL:?}); LOST after {lost:.1?}; started again: SYNCED after {back:.1?}"
        );
    });
}

#[test]
fn of_two_controls_one_drives_whatever_becomes_of_the_other() {
    lab::run("of_two_controls_one_drives_whatever_becomes_of_the_other", || {
        let mut net = Net::start();
        let traffic = net.traffic();
        let (taken, applied, first) = stop_the_leader(&net);
        println!(
            "cell: leader stopped | traffic goes on; another leads after {taken:.1?} and applies a change in {applied:.1?}; when it goes on it follows"
        );

        // What led before follows now.
        let (leader, follower) = (1 - first, first);
        net.controls[follower].process.signal(Signal::SIGSTOP);
        let applied = net.apply_a_change(leader);
        net.controls[follower].process.signal(Signal::SIGCONT);
        eventually("the follower answers again", READY, || net.nodes_by(follower));
        println!("cell: follower stopped | traffic goes on; the leader applies a change in {applied:.1?}");
        net.controls[follower].process.kill();
        let applied = net.apply_a_change(leader);
        println!("cell: follower killed | traffic goes on; the leader applies a change in {applied:.1?}");
        net.controls[follower].restart();
        eventually("the follower answers again", READY, || net.nodes_by(follower));

        let start = Instant::now();
        net.controls[leader].process.kill();
        assert_eq!(net.nodes_by(follower).unwrap().len(), 2, "the follower answers at once");
        eventually("the follower leads", READY, || {
            ensure(net.leads() == Some(follower), || format!("{:?}", net.leads()))
        });
        let led = start.elapsed();
        net.apply_a_change(follower);
        let driven = start.elapsed();
        assert!(led < TAKEOVER, "another leads after {led:?}");
        traffic.stop().assert_clean();
        println!("cell: leader killed | traffic goes on; the follower answers at once, and drives after {driven:.1?}");
    });
}

/// Returns how long another took to lead and to apply a change, and who led before.
fn stop_the_leader(net: &Net) -> (Duration, Duration, usize) {
    let (leader, start) = (net.leader(), Instant::now());
    net.controls[leader].process.signal(Signal::SIGSTOP);
    eventually("the other control leads", READY, || {
        ensure(net.leads() == Some(1 - leader), || format!("{:?}", net.leads()))
    });
    let taken = start.elapsed();
    let applied = net.apply_a_change(1 - leader);
    net.controls[leader].process.signal(Signal::SIGCONT);
    eventually("it notices that it does not lead", READY, || {
        let log = net.controls[leader].process.log();
        ensure(log.contains("no longer the leader") || log.contains("leader key is gone"), || "not yet".into())
    });
    eventually("it answers again", READY, || net.nodes_by(leader));
    assert_eq!(net.leads(), Some(1 - leader));
    net.apply_a_change(leader);
    (taken, applied, leader)
}

#[test]
fn etcd_may_stop_or_die_for_half_a_minute_without_one_lost_echo() {
    lab::run("etcd_may_stop_or_die_for_half_a_minute_without_one_lost_echo", || {
        let mut net = Net::start();
        let traffic = net.traffic();
        net.etcd.signal(Signal::SIGSTOP);
        throughout(PAUSE, || ensure(traffic.losses().is_empty(), || format!("{:?}", traffic.losses().first())));
        net.etcd.signal(Signal::SIGCONT);
        let synced = settled(&net);
        println!("cell: etcd stopped | traffic goes on; SYNCED {synced:.1?} after it goes on");

        let before = net.etcd_host.within(|| writes(&net.etcd));
        net.etcd.kill();
        let refused = net.echoctl(0, |echoctl| echoctl.run("get pools"));
        assert!(refused.code == 1 && refused.stderr.contains("etcd"), "{}", refused.stderr);
        throughout(DEAD, || ensure(traffic.losses().is_empty(), || format!("{:?}", traffic.losses().first())));
        let echoes = traffic.echoes();
        net.etcd_host.within(|| net.etcd.restart());
        let start = Instant::now();
        eventually("each node makes a new write", NEW_WRITE, || {
            let now = net.etcd_host.within(|| writes(&net.etcd));
            let all = now.len() == 2 && now.iter().zip(&before).all(|(now, before)| now > before);
            ensure(all, || format!("{before:?}, now {now:?}"))
        });
        let written = start.elapsed();
        let synced = written + settled(&net);
        let report = traffic.stop();
        report.assert_clean();
        println!(
            "cell: etcd killed, dead for {DEAD:?} | traffic goes on, {echoes} echoes, none lost; each node writes anew {written:.1?} after its return, SYNCED after {synced:.1?}"
        );
    });
}

/// Waits until a control tells that all is well, and a change is applied; returns how long the first took.
fn settled(net: &Net) -> Duration {
    let start = Instant::now();
    eventually("both nodes are in sync", READY, || {
        let nodes = net.nodes_by(0)?;
        let synced = nodes.iter().filter(|node| text(node, "/status/sync") == "SYNC_STATE_SYNCED").count();
        ensure(synced == 2, || format!("{synced} are"))
    });
    let synced = start.elapsed();
    net.leader();
    net.apply_a_change(0);
    synced
}
