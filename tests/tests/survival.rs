//! Processes of a cluster on one machine are killed and stopped; the cluster goes on.
//!
//! Tests that print cells of the table in the README have a network of their own, for the sake of fixed ports.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::process::Command;
use std::time::{Duration, Instant};

use echo_tests::cluster::{READY, bound, name, pool_on, text};
use echo_tests::lab;
use echo_tests::process::{alive, gone, kill_pid, naming};
use echo_tests::traffic::{Faults, Target};
use echo_tests::wait::{ensure, throughout};
use echo_tests::{Cluster, Echoctl, Process, Traffic, client, eventually, tools};
use nix::sys::signal::Signal;
use serde_json::Value;

/// The port of a pool in a network of the test's own.
const PORT: u16 = 7007;
/// Longer than any lease of these clusters.
const PAUSE: Duration = Duration::from_secs(7);
/// Lists of nodes that are timed at once, and how often at most.
const BATCH: usize = 10;
const BATCHES: usize = 10;
/// The median of a batch.
const LISTED: Duration = Duration::from_millis(100);

#[test]
fn killed_control_stops_nothing_and_its_successor_adopts_the_nodes() {
    let mut cluster = Cluster::start(2);
    let nodes = cluster.wait_nodes(2);
    let pids: Vec<u32> = nodes.iter().map(|n| cluster.node_pid(&name(n))).collect();
    let mut open = client::connect(bound(&nodes[0], "echo-tcp")).unwrap();
    client::echo_on(&mut open, b"before").unwrap();

    // The lifeline of the test's Process stays open: only control itself dies.
    cluster.control.kill();
    for (node, pid) in nodes.iter().zip(&pids) {
        assert!(alive(*pid));
        client::tcp_echo(bound(node, "echo-tcp"), b"without control").unwrap();
        client::udp_echo(bound(node, "echo-udp"), b"without control").unwrap();
    }
    cluster.replace_control();
    cluster.wait_nodes(2);
    client::echo_on(&mut open, b"after").unwrap();

    // It drives: it can replace a node that it did not start itself.
    kill_pid(pids[1], Signal::SIGKILL);
    eventually("node-2 has another process", READY, || {
        ensure(cluster.node_pid("node-2") != pids[1], || "not yet".into())
    });
    cluster.wait_nodes(2);
    assert_eq!(cluster.node_pid("node-1"), pids[0], "the other one was left alone");
}

#[test]
fn a_killed_node_comes_back_under_its_name_and_address() {
    let cluster = Cluster::start(2);
    let before = cluster.wait_nodes(2);
    let pid = cluster.node_pid("node-2");
    kill_pid(pid, Signal::SIGKILL);
    let after = eventually("node-2 serves in another life", READY, || {
        let nodes = cluster.nodes()?;
        let node = nodes.into_iter().find(|n| name(n) == "node-2").ok_or("no node-2")?;
        let other = text(&node, "/status/incarnation") != text(&before[1], "/status/incarnation");
        ensure(other && text(&node, "/status/phase") == "NODE_PHASE_READY", || format!("{node}"))?;
        Ok::<_, String>(node)
    });
    assert_eq!(bound(&after, "echo-tcp").ip(), bound(&before[1], "echo-tcp").ip());
    client::tcp_echo(bound(&after, "echo-tcp"), b"again").unwrap();
}

#[test]
fn etcd_may_die_and_return_under_traffic() {
    let mut cluster = Cluster::start(2);
    let nodes = cluster.wait_nodes(2);
    let mut open = client::connect(bound(&nodes[0], "echo-tcp")).unwrap();
    cluster.etcd.kill();
    for node in &nodes {
        client::echo_on(&mut open, b"no etcd").unwrap();
        client::tcp_echo(bound(node, "echo-tcp"), b"no etcd").unwrap();
        client::udp_echo(bound(node, "echo-udp"), b"no etcd").unwrap();
    }
    let refused = cluster.echoctl().run("get pools");
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("etcd"), "{}", refused.stderr);
    assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);

    cluster.etcd.restart();
    cluster.wait_nodes(2);
    client::echo_on(&mut open, b"etcd again").unwrap();
    cluster.echoctl().ok("scale pool/default --replicas 3");
    cluster.wait_nodes(3);
}

#[test]
fn a_supervised_node_serves_again_within_a_second() {
    lab::run("a_supervised_node_serves_again_within_a_second", || {
        let cluster = Cluster::start_with(&pool_on(3, PORT), &[]);
        let nodes = cluster.wait_nodes(3);
        let (traffic, mut faults) = (Traffic::start(None, &Target::all(&nodes)), Faults::default());
        let pid = cluster.node_pid("node-2");

        faults.begin("node-2");
        kill_pid(pid, Signal::SIGSTOP);
        let lost = Instant::now();
        eventually("it is lost", READY, || {
            let nodes = cluster.nodes()?;
            ensure(nodes.iter().any(|n| text(n, "/status/sync") == "SYNC_STATE_LOST"), || format!("{nodes:?}"))
        });
        let lost = lost.elapsed();
        kill_pid(pid, Signal::SIGCONT);
        let start = Instant::now();
        cluster.wait_nodes(3);
        let back = start.elapsed();
        assert_eq!(cluster.node_pid("node-2"), pid, "a process that lives is not replaced");
        faults.end("node-2");
        println!(
            "cell: supervised node stopped | its connections wait, and go on; LOST after {lost:.1?}, not replaced; SYNCED {back:.1?} after it goes on"
        );

        // The median of three: one slow moment of a busy machine breaks no promise.
        let mut served: Vec<Duration> = nodes.iter().map(|node| serves_again(&cluster, node, &mut faults)).collect();
        served.sort_unstable();
        let served = served[1];
        cluster.wait_nodes(3);
        let report = traffic.stop();
        assert!(report.unexplained(&faults).is_empty(), "{:?}", report.unexplained(&faults).first());
        println!(
            "cell: supervised node killed | its connections are reset; it serves again after {served:.2?}, under its address"
        );
        assert!(served < Duration::from_secs(1), "{served:?}");
    });
}

