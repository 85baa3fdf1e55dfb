//! What `echoctl up` refuses to start, and what it says of a start that fails.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::Ipv4Addr;
use std::time::Duration;

use echo_tests::finish::finish;
use echo_tests::ports::take_port;
use echo_tests::process::naming;
use echo_tests::up::{ANY_PORTS, Up, any_ports, command, state};
use echo_tests::{Etcd, Process};

#[test]
fn a_state_dir_in_use_is_refused_with_its_holder() {
    let state = state("held");
    let mut up = Up::start(&state, &any_ports(state.parent().unwrap(), 1));
    let output = finish(&mut command(&state, ANY_PORTS));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(&format!("pid {}", up.process.pid())), "{stderr}");
    up.interrupt();
}

#[test]
fn without_an_etcd_binary_it_says_what_to_do() {
    let state = state("no-etcd");
    let output = finish(command(&state, ANY_PORTS).env("PATH", "/nonexistent"));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("etcd-server") && stderr.contains("--etcd"), "{stderr}");
    assert_eq!(stderr.trim_end().lines().count(), 1, "{stderr}");
}

#[test]
fn what_cannot_work_is_told_before_anything_is_started() {
    let state = state("refused");
    let dir = state.parent().unwrap();
    let cases = [
        ("--nodes 255", 2, "--nodes: at most 254"),
        ("--node-lease-ttl 500ms", 2, "--node-lease-ttl: 500ms"),
        ("--pool big.yaml", 2, "spec.replicas: 255"),
        ("--pool /nonexistent", 1, "/nonexistent"),
        ("--pool ruled.yaml --nodes 3", 2, "spec.autoscale: decides, from 1 to 4 nodes; leave --nodes out"),
    ];
    std::fs::write(dir.join("big.yaml"), echo_tests::cluster::pool_file(255)).unwrap();
    std::fs::write(dir.join("ruled.yaml"), ruled()).unwrap();
    for (args, code, part) in cases {
        let output = finish(command(&state, &format!("{ANY_PORTS} {args}")).current_dir(dir));
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args}: {stderr}");
        assert!(stderr.contains(part) && stderr.trim_end().lines().count() == 1, "{args}: {stderr}");
    }
    std::fs::write(state.join("pool.yaml"), "").unwrap();
    let output = finish(&mut command(&state, ANY_PORTS));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("--pool") && stderr.contains("delete"), "a damaged pool.yaml: {stderr}");
    assert_eq!(std::fs::read_dir(state.join("logs")).unwrap().count(), 0, "nothing was started");
}

/// A pool file whose number of nodes is its autoscaler's.
fn ruled() -> String {
    echo_tests::cluster::pool_file(1).replace("replicas: 1", "autoscale: {maxReplicas: 4, target: {connections: 10}}")
}

#[test]
fn a_number_of_nodes_is_not_for_a_stored_pool_that_is_autoscaled() {
    let state = state("ruled");
    let file = state.parent().unwrap().join("ruled.yaml");
    std::fs::write(&file, ruled()).unwrap();
    let mut up = Up::start(&state, &format!("{ANY_PORTS} --pool {}", file.display()));
    up.interrupt();
    let output = finish(&mut command(&state, &format!("{ANY_PORTS} --nodes 3")));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("pool \"default\" is autoscaled, 1 to 4 nodes; change spec.autoscale"), "{stderr}");
    let mut up = Up::start(&state, ANY_PORTS);
    let log = up.process.log();
    assert!(log.contains("pool/default: 1 node, as stored in") && log.contains("; its autoscaler decides"), "{log}");
    up.interrupt();
}

#[test]
fn a_node_that_cannot_start_ends_the_start_soon() {
    let state = state("no-start");
    let dir = state.parent().unwrap().to_owned();
    let foreign = take_port(Ipv4Addr::new(127, 0, 0, 2));
    let port = foreign.local_addr().unwrap().port();
    // What a stored pool needs is not known before the start, so that the port is not tried before.
    let etcd = Etcd::start(&dir);
    let args = any_ports(&dir, 2).replace("--node-grpc-port 0", &format!("--node-grpc-port {port}"));
    let args = format!("{args} --etcd {}", etcd.url());
    let mut up = Process::start("up", &dir, command(&state, &args));
    // The deadline of a start is 30 s; nothing can change any more after a few.
    assert_eq!(up.wait(Duration::from_secs(20)).code(), Some(1), "{}", up.log());
    let log = up.log();
    assert!(log.contains("1 of 2 ready") && log.contains("node-2: ended"), "{log}");
    assert!(log.contains(&format!("127.0.0.2:{port}: address in use")), "{log}");
    assert_eq!(naming(&state), [0_u32; 0], "nothing is left running");
}

#[test]
fn every_port_that_is_taken_is_told_at_once_with_its_holder() {
    let state = state("clash");
    let dir = state.parent().unwrap().to_owned();
    let control = take_port(Ipv4Addr::LOCALHOST);
    let agent = take_port(Ipv4Addr::new(127, 0, 0, 2));
    let port = agent.local_addr().unwrap().port();
    let listen = control.local_addr().unwrap();
    let args = any_ports(&dir, 2).replace("--node-grpc-port 0", &format!("--node-grpc-port {port}"));
    let args = args.replace("--listen 127.0.0.1:0", &format!("--listen {listen}"));
    let output = finish(&mut command(&state, &args));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let holder = format!("(pid {})", std::process::id());
    for part in [format!("control's gRPC: tcp {listen}: "), format!("node-2's Agent: tcp 127.0.0.2:{port}: ")] {
        let line = stderr.lines().find(|line| line.contains(&part)).unwrap_or_else(|| panic!("no {part} in {stderr}"));
        assert!(line.contains(&holder) && line.contains("choose another with --"), "{line}");
    }
    assert_eq!(std::fs::read_dir(state.join("logs")).unwrap().count(), 0, "nothing was started");
}

#[test]
fn a_state_dir_of_another_cluster_is_refused() {
    let state = state("other-cluster");
    let mut up = Up::start(&state, &any_ports(state.parent().unwrap(), 1));
    up.interrupt();
    let output = finish(&mut command(&state, &format!("{ANY_PORTS} --cluster other")));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("is of cluster default; give --cluster default"), "{stderr}");
}
