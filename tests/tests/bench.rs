//! That `make bench` runs: each part of it in short, with the binaries at hand. Its figures are not judged, but that they are
//! there is, and that nobody's wrong byte passes.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use echo_tests::finish::finish;
use echo_tests::node::wait_log;
use echo_tests::ports::{free_port, own_loopback_address};
use echo_tests::{Process, tools};
use serde_json::Value;

const TCP: &[&str] =
    &["raw epoll", "echo-node", "plain tokio", "fortio", "Python asyncio", "Python threads", "socat", "ncat"];
const UDP: &[&str] =
    &["one call per datagram", "echo-node", "raw epoll", "plain tokio", "fortio", "Python asyncio", "socat"];
const CASES: &[(&str, &[&str])] = &[
    ("tcp-64", TCP),
    ("tcp-64-pipelined", TCP),
    ("tcp-16k", TCP),
    ("connect", TCP),
    ("udp-16x16", UDP),
    ("udp-64x1", UDP),
];
/// That are sent to a node at once, and the time after which no answer comes.
const DATAGRAMS: usize = 60;
const QUIET: Duration = Duration::from_secs(1);
/// Exit codes: every number is met, or one is not, which a debug build's may well be.
const MEASURED: [Option<i32>; 2] = [Some(0), Some(3)];

/// A short run with these arguments, which takes what it finds in `path` before all else.
fn bench(dir: &Path, binaries: &Path, path: &Path, args: &[&str]) -> (Output, Value) {
    let mut bench = Command::new(env!("CARGO_BIN_EXE_echo-bench"));
    bench.args(["run", "--rounds", "1", "--millis", "20"]).args(args);
    bench.arg("--binaries").arg(binaries).arg("--out").arg(dir);
    bench.env("PATH", format!("{}:{}", path.display(), std::env::var("PATH").unwrap()));
    let output = finish(&mut bench);
    let json = fs::read(dir.join("bench.json")).unwrap_or_else(|e| panic!("{e}: {}", told(&output)));
    (output, serde_json::from_slice(&json).unwrap())
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn binaries() -> std::path::PathBuf {
    tools::ours("echo-node").parent().unwrap().to_owned()
}

fn names<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    list.as_array().unwrap().iter().map(|item| item[field].as_str().unwrap()).collect()
}

#[test]
fn a_part_that_there_is_not_is_no_success() {
    let dir = tools::scratch("bench");
    let (output, json) = bench(&dir, &binaries(), &dir, &["--only", "tpc-64", "--idle", "0", "--minutes", "0"]);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert!(told(&output).contains("nothing was measured: --only names no part"), "{}", told(&output));
    assert_eq!(json["cases"].as_array().map(Vec::len), Some(0), "{json}");
}

