//! Foreign programs understand us: a gRPC client that knows only reflection, etcdctl, and of the services netcat and
//! Python's sockets.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use echo_proto::STANDARD_SERVICES;
use echo_tests::cluster::{name, text};
use echo_tests::finish::finish;
use echo_tests::{Cluster, Process, eventually, node, tools};
use serde_json::Value;

fn reflect(args: &[&str]) -> String {
    let script = tools::workspace().join("tests/foreign/reflect.py");
    let output = finish(Command::new(tools::venv("bin/python")).arg(script).args(args));
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The services of these methods, which are sorted by them.
fn of_methods(methods: &str) -> Vec<&str> {
    let mut services: Vec<&str> = methods.lines().filter_map(|method| Some(method.split_once('/')?.0)).collect();
    services.dedup();
    services
}

#[test]
fn a_foreign_grpc_client_lists_and_calls() {
    let cluster = Cluster::start(2);
    let control = cluster.address().to_string();
    let methods = reflect(&[&control]);
    for method in ["echo.v1.Pools/Apply", "echo.v1.Nodes/List", "echo.v1.Events/List", "grpc.health.v1.Health/Check"] {
        assert!(methods.lines().any(|m| m == method), "{method} is not in\n{methods}");
    }
    let ours = ["echo.v1.Cluster", "echo.v1.Events", "echo.v1.Nodes", "echo.v1.Pools"];
    assert_eq!(of_methods(&methods), [&ours[..], &STANDARD_SERVICES].concat());
    let health = reflect(&[&control, "grpc.health.v1.Health/Check"]);
    assert_eq!(serde_json::from_str::<Value>(&health).unwrap()["status"], "SERVING");

    let scaled = reflect(&[&control, "echo.v1.Pools/Scale", r#"{"name": "default", "replicas": 3}"#]);
    assert_eq!(serde_json::from_str::<Value>(&scaled).unwrap()["previousReplicas"], 2);
    let nodes = cluster.wait_nodes(3);

    let agent = text(&nodes[2], "/status/agentAddress");
    let methods = reflect(&[&agent]);
    assert!(methods.lines().any(|m| m == "echo.v1.Agent/GetStatus"));
    assert_eq!(
        of_methods(&methods),
        [&["echo.v1.Agent"], &STANDARD_SERVICES[..]].concat(),
        "what it serves, and no more"
    );
    let status: Value = serde_json::from_str(&reflect(&[&agent, "echo.v1.Agent/GetStatus"])).unwrap();
    assert_eq!(text(&status, "/node/metadata/name"), "node-3");
    assert_eq!(text(&status, "/node/status/phase"), "NODE_PHASE_READY");
}

#[test]
fn a_person_can_read_every_key_with_etcdctl() {
    let cluster = Cluster::start(2);
    let all = cluster.etcd.get_prefix("/echo/v1");
    for (key, value) in &all {
        let value: Value = serde_json::from_str(value).unwrap_or_else(|e| panic!("{key}: {e}: {value}"));
        assert!(value.is_object(), "{key}: {value}");
    }
    let root = "/echo/v1/default/";
    let expected = [
        "assignments/default",
        "leader",
        "nodes/default/node-1",
        "nodes/default/node-2",
        "pools/default",
        "revisions/default/0000000001",
        "rollouts/default",
    ];
    let keys: Vec<_> = all.iter().filter_map(|(key, _)| key.strip_prefix(root)).collect();
    for key in expected {
        assert!(keys.contains(&key), "{key} is not in {keys:?}");
    }
    assert!(keys.iter().any(|k| k.starts_with("events/")), "{keys:?}");
    let value = |key: &str| -> Value {
        let found = all.iter().find(|(k, _)| k == &format!("{root}{key}")).unwrap();
        serde_json::from_str(&found.1).unwrap()
    };
    for key in ["assignments/default", "pools/default", "nodes/default/node-1"] {
        assert!(text(&value(key), "/trace/traceparent").starts_with("00-"), "{key}: {}", value(key));
    }
    assert_eq!(name(&value("nodes/default/node-1")), "node-1");

    // The digest is of the config as it stands there: anyone can compute it again.
    let assignment = value("assignments/default");
    let config = assignment["stable"]["config"].to_string();
    let sum = finish(Command::new("sh").args(["-c", "printf %s \"$1\" | sha256sum", "sh", &config]));
    assert!(String::from_utf8(sum.stdout).unwrap().starts_with(assignment["stable"]["digest"].as_str().unwrap()));
}

/// Every service there is, each under its own name; over UDP those that may.
const SERVICES: &str = "
apiVersion: echo/v1
kind: Pool
metadata: {name: foreign}
spec:
  template:
    drain: {deadline: 0s}
    listeners:
    - {name: echo, protocol: TCP, port: 0, service: {echo: {}}}
    - {name: echo-udp, protocol: UDP, port: 0, service: {echo: {}}}
    - {name: discard, protocol: TCP, port: 0, service: {discard: {}}}
    - {name: chargen, protocol: TCP, port: 0, service: {chargen: {}}}
    - {name: chargen-udp, protocol: UDP, port: 0, service: {chargen: {}}}
    - {name: daytime, protocol: TCP, port: 0, service: {daytime: {}}}
    - {name: time, protocol: TCP, port: 0, service: {time: {}}}
    - {name: greet, protocol: TCP, port: 0, service: {greet: {banner: hi}}}
    - {name: whoami, protocol: TCP, port: 0, service: {whoami: {}}}
";

/// A node that serves [`SERVICES`], and where.
fn services() -> (Process, BTreeMap<String, String>) {
    let dir = tools::scratch("services");
    let file = dir.join("pool.yaml");
    std::fs::write(&file, SERVICES).unwrap();
    let mut command = Command::new(tools::ours("echo-node"));
    command.arg("--config").arg(file).args(["--id", "foreign", "--zone", "z1", "--label", "rack=r1", "--lifeline"]);
    command.args(["--address", "127.0.0.1", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    let process = Process::start("node", &dir, command);
    let told = eventually("it serves", node::SOON, || {
        let log = process.log();
        let listeners = log.split("listeners=\"").nth(1).and_then(|rest| rest.split('"').next());
        listeners.map(str::to_owned).ok_or(log.clone())
    });
    let address = |listener: &str| {
        let (name, address) = listener.split_once(' ')?;
        Some((name.to_owned(), address.split('/').next()?.to_owned()))
    };
    (process, told.split(", ").filter_map(address).collect())
}

#[test]
fn a_foreign_client_finds_every_service_as_its_rfc_has_it() {
    let (_node, addresses) = services();
    let script = tools::workspace().join("tests/foreign/services.py");
    let args = addresses.iter().map(|(name, address)| format!("{name}={address}"));
    let output = finish(Command::new(tools::foreign("python3")).arg(script).args(args));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let checked = String::from_utf8(output.stdout).unwrap();
    assert_eq!(checked.lines().collect::<Vec<_>>(), addresses.keys().collect::<Vec<_>>());
    assert_eq!(addresses.len(), SERVICES.matches("- {name:").count());
}

#[test]
fn netcat_hears_what_services_say() {
    let (_node, addresses) = services();
    let hear = |service: &str| {
        let (host, port) = addresses[service].rsplit_once(':').unwrap();
        let nc = tools::foreign("nc");
        let output = finish(Command::new(nc).args(["-d", "-w", "10", host, port]).stdin(Stdio::null()));
        assert!(output.status.success(), "{service}: {output:?}");
        output.stdout
    };
    assert_eq!(hear("greet"), b"hi");
    assert_eq!(hear("time").len(), 4);
    assert!(hear("daytime").ends_with(b"Z\r\n"));
    assert_eq!(serde_json::from_slice::<Value>(&hear("whoami")).unwrap()["pool"], "foreign");
}

#[test]
fn fortio_has_every_message_echoed_over_tcp_and_udp() {
    let (_node, addresses) = services();
    for (over, listener) in [("tcp", "echo"), ("udp", "echo-udp")] {
        let target = format!("{over}://{}", addresses[listener]);
        let mut command = Command::new(tools::built("fortio"));
        command.args(["load", "-quiet", "-qps", "0", "-c", "4", "-n", "2000", "-payload-size", "1000", "-json", "-"]);
        let output = finish(command.arg(&target));
        let told: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("{target}: {e}: {}", String::from_utf8_lossy(&output.stderr)));
        // It compares what comes back, byte by byte.
        assert_eq!(told["RetCodes"], serde_json::json!({"OK": 2000}), "{told}");
        assert_eq!((&told["BytesSent"], &told["BytesReceived"]), (&2_000_000.into(), &2_000_000.into()), "{told}");
    }
}
