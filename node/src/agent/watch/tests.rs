//! Which history the watcher trusts.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use super::*;

fn listed(cluster: u64, revision: i64) -> Listed {
    Listed { cluster, revision, values: Vec::new() }
}

fn watcher() -> (Watcher, watch::Receiver<Assigned>) {
    let (assigned_cell, assigned) = watch::channel(Assigned::Unknown);
    let (intents, ports) = (watch::channel(None).0, watch::channel(None).0);
    let keys =
        Followable { assignment: "assignments/p".into(), intent: "intents/p/n".into(), ports: "guard/ports".into() };
    (Watcher::new(keys, Duration::from_secs(60), assigned_cell, intents, ports), assigned)
}

#[test]
fn history_goes_on_only_in_the_same_cluster_and_forward() {
    let (mut watcher, assigned) = watcher();
    assert_eq!(watcher.compare(&listed(7, 10)), Compared::Foreign, "nothing is known yet");
    watcher.take(listed(7, 10));
    assert_eq!(*assigned.borrow(), Assigned::Absent, "not there is not deleted");
    assert_eq!(watcher.compare(&listed(7, 10)), Compared::Same);
    assert_eq!(watcher.compare(&listed(7, 11)), Compared::Same);
    assert_eq!(
        (watcher.assignment.seen, watcher.intent.seen, watcher.ports.seen),
        (11, 11, 11),
        "nothing happened until then"
    );
    assert_eq!(watcher.compare(&listed(7, 10)), Compared::Foreign, "a restored backup");
    assert_eq!(watcher.compare(&listed(8, 12)), Compared::Foreign, "another cluster");
}

const VALUE: &[u8] = b"value";

/// A key whose last change, at revision 15, is known, as is all up to revision 20.
fn followed() -> Followed {
    Followed { key: "assignments/p".into(), seen: 20, changed: 15, value: Some(VALUE.into()), differed: None }
}

#[test]
fn a_silent_watch_is_found_out() {
    for found in [None, Some((25, VALUE))] {
        let mut followed = followed();
        assert_eq!(followed.compare(30, found), Compared::Newer, "deleted, or changed, and nobody said so");
        assert_eq!((followed.seen, followed.changed), (20, 15), "its history is asked for from there");
        followed.seen = 25;
        followed.hold(found);
        assert_eq!(followed.compare(40, found), Compared::Same, "now it was told");
        assert_eq!(followed.seen, 40);
    }
}

#[test]
fn a_restored_backup_is_found_out_though_its_revisions_have_passed_ours() {
    for found in [7, 14, 16, 20] {
        assert_eq!(
            followed().compare(100, Some((found, VALUE))),
            Compared::Foreign,
            "{found}: our history has no such change"
        );
    }
    assert_eq!(followed().compare(100, Some((15, VALUE))), Compared::Same);
    assert_eq!(followed().compare(100, Some((15, b"another"))), Compared::Foreign, "nor this value at that revision");
    let mut gone = followed();
    assert_eq!(gone.compare(100, None), Compared::Newer, "it may have been deleted");
    assert_eq!(gone.compare(101, None), Compared::Foreign, "but history does not tell so");
}

#[test]
fn an_intent_that_makes_no_sense_leaves_the_last_one() {
    for kind in [v1::IntentKind::Drain, v1::IntentKind::Cordon] {
        let (watcher, _) = watcher();
        let wanted = v1::Intent { kind: kind.into(), ..Default::default() };
        watcher.intents.send_replace(Some(wanted.clone()));
        for value in ["garbage{", r#"{"kind":"INTENT_KIND_QUIESCE"}"#, "{}"] {
            watcher.want(Some(value.as_bytes()));
            assert_eq!(*watcher.intents.borrow(), Some(wanted.clone()), "{value}");
        }
        watcher.want(None);
        assert_eq!(*watcher.intents.borrow(), None, "deleted is taken back");
    }
}

#[test]
fn an_intent_that_is_missing_in_another_history_was_not_taken_back() {
    let (mut watcher, _) = watcher();
    watcher.take(listed(7, 10));
    let wanted = Some(v1::Intent { kind: v1::IntentKind::Drain.into(), ..Default::default() });
    watcher.intents.send_replace(wanted.clone());
    watcher.take(listed(8, 3));
    assert_eq!(*watcher.intents.borrow(), wanted, "a wiped etcd");
    watcher.cluster = None;
    watcher.take(listed(8, 30));
    assert_eq!(*watcher.intents.borrow(), None, "behind a compaction it is the truth");
}

#[test]
fn the_fleets_ports_hold_until_others_are_told() {
    let (watcher, _) = watcher();
    let told = |watcher: &Watcher| {
        let told = watcher.fleet_ports.borrow();
        told.as_ref().map(|ports| ports.sockets.iter().map(SocketAddr::port).collect::<Vec<_>>())
    };
    watcher.keep_from(Some(br#"{"udp":[7007,9]}"#));
    for nothing in [None, Some(&b"garbage{"[..]), Some(&br#"{"udp":[70000]}"#[..])] {
        watcher.keep_from(nothing);
        assert_eq!(told(&watcher), Some(vec![7007, 9]));
    }
    watcher.keep_from(Some(b"{}"));
    assert_eq!(told(&watcher), Some(Vec::new()), "told to be none");
}

#[test]
fn the_fleets_ports_are_passed_on_once() {
    let (watcher, _) = watcher();
    let mut ports = watcher.fleet_ports.subscribe();
    let mut passed_on = |value: &str| {
        watcher.keep_from(Some(value.as_bytes()));
        let changed = ports.has_changed().unwrap();
        ports.mark_unchanged();
        changed
    };
    assert!(passed_on("{}"), "none, where a saved state may hold some");
    assert!(!passed_on("{}"));
    assert!(passed_on(r#"{"udp":[7007]}"#));
    assert!(!passed_on(r#"{"udp":[7007],"trace":{"traceparent":"another"}}"#), "a trace is no difference");
    assert!(passed_on(r#"{"udpSockets":["10.0.0.1:7007"]}"#));
}
