//! What an operator asks of revisions and rollouts: history, differences, orders, pins; and what is refused, by whom and
//! in which words.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use echo_tests::cluster::{DRAIN, SETTLED, text};
use echo_tests::finish::finish;
use echo_tests::wait::ensure;
use echo_tests::{Cluster, Process, eventually, tools};
use serde_json::Value;
use std::process::Command;

/// Revisions that are kept.
const KEPT: usize = 10;

/// A pool file of one echo with this limit: another one is another revision, and changes no socket.
fn pool(limit: u32) -> String {
    format!(
        "apiVersion: echo/v1\nkind: Pool\nmetadata: {{name: default}}\nspec:\n  \
         rollout: {{minHealthy: 100ms}}\n  template:\n    drain: {DRAIN}\n    limits: {{maxConnections: {limit}}}\n    listeners:\n    \
         - {{name: echo-tcp, protocol: TCP, port: 0, service: {{echo: {{}}}}}}\n"
    )
}

/// Applies [`pool`] for the whole pool in one step.
fn apply(cluster: &Cluster, limit: u32, message: &str) {
    let file = cluster.file("pool.yaml", &pool(limit));
    let args = ["apply", "-f", &file, "--now", "-m", message];
    let output = cluster.echoctl().run_args(&args);
    assert_eq!(output.code, 0, "{output:?}");
}

/// Runs a line that is refused: one line of cause and next step, which holds all these parts.
#[track_caller]
fn refused(cluster: &Cluster, line: &str, code: i32, parts: &[&str]) {
    let output = cluster.echoctl().run(line);
    assert_eq!((output.code, output.stdout.as_str()), (code, ""), "{output:?}");
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    for part in parts {
        assert!(output.stderr.contains(part), "{line}: {part:?} is not in: {}", output.stderr);
    }
}

/// Waits until the row of a node has all these parts.
#[track_caller]
fn wait_row(cluster: &Cluster, node: &str, parts: &[&str]) {
    eventually(&format!("the row of {node} has {parts:?}"), SETTLED, || {
        let table = cluster.echoctl().ok("get nodes");
        let row = table.lines().find(|line| line.starts_with(&format!("{node} "))).unwrap_or_default().to_owned();
        ensure(parts.iter().all(|part| row.contains(part)), || table)
    });
}

/// Waits until the status of the rollout has all these parts.
#[track_caller]
fn wait_status(cluster: &Cluster, parts: &[&str]) {
    eventually(&format!("the status has {parts:?}"), SETTLED, || {
        let status = cluster.echoctl().run("rollout status pool/default --watch=false");
        ensure(parts.iter().all(|part| status.stdout.contains(part)), || format!("{status:?}"))
    });
}

fn record(cluster: &Cluster) -> Value {
    let found = cluster.etcd.get_prefix("/echo/v1/default/pools/default");
    serde_json::from_str(&found[0].1).unwrap()
}

#[test]
fn the_history_tells_who_made_what_and_why_and_how_they_differ() {
    let cluster = Cluster::start(1);
    let echoctl = cluster.echoctl();
    refused(&cluster, "rollout undo pool/default", 1, &["nothing to go back to", "it has 1"]);
    refused(&cluster, "rollout undo pool/default --to-revision 1", 1, &["at revision 1 already"]);
    apply(&cluster, 100, "fewer connections");
    echoctl.ok("rollout status pool/default --timeout 20s");

    let history = echoctl.ok("rollout history pool/default");
    let rows: Vec<Vec<&str>> = history.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["REVISION", "AUTHOR", "MESSAGE", "AGE", "STATE"]);
    assert_eq!((rows[1][0], rows[1][1], rows.len()), ("1", "bootstrap", 3), "{history}");
    assert!(rows[2][0] == "2" && history.contains("fewer connections") && rows[2].ends_with(&["stable"]), "{history}");
    let whole = echoctl.ok("rollout history pool/default --revision 2");
    assert!(whole.contains("maxConnections: 100") && whole.contains("name: echo-tcp"), "{whole}");
    refused(&cluster, "rollout history pool/default --revision 9", 1, &["revision 9", "it has 1, 2"]);

    let differs = echoctl.run("diff pool/default --revision 1");
    assert_eq!(differs.code, 1, "{differs:?}");
    for part in ["--- pool/default (revision 1)", "+++ pool/default (revision 2)", "+  maxConnections: 100"] {
        assert!(differs.stdout.contains(part), "{part:?} is not in:\n{}", differs.stdout);
    }
    let same = echoctl.run("diff pool/default --revision 2 --to-revision 2");
    assert_eq!((same.code, same.stdout.as_str()), (0, ""));
    refused(&cluster, "diff pool/default --revision 1 --to-revision 7", 2, &["revision 7", "it has 1, 2"]);

    let undo = ["rollout", "undo", "pool/default", "--now", "-m", "too few"];
    assert_eq!(echoctl.run_args(&undo).stdout, "pool/default rolled back to revision 1, as revision 3\n");
    let history = echoctl.ok("rollout history pool/default");
    assert!(history.lines().last().unwrap().contains("too few"), "{history}");
    let events = echoctl.ok("get events --for pool/default -o wide");
    assert!(events.contains("revision 3, for the whole pool in one step"), "{events}");
}

