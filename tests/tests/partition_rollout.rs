//! Links are cut in the middle of a rollout, between processes on hosts of their own: nobody who is cut off stops
//! serving, and no good revision is taken back for it.
//!
//! As `partition.rs`, every test prints its cell of the table in the README; four nodes, a canary and two waves.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::{Duration, Instant};

use echo_tests::cluster::{READY, text};
use echo_tests::eventually;
use echo_tests::lab::net::{Net, TTL};
use echo_tests::lab::{self, cut, heal};
use echo_tests::wait::ensure;

const NODES: [&str; 4] = ["node-a", "node-b", "node-c", "node-d"];
/// The canary, one more, then all; each step lasts long enough to be struck.
const POLICY: &str = "waves: [50%, 100%], minHealthy: 3s";
/// Until a rollout is at its end, which begins a step anew where somebody goes.
const ENDED: Duration = Duration::from_secs(40);
/// Time enough to ask a node that has no record more than once, before it is taken for lost.
const LONGER: Duration = Duration::from_secs(5);
/// Until a state shows that follows from a cut.
const SHOWN: Duration = Duration::from_secs(15);

/// Waits until the rollout is in this step, and its nodes run the revision.
#[track_caller]
fn wait_step(net: &Net, step: u64, nodes: &[&str]) {
    eventually(&format!("{nodes:?} run it in step {step}"), READY, || {
        let rollout = net.rollout();
        let on = nodes.iter().all(|node| net.applied(node) == rollout.pointer("/to/n").cloned());
        let there = rollout["step"].as_u64() == Some(step) && text(&rollout, "/phase").ends_with("PROGRESSING");
        ensure(on && there, || rollout.to_string())
    });
}

/// Waits until all nodes run what the rollout brought; returns how long that took.
#[track_caller]
fn wait_all(net: &Net) -> Duration {
    let start = Instant::now();
    let to = net.rollout().pointer("/to/n").cloned();
    for node in NODES {
        eventually(&format!("{node} runs it"), READY, || {
            ensure(net.applied(node) == to, || format!("{:?}", net.applied(node)))
        });
    }
    start.elapsed()
}

#[test]
fn a_node_of_a_wave_that_loses_etcd_serves_on_and_the_change_is_completed() {
    lab::run("a_node_of_a_wave_that_loses_etcd_serves_on_and_the_change_is_completed", || {
        let net = Net::of(&NODES, LONGER);
        let traffic = net.traffic();
        net.begin_a_change(net.leader(), POLICY);
        wait_step(&net, 1, &["node-a", "node-b"]);
        let node = &net.nodes[1].host;
        cut(node, &net.etcd_host);
        let completed = net.wait_rollout("COMPLETED", ENDED);
        assert_eq!(net.sync(0, "node-b").unwrap(), "STALE");
        heal(node, &net.etcd_host);
        let back = wait_all(&net);
        net.wait_synced(0);
        traffic.stop().assert_clean();
        println!(
            "cell: node-etcd cut (in a wave of a rollout) | traffic goes on; the rollout completes without it after {completed:.1?}; it runs the new revision {back:.1?} after the heal"
        );
    });
}

#[test]
fn a_node_that_loses_etcd_before_its_wave_finds_its_place_later() {
    lab::run("a_node_that_loses_etcd_before_its_wave_finds_its_place_later", || {
        let net = Net::of(&NODES, TTL);
        let traffic = net.traffic();
        let before = net.applied("node-d");
        net.begin_a_change(net.leader(), POLICY);
        let node = &net.nodes[3].host;
        cut(node, &net.etcd_host);
        let completed = net.wait_rollout("COMPLETED", ENDED);
        net.wait_sync(0, "node-d", &["STALE"], SHOWN);
        let nodes = net.nodes_by(0).unwrap();
        let away = nodes.iter().find(|node| text(node, "/metadata/name") == "node-d").unwrap();
        assert_eq!(away.pointer("/status/applied/n").cloned(), before, "it runs what it ran");
        heal(node, &net.etcd_host);
        let back = wait_all(&net);
        net.wait_synced(0);
        traffic.stop().assert_clean();
        println!(
            "cell: node-etcd cut (before its wave of a rollout) | traffic goes on; the rollout completes without it after {completed:.1?}; it runs the new revision {back:.1?} after the heal"
        );
    });
}

#[test]
fn a_leader_that_loses_etcd_in_a_wave_gives_nobody_anything_any_more() {
    lab::run("a_leader_that_loses_etcd_in_a_wave_gives_nobody_anything_any_more", || {
        let net = Net::of(&NODES, TTL);
        let traffic = net.traffic();
        let leader = net.leader();
        net.begin_a_change(leader, POLICY);
        wait_step(&net, 1, &["node-a", "node-b"]);
        let begun = net.rollout()["id"].clone();
        cut(&net.controls[leader].host, &net.etcd_host);
        let completed = net.wait_rollout("COMPLETED", ENDED);
        assert_eq!((&net.rollout()["id"], net.leads()), (&begun, Some(1 - leader)), "it is the same one");
        let stored = |net: &Net| [net.rollout(), net.record("assignments/default")];
        let after = stored(&net);
        heal(&net.controls[leader].host, &net.etcd_host);
        eventually("the old leader answers again", READY, || net.nodes_by(leader));
        net.wait_synced(leader);
        assert_eq!(stored(&net), after, "it has written nothing");
        assert_eq!(net.leads(), Some(1 - leader));
        traffic.stop().assert_clean();
        println!(
            "cell: control-etcd cut (leader, in a wave of a rollout) | traffic goes on; another leads, and completes the rollout after {completed:.1?}; the old one gives nobody anything"
        );
    });
}

#[test]
fn a_follower_that_loses_etcd_says_so_and_whoever_followed_a_rollout_there_goes_on_elsewhere() {
    lab::run("a_follower_that_loses_etcd_says_so_and_whoever_followed_a_rollout_there_goes_on_elsewhere", || {
        let net = Net::of(&NODES, TTL);
        let traffic = net.traffic();
        let leader = net.leader();
        net.begin_a_change(leader, POLICY);
        let mut following = net.following(1 - leader, "rollout status pool/default");
        eventually("it follows", READY, || ensure(following.log().contains("step 1 of 3"), || following.log()));
        let start = Instant::now();
        cut(&net.controls[1 - leader].host, &net.etcd_host);
        eventually("what it knows is old, and it says so", SHOWN, || {
            let asked = net.echoctl(1 - leader, |echoctl| echoctl.run("get nodes"));
            ensure(asked.code == 1 && asked.stderr.contains("etcd"), || format!("{asked:?}"))
        });
        let told = start.elapsed();
        assert_eq!(following.wait(ENDED).code(), Some(0), "{}", following.log());
        let log = following.log();
        assert!(log.contains("all 4 nodes of pool/default run revision 2"), "{log}");
        heal(&net.controls[1 - leader].host, &net.etcd_host);
        net.wait_synced(1 - leader);
        traffic.stop().assert_clean();
        println!(
            "cell: control-etcd cut (follower, in a rollout) | traffic goes on; it says that etcd is away after {told:.1?}; `rollout status` through it goes on with the other control"
        );
    });
}
