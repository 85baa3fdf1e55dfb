//! Bad input and missing parts: one line with the likely cause and the next command.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::process::Command;
use std::time::Duration;

use echo_tests::finish::finish;
use echo_tests::ports::{free_port, own_loopback_address};
use echo_tests::{Cluster, Echoctl, Process, eventually, tools};

#[track_caller]
fn one_line(stderr: &str, parts: &[&str]) {
    assert_eq!(stderr.trim_end().lines().count(), 1, "{stderr}");
    for part in parts {
        assert!(stderr.contains(part), "{part:?} is not in: {stderr}");
    }
}

#[test]
fn control_that_does_not_run() {
    let output = Echoctl::new("http://127.0.0.1:1").run("get nodes");
    assert_eq!((output.code, output.stdout.as_str()), (1, ""));
    one_line(&output.stderr, &["error: ", "http://127.0.0.1:1", "echoctl up", "--server"]);
}

#[test]
fn objects_that_do_not_exist() {
    let cluster = Cluster::start(1);
    let cases = [
        ("get nodes/node-99", "node-99", "echoctl get nodes"),
        ("get pools/absent", "absent", "echoctl get pools"),
        ("get nodes/node-1 --pool absent", "absent", "echoctl get nodes"),
        ("get nodes --pool absent", "absent", "echoctl get pools"),
        ("get revisions --pool absent", "absent", "echoctl get pools"),
        ("scale pool/absent --replicas 1", "absent", "echoctl get pools"),
        ("rollout status pool/absent", "absent", "echoctl get pools"),
        ("rollout undo pool/default --to-revision 99", "99", "1"),
    ];
    for (line, name, next) in cases {
        let output = cluster.echoctl().run(line);
        assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{line}");
        one_line(&output.stderr, &["error: ", name, next]);
    }
    let near = cluster.echoctl().run("drain node1");
    assert_eq!(near.code, 1);
    one_line(&near.stderr, &["\"node1\" not found", "did you mean node-1?"]);
    let some = cluster.echoctl().run("get nodes absent node-1 -o name");
    assert_eq!((some.code, some.stdout.as_str()), (1, "node/node-1\n"), "what is there is shown");
    one_line(&some.stderr, &["error: ", "absent"]);
}

#[test]
fn a_pool_that_cannot_be_read_is_not_waited_for() {
    let cluster = Cluster::start(1);
    cluster.etcd.put("/echo/v1/default/pools/default", "{}");
    for flag in ["--watch=false", "--watch"] {
        let output = cluster.echoctl().run(&format!("rollout status pool/default {flag} --timeout 2s"));
        assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{flag}: {output:?}");
        assert!(output.stderr.starts_with("error: "), "{flag}: {output:?}");
    }
}

#[test]
fn words_that_are_no_command() {
    let echoctl = Echoctl::new("http://127.0.0.1:1");
    for line in ["gett nodes", "get nods", "scale pool/default", "scale pool/default --replicas many", "apply", ""] {
        let output = echoctl.run(line);
        assert_eq!(output.code, 2, "{line}: {output:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{line}: {output:?}");
    }
}

#[test]
fn the_usage_that_is_shown_asks_for_no_flag_of_the_environment() {
    let echoctl = Echoctl::new("http://127.0.0.1:1").env("ECHOCTL_CONFIG", "/tmp/none").env("ECHO_TIMEOUT", "5s");
    for (line, usage) in [("get", "echoctl get <TYPE"), ("scale pool/a", "echoctl scale --replicas <N> <pool/NAME>...")]
    {
        let output = echoctl.run(line);
        let shown = output.stderr.lines().find(|line| line.starts_with("Usage:")).unwrap_or_default();
        assert!(output.code == 2 && shown.contains(usage) && !shown.contains("--config"), "{output:?}");
    }
    let bad = echoctl.env("ECHO_TIMEOUT", "5").run("get nodes");
    assert!(bad.code == 2 && bad.stderr.contains("--timeout"), "{bad:?}");
}

#[test]
fn the_pool_file_of_the_help_can_be_applied_as_it_stands() {
    let echoctl = Echoctl::new("http://127.0.0.1:1").env("COLUMNS", "40");
    let help = echoctl.ok("apply --help");
    let file = tools::scratch("help").join("pool.yaml");
    std::fs::write(&file, &help[help.find("\napiVersion").unwrap()..]).unwrap();
    let valid = echoctl.ok(&format!("apply --dry-run=client -f {}", file.display()));
    assert_eq!(valid, "pool/edge valid (dry run)\n");
}

