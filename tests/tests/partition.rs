//! Links are cut and mended, silently, between processes on hosts of their own; what each cut costs.
//!
//! Every test prints its cell of the table in the README. Traffic goes on through all of them, with not one echo lost.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::{Duration, Instant};

use echo_tests::cluster::text;
use echo_tests::lab::net::{Net, TTL};
use echo_tests::lab::{self, cut, heal};
use echo_tests::wait::ensure;
use echo_tests::{client, eventually};

/// Until a state shows that follows from a cut: the lease's end, and control's question to the Agent.
const SHOWN: Duration = Duration::from_secs(15);
/// Until an operator is told that control is out of reach.
const TOLD: Duration = Duration::from_secs(15);
/// Until all is well after a link was mended: the kernel's own waits between repeated packets are the most of it.
const MENDED: Duration = Duration::from_secs(20);
/// Another control drives after this; the leader's lease is 5 s.
const TAKEOVER: Duration = Duration::from_secs(7);
/// Between a wish to know who leads and the answer.
const LOOK: Duration = Duration::from_secs(1);

#[test]
fn a_node_without_etcd_serves_on_and_is_called_stale() {
    lab::run("a_node_without_etcd_serves_on_and_is_called_stale", || {
        let net = Net::start();
        let traffic = net.traffic();
        let node = &net.nodes[0].host;
        cut(node, &net.etcd_host);
        let stale = net.wait_sync(0, "node-a", &["STALE"], TTL + SHOWN);
        assert_eq!(net.sync(0, "node-b").unwrap(), "SYNCED");
        heal(node, &net.etcd_host);
        let synced = net.wait_sync(0, "node-a", &["SYNCED"], MENDED);
        traffic.stop().assert_clean();
        println!("cell: node-etcd cut | traffic goes on; STALE after {stale:.1?}; SYNCED {synced:.1?} after the heal");
    });
}

#[test]
fn a_link_that_is_cut_one_way_is_cut() {
    lab::run("a_link_that_is_cut_one_way_is_cut", || {
        let net = Net::start();
        let traffic = net.traffic();
        let (node, etcd) = (&net.nodes[0].host, &net.etcd_host);
        // The node hears etcd, and etcd does not hear the node.
        node.cut_towards(etcd);
        let deaf = net.wait_sync(0, "node-a", &["STALE"], TTL + SHOWN);
        node.heal_towards(etcd);
        net.wait_sync(0, "node-a", &["SYNCED"], MENDED);
        // And the other way round: the heartbeats arrive, but their answers do not.
        etcd.cut_towards(node);
        let mute = net.wait_sync(0, "node-a", &["STALE"], TTL + SHOWN);
        etcd.heal_towards(node);
        let synced = net.wait_sync(0, "node-a", &["SYNCED"], MENDED);
        traffic.stop().assert_clean();
        println!(
            "cell: node-etcd cut one way | traffic goes on; STALE after {deaf:.1?} (towards etcd), {mute:.1?} (from etcd); SYNCED {synced:.1?} after the heal"
        );
    });
}

#[test]
fn a_leader_without_etcd_is_succeeded() {
    lab::run("a_leader_without_etcd_is_succeeded", || {
        let net = Net::start();
        let traffic = net.traffic();
        let (leader, start) = (net.leader(), Instant::now());
        let other = 1 - leader;
        cut(&net.controls[leader].host, &net.etcd_host);
        eventually("the other control leads", TAKEOVER + LOOK, || {
            ensure(net.leads() == Some(other), || format!("{:?}", net.leads()))
        });
        let taken = start.elapsed();
        let applied = net.apply_a_change(other);
        let refused = net.echoctl(leader, |echoctl| echoctl.run("scale pool/default --replicas 2"));
        assert_eq!(refused.code, 1, "{}", refused.stdout);
        assert!(refused.stderr.contains("etcd"), "{}", refused.stderr);
        heal(&net.controls[leader].host, &net.etcd_host);
        let healed = Instant::now();
        eventually("the old leader takes a change again", MENDED, || net.take_a_change(leader));
        let taken_again = healed.elapsed();
        assert_eq!(net.leads(), Some(other), "a leader stays one while it is well");
        traffic.stop().assert_clean();
        println!(
            "cell: control-etcd cut (leader) | traffic goes on; another leads after {taken:.1?} and applies a change in {applied:.1?}; the cut one says that etcd is away, and applies a change {taken_again:.1?} after the heal"
        );
    });
}

#[test]
fn a_rollout_goes_on_when_its_leader_loses_etcd() {
    lab::run("a_rollout_goes_on_when_its_leader_loses_etcd", || {
        let net = Net::start();
        let traffic = net.traffic();
        let leader = net.leader();
        net.begin_a_change(leader, "minHealthy: 3s");
        let begun = net.rollout()["id"].clone();
        cut(&net.controls[leader].host, &net.etcd_host);
        let completed = net.wait_rollout("COMPLETED", SHOWN);
        assert_eq!((&net.rollout()["id"], net.leads()), (&begun, Some(1 - leader)), "it is the same one");
        heal(&net.controls[leader].host, &net.etcd_host);
        net.wait_synced(1 - leader);
        traffic.stop().assert_clean();
        println!(
            "cell: control-etcd cut (leader, in a rollout) | traffic goes on; another leads, and completes the rollout after {completed:.1?}"
        );
    });
}

