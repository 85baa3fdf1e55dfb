//! `echoctl up` as the README runs it: fixed ports, its own etcd, netcat, Ctrl-C and kill -9.
//!
//! `the_readme_run` is the one test on fixed ports, in a network of its own.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;
use std::process::Command;

use echo_tests::cluster::{READY, bound, name};
use echo_tests::finish::finish;
use echo_tests::process::{gone, kill_pid, naming};
use echo_tests::up::{ANY_PORTS, Up, any_ports, state};
use echo_tests::wait::ensure;
use echo_tests::{Echoctl, Etcd, client, eventually, lab, tools};
use nix::sys::signal::Signal;

fn netcat(args: &[&str], input: &str) -> String {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("printf '{input}' | {} {}", tools::foreign("nc").display(), args.join(" ")));
    String::from_utf8_lossy(&finish(&mut shell).stdout).into_owned()
}

#[test]
fn the_readme_run() {
    lab::run("the_readme_run", || {
        let state = state("readme");
        let mut up = Up::start(&state, "");
        let log = up.process.log();
        for part in ["node-1", "node-2", "node-3", "127.0.0.1:7007", "tcp", "udp", "nc "] {
            assert!(log.contains(part), "{part:?} is not in\n{log}");
        }
        for node in ["127.0.0.1", "127.0.0.2", "127.0.0.3"] {
            assert_eq!(netcat(&["-q1", node, "7007"], "over tcp"), "over tcp");
            assert_eq!(netcat(&["-u", "-w1", node, "7007"], "over udp"), "over udp");
        }
        let echoctl = Echoctl::new("http://127.0.0.1:7400");
        assert_eq!(echoctl.items("get nodes").unwrap().len(), 3);
        echoctl.ok("scale pool/default --replicas 4");
        eventually("node-4 serves", READY, || client::tcp_echo("127.0.0.4:7007".parse().unwrap(), b"four"));
        let family_before = naming(&state);
        assert!(family_before.len() >= 6, "up, etcd, control and four nodes: {family_before:?}");
        up.interrupt();
        assert_eq!(naming(&state), [0_u32; 0], "nothing is left running");

        // Again: the stored pool, with the four nodes that it has now; UDP is quiet after ten seconds only.
        let mut up = Up::start(&state, "--drain-deadline 1s");
        assert_eq!(echoctl.items("get nodes").unwrap().len(), 4);
        up.interrupt();
        // And --nodes wins where given.
        let mut up = Up::start(&state, "--nodes 2 --drain-deadline 1s");
        eventually("two nodes are left", READY, || {
            let nodes = echoctl.items("get nodes")?;
            ensure(nodes.len() == 2, || format!("{}", nodes.len()))
        });
        up.interrupt();
        assert_eq!(naming(&state), [0_u32; 0], "nothing is left running");
    });
}

#[test]
fn a_killed_up_takes_everything_with_it() {
    let state = state("killed");
    let args = any_ports(state.parent().unwrap(), 2);
    let mut up = Up::start(&state, &args);
    let family = naming(&state);
    assert!(family.len() >= 5, "up, etcd, control and two nodes: {family:?}");
    up.process.kill();
    for pid in family {
        gone(pid, READY);
    }
    // The same state dir can be used again at once, after a crash too.
    let mut up = Up::start(&state, &args);
    up.interrupt();
}

#[test]
fn its_etcd_and_its_control_are_restarted() {
    let state = state("restart");
    let args = any_ports(state.parent().unwrap(), 2);
    let mut up = Up::start(&state, &args);
    for victim in ["etcd", "echo-control"] {
        let pid = find(&state, victim);
        kill_pid(pid, Signal::SIGKILL);
        eventually(&format!("another {victim} runs"), READY, || {
            let now = naming(&state).into_iter().filter(|p| program(*p) == victim).collect::<Vec<_>>();
            ensure(now.len() == 1 && now[0] != pid, || format!("{now:?}"))
        });
    }
    assert_eq!(naming(&state).into_iter().filter(|p| program(*p) == "echo-node").count(), 2);
    up.interrupt();
    assert_eq!(naming(&state), [0_u32; 0], "nothing is left running");
}