#[test]
fn where_nothing_is_on_its_way_nothing_is_ordered() {
    let cluster = Cluster::start(1);
    for verb in ["pause", "resume", "abort"] {
        let nothing = format!("nothing to {verb}: that of revision 1 ended as COMPLETED");
        refused(&cluster, &format!("rollout {verb} pool/default"), 1, &[&nothing, "echoctl rollout undo"]);
        refused(&cluster, &format!("rollout {verb} pool/edge"), 1, &["\"edge\" not found", "echoctl get pools"]);
    }
    assert!(record(&cluster).get("order").is_none(), "nothing was stored");
}

#[test]
fn a_revision_that_is_not_kept_any_more_is_told_from_one_that_never_was() {
    let cluster = Cluster::start(0);
    for limit in 1..=KEPT as u32 + 2 {
        apply(&cluster, limit, "");
    }
    eventually("the first revisions go", SETTLED, || {
        apply(&cluster, 1_000, "");
        apply(&cluster, 1_001, "");
        let revisions = cluster.etcd.get_prefix("/echo/v1/default/revisions/default/");
        ensure(!revisions.iter().any(|(key, _)| key.ends_with("/0000000002")), || format!("{}", revisions.len()))
    });
    let pruned = ["revision 2 of pool/default is not kept any more; it has "];
    refused(&cluster, "rollout undo pool/default --to-revision 2", 1, &pruned);
    refused(&cluster, "rollout undo pool/default --to-revision 999", 1, &["revision 999 of pool/default not found"]);
}

#[test]
fn pins_are_stored_shown_bounded_by_what_there_is_and_taken_back() {
    let cluster = Cluster::start(2);
    let echoctl = cluster.echoctl();
    apply(&cluster, 100, "");
    echoctl.ok("rollout status pool/default --timeout 20s");
    refused(&cluster, "pin node/node-9 --revision 1", 1, &["\"node-9\" not found", "echoctl get nodes"]);
    refused(&cluster, "pin node/node-1 --revision 9", 1, &["revision 9 of pool/default not found; it has 1, 2"]);
    assert_eq!(echoctl.ok("unpin node/node-1"), "node/node-1 not pinned\n");

    assert_eq!(echoctl.ok("pin node/node-1 --revision 1"), "node/node-1 pinned to revision 1\n");
    assert_eq!(echoctl.ok("pin node-1 --revision 1"), "node/node-1 already pinned to revision 1\n");
    assert_eq!(text(&record(&cluster), "/pins/0/node"), "node-1");
    wait_row(&cluster, "node-1", &["1 (pinned)", "SYNCED"]);
    // A rollout neither waits for it nor changes it.
    let file = cluster.file("pool.yaml", &pool(200));
    echoctl.ok(&format!("apply -f {file}"));
    wait_row(&cluster, "node-2", &[" 3 ", "SYNCED"]);
    let status = echoctl.ok("rollout status pool/default --timeout 20s");
    assert!(status.ends_with("the one node of pool/default runs revision 3; pinned: node-1\n"), "{status}");
    wait_row(&cluster, "node-1", &["1 (pinned)", "SYNCED"]);
    let told = echoctl.ok("describe pool/default") + &echoctl.ok("describe node/node-1");
    for part in ["Pins:", "Pinned to:", "NodePinned"] {
        assert!(told.contains(part), "{part:?} is not in:\n{told}");
    }
    assert!(echoctl.ok("rollout history pool/default").contains("pinned: node-1"));

    assert_eq!(echoctl.ok("unpin node/node-1"), "node/node-1 unpinned from revision 1\n");
    assert!(record(&cluster).get("pins").is_none());
    wait_row(&cluster, "node-1", &[" 3 ", "SYNCED"]);
}