#[test]
fn the_nearest_word_is_named() {
    let echoctl = Echoctl::new("http://127.0.0.1:1");
    let cases = [
        ("drian node-1", "'drain'"),
        ("gte nodes", "'get'"),
        ("descrbe nodes", "'describe'"),
        ("get nods", "did you mean nodes?"),
        ("describe revison/edge-1", "did you mean revision"),
        ("delete polls/edge", "did you mean pools?"),
        ("rollout statsu edge", "'status'"),
        ("create pool", "'apply'"),
        ("remove pool/x", "'delete'"),
        ("delete node-1", "did you mean node/node-1?"),
    ];
    for (line, near) in cases {
        let output = echoctl.run(line);
        assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{line}: {output:?}");
        assert!(output.stderr.contains(near), "{line}: {near:?} is not in {}", output.stderr);
        assert!(!output.stderr.contains("'undrain'"), "one word, and not its opposite: {}", output.stderr);
    }
    let far = echoctl.run("explain pool/x");
    assert!(far.code == 2 && !far.stderr.contains("similar"), "nothing is near: {far:?}");
    for line in ["help --help", "help -h"] {
        assert!(echoctl.ok(line).contains("Getting started"), "{line}");
    }
}

#[test]
fn flags_that_do_not_fit_are_refused_before_anything_is_asked() {
    let echoctl = Echoctl::new("http://127.0.0.1:1");
    let cases = [
        ("get events -l zone=a", "--selector is for nodes and pools"),
        ("get nodes node-1 -l zone=a", "not both"),
        ("get pools --pool edge", "--pool is for nodes and revisions"),
        ("get revisions --watch", "revisions never change"),
        ("drain pool/edge", "this works on nodes"),
        ("drain -l zone=a --dry-run=client", "--dry-run=server"),
        ("delete pools", "name what to delete"),
        ("delete event/1", "only pools and nodes are deleted"),
        ("delete pool/edge --force", "are for nodes"),
        ("scale nodes --replicas 2", "this works on a pool"),
    ];
    for (line, why) in cases {
        let output = echoctl.run(line);
        assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{line}: {output:?}");
        one_line(&output.stderr, &["error: ", why]);
    }
}

#[test]
fn files_that_are_no_pool() {
    let dir = tools::scratch("files");
    let echoctl = Echoctl::new("http://127.0.0.1:1");
    let cases: [(&str, &[u8]); 5] = [
        ("empty", b""),
        ("text", b"hello"),
        ("binary", b"\x00\xff\xfe"),
        ("other", b"apiVersion: v1\nkind: Pod\n"),
        ("open", b"{"),
    ];
    for (name, bytes) in cases {
        let path = dir.join(name);
        std::fs::write(&path, bytes).unwrap();
        let output = echoctl.run(&format!("apply -f {} --dry-run=client", path.display()));
        assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{name}: {output:?}");
        assert!(output.stderr.starts_with("error: ") && output.stderr.contains(name), "{name}: {}", output.stderr);
    }
    let nodes = dir.join("nodes");
    std::fs::write(&nodes, "{apiVersion: echo/v1, kind: Node, metadata: {name: a}, status: {pool: a}}").unwrap();
    let told = echoctl.run(&format!("apply -f {} --dry-run=client", nodes.display())).stderr;
    assert!(told.contains("1 mistake;") && told.contains("kind: expected Pool, got \"Node\""), "{told}");
    std::fs::write(&nodes, "kind: Pool\nkind: Pool\n").unwrap();
    let told = echoctl.run(&format!("apply -f {} --dry-run=client", nodes.display())).stderr;
    assert!(told.contains("line 2 column 1: kind stands twice") && !told.contains("Policy"), "{told}");
    let absent = echoctl.run("apply -f /nonexistent/pool.yaml");
    assert_eq!(absent.code, 1);
    one_line(&absent.stderr, &["error: ", "/nonexistent/pool.yaml"]);
}

#[test]
fn a_wrong_etcd_url_is_told_and_retried() {
    let dir = tools::scratch("wrong-etcd");
    let ip = own_loopback_address();
    let etcd = format!("http://{ip}:{}", free_port(ip));
    for (program, pool_flag) in [("echo-node", "--pool"), ("echo-control", "--cluster")] {
        let mut command = Command::new(tools::ours(program));
        command.args([pool_flag, "default", "--etcd", &etcd, "--lifeline"]);
        command.args(["--grpc", &format!("{ip}:0"), "--http", &format!("{ip}:0")]);
        let mut process = Process::start(program, &dir, command);
        eventually(&format!("{program} names the URL"), Duration::from_secs(10), || {
            let log = process.log();
            let line = log.lines().find(|line| line.contains(&etcd) && line.contains("etcd"));
            line.map(str::to_owned).filter(|l| l.contains("running")).ok_or(log)
        });
        assert!(process.is_running(), "{program} goes on trying");
    }
}

#[test]
fn settings_are_checked_all_at_once() {
    for program in ["echo-node", "echo-control"] {
        let mut command = Command::new(tools::ours(program));
        let output = finish(command.args(["--cluster", "No Such", "--grpc", "nowhere", "--etcd", "ftp://x"]));
        assert!(!output.status.success());
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        for flag in ["--cluster", "--grpc", "--etcd"] {
            assert!(text.contains(flag), "{program} {flag}: {text}");
        }
    }
}

#[test]
fn help_tells_the_variables_that_a_mistake_does_not_ask_for() {
    let echoctl = Echoctl::new("http://127.0.0.1:1");
    for line in ["--help", "get --help", "help get"] {
        assert!(echoctl.ok(line).contains("[env: ECHO_TIMEOUT"), "{line}");
    }
    assert!(!echoctl.run("get").stderr.contains("env"));
}
