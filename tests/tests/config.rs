//! Which control a command talks to, and what it does when that is away: contexts, several servers, doctor.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use echo_tests::cluster::{READY, SETTLED, bound, pool_file, text};
use echo_tests::ports::{free_port, own_loopback_address};
use echo_tests::wait::ensure;
use echo_tests::{Cluster, Echoctl, Process, client, eventually, tools};

/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:1";

/// A second control on the cluster's etcd, which starts no nodes.
fn second_control(cluster: &Cluster) -> (Process, String) {
    let ip = own_loopback_address();
    let address = format!("{ip}:{}", free_port(ip));
    let mut command = Command::new(tools::ours("echo-control"));
    command.args(["--grpc", &address, "--http", &format!("{ip}:0"), "--etcd", cluster.etcd.url(), "--lifeline"]);
    let process = Process::start("second", cluster.dir(), command);
    let server = format!("http://{address}");
    let echoctl = Echoctl::new(&server);
    eventually("the second control answers", READY, || echoctl.items("get pools"));
    (process, server)
}

#[test]
fn contexts_are_named_chosen_and_forgotten() {
    let cluster = Cluster::start(1);
    let file = cluster.dir().join("folder/config.yaml");
    let echoctl = Echoctl::with_config(&file);
    let server = format!("http://{}", cluster.address());

    assert!(
        echoctl.run("config get-contexts").stderr.contains("config set-context"),
        "an empty list tells the next step"
    );
    assert_eq!(echoctl.ok(&format!("config set-context lab --server {server}")), "context/lab created\n");
    assert_eq!(echoctl.ok("config set-context lab --timeout 20s"), "context/lab configured\n");
    assert_eq!(echoctl.ok(&format!("config set-context away --server {NOWHERE}")), "context/away created\n");
    echoctl.ok("config use-context lab");
    assert_eq!(echoctl.ok("config current-context"), "lab\n");
    let list = echoctl.ok("config get-contexts");
    assert!(list.lines().any(|l| l.starts_with('*') && l.contains("lab") && l.contains(&server)), "{list}");

    assert_eq!(echoctl.ok("get nodes -o name"), "node/node-1\n", "the current context");
    let version = echoctl.ok("version");
    assert!(version.contains(&server) && version.contains("context lab"), "{version}");
    assert_eq!(echoctl.run("get nodes --context away").code, 1);
    let env = echoctl.clone().env("ECHO_SERVER", NOWHERE);
    assert_eq!(env.run("get nodes").code, 1, "the environment beats the file");
    assert_eq!(env.ok("get nodes -o name --context lab"), "node/node-1\n", "and a flag the environment");

    let unknown = echoctl.run("get nodes --context lap");
    assert_eq!((unknown.code, unknown.stdout.as_str()), (1, ""));
    assert!(unknown.stderr.contains("\"lap\"") && unknown.stderr.contains("there are lab, away"), "{unknown:?}");
    echoctl.ok("config rename-context lab home");
    assert_eq!(echoctl.ok("config current-context"), "home\n");
    echoctl.ok("config delete-context home");
    assert_eq!(echoctl.run("config current-context").code, 1);
}

#[test]
fn an_empty_variable_is_none_and_bad_telemetry_stops_nothing() {
    let cluster = Cluster::start(1);
    let server = format!("--server http://{}", cluster.address());
    let echoctl = ["ECHO_SERVER", "ECHO_CONTEXT", "ECHO_TIMEOUT", "ECHOCTL_CONFIG"]
        .iter()
        .fold(cluster.echoctl(), |echoctl, name| echoctl.env(name, ""));
    assert_eq!(echoctl.ok(&format!("get nodes -o name {server}")), "node/node-1\n");
    let file = cluster.file("pool.yaml", &cluster.echoctl().ok("get pool/default -o yaml"));
    let output = echoctl.env("OTEL_EXPORTER_OTLP_ENDPOINT", "::bad").run(&format!("diff -f {file} {server}"));
    assert_eq!((output.code, output.stdout.as_str()), (0, ""), "{output:?}");
    assert!(output.stderr.starts_with("warning: ") && output.stderr.contains("OTEL_EXPORTER"), "{output:?}");
}