#[test]
fn every_rival_of_every_case_is_measured_or_told_as_left_out() {
    let dir = tools::scratch("bench");
    let fortio = tools::workspace().join("target/tools/bin");
    let (output, result) = bench(&dir, &binaries(), &fortio, &["--only", "tcp-,udp-,connect"]);
    assert!(MEASURED.contains(&output.status.code()), "{}", told(&output));
    assert_eq!(result["faults"], Value::Array(Vec::new()));
    assert_eq!(names(&result["cases"], "name"), CASES.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    for (case, (name, wanted)) in result["cases"].as_array().unwrap().iter().zip(CASES) {
        let measured = names(&case["servers"], "server");
        assert_eq!(measured[..2], wanted[..2], "the base, and ours");
        for rival in *wanted {
            let out = result["leftOut"]
                .as_array()
                .unwrap()
                .iter()
                .find(|out| out["case"] == *name && out["server"] == *rival);
            assert!(measured.contains(rival) != out.is_some(), "{rival} of {name}: {result:#}");
        }
        let positive = |value: &Value| value["median"].as_f64().is_some_and(|value| value > 0.0);
        for server in case["servers"].as_array().unwrap() {
            let figures = ["cpuMicrosPerEcho", "cpuRatio", "busy", "echoesPerSecond"].map(|name| &server[name]);
            let latencies = ["p50", "p99", "p99.9"].map(|share| &server["latencyMicros"][share]);
            assert!(figures.into_iter().chain(latencies).all(positive), "{server:#}");
            assert!(positive(&server["load"]["cpuMicrosPerEcho"]), "{server:#}");
        }
    }
    // What is asked of a node in each of them.
    assert_eq!(result["targets"].as_array().unwrap().len(), CASES.len(), "{result:#}");
    let chart = fs::read_to_string(dir.join("bench.svg")).unwrap();
    assert!(chart.starts_with("<svg") && chart.contains(">echo-node<") && chart.ends_with("</svg>\n"), "{chart}");
}

#[test]
fn features_busy_polling_idle_connections_and_a_long_run_are_measured() {
    let dir = tools::scratch("bench");
    let args = ["--only", "feature,busy,idle,steady", "--idle", "90", "--minutes", "0.01"];
    let (output, result) = bench(&dir, &binaries(), &dir, &args);
    assert!(MEASURED.contains(&output.status.code()), "{}", told(&output));
    assert_eq!(result["faults"], Value::Array(Vec::new()));
    let features = ["limits-udp", "limits-tcp", "guard-default", "guard-ranges", "stamped-udp", "stamped-tcp"];
    assert_eq!(names(&result["features"], "name"), features);
    assert!(result["busyPoll"]["p50Ratio"]["median"].as_f64() > Some(0.0), "{result:#}");
    let steps = result["idle"]["steps"].as_array().unwrap();
    assert_eq!(steps.iter().filter_map(|step| step["connections"].as_u64()).collect::<Vec<_>>(), [30, 60, 90]);
    assert!(steps.iter().all(|step| step["rssKib"].as_u64() > Some(0)), "{result:#}");
    assert!(result["steady"]["echoes"].as_u64() > Some(0), "{result:#}");
    // Busy polling, slope and quickness of idle connections, memory and files of the long run.
    assert_eq!(result["targets"].as_array().unwrap().len(), 5, "{result:#}");
}

#[test]
fn the_limits_of_the_bench_hold_for_its_load() {
    let file = include_str!("../src/bin/echo-bench/pool.yaml");
    let rate = "{messages: 1000000000, bytes: 1000000000000}";
    assert_eq!(answers_of_a_node(file), DATAGRAMS, "by itself it limits nothing that comes here");
    thread::scope(|scope| {
        for whose in ["perSource", "perListener"] {
            for lower in ["{messages: 1, bytes: 1000000000000}", "{messages: 1000000000, bytes: 1}"] {
                let file = file.replace(&format!("{whose}: {rate}"), &format!("{whose}: {lower}"));
                scope.spawn(move || {
                    let answers = answers_of_a_node(&file);
                    assert!((1..DATAGRAMS).contains(&answers), "{whose}: {lower}: {answers} answers");
                });
            }
        }
    });
}

/// How many of [`DATAGRAMS`], more than 64 KiB in all, a node with this pool file answers at once.
fn answers_of_a_node(file: &str) -> usize {
    let (dir, address) = (tools::scratch("bench"), own_loopback_address());
    let port = free_port(address);
    fs::write(dir.join("pool.yaml"), file.replace("port: 0", &format!("port: {port}"))).unwrap();
    let mut command = Command::new(tools::ours("echo-node"));
    command.arg("--config").arg(dir.join("pool.yaml")).args(["--address", &address.to_string(), "--lifeline"]);
    command.args(["--grpc", &format!("{address}:0"), "--http", &format!("{address}:0")]);
    let node = Process::start("node", &dir, command);
    wait_log(&node, "echo-udp");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect((address, port)).unwrap();
    socket.set_read_timeout(Some(QUIET)).unwrap();
    for _ in 0..DATAGRAMS {
        socket.send(&[7; 1_400]).unwrap();
    }
    (0..DATAGRAMS).take_while(|_| socket.recv(&mut [0; 1_400]).is_ok()).count()
}

/// Puts a server into `dir` under this name that changes a byte of each answer, and tells its address after `mark`.
fn liar(dir: &Path, name: &str, mark: &str) {
    fs::create_dir_all(dir).unwrap();
    let script = format!(
        r#"#!/usr/bin/env python3
import socketserver
class Liar(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(65536):
            self.request.sendall(data[:-1] + bytes([data[-1] ^ 1]))
socketserver.ThreadingTCPServer.daemon_threads = True
server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Liar)
print(f"{mark}127.0.0.1:{{server.server_address[1]}}", flush=True)
server.serve_forever()
"#
    );
    let path = dir.join(name);
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_rival_that_lies_fails_the_run_and_has_no_figures() {
    let dir = tools::scratch("bench");
    let path = dir.join("path");
    liar(&path, "socat", "listening on AF=2 ");
    let (output, result) = bench(&dir, &binaries(), &path, &["--only", "tcp-64-pipelined"]);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert!(result["faults"][0].as_str().unwrap().starts_with("tcp-64-pipelined: socat: "), "{result:#}");
    let measured = names(&result["cases"][0]["servers"], "server");
    assert!(measured.contains(&"echo-node") && !measured.contains(&"socat"), "{result:#}");
}

#[test]
fn a_node_that_lies_ends_its_case() {
    let dir = tools::scratch("bench");
    let path = dir.join("path");
    liar(&path, "echo-node", "serves echo-tcp ");
    let (output, result) = bench(&dir, &path, &path, &["--only", "tcp-64-pipelined"]);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert!(result["faults"][0].as_str().unwrap().starts_with("tcp-64-pipelined: echo-node: "), "{result:#}");
    assert_eq!(result["cases"], Value::Array(Vec::new()));
}

#[test]
fn a_fleet_is_measured_from_its_start_to_the_death_of_its_leader() {
    let dir = tools::scratch("bench");
    let mut bench = Command::new(env!("CARGO_BIN_EXE_echo-bench"));
    bench.args(["fleet", "--nodes", "20", "--seconds", "1"]).arg("--binaries").arg(binaries()).arg("--out").arg(&dir);
    let output = finish(&mut bench);
    assert!(MEASURED.contains(&output.status.code()), "{}", told(&output));
    let fleet: Value = serde_json::from_slice(&fs::read(dir.join("fleet.json")).unwrap()).unwrap();
    let targets = fleet["targets"].as_array().unwrap();
    assert_eq!((targets.len(), fleet["nodes"].as_u64()), (9, Some(20)), "{fleet}");
    for phase in ["registering", "idle", "rollout", "answers"] {
        let memory = |of: &str| fleet["costs"][phase]["rssMiB"][of].as_f64().unwrap();
        assert!(["control", "etcd", "agents"].into_iter().all(|of| memory(of) > 1.0), "{phase}: {fleet}");
    }
}