#[test]
fn a_rollout_is_paused_gone_on_with_and_aborted() {
    let cluster = Cluster::start(2);
    let echoctl = cluster.echoctl();
    let file = cluster.file("pool.yaml", &pool(100).replace("minHealthy: 100ms", "minHealthy: 60s"));
    echoctl.ok(&format!("apply -f {file}"));
    let order = |verb: &str| echoctl.ok(&format!("rollout {verb} pool/default"));
    // A pause before that would leave the canary without it.
    wait_status(&cluster, &["1 of 2 nodes run revision 2; step 1 of 3: canary node-1"]);
    assert_eq!(order("pause"), "pool/default rollout of revision 2 paused\n");
    wait_status(&cluster, &["paused: 1 of 2 nodes run revision 2; step 1 of 3: canary node-1; paused by "]);
    assert_eq!(order("pause"), "pool/default rollout of revision 2 already paused\n");
    assert!(echoctl.ok("doctor").contains("echoctl rollout resume pool/default"));
    assert_eq!(order("resume --dry-run=server"), "pool/default rollout of revision 2 resumed (dry run)\n");
    assert_eq!(order("resume"), "pool/default rollout of revision 2 resumed\n");
    wait_status(&cluster, &["1 of 2 nodes run revision 2; step 1 of 3: canary node-1"]);
    assert_eq!(order("resume"), "pool/default rollout of revision 2 not paused\n");
    assert_eq!(order("abort"), "pool/default rollout of revision 2 aborted\n");

    let status = echoctl.run("rollout status pool/default --timeout 20s");
    let told = "error: revision 2 of pool/default failed; all nodes went back to revision 1: aborted by ";
    assert!(status.code == 1 && status.stderr.starts_with(told), "{status:?}");
    assert_eq!(order("abort"), "pool/default rollout of revision 2 already aborted\n");
    let history = echoctl.ok("rollout history pool/default");
    assert!(history.lines().last().unwrap().ends_with("aborted"), "{history}");
    let told = "revision 2 of pool/default was taken back, so its nodes run revision 1 already";
    refused(&cluster, "rollout undo pool/default", 1, &[told, "--to-revision N"]);
    let bad = echoctl.run("rollout undo pool/default --to-revision 2 --dry-run=server");
    assert!(bad.stderr.contains("revision 2 was taken back when it was tried: aborted by "), "{bad:?}");
    let events = echoctl.ok("get events --for pool/default -o wide");
    for reason in ["RolloutPauseOrdered", "RolloutPaused", "RolloutResumed", "RolloutAbortOrdered", "RolloutReverted"] {
        assert!(events.contains(reason), "{reason} is not in {events}");
    }
    // Applied again, it is tried again.
    apply(&cluster, 100, "");
    echoctl.ok("rollout status pool/default --timeout 20s");
    wait_row(&cluster, "node-2", &[" 3 ", "SYNCED"]);
}