#[test]
fn a_broken_config_file_is_told_and_needed_only_where_it_decides() {
    let dir = tools::scratch("broken-config");
    let file = dir.join("config.yaml");
    std::fs::write(&file, "apiVersion: echo/v1\nkind: Config\ncontext: []\ncontexts: [{name: a, sever: 'b:1'}]\n")
        .unwrap();
    let echoctl = Echoctl::with_config(&file);
    for line in ["get nodes", "config get-contexts", "config set-context a --server c:1", "version"] {
        let output = echoctl.run(line);
        assert_eq!(output.code, 1, "{line}: {output:?}");
        let told = output.stderr;
        for part in [&*file.to_string_lossy(), "contexts[0].sever", "did you mean server", "context: unknown field"] {
            assert!(told.contains(part), "{line}: {part:?} is not in {told}");
        }
    }
    assert!(echoctl.run("get nodes --server 127.0.0.1:1").stderr.contains("no control at"), "the file is not needed");
    assert!(std::fs::read_to_string(&file).unwrap().contains("sever"), "nothing was written");
}

#[test]
fn the_next_server_is_taken_when_one_is_away_or_silent() {
    let cluster = Cluster::start(1);
    let good = format!("http://{}", cluster.address());
    // The kernel accepts its connections, and nobody ever answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    for bad in [NOWHERE, &silent] {
        let echoctl = Echoctl::new(&format!("{bad},{good}"));
        assert_eq!(echoctl.ok("get nodes -o name --timeout 2s"), "node/node-1\n", "{bad}");
        assert!(echoctl.ok("version --timeout 2s").contains(&good));
        assert_eq!(echoctl.ok("scale pool/default --replicas 1 --timeout 2s"), "pool/default unchanged\n");
    }
    let nobody = Echoctl::new(&format!("{NOWHERE},127.0.0.1:2")).run("get nodes");
    assert_eq!(nobody.code, 1);
    assert!(nobody.stderr.contains("127.0.0.1:1,http://127.0.0.1:2"), "{nobody:?}");
    assert_eq!(nobody.stderr.lines().count(), 1, "{nobody:?}");
}

#[test]
fn a_dry_run_tells_and_changes_nothing() {
    let cluster = Cluster::start(1);
    let echoctl = cluster.echoctl();
    let file = cluster.file("more.yaml", &pool_file(1).replace("echo-udp", "other-udp"));
    echoctl.ok(&format!("apply -f {file}"));
    let pools = || echoctl.items("get pools").unwrap();
    let before = pools();
    let told = echoctl.ok("scale pool/default --replicas 3 --dry-run=server");
    assert_eq!(told, "pool/default scaled from 1 to 3 (dry run)\n");
    assert!(echoctl.ok("rollout undo pool/default --dry-run=server").ends_with("(dry run)\n"));
    let generation = |pools: &[serde_json::Value]| pools[0].pointer("/metadata/generation").cloned();
    assert_eq!(generation(&pools()), generation(&before));
    let nowhere = Echoctl::new(NOWHERE);
    assert!(nowhere.ok("scale pool/default --replicas 3 --dry-run=client").ends_with("(dry run)\n"));
    assert_eq!(nowhere.run("scale pool/default --replicas 100001 --dry-run=client").code, 2);
}

#[test]
fn a_watch_goes_on_with_another_server() {
    let mut cluster = Cluster::start(1);
    let (_second, second) = second_control(&cluster);
    let mut command = Command::new(tools::ours("echoctl"));
    command.args(["get", "pools", "--watch", "--server", &format!("http://{},{second}", cluster.address())]);
    let watch = Process::start("watch", cluster.dir(), command);
    eventually("the watch begins", READY, || ensure(watch.log().contains("default"), || watch.log()));
    cluster.control.kill();
    Echoctl::new(&second).ok("scale pool/default --replicas 7");
    eventually("the watch tells of the change", READY, || {
        let log = watch.log();
        let replicas = |line: &str| line.split_whitespace().nth(1) == Some("7");
        ensure(log.lines().any(|line| line.starts_with("default") && replicas(line)), || log.clone())
    });
}

#[test]
fn a_drain_is_watched_at_another_server() {
    let mut cluster = Cluster::start(1);
    let (_second, second) = second_control(&cluster);
    let mut open = client::connect(bound(&cluster.wait_nodes(1)[0], "echo-tcp")).unwrap();
    client::echo_on(&mut open, b"open").unwrap();
    let mut command = Command::new(tools::ours("echoctl"));
    command.args(["drain", "node-1", "--server", &format!("http://{},{second}", cluster.address())]);
    let mut drain = Process::start("drain", cluster.dir(), command);
    eventually("the drain begins", READY, || ensure(drain.log().contains("closing, 1 connection"), || drain.log()));
    cluster.control.kill();
    drop(open);
    assert_eq!(drain.wait(SETTLED).code(), Some(0), "{}", drain.log());
    assert!(drain.log().ends_with("node/node-1 drained\n"), "{}", drain.log());
}

