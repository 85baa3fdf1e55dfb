//! Which history the watcher trusts.
#![allow(clippy::unwrap_used)]

use super::*;

fn listed(cluster: u64, revision: i64) -> Listed {
    Listed { cluster, revision, values: Vec::new() }
}

fn watcher() -> (Watcher, watch::Receiver<Assigned>) {
    let (assigned_cell, assigned) = watch::channel(Assigned::Unknown);
    let intents = watch::channel(None).0;
    (Watcher::new("assignments/p".into(), "intents/p/n".into(), assigned_cell, intents), assigned)
}

#[test]
fn history_goes_on_only_in_the_same_cluster_and_forward() {
    let (mut watcher, assigned) = watcher();
    assert!(!watcher.continues(&listed(7, 10)), "nothing is known yet");
    watcher.take(listed(7, 10));
    assert_eq!(*assigned.borrow(), Assigned::Absent, "not there is not deleted");
    assert!(watcher.continues(&listed(7, 10)));
    assert!(watcher.continues(&listed(7, 11)));
    assert!(!watcher.continues(&listed(7, 9)), "a restored backup");
    assert!(!watcher.continues(&listed(8, 11)), "another cluster");
}

#[test]
fn a_silent_watch_is_found_out() {
    let (mut watcher, _assigned) = watcher();
    watcher.take(listed(7, 10));
    assert!(watcher.missed(&listed(7, 20)).is_none());
    assert_eq!((watcher.assignment.seen, watcher.intent.seen), (20, 20), "nothing happened until then");
    // What was known to be there is not there now, and nobody said so.
    watcher.assignment.changed = 15;
    assert!(matches!(watcher.missed(&listed(7, 30)), Some(Again::Resume)));
    assert_eq!((watcher.assignment.seen, watcher.intent.seen), (20, 30), "its history is asked for from there");
    assert!(matches!(watcher.missed(&listed(7, 5)), Some(Again::List)));
}