#[test]
fn who_replaces_a_change_and_who_waits_for_it_are_told() {
    let cluster = Cluster::start(2);
    let echoctl = cluster.echoctl();
    let apply = |limit: u32| {
        let text = pool(limit).replace("minHealthy: 100ms", "minHealthy: 60s");
        echoctl.run(&format!("apply -f {}", cluster.file("pool.yaml", &text)))
    };
    assert_eq!(apply(100).stderr, "");
    wait_status(&cluster, &["1 of 2 nodes run revision 2"]);
    assert_eq!(echoctl.run("rollout status pool/default --watch=false").code, 3, "neither done nor failed");
    let mut command = Command::new(tools::ours("echoctl"));
    command.env("ECHO_SERVER", format!("http://{}", cluster.address())).args(["rollout", "status", "pool/default"]);
    let mut waiting = Process::start("waiting", cluster.dir(), command);
    eventually("somebody waits for it", SETTLED, || ensure(waiting.log().contains("revision 2"), || waiting.log()));

    echoctl.ok("rollout pause pool/default");
    wait_status(&cluster, &["paused: 1 of 2", "it waits for `echoctl rollout resume pool/default`"]);
    let warned = apply(200).stderr;
    for part in
        ["the rollout of revision 2 of ", " was held (paused by ", "that hold is over: nodes that have it go back"]
    {
        assert!(warned.starts_with("warning: ") && warned.contains(part), "{part:?} is not in: {warned}");
    }
    assert_eq!(waiting.wait(SETTLED).code(), Some(1), "{}", waiting.log());
    let overtaken =
        "error: revision 2 of pool/default was overtaken before every node ran it: superseded by revision 3";
    assert!(waiting.log().contains(overtaken), "{}", waiting.log());

    wait_status(&cluster, &["1 of 2 nodes run revision 3"]);
    let warned = apply(300).stderr;
    assert!(warned.contains("the rollout of revision 3 of ") && warned.contains("is dropped: nodes"), "{warned}");
    wait_status(&cluster, &["1 of 2 nodes run revision 4"]);
    let earlier = echoctl.run("rollout status pool/default --revision 3");
    assert!(earlier.code == 1 && earlier.stderr.contains("was overtaken"), "{earlier:?}");
    let first = echoctl.ok("rollout status pool/default --revision 1");
    assert!(first.starts_with("revision 1 of pool/default completed"), "{first}");
    let history = echoctl.ok("rollout history pool/default");
    let states: Vec<&str> = history.lines().filter_map(|line| line.split_whitespace().last()).collect();
    assert_eq!(states, ["STATE", "stable", "superseded", "superseded", "next"], "{history}");
}

#[test]
fn a_foreign_client_reads_why_it_was_refused() {
    let cluster = Cluster::start(1);
    let call = |method: &str, request: &str| -> Value {
        let script = tools::workspace().join("tests/foreign/reflect.py");
        let mut command = Command::new(tools::venv("bin/python"));
        command.arg(script).arg(cluster.address().to_string()).args([&format!("echo.v1.{method}"), request]);
        let output = finish(&mut command);
        assert!(!output.status.success(), "{method} {request} was not refused");
        let told = String::from_utf8(output.stderr).unwrap();
        serde_json::from_str(&told).unwrap_or_else(|e| panic!("{method}: {e}: {told}"))
    };
    let detail = |told: &Value, kind: &str| -> Value {
        let details = told["details"].as_array().cloned().unwrap_or_default();
        let url = format!("type.googleapis.com/google.rpc.{kind}");
        details.into_iter().find(|d| text(d, "/@type") == url).unwrap_or_else(|| panic!("no {kind} in {told}"))
    };

    let told = call("Pools/Scale", r#"{"name": "default", "replicas": 100001}"#);
    assert_eq!(told["code"], "INVALID_ARGUMENT");
    assert_eq!(text(&detail(&told, "BadRequest"), "/fieldViolations/0/field"), "replicas");

    let told = call("Pools/Get", r#"{"name": "edge"}"#);
    assert_eq!(
        (&told["code"], text(&detail(&told, "ResourceInfo"), "/resourceName")),
        (&"NOT_FOUND".into(), "edge".into())
    );

    let told = call("Pools/Undo", r#"{"pool": "default"}"#);
    assert_eq!(told["code"], "FAILED_PRECONDITION");
    let unmet = detail(&told, "PreconditionFailure");
    assert_eq!(text(&unmet, "/violations/0/type"), "NO_EARLIER_REVISION");
    assert_eq!(text(&unmet, "/violations/0/subject"), "pool/default");

    let told = call("Pools/OrderRollout", r#"{"pool": "default", "kind": "ROLLOUT_ORDER_KIND_PAUSE"}"#);
    assert_eq!(text(&detail(&told, "PreconditionFailure"), "/violations/0/type"), "ROLLOUT_PHASE");

    let told = call("Pools/Delete", r#"{"name": "default", "resourceVersion": "1"}"#);
    assert_eq!(told["code"], "ABORTED");
    assert!(text(&told, "/message").contains("by bootstrap"), "{told}");
    assert_eq!(text(&detail(&told, "PreconditionFailure"), "/violations/0/type"), "RESOURCE_VERSION");
}
