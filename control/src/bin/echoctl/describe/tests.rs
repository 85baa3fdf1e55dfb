//! What descriptions tell.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use echo_proto::codec::parse_yaml;
use echo_proto::spec::read_pool;
use echo_proto::v1::{DrainStage, NodePhase, SyncState};

use super::*;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(100)
}

fn at(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds, nanos: 0 })
}

#[track_caller]
fn holds(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|l| l == *line), "{line:?} is not in:\n{text}");
    }
}

fn node() -> v1::Node {
    let labels = [("rack".to_owned(), "r1".to_owned())].into();
    let metadata = v1::ObjectMeta { name: "node-1".into(), labels, create_time: at(40), ..Default::default() };
    let mut status = v1::NodeStatus { pool: "edge".into(), ..Default::default() };
    status.set_phase(NodePhase::Ready);
    status.set_sync(SyncState::Synced);
    v1::Node { metadata: Some(metadata), status: Some(status), ..Default::default() }
}

#[test]
fn a_healthy_node_has_nothing_to_complain_of() {
    let text = node().sheet(&(), now()).text().to_owned();
    holds(
        &text,
        &[
            "Name:           node-1",
            "Labels:         rack=r1",
            "Phase:          READY",
            "Created:        1970-01-01T00:00:40Z (60s ago)",
        ],
    );
    holds(&text, &["Conditions:     <none>", "Live figures:   its Agent did not answer in time"]);
    assert!(!text.contains("Drain") && !text.contains("Cordoned") && !text.contains("Rejection"), "{text}");
}

#[test]
fn a_node_tells_its_cordon_drain_conditions_and_figures() {
    let mut node = node();
    let status = node.status.as_mut().unwrap();
    status.cordoned_by = "ann".into();
    let mut drain = v1::DrainStatus { reason: "drained by ann".into(), start_time: at(90), ..Default::default() };
    (drain.deadline_time, drain.cut_connections, drain.exits) = (at(130), 3, true);
    drain.set_stage(DrainStage::Closing);
    status.drain = Some(drain);
    status.conditions = vec![v1::Condition {
        r#type: "ClockSynchronized".into(),
        reason: "Unsynchronized".into(),
        message: "off by 2 s".into(),
        transition_time: at(70),
        ..Default::default()
    }];
    let (name, address) = ("echo-udp".to_owned(), "0.0.0.0:7007".to_owned());
    let (receive_buffer, send_buffer) = (4_194_304, 212_992);
    let udp = v1::BoundListener { name, protocol: v1::Protocol::Udp.into(), address, receive_buffer, send_buffer };
    status.listeners = vec![udp];
    let dropped_packets = [("acl".to_owned(), 2), ("loop_guard".to_owned(), 0)].into();
    let live =
        v1::LiveFigures { connections: 1, udp_flows: 9, udp_flows_capped: true, rate: 1_500.0, ..Default::default() };
    let rejected_connections = [("file_limit".to_owned(), 4)].into();
    let last_loss_times = [("file_limit".to_owned(), prost_types::Timestamp { seconds: 90, nanos: 0 })].into();
    status.live =
        Some(v1::LiveFigures { dropped_packets, rejected_connections, last_loss_times, paced_reads: 1, ..live });
    let text = node.sheet(&(), now()).text().to_owned();
    holds(&text, &["Phase:          CORDONED", "Cordoned by:    ann"]);
    let row = text.lines().find(|line| line.contains("echo-udp")).unwrap();
    assert!(row.contains(" 4096 KiB ") && row.ends_with(" 208 KiB"), "{row}");
    holds(
        &text,
        &[
            "                drained by ann at 1970-01-01T00:01:30Z (10s ago)",
            "                deadline in 30 s, at 1970-01-01T00:02:10Z",
        ],
    );
    holds(&text, &["                its process ends then", "                cut: 3 connections"]);
    holds(&text, &["  ClockSynchronized   False    Unsynchronized   30s   1970-01-01T00:01:10Z   off by 2 s"]);
    holds(
        &text,
        &["UDP flows:      >=9 in the last 10 s", "Rate:           1.5k exchanges/s", "Dropped:        2 acl"],
    );
    holds(&text, &["Refused:        4 file_limit, last at 1970-01-01T00:01:30Z (10s ago)"]);
    holds(&text, &["Paced:          1 pause, for a rate of the limits"]);
}

#[test]
fn a_pool_tells_its_spec_its_nodes_and_what_is_wrong_with_its_rollout() {
    let file = "{apiVersion: echo/v1, kind: Pool, metadata: {name: edge}, spec: {replicas: 2, template: {listeners: \
                [{name: a, protocol: TCP, port: 0, service: {echo: {maxRead: 9, once: true}}}], \
                limits: {idleTimeout: 90s}}}}";
    let (pool, _) = read_pool(parse_yaml(file).unwrap().first().unwrap()).unwrap();
    let problems = vec![v1::RolloutProblem { node: "node-1".into(), listener: "a".into(), cause: "no".into() }];
    let mut rollout =
        v1::Rollout { problems, reason: "1 node rejected it".into(), end_time: at(95), ..Default::default() };
    rollout.set_phase(v1::RolloutPhase::Reverted);
    let more = pool::More { rollout: Some(rollout), nodes: vec![node(), node()] };
    let text = pool.sheet(&more, now()).text().to_owned();
    holds(&text, &["Replicas:       2", "  READY   SYNCED   2", "Limits:         idleTimeout 90s"]);
    holds(&text, &["  a      TCP        -         any    echo {maxRead 9, once true}   0 of 2 nodes"]);
    holds(
        &text,
        &[
            "Rollout:        REVERTED at 1970-01-01T00:01:35Z (5s ago)",
            "  Reason:       1 node rejected it",
            "  node-1   listener a: no",
        ],
    );
}

#[test]
fn the_table_of_last_events_does_not_repeat_the_object() {
    let mut sheet = Sheet::default();
    let event = v1::Event { reason: "NodeReady".into(), object: "node/node-1".into(), count: 3, ..Default::default() };
    event::table(&mut sheet, std::slice::from_ref(&event), None, now());
    let lines =
        ["  LAST SEEN   TIME   TYPE   REASON      COUNT   MESSAGE", "  -           -      -      NodeReady   3"];
    holds(sheet.text(), &["Events:", lines[0], lines[1]]);
    event::table(&mut sheet, &[event], Some("node/node-1".to_owned()), now());
    holds(sheet.text(), &["Events (the last 1; all: echoctl get events --for node/node-1):"]);
}
