//! How drains end, and what is told of them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use super::*;

fn at(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds, nanos: 0 })
}

fn node(name: &str, phase: NodePhase) -> v1::Node {
    let metadata = v1::ObjectMeta { name: name.into(), ..Default::default() };
    let mut status = v1::NodeStatus { pool: "edge".into(), ..Default::default() };
    status.set_phase(phase);
    v1::Node { metadata: Some(metadata), status: Some(status), ..Default::default() }
}

fn draining(name: &str, connections: u32, udp_flows: u32, capped: bool) -> v1::Node {
    let mut node = node(name, NodePhase::Draining);
    let status = node.status.as_mut().unwrap();
    let mut drain = v1::DrainStatus { start_time: at(0), deadline_time: at(60), ..Default::default() };
    drain.set_stage(DrainStage::Closing);
    status.drain = Some(drain);
    status.live = Some(v1::LiveFigures { connections, udp_flows, udp_flows_capped: capped, ..Default::default() });
    node
}

fn sight(node: v1::Node) -> Sight {
    Sight::Node(Box::new(node))
}

fn now(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[test]
fn what_is_left_is_told_until_the_node_is_drained() {
    let start = Instant::now();
    let mut drains = [Drain::new(&node("node-1", NodePhase::Ready), false, start)];
    let text = left(&drains, now(0), true).unwrap();
    assert_eq!(text, "node/node-1: asked to drain, >=0 connections, >=0 UDP flows left", "no Agent has answered");
    assert_eq!(drains[0].see(sight(draining("node-1", 1, 4096, true)), start), None);
    let text = left(&drains, now(15), true).unwrap();
    assert_eq!(text, "node/node-1: closing, 1 connection, >=4096 UDP flows left; deadline in 45 s");
    let text = left(&drains, now(15), false).unwrap();
    assert_eq!(text, "node/node-1: closing, 1 connection, >=4096 UDP flows left", "what changes by itself is no news");

    let mut drained = node("node-1", NodePhase::Drained);
    drained.status.as_mut().unwrap().drain = Some(v1::DrainStatus { cut_connections: 2, ..Default::default() });
    let end = drains[0].see(sight(drained), start).unwrap();
    assert_eq!(end, End::Drained("node/node-1 drained; 2 connections were cut at the deadline".into()));
    assert_eq!(left(&drains, now(15), true), None);
}

#[test]
fn several_drains_are_one_line() {
    let start = Instant::now();
    let mut drains: Vec<_> = ["a", "b", "c"].map(|n| Drain::new(&node(n, NodePhase::Ready), false, start)).into();
    drains[0].see(sight(node("a", NodePhase::Drained)), start);
    drains[1].see(sight(draining("b", 2, 1, false)), start);
    drains[2].see(sight(draining("c", 5, 3, true)), start);
    let text = left(&drains, now(50), true).unwrap();
    assert_eq!(text, "1 of 3 nodes drained, 7 connections, >=4 UDP flows left; deadline in 10 s");
    let told = unfinished(&drains, "interrupted", now(50));
    assert!(
        told.starts_with("interrupted (1 of 3 nodes drained, ") && told.contains("`echoctl undrain b c --pool edge`"),
        "{told}"
    );
}

#[test]
fn what_does_not_drain_is_a_failure() {
    let start = Instant::now();
    let failed = |end: Option<End>, why: &str| match end {
        Some(End::Failed(text)) => assert!(text.contains("node/a") && text.contains(why), "{text}"),
        other => panic!("{why}: {other:?}"),
    };
    let asked = || Drain::new(&node("a", NodePhase::Ready), false, start);
    let begun = || {
        let mut drain = asked();
        drain.see(sight(draining("a", 1, 0, false)), start);
        drain
    };
    let mut drain = asked();
    assert_eq!(drain.see(sight(node("a", NodePhase::Ready)), start + BEGINS_WITHIN), None);
    let late = start + BEGINS_WITHIN + Duration::from_millis(1);
    failed(drain.see(sight(node("a", NodePhase::Ready)), late), "not begun");
    assert!(drain.failed() && !drain.goes_on());

    failed(begun().see(sight(node("a", NodePhase::Ready)), start), "taken back");
    let end = start + Duration::from_secs(60) + ENDS_WITHIN;
    assert_eq!(begun().see(sight(draining("a", 1, 0, false)), end), None);
    failed(begun().see(sight(draining("a", 1, 0, false)), end + Duration::from_millis(1)), "passed its deadline");
    let mut lost = draining("a", 1, 0, false);
    lost.status.as_mut().unwrap().set_sync(SyncState::Lost);
    failed(begun().see(sight(lost), start), "vanished");
}

#[test]
fn a_node_has_left_only_if_it_said_that_it_would() {
    let start = Instant::now();
    let mut drain = Drain::new(&node("a", NodePhase::Ready), false, start);
    let mut leaving = draining("a", 1, 0, false);
    leaving.status.as_mut().unwrap().drain.as_mut().unwrap().exits = true;
    drain.see(sight(leaving), start);
    assert_eq!(drain.see(Sight::Gone, start), Some(End::Drained("node/a left".into())));

    let mut drain = Drain::new(&node("a", NodePhase::Ready), false, start);
    drain.see(sight(draining("a", 1, 0, false)), start);
    assert!(matches!(drain.see(Sight::Gone, start), Some(End::Failed(text)) if text.contains("before it had drained")));
}

#[test]
fn a_life_that_ends_before_its_drain_is_told() {
    let start = Instant::now();
    let of_life = |mut node: v1::Node, life: &str| {
        node.status.as_mut().unwrap().incarnation = life.into();
        sight(node)
    };
    let mut drain = Drain::new(&node("a", NodePhase::Ready), false, start);
    drain.see(of_life(draining("a", 2, 0, false), "first"), start);
    assert_eq!(drain.see(of_life(node("a", NodePhase::Starting), "second"), start), None, "it serves nobody yet");
    let end = drain.see(of_life(node("a", NodePhase::Drained), "second"), start);
    let told = "node/a drained; its process ended before it had drained, which cut 2 connections";
    assert_eq!(end, Some(End::Drained(told.into())));
}

#[test]
fn connections_are_said_to_be_cut_by_what_cut_them() {
    let start = Instant::now();
    let mut drained = node("a", NodePhase::Drained);
    drained.status.as_mut().unwrap().drain = Some(v1::DrainStatus { cut_connections: 1, ..Default::default() });
    let told =
        |before: NodePhase, forced| Drain::new(&node("a", before), forced, start).see(sight(drained.clone()), start);
    let cut = |how: &str| Some(End::Drained(format!("node/a drained; 1 connection was cut{how}")));
    assert_eq!(told(NodePhase::Ready, true), cut(" by force"));
    assert_eq!(told(NodePhase::Ready, false), cut(" at the deadline"));
    assert_eq!(told(NodePhase::Drained, true), cut(""), "by an earlier drain");
}