#[test]
fn a_server_without_etcd_is_passed_over() {
    let cluster = Cluster::start(1);
    let ip = own_loopback_address();
    let address = format!("{ip}:{}", free_port(ip));
    let mut command = Command::new(tools::ours("echo-control"));
    command.args(["--grpc", &address, "--http", &format!("{ip}:0"), "--etcd", NOWHERE, "--lifeline"]);
    let _cut_off = Process::start("cut-off", cluster.dir(), command);
    eventually("it answers", READY, || {
        let version = Echoctl::new(&address).run("version");
        ensure(version.code == 0, || version.stderr)
    });
    let echoctl = Echoctl::new(&format!("{address},{}", cluster.address()));
    assert_eq!(echoctl.ok("get nodes -o name"), "node/node-1\n");
    // At first it says that it has not read anything yet.
    eventually("what answers tells why it can't serve", READY, || {
        let alone = Echoctl::new(&format!("{address},{NOWHERE}")).run("get nodes --timeout 5s");
        ensure(alone.stderr.contains("etcd"), || alone.stderr)
    });
}

#[test]
fn doctor_finds_a_cluster_well() {
    let cluster = Cluster::start(1);
    let echoctl = cluster.echoctl();
    let findings = echoctl.items("doctor").unwrap();
    for check in ["OpenFiles", "Config", "ControlAnswers", "ClockSkew", "VersionSkew"] {
        let found =
            findings.iter().find(|f| f["check"] == check).unwrap_or_else(|| panic!("no {check}: {findings:#?}"));
        assert_eq!(text(found, "/severity"), "SEVERITY_OK", "{found:#?}");
    }
    let table = echoctl.ok("doctor");
    assert!(table.starts_with("RESULT") && !table.contains("FAIL") && !table.contains('\u{1b}'), "{table}");
}

#[test]
fn doctor_tells_of_a_pool_that_serves_nobody() {
    let cluster = Cluster::start(1);
    let echoctl = cluster.echoctl();
    echoctl.ok("drain node-1 --force");
    eventually("control knows of it", SETTLED, || {
        let told = echoctl.run("doctor");
        let parts = ["FAIL     PoolReady", "0 of 1 node ready", "drained: node-1 (`echoctl undrain NODE`"];
        ensure(told.code == 1 && parts.iter().all(|part| told.stdout.contains(part)), || told.stdout)
    });
    echoctl.ok("undrain node-1");
    eventually("it serves again", SETTLED, || {
        let told = echoctl.run("doctor");
        ensure(told.code == 0 && told.stdout.contains("1 of 1 node ready"), || told.stdout)
    });
}

#[test]
fn doctor_tells_what_it_can_when_control_is_away() {
    let away = Echoctl::new(NOWHERE).run("doctor");
    assert_eq!(away.code, 1, "{away:?}");
    for part in ["OpenFiles", "FAIL     ControlAnswers", "connection refused", "echoctl up"] {
        assert!(away.stdout.contains(part), "{part:?} is not in {}", away.stdout);
    }
    let name = Echoctl::new("http://no-such-host.invalid:7400").run("doctor --timeout 5s");
    assert!(name.stdout.contains("FAIL     NameLookup"), "{}", name.stdout);
    let dir = tools::scratch("doctor");
    std::fs::write(dir.join("config.yaml"), "kind: [").unwrap();
    let broken = Echoctl::with_config(&dir.join("config.yaml")).run("doctor");
    assert_eq!(broken.code, 1);
    assert!(broken.stdout.contains("FAIL     Config"), "{}", broken.stdout);
}

#[test]
fn a_silent_control_is_not_waited_for_longer_than_told() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let echoctl = Echoctl::new(&format!("http://{}", silent.local_addr().unwrap()));
    let began = std::time::Instant::now();
    for line in ["get nodes --timeout 300ms", "version --timeout 300ms", "doctor --timeout 300ms"] {
        assert_eq!(echoctl.run(line).code, 1, "{line}");
    }
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let late = echoctl.run("get nodes --timeout 300ms").stderr;
    assert!(late.contains("give it longer with --timeout"), "{late}");
    let unsure = echoctl.run("scale pool/default --replicas 2 --timeout 300ms").stderr;
    assert!(unsure.contains("may or may not have been made") && !unsure.contains("try again"), "{unsure}");
}
