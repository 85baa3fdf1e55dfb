//! `echoctl up` as the README runs it: fixed ports, its own etcd, netcat, Ctrl-C and kill -9.
//!
//! `the_readme_run` is the one test on fixed ports, in a network of its own.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use echo_tests::cluster::{READY, bound, name};
use echo_tests::finish::finish;
use echo_tests::ports::take_port;
use echo_tests::process::{gone, kill_pid, naming};
use echo_tests::wait::ensure;
use echo_tests::{Echoctl, Etcd, Process, client, eventually, lab, tools};
use nix::sys::signal::Signal;

/// Ctrl-C to the end: a drain of 5 s at most, and then some.
const END: Duration = Duration::from_secs(15);

struct Up {
    process: Process,
}

fn command(state: &Path, args: &str) -> Command {
    let mut command = Command::new(tools::ours("echoctl"));
    command.arg("up").arg("--state-dir").arg(state).args(args.split_whitespace());
    command
}

impl Up {
    fn start(state: &Path, args: &str) -> Self {
        std::fs::create_dir_all(state).unwrap();
        let log = state.parent().unwrap();
        let mut up = Self { process: Process::start("up", log, command(state, args)) };
        eventually("up says that it is ready", READY, || {
            assert!(up.process.is_running(), "up ended: {}", up.process.log());
            let log = up.process.log();
            ensure(log.contains("Ctrl-C"), || log)
        });
        up
    }

    /// The admin command line of this cluster.
    fn echoctl(&self) -> Echoctl {
        let log = self.process.log();
        let server = log.split_whitespace().find(|word| word.starts_with("http://127.0.0.1:"));
        Echoctl::new(server.unwrap_or_else(|| panic!("up tells its server: {log}")))
    }

    fn interrupt(&mut self) {
        self.process.signal(Signal::SIGINT);
        assert_eq!(self.process.wait(END).code(), Some(0), "{}", self.process.log());
    }
}

fn state(name: &str) -> PathBuf {
    tools::scratch(name).join("state")
}

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

const ANY_PORTS: &str = "--listen 127.0.0.1:0 --http 127.0.0.1:0 --node-grpc-port 0 --node-http-port 0";

fn any_ports(dir: &Path, nodes: u32) -> String {
    let pool = dir.join("pool.yaml");
    std::fs::write(&pool, echo_tests::cluster::pool_file(nodes)).unwrap();
    format!("{ANY_PORTS} --pool {}", pool.display())
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
    ];
    std::fs::write(dir.join("big.yaml"), echo_tests::cluster::pool_file(255)).unwrap();
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
fn a_state_dir_of_another_cluster_is_refused() {
    let state = state("other-cluster");
    let mut up = Up::start(&state, &any_ports(state.parent().unwrap(), 1));
    up.interrupt();
    let output = finish(&mut command(&state, &format!("{ANY_PORTS} --cluster other")));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("is of cluster default; give --cluster default"), "{stderr}");
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