#[test]
fn a_nodes_end_is_told_and_another_started() {
    let state = state("node-end");
    let mut up = Up::start(&state, &any_ports(state.parent().unwrap(), 1));
    let node = find(&state, "echo-node");
    kill_pid(node, Signal::SIGKILL);
    eventually("up tells of the node's end", READY, || {
        let log = up.process.log();
        ensure(log.contains(&format!("node-1: pid {node} was ended by signal 9")), || log)
    });
    eventually("another node runs", READY, || {
        let now = naming(&state).into_iter().filter(|p| program(*p) == "echo-node").collect::<Vec<_>>();
        ensure(now.len() == 1 && now[0] != node, || format!("{now:?}"))
    });
    up.interrupt();
}

#[test]
fn another_etcd_is_used_and_left_as_it_was() {
    let state = state("foreign-etcd");
    let dir = state.parent().unwrap();
    let etcd = Etcd::start(dir);
    let mut up = Up::start(&state, &format!("{} --etcd {}", any_ports(dir, 2), etcd.url()));
    assert!(!naming(&state).into_iter().any(|pid| program(pid) == "etcd"), "no etcd of its own");
    assert_eq!(etcd.get_prefix("/echo/v1/default/nodes/").len(), 2);
    up.interrupt();
    assert_eq!(etcd.get_prefix("/echo/v1/default/nodes/"), [], "the nodes gave their leases back");
    assert_eq!(etcd.get_prefix("/echo/v1/default/pools/").len(), 1, "and the pool stays");
}

#[test]
fn a_deleted_pool_is_made_again_and_told() {
    let state = state("deleted-pool");
    let args = any_ports(state.parent().unwrap(), 1);
    let mut up = Up::start(&state, &args);
    up.echoctl().ok("delete pool/default");
    up.interrupt();
    let mut up = Up::start(&state, ANY_PORTS);
    let log = up.process.log();
    assert!(log.contains("pool/default: was not stored any more, and is made of "), "{log}");
    assert_eq!(up.echoctl().items("get nodes").unwrap().len(), 1);
    up.interrupt();
}

#[test]
fn nodes_of_a_killed_run_are_not_told() {
    let state = state("ghosts");
    let args = any_ports(state.parent().unwrap(), 3);
    let mut up = Up::start(&state, &args);
    // Two nodes are wanted from now on, and the third can't hear that it must leave: its record stays as it is.
    let third = pid_of(&state, "node-3");
    kill_pid(third, Signal::SIGSTOP);
    up.echoctl().ok("scale pool/default --replicas 2");
    up.process.kill();
    kill_pid(third, Signal::SIGKILL);
    let mut up = Up::start(&state, &args);
    let log = up.process.log();
    assert!(log.contains("node-2") && !log.contains("node-3"), "{log}");
    up.interrupt();
}

/// A node's process, from the scaler's own file.
fn pid_of(state: &Path, node: &str) -> u32 {
    let text = std::fs::read_to_string(state.join(format!("nodes/{node}.json"))).unwrap();
    let told: serde_json::Value = serde_json::from_str(&text).unwrap();
    told["pid"].as_u64().unwrap().try_into().unwrap()
}

/// The one process of this cluster that runs a program.
fn find(state: &Path, wanted: &str) -> u32 {
    naming(state).into_iter().find(|pid| program(*pid) == wanted).unwrap_or_else(|| panic!("no {wanted}"))
}

fn program(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

#[test]
fn nodes_have_loopback_addresses_of_their_own() {
    let state = state("addresses");
    let dir = state.parent().unwrap().to_owned();
    let mut up = Up::start(&state, &any_ports(&dir, 3));
    let echoctl = up.echoctl();
    for node in echoctl.items("get nodes").unwrap() {
        let index = name(&node).strip_prefix("node-").unwrap().to_owned();
        assert_eq!(bound(&node, "echo-tcp").ip().to_string(), format!("127.0.0.{index}"));
        client::udp_echo(bound(&node, "echo-udp"), b"hello").unwrap();
    }
    // The line to try names this very program, which is in no PATH.
    let log = up.process.log();
    let line = log.lines().find_map(|line| Some(line.split_once(" get nodes")?.0.to_owned() + " get nodes"));
    let line = line.unwrap_or_else(|| panic!("no line to try in {log}"));
    let tried = finish(Command::new("sh").args(["-c", &line]));
    assert!(String::from_utf8_lossy(&tried.stdout).contains("node-3"), "{line}: {tried:?}");
    up.interrupt();
}
