//! What the tables show.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::output::table_of;

fn view(wide: bool) -> View {
    View { now: SystemTime::UNIX_EPOCH, wide, live: true, clock: wide, pools: Vec::new() }
}

fn meta(name: &str) -> Option<v1::ObjectMeta> {
    Some(v1::ObjectMeta { name: name.into(), ..Default::default() })
}

fn reference(n: u32) -> Option<v1::RevisionRef> {
    Some(v1::RevisionRef { uid: "u".into(), n, digest: "0123456789abcdef".into() })
}

fn node(name: &str, sync: v1::SyncState) -> v1::Node {
    let mut status = v1::NodeStatus { pool: "edge".into(), applied: reference(2), ..Default::default() };
    status.set_phase(v1::NodePhase::Ready);
    status.set_sync(sync);
    v1::Node { metadata: meta(name), status: Some(status), ..Default::default() }
}

#[test]
fn a_late_node_shows_dashes_and_a_rejection_its_cause() {
    let quiet = node("node-1", v1::SyncState::Synced);
    let mut refuses = node("node-2", v1::SyncState::Rejected);
    let status = refuses.status.as_mut().unwrap();
    status.live = Some(v1::LiveFigures { connections: 7, rate: 1_500.0, ..Default::default() });
    status.rejection = Some(v1::Rejection {
        revision: reference(3),
        listener: "greet".into(),
        cause: "bind 127.0.0.2:7008: address in use".into(),
        ..Default::default()
    });
    let expected = "\
NAME     POOL   ZONE   PHASE   REVISION   SYNC       CONNS   RATE   AGE
node-1   edge   -      READY   2          SYNCED     -       -      -
node-2   edge   -      READY   2          REJECTED   7       1.5k   -
node-2: rejected revision 3: listener greet: bind 127.0.0.2:7008: address in use
";
    assert_eq!(table_of(&[quiet, refuses], &view(false)), expected);
}

#[test]
fn a_watch_shows_no_live_figures_rather_than_late_ones() {
    let titles = v1::Node::titles(&View { live: false, ..view(true) });
    assert!(!titles.contains(&"CONNS") && !titles.contains(&"RATE"), "{titles:?}");
}

#[test]
fn a_watch_keeps_room_for_titles_that_are_there() {
    let rooms = |titles: Vec<&'static str>, widest: fn(&str) -> &'static str| {
        titles.into_iter().filter(|title| !widest(title).is_empty()).collect::<Vec<_>>()
    };
    assert_eq!(rooms(v1::Node::titles(&view(false)), v1::Node::widest), ["PHASE", "SYNC"]);
    assert_eq!(rooms(v1::Pool::titles(&view(false)), v1::Pool::widest), ["ROLLOUT"]);
    assert_eq!(rooms(v1::Event::titles(&view(false)), v1::Event::widest), ["TYPE"]);
}

#[test]
fn a_wide_row_tells_where_a_node_listens() {
    let mut node = node("node-1", v1::SyncState::Synced);
    let bound = |address: &str| v1::BoundListener { address: address.into(), ..Default::default() };
    let addresses = ["127.0.0.1:7007", "[::1]:7007", "127.0.0.1:7001", "127.0.0.1:7007"];
    node.status.as_mut().unwrap().listeners = addresses.map(bound).into();
    let view = view(true);
    let at = v1::Node::titles(&view).iter().position(|title| *title == "ADDRESS").unwrap();
    assert_eq!(node.cells(&view)[at], "127.0.0.1:7001,7007,[::1]:7007");
}

#[test]
fn an_old_rejection_is_no_longer_told() {
    let mut node = node("node-1", v1::SyncState::Synced);
    node.status.as_mut().unwrap().rejection = Some(v1::Rejection::default());
    assert_eq!(node.note(), None);
}

#[test]
fn wide_rows_have_as_many_cells_as_titles() {
    fn check<T: Object>(object: T) {
        for (wide, live) in [(false, false), (false, true), (true, false), (true, true)] {
            let view = View { live, ..view(wide) };
            assert_eq!(object.cells(&view).len(), T::titles(&view).len(), "{}", T::TYPE);
            assert!(T::titles(&view).contains(&T::AGE));
        }
    }
    check(v1::Node::default());
    check(v1::Pool::default());
    check(v1::Revision::default());
    check(v1::Event::default());
}

#[test]
fn a_revision_in_use_is_marked() {
    let revision = v1::Revision { pool: "edge".into(), revision: reference(3), ..Default::default() };
    let status = v1::PoolStatus { stable: reference(3), ..Default::default() };
    let pool = v1::Pool { metadata: meta("edge"), status: Some(status), ..Default::default() };
    let view = View { pools: vec![pool], ..view(false) };
    assert_eq!(revision.cells(&view)[2..4], ["3 (stable)", "0123456789ab"]);
}

#[test]
fn values_of_a_newer_control_do_not_disturb() {
    let mut node = node("node-1", v1::SyncState::Synced);
    node.status.as_mut().unwrap().phase = 99;
    assert_eq!(node.cells(&view(false))[3], "-");
}

#[test]
fn a_node_that_was_cordoned_or_lost_says_so() {
    let mut cordoned = node("node-1", v1::SyncState::Synced);
    cordoned.status.as_mut().unwrap().cordoned_by = "ann".into();
    assert_eq!(cordoned.cells(&view(false))[3], "CORDONED");
    let mut lost = node("node-2", v1::SyncState::Lost);
    assert_eq!(lost.note().unwrap(), "node-2: lost: its record went away and its Agent does not answer");
    let wrong = |kind: &str, reason: &str, message: &str| v1::Condition {
        r#type: kind.into(),
        reason: reason.into(),
        message: message.into(),
        ..Default::default()
    };
    lost.status.as_mut().unwrap().conditions = vec![
        wrong("ClockSynchronized", "Unsynchronized", "the host's clock is not synchronised"),
        wrong("DataPath", "ShardEnded", "shard 1 panicked"),
    ];
    assert_eq!(lost.note().unwrap(), "node-2: lost after ShardEnded: shard 1 panicked");
}

#[test]
fn an_event_tells_what_changed_once() {
    let event = |message: &str, from: &str, to: &str| v1::Event {
        message: message.into(),
        from: from.into(),
        to: to.into(),
        ..Default::default()
    };
    let told = |event: v1::Event| event.cells(&view(false)).pop().unwrap();
    assert_eq!(told(event("drains", "READY", "DRAINING")), "drains (READY -> DRAINING)");
    assert_eq!(told(event("from 1 to 2", "1", "2")), "from 1 to 2");
    assert_eq!(told(event("rollout 1 completed", "", "COMPLETED")), "rollout 1 completed");
    assert_eq!(told(event("joined", "", "READY")), "joined (now READY)");
    assert_eq!(told(event("left", "READY", "")), "left (was READY)");
}