#[test]
fn a_canary_that_loses_etcd_serves_on_and_the_change_is_taken_back() {
    lab::run("a_canary_that_loses_etcd_serves_on_and_the_change_is_taken_back", || {
        let net = Net::start();
        let traffic = net.traffic();
        // Longer than it takes until somebody is taken for lost.
        let canary = net.begin_a_change(net.leader(), "minHealthy: 30s");
        let node = &net.nodes[canary].host;
        cut(node, &net.etcd_host);
        let reverted = net.wait_rollout("REVERTED", TTL + SHOWN);
        let stable = net.rollout()["from"].clone();
        assert_eq!(text(&net.rollout(), "/problems/0/node"), node.name, "{}", net.rollout());
        assert_eq!(net.sync(0, &net.nodes[1 - canary].host.name).unwrap(), "SYNCED");
        heal(node, &net.etcd_host);
        let back = net.wait_synced(0);
        let nodes = net.nodes_by(0).unwrap();
        assert!(nodes.iter().all(|n| n.pointer("/status/applied") == Some(&stable)), "{stable}: {nodes:?}");
        traffic.stop().assert_clean();
        println!(
            "cell: node-etcd cut (canary, in a rollout) | traffic goes on; the change is taken back after {reverted:.1?}; the canary goes back {back:.1?} after the heal"
        );
    });
}

#[test]
fn a_follower_without_etcd_is_not_missed() {
    lab::run("a_follower_without_etcd_is_not_missed", || {
        let net = Net::start();
        let traffic = net.traffic();
        let leader = net.leader();
        let follower = 1 - leader;
        cut(&net.controls[follower].host, &net.etcd_host);
        let applied = net.apply_a_change(leader);
        let refused = net.echoctl(follower, |echoctl| echoctl.run("scale pool/default --replicas 2"));
        assert!(refused.code == 1 && refused.stderr.contains("etcd"), "{}", refused.stderr);
        heal(&net.controls[follower].host, &net.etcd_host);
        let healed = Instant::now();
        eventually("the follower takes a change again", MENDED, || net.take_a_change(follower));
        assert_eq!(net.leads(), Some(leader));
        traffic.stop().assert_clean();
        println!(
            "cell: control-etcd cut (follower) | traffic goes on; the leader applies a change in {applied:.1?}; the cut one says that etcd is away, and applies a change {:.1?} after the heal",
            healed.elapsed()
        );
    });
}

#[test]
fn control_needs_no_path_to_the_nodes_to_drive_them() {
    lab::run("control_needs_no_path_to_the_nodes_to_drive_them", || {
        let net = Net::start();
        let traffic = net.traffic();
        let (leader, node) = (net.leader(), &net.nodes[0].host);
        cut(&net.controls[leader].host, node);
        let start = Instant::now();
        let shown = net.echoctl(leader, |echoctl| echoctl.ok("get nodes"));
        let listed = start.elapsed();
        let row = shown.lines().find(|line| line.starts_with("node-a")).unwrap();
        assert!(row.contains("SYNCED") && row.matches(" - ").count() >= 2, "live figures are not to be had: {shown}");
        let applied = net.apply_a_change(leader);
        heal(&net.controls[leader].host, node);
        let healed = Instant::now();
        eventually("its figures are told again", MENDED, || {
            let nodes = net.nodes_by(leader)?;
            ensure(nodes.iter().all(|node| node.pointer("/status/live").is_some()), || format!("{nodes:?}"))
        });
        traffic.stop().assert_clean();
        println!(
            "cell: control-node cut | traffic goes on; `get nodes` shows - for its figures, in {listed:.1?}; a change is applied in {applied:.1?}; figures again {:.1?} after the heal",
            healed.elapsed()
        );
    });
}

#[test]
fn echoctl_says_soon_that_control_cannot_be_reached() {
    lab::run("echoctl_says_soon_that_control_cannot_be_reached", || {
        let net = Net::start();
        let traffic = net.traffic();
        cut(&net.client, &net.controls[0].host);
        let start = Instant::now();
        let refused = net.echoctl(0, |echoctl| echoctl.run("get nodes"));
        let told = start.elapsed();
        assert_eq!(refused.code, 1);
        assert!(refused.stderr.contains(&net.controls[0].host.address.to_string()), "{}", refused.stderr);
        assert!(told < TOLD, "{told:?}");
        assert_eq!(net.nodes_by(1).unwrap().len(), 2, "the other control answers");
        heal(&net.client, &net.controls[0].host);
        assert_eq!(eventually("it answers again", MENDED, || net.nodes_by(0)).len(), 2);
        traffic.stop().assert_clean();
        println!(
            "cell: echoctl-control cut | traffic goes on; echoctl says so after {told:.1?}; another control answers"
        );
    });
}

#[test]
fn a_cut_is_silent_and_a_loss_is_seen() {
    lab::run("a_cut_is_silent_and_a_loss_is_seen", || {
        let net = Net::start();
        let (node, traffic) = (&net.nodes[0].host, net.traffic());
        cut(&net.client, node);
        let tcp = std::net::SocketAddr::from((node.address, 7007));
        let start = Instant::now();
        let error = net.client.within(|| client::connect(tcp)).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "no reset, no ICMP: {error}");
        assert!(start.elapsed() > Duration::from_secs(4));
        heal(&net.client, node);
        eventually("its echo is back", MENDED, || net.client.within(|| client::tcp_echo(tcp, b"healed")));
        let report = traffic.stop();
        let lost = |node: &str| report.losses.iter().filter(|loss| loss.node == node).count();
        assert!(lost("node-a") > 10 && lost("node-b") == 0, "{} and {}", lost("node-a"), lost("node-b"));
        assert!(report.losses.iter().all(|loss| !loss.wrong));
        println!(
            "cell: client-node cut | its echoes are lost, and counted: {}; none of the other node's",
            lost("node-a")
        );
    });
}
