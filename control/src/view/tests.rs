//! What the mirror makes of keys, good and bad.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::store::{Delta, Entry, StoreError};

fn keys() -> Keys {
    Keys::new(&"test".parse().unwrap())
}

fn entry(key: &str, value: &str, mod_revision: i64) -> Entry {
    let (key, value) = (format!("/echo/v1/test/{key}").into_bytes(), value.as_bytes().to_vec());
    Entry { key, value, mod_revision, create_revision: 1, version: 1 }
}

const POOL: &str = r#"{"metadata":{"name":"edge","uid":"u"},"revision":{"uid":"u","n":1,"digest":"d"},"spec":{"replicas":2,
    "template":{"listeners":[{"name":"a","protocol":"PROTOCOL_TCP","port":7007,"service":{"echo":{}}}]}}}"#;
const ASSIGNMENT: &str = r#"{"uid":"u","rollout":1,"stable":{"n":1,"digest":"d","config":{}}}"#;

fn node(incarnation: &str) -> String {
    format!(r#"{{"metadata":{{"name":"node-1"}},"status":{{"incarnation":"{incarnation}"}}}}"#)
}

fn view(entries: Vec<Entry>) -> View {
    let view = View::new(keys());
    view.apply(Update::Reset(entries), 9);
    view
}

fn name() -> echo_proto::ids::PoolName {
    "edge".parse().unwrap()
}

#[test]
fn a_pool_is_put_together_from_its_keys() {
    let view = view(vec![
        entry("pools/edge", POOL, 3),
        entry("assignments/edge", ASSIGNMENT, 4),
        entry("nodes/edge/node-1", &node("i"), 5),
        entry("leader", r#"{"instance":"c"}"#, 6),
    ]);
    view.read(|state| {
        let pool = state.pools.get(&name()).unwrap();
        assert_eq!(pool.pool.valid().unwrap().value.plan.replicas, 2);
        assert_eq!(pool.assignment.valid().unwrap().value.stable.n, 1);
        assert_eq!((pool.fleet.live().count(), state.revision), (1, 9));
        assert_eq!(state.leader.as_ref().unwrap().value.instance, "c");
        assert!(state.synced && state.invalid.is_empty());
    });
}

#[test]
fn each_bad_key_stands_alone() {
    let view = view(vec![
        entry("pools/edge", POOL, 3),
        entry("assignments/edge", r#"{"uid":"u"}"#, 4),
        entry("nodes/edge/node-1", "garbage", 5),
        entry("nodes/edge/node-2", "{}", 6),
        entry("pools/EDGE", POOL, 7),
        entry("pools/other", POOL, 8),
        entry("revisions/edge/0000000001", "[]", 9),
        entry("intents/edge/node-1", "7", 9),
        entry("events/zzz", "no event", 9),
        entry("nonsense/of/ours", "?", 9),
        entry("orders/later", "garbage", 9),
    ]);
    view.read(|state| {
        let bad: Vec<&str> = state.invalid.keys().map(|key| key.strip_prefix("/echo/v1/test/").unwrap()).collect();
        let expected = [
            "assignments/edge",
            "events/zzz",
            "intents/edge/node-1",
            "nodes/edge/node-1",
            "nodes/edge/node-2",
            "nonsense/of/ours",
            "pools/EDGE",
            "pools/other",
            "revisions/edge/0000000001",
        ];
        assert_eq!(bad, expected);
        let pool = state.pools.get(&name()).unwrap();
        assert!(pool.pool.valid().is_some() && matches!(pool.assignment, Slot::Invalid(4)));
        assert!(pool.fleet.is_empty());
    });
}

#[test]
fn a_repaired_or_deleted_key_is_good_again() {
    let view = view(vec![entry("assignments/edge", "x", 3), entry("pools/edge", "x", 4)]);
    let repaired = Delta::Put(entry("pools/edge", POOL, 10));
    let gone = Delta::Gone(b"/echo/v1/test/assignments/edge".to_vec());
    view.apply(Update::Changes(vec![repaired, gone]), 11);
    view.read(|state| {
        assert!(state.invalid.is_empty());
        let pool = state.pools.get(&name()).unwrap();
        assert!(pool.pool.valid().is_some() && matches!(pool.assignment, Slot::Absent));
    });
    view.apply(Update::Changes(vec![Delta::Gone(b"/echo/v1/test/pools/edge".to_vec())]), 12);
    view.read(|state| assert!(state.pools.is_empty(), "nothing of it is left"));
}

#[test]
fn an_intent_stands_until_it_is_taken_back_or_unreadable() {
    let view = view(vec![entry("intents/edge/node-1", r#"{"kind":"INTENT_KIND_DRAIN","author":"ann"}"#, 3)]);
    let intents = || view.read(|state| state.pools.get(&name()).map(|pool| pool.intents.len()));
    assert_eq!(intents(), Some(1));
    view.apply(Update::Changes(vec![Delta::Put(entry("intents/edge/node-1", "x", 4))]), 4);
    assert_eq!((intents(), view.read(|state| state.invalid.len())), (Some(0), 1));
    let repaired = Delta::Put(entry("intents/edge/node-1", "{}", 5));
    view.apply(Update::Changes(vec![repaired]), 5);
    assert_eq!(intents(), Some(1));
    view.apply(Update::Changes(vec![Delta::Gone(b"/echo/v1/test/intents/edge/node-1".to_vec())]), 6);
    assert_eq!((intents(), view.read(|state| state.invalid.len())), (None, 0), "nothing of it is left");
}

#[test]
fn a_new_list_voids_what_was_known() {
    let view = view(vec![entry("nodes/edge/node-1", &node("i"), 3), entry("leader", "{}", 3)]);
    view.apply(Update::Reset(vec![entry("nodes/edge/node-2", &node("i"), 4)]), 20);
    view.read(|state| {
        let nodes: Vec<&str> = state.pools.get(&name()).unwrap().fleet.live().map(|node| node.id.as_str()).collect();
        assert_eq!((nodes.as_slice(), state.leader.is_none(), state.revision), (["node-2"].as_slice(), true, 20));
    });
}

#[test]
fn away_is_told_until_something_comes() {
    let view = view(Vec::new());
    let away = StoreError::Unavailable { endpoints: "http://e".into(), cause: "refused".into() };
    view.apply(Update::Away { error: away, since: Instant::now() }, 9);
    view.read(|state| assert!(state.away.is_some() && state.synced));
    view.apply(Update::Changes(Vec::new()), 9);
    view.read(|state| assert!(state.away.is_none()));
}

#[test]
fn who_comes_and_goes_is_seen_without_a_break_from_the_first_list_to_the_next_outage() {
    let view = View::new(keys());
    let since = || view.read(|state| state.followed_since);
    let error = || StoreError::Unavailable { endpoints: "http://e".into(), cause: "refused".into() };
    view.apply(Update::Away { error: error(), since: Instant::now() }, 0);
    assert_eq!(since(), None);
    view.apply(Update::Reset(Vec::new()), 3);
    let first = since().unwrap();
    view.apply(Update::Changes(Vec::new()), 4);
    view.apply(Update::Reset(Vec::new()), 9);
    assert_eq!(since(), Some(first), "a list that is read anew is no break");
    view.apply(Update::Away { error: error(), since: Instant::now() }, 9);
    assert_eq!(since(), None);
    view.apply(Update::Changes(Vec::new()), 10);
    assert!(since().unwrap() > first);
}

#[test]
fn a_stream_that_breaks_makes_nobody_doubtful_but_a_new_term_of_etcd_does() {
    let view = view(Vec::new());
    view.apply(Update::Changes(vec![Delta::Put(entry("nodes/edge/node-1", &node("i"), 10))]), 10);
    let error = || StoreError::Unavailable { endpoints: "http://e".into(), cause: "reset".into() };
    let away = || Update::Away { error: error(), since: Instant::now() };
    let doubtful = || view.read(|state| state.pools.get(&name()).unwrap().fleet.live().any(|n| n.doubt().is_some()));
    view.apply(away(), 10);
    view.apply(Update::Resumed, 10);
    assert!(!doubtful() && view.read(|state| state.away.is_none()));
    view.apply(away(), 10);
    view.apply(Update::Changes(Vec::new()), 10);
    assert!(doubtful());
}
