//! A node that is out of files: it backs off, says so, and serves whoever has waited once there are some again.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::Read as _;
use std::io::Write as _;
use std::process::Command;
use std::time::Duration;

use echo_tests::cluster::{SETTLED, bound, name};
use echo_tests::wait::ensure;
use echo_tests::{Cluster, client, eventually};

/// Connections that come meanwhile.
const WAITING: usize = 8;
/// Times that a shard may try to accept one within the time that this test takes: its pauses soon reach a second.
const TRIES: u64 = 60;

/// Lets a process have so many files, at least.
fn set_files(pid: u32, files: &str) {
    let status = Command::new("prlimit").args(["--pid", &pid.to_string(), &format!("--nofile={files}:")]).status();
    assert!(status.expect("prlimit (util-linux) is there").success());
}

fn files(pid: u32) -> String {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    line.split_whitespace().nth(3).unwrap().to_owned()
}

#[test]
fn a_node_without_files_backs_off_says_so_and_recovers() {
    let cluster = Cluster::start(1);
    let node = cluster.wait_nodes(1).remove(0);
    let (address, pid) = (bound(&node, "echo-tcp"), cluster.node_pid(&name(&node)));
    let mut before = client::connect(address).unwrap();
    client::echo_on(&mut before, b"before").unwrap();

    let many = files(pid);
    set_files(pid, "8");
    let mut waiting: Vec<_> = (0..WAITING).map(|_| client::connect(address).unwrap()).collect();
    waiting.iter_mut().for_each(|stream| stream.write_all(b"later").unwrap());
    eventually("it says so", SETTLED, || {
        let nodes = cluster.nodes()?;
        let told = nodes[0].pointer("/status/conditions").and_then(|told| told.as_array()).cloned().unwrap_or_default();
        ensure(told.iter().any(|condition| condition["type"] == "FilesExhausted"), || format!("{told:?}"))
    });
    client::echo_on(&mut before, b"who is in is served").unwrap();

    set_files(pid, &many);
    for stream in &mut waiting {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut back = [0; 5];
        stream.read_exact(&mut back).expect("who has waited is served");
        assert_eq!(&back, b"later");
    }
    let count = eventually("it tells how often it tried", SETTLED, || {
        let described = cluster.echoctl().ok(&format!("describe node/{}", name(&node)));
        let told = described.lines().find(|line| line.contains("file_limit"));
        told.and_then(|line| line.split_whitespace().find_map(|word| word.parse::<u64>().ok())).ok_or(described)
    });
    assert!((1..=TRIES).contains(&count), "{count} times");
}