/// Kills a node; returns how long it took until another process served at its address.
fn serves_again(cluster: &Cluster, node: &Value, faults: &mut Faults) -> Duration {
    let (name, tcp, udp) = (name(node), bound(node, "echo-tcp"), bound(node, "echo-udp"));
    let pid = cluster.node_pid(&name);
    faults.begin(&name);
    kill_pid(pid, Signal::SIGKILL);
    let start = Instant::now();
    gone(pid, READY);
    eventually("it serves again", READY, || {
        client::tcp_echo(tcp, b"again").and_then(|()| client::udp_echo(udp, b"again"))
    });
    let served = start.elapsed();
    faults.end(&name);
    served
}

#[test]
fn control_with_the_process_scaler_may_stop_or_die_under_traffic() {
    lab::run("control_with_the_process_scaler_may_stop_or_die_under_traffic", || {
        let mut cluster = Cluster::start_with(&pool_on(2, PORT), &[]);
        let traffic = Traffic::start(None, &Target::all(&cluster.wait_nodes(2)));
        cluster.control.signal(Signal::SIGSTOP);
        throughout(PAUSE, || ensure(traffic.losses().is_empty(), || format!("{:?}", traffic.losses().first())));
        cluster.control.signal(Signal::SIGCONT);
        let start = Instant::now();
        cluster.echoctl().ok("scale pool/default --replicas 3");
        cluster.wait_nodes(3);
        println!("cell: only control stopped | traffic goes on; scales {:.1?} after it goes on", start.elapsed());
        cluster.control.kill();
        let start = Instant::now();
        cluster.replace_control();
        eventually("the next one answers", READY, || cluster.nodes());
        let answered = start.elapsed();
        cluster.echoctl().ok("scale pool/default --replicas 2");
        cluster.wait_nodes(2);
        traffic.stop().assert_clean();
        println!(
            "cell: only control killed | traffic goes on; the next one answers after {answered:.1?}, adopts the nodes, scales after {:.1?}",
            start.elapsed()
        );
    });
}

#[test]
fn up_may_stop_and_its_death_ends_all_of_it() {
    lab::run("up_may_stop_and_its_death_ends_all_of_it", || {
        let dir = tools::scratch("up-cells");
        let mut command = Command::new(tools::ours("echoctl"));
        command.args(["up", "--nodes", "2", "--state-dir"]).arg(dir.join("state"));
        let mut up = Process::start("up", &dir, command);
        let echoctl = Echoctl::new("http://127.0.0.1:7400");
        let nodes = eventually("both nodes serve", READY, || {
            let nodes = echoctl.items("get nodes")?;
            ensure(nodes.len() == 2 && nodes.iter().all(|n| text(n, "/status/sync") == "SYNC_STATE_SYNCED"), || {
                up.log()
            })?;
            Ok::<_, String>(nodes)
        });
        let traffic = Traffic::start(None, &Target::all(&nodes));
        up.signal(Signal::SIGSTOP);
        throughout(PAUSE, || ensure(traffic.losses().is_empty(), || format!("{:?}", traffic.losses().first())));
        assert_eq!(echoctl.items("get nodes").unwrap().len(), 2);
        up.signal(Signal::SIGCONT);
        let family = naming(&dir);
        assert!(family.len() >= 5, "up, etcd, control and two nodes: {family:?}");
        traffic.stop().assert_clean();
        println!("cell: up stopped | traffic goes on; nothing changes");
        let start = Instant::now();
        up.kill();
        family.into_iter().for_each(|pid| gone(pid, READY));
        println!(
            "cell: up killed | everything that it started has ended after {:.1?}; the next `up` goes on with the stored pools",
            start.elapsed()
        );
    });
}

#[test]
fn nodes_are_listed_within_a_tenth_of_a_second() {
    let cluster = Cluster::start(3);
    // A machine that is busy with other things may be slow for a while, but not for all of it.
    let mut median = Duration::MAX;
    for _ in 0..BATCHES {
        let mut times = [(); BATCH].map(|()| {
            let start = Instant::now();
            cluster.echoctl().ok("get nodes");
            start.elapsed()
        });
        times.sort_unstable();
        median = median.min(times[BATCH / 2]);
        if median < LISTED {
            break;
        }
    }
    println!("cell: none | `get nodes` of 3 nodes answers in {median:.0?} (median of {BATCH})");
    assert!(median < LISTED, "{median:?}");
}
