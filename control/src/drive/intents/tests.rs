//! Which intents end, and why.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::fleet::Answer;
use crate::store::{Delta, Entry, Update};
use crate::view::Verdict;

const POOL: &str = r#"{"metadata":{"name":"edge","uid":"u"},"revision":{"uid":"u","n":1,"digest":"d"},"spec":{"replicas":2,
    "template":{"listeners":[{"name":"a","protocol":"PROTOCOL_TCP","port":7007,"service":{"echo":{}}}]}}}"#;
const RETIRE: &str = r#"{"kind":"INTENT_KIND_RETIRE","incarnation":"i"}"#;
const DRAIN: &str = r#"{"kind":"INTENT_KIND_DRAIN"}"#;
const NODE: &str = r#"{"status":{"incarnation":"i"}}"#;

fn entry(key: &str, value: &str) -> Entry {
    let (key, value) = (format!("/echo/v1/test/{key}").into_bytes(), value.as_bytes().to_vec());
    Entry { key, value, mod_revision: 3, create_revision: 3, version: 1 }
}

fn view(pool: bool, intent: &str) -> View {
    let view = View::new(echo_proto::keys::Keys::new(&"test".parse().unwrap()));
    let mut entries = vec![entry("intents/edge/node-1", intent)];
    entries.extend(pool.then(|| entry("pools/edge", POOL)));
    view.apply(Update::Reset(entries), 3);
    view
}

fn put(view: &View, record: &str) {
    view.apply(Update::Changes(vec![Delta::Put(entry("nodes/edge/node-1", record))]), 4);
}

fn ended(view: &View, absences: &mut Absences, now: Instant) -> Option<&'static str> {
    view.read(|state| ends(state, absences, now)).first().map(|end| end.why)
}

fn at_once(view: &View) -> Option<&'static str> {
    ended(view, &mut Absences::default(), Instant::now())
}

#[test]
fn a_retirement_ends_with_the_process_that_it_meant() {
    let view = view(true, RETIRE);
    put(&view, NODE);
    assert_eq!(at_once(&view), None);
    put(&view, r#"{"status":{"incarnation":"next"}}"#);
    assert_eq!(at_once(&view), Some("the process that it meant is gone"));
}

#[test]
fn a_retirement_waits_for_a_node_that_may_come_back() {
    let view = view(true, RETIRE);
    put(&view, NODE);
    view.apply(Update::Changes(vec![Delta::Gone(b"/echo/v1/test/nodes/edge/node-1".to_vec())]), 5);
    assert_eq!(at_once(&view), None);
    let (pool, node) = ("edge".parse().unwrap(), "node-1".parse().unwrap());
    view.judge(vec![Verdict { pool, node, mod_revision: 3, answer: Answer::Silent }]);
    assert_eq!(at_once(&view), Some("its node is gone"));
}

#[test]
fn a_retirement_waits_a_while_for_a_node_that_this_control_never_saw() {
    let (view, mut absences, now) = (view(true, RETIRE), Absences::default(), Instant::now());
    assert_eq!(ended(&view, &mut absences, now), None);
    assert_eq!(ended(&view, &mut absences, now + UNKNOWN_FOR), Some("its node is gone"));
}

#[test]
fn a_retirement_ends_at_once_when_its_node_has_left() {
    let view = view(true, RETIRE);
    put(&view, r#"{"status":{"incarnation":"i","drain":{"exits":true}}}"#);
    view.apply(Update::Changes(vec![Delta::Gone(b"/echo/v1/test/nodes/edge/node-1".to_vec())]), 5);
    assert_eq!(at_once(&view), Some("its node is gone"));
}

#[test]
fn a_drain_outlives_its_node_for_a_day() {
    let (view, mut absences, now) = (view(true, DRAIN), Absences::default(), Instant::now());
    assert_eq!(ended(&view, &mut absences, now), None);
    assert_eq!(ended(&view, &mut absences, now + AWAY_FOR), Some("its node has been away for a day"));
    put(&view, NODE);
    assert_eq!(ended(&view, &mut absences, now + AWAY_FOR), None);
    assert!(absences.0.is_empty(), "the next absence counts from its own start");
}

#[test]
fn the_wish_that_a_node_serves_ends_once_it_does() {
    let view = view(true, r#"{"kind":"INTENT_KIND_SERVE"}"#);
    assert_eq!(at_once(&view), None, "it may come back as it was");
    for held in [r#""drain":{"stage":"DRAIN_STAGE_DRAINED"}"#, r#""cordonedBy":"ann""#] {
        put(&view, &format!(r#"{{"status":{{{held}}}}}"#));
        assert_eq!(at_once(&view), None, "{held}");
    }
    put(&view, NODE);
    assert_eq!(at_once(&view), Some("it does"));
}

#[test]
fn intents_end_with_their_pool_but_not_where_its_nodes_serve_on() {
    let drained = view(false, DRAIN);
    assert_eq!(at_once(&drained), Some("its pool is deleted"));
    put(&drained, r#"{"status":{"phase":"NODE_PHASE_NO_POOL"}}"#);
    assert_eq!(at_once(&drained), Some("its pool is deleted"));
    put(&drained, r#"{"status":{"phase":"NODE_PHASE_READY"}}"#);
    assert_eq!(at_once(&drained), None, "a restored backup may lack the pool");
    let retired = view(false, RETIRE);
    put(&retired, r#"{"status":{"incarnation":"i","phase":"NODE_PHASE_NO_POOL"}}"#);
    assert_eq!(at_once(&retired), None, "who is to go has yet to go");
}
