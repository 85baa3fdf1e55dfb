//! Who counts as alive, and who is kept for how long.
#![allow(clippy::unwrap_used)]

use super::kept::{KEEP_FOR, MAX_KEPT};
use super::*;

fn id(name: &str) -> NodeId {
    name.parse().unwrap()
}

fn record(status: &str, mod_revision: i64) -> Entry {
    let value = format!(r#"{{"metadata":{{"name":"n"}},"status":{status}}}"#).into_bytes();
    Entry { key: b"k".to_vec(), value, mod_revision, create_revision: 1, version: 1 }
}

fn fleet(status: &str, sure: bool) -> Fleet {
    let mut fleet = Fleet::default();
    fleet.put(id("n"), &record(status, 5), sure).unwrap();
    fleet
}

fn sync(fleet: &Fleet) -> Option<v1::SyncState> {
    fleet.get(&id("n")).and_then(|node| node.doubt())
}

fn alive() -> Answer {
    Answer::Alive(Box::default())
}

#[test]
fn a_record_that_goes_without_a_word_is_a_node_that_vanished() {
    let mut fleet = fleet(r#"{"rejection":{"cause":"in use"}}"#, true);
    assert_eq!(sync(&fleet), None);
    fleet.remove(&id("n"));
    assert_eq!((sync(&fleet), fleet.live().count(), fleet.iter().count()), (Some(v1::SyncState::Unknown), 0, 1));
    assert!(fleet.judge(&id("n"), 5, Answer::Silent));
    assert_eq!(sync(&fleet), Some(v1::SyncState::Lost));
    assert_eq!(fleet.get(&id("n")).unwrap().status.rejection.as_ref().unwrap().cause, "in use");
    assert!(!fleet.judge(&id("n"), 5, Answer::Silent), "nothing new");
    fleet.put(id("n"), &record("{}", 9), true).unwrap();
    assert_eq!((sync(&fleet), fleet.iter().count()), (None, 1), "a new record ends it");
    assert!(!fleet.judge(&id("n"), 5, Answer::Silent), "an answer that comes late is another record's");
}

#[test]
fn who_serves_without_etcd_is_stale_and_tells_why_itself() {
    let mut fleet = fleet("{}", true);
    fleet.remove(&id("n"));
    let lost = v1::Condition { r#type: "Registered".into(), reason: "EtcdLost".into(), ..Default::default() };
    let status = v1::NodeStatus { conditions: vec![lost], ..Default::default() };
    assert!(fleet.judge(&id("n"), 5, Answer::Alive(Box::new(status))));
    assert_eq!(sync(&fleet), Some(v1::SyncState::Stale));
    assert_eq!(fleet.get(&id("n")).unwrap().status.conditions.len(), 1);
}

#[test]
fn who_said_that_it_leaves_has_not_vanished() {
    let mut fleet = fleet(r#"{"drain":{"exits":true,"reason":"SIGTERM"}}"#, true);
    fleet.remove(&id("n"));
    assert_eq!((fleet.iter().count(), fleet.get(&id("n")).is_none()), (0, true));
    assert_eq!(fleet.left(&id("n")).unwrap().status.drain.as_ref().unwrap().reason, "SIGTERM");
    let mut drained = self::fleet(r#"{"drain":{"reason":"drained by ann"}}"#, true);
    drained.remove(&id("n"));
    assert_eq!(sync(&drained), Some(v1::SyncState::Unknown), "drained, but not about to go");
}

#[test]
fn garbage_over_a_record_is_as_good_as_none() {
    let mut fleet = fleet("{}", true);
    assert!(fleet.put(id("n"), &Entry { value: b"garbage".to_vec(), ..record("{}", 6) }, true).is_err());
    assert_eq!((sync(&fleet), fleet.live().count()), (Some(v1::SyncState::Unknown), 0));
}

#[test]
fn an_old_record_proves_nothing_until_somebody_answers_or_writes() {
    let mut doubtful = fleet("{}", false);
    assert_eq!(sync(&doubtful), Some(v1::SyncState::Unknown));
    assert!(doubtful.judge(&id("n"), 5, Answer::Silent));
    assert_eq!(sync(&doubtful), Some(v1::SyncState::Lost));
    assert!(doubtful.judge(&id("n"), 5, alive()));
    assert_eq!(sync(&doubtful), None);
    doubtful.doubt();
    assert_eq!(sync(&doubtful), Some(v1::SyncState::Unknown));
    doubtful.put(id("n"), &record("{}", 6), true).unwrap();
    assert_eq!(sync(&doubtful), None);
    doubtful.doubt();
    assert!(!doubtful.sweep(Instant::now()));
    assert!(doubtful.sweep(Instant::now() + DOUBT_FOR), "its lease would have ended by now");
    assert_eq!(sync(&doubtful), None);
}

#[test]
fn a_new_list_keeps_what_it_does_not_tell() {
    let list = || fleet("{}", false);
    let mut same = list();
    same.inherit(fleet("{}", true), false);
    assert_eq!(sync(&same), None, "unchanged, and etcd was there all the time");
    let mut back = list();
    back.inherit(fleet("{}", true), true);
    assert_eq!(sync(&back), Some(v1::SyncState::Unknown));
    let mut empty = Fleet::default();
    empty.inherit(fleet("{}", true), true);
    assert_eq!((sync(&empty), empty.live().count()), (Some(v1::SyncState::Unknown), 0), "its record is not there");
    let mut later = Fleet::default();
    later.inherit(empty, false);
    assert_eq!(later.iter().count(), 1, "who vanished before is still known");
    let mut again = list();
    again.inherit(later, false);
    assert_eq!((again.live().count(), again.iter().count()), (1, 1));
}

#[test]
fn the_vanished_are_forgotten_in_time_and_in_number() {
    let mut gone = fleet("{}", true);
    gone.remove(&id("n"));
    assert!(!gone.sweep(Instant::now()));
    assert!(gone.sweep(Instant::now() + KEEP_FOR) && gone.is_empty());

    let node = fleet("{}", true).live().next().unwrap().as_ref().clone();
    let (mut kept, begun) = (Kept::default(), Instant::now());
    for n in 0..=MAX_KEPT {
        // The first to go is not the first by name.
        let name = format!("node-{}", MAX_KEPT - n);
        kept.insert(begun + Duration::from_nanos(n as u64), Node { id: id(&name), ..node.clone() });
    }
    assert_eq!((kept.iter().count(), kept.forgotten()), (MAX_KEPT, 1));
    assert!(kept.get(&id(&format!("node-{MAX_KEPT}"))).is_none());
}
