//! Whatever etcd does, a real node serves on, does not storm etcd, and is right again by itself.
//!
//! Traffic runs over TCP and UDP all the time; a single echo that is lost or late fails the test.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "wire/lone.rs"]
mod lone;

use std::time::Duration;

use echo_tests::eventually;
use echo_tests::scripted::{Call, Fault};
use echo_tests::wait::ensure;

use lone::{Lone, RECORD, assign, assignment};

/// What is found out at once: a heartbeat every third of a lease of 2 s, and the first waits of a retry.
const AT_ONCE: Duration = Duration::from_secs(5);
/// What needs an answer that never comes: one of 3 s, and the longest wait of a retry, 5 s.
const AFTER_A_TIMEOUT: Duration = Duration::from_secs(15);
/// Calls that have to fail before it counts as an outage.
const SOME: usize = 4;

const ASSIGNMENT: &str = "/echo/v1/default/assignments/default";

#[track_caller]
fn wait_met(node: &Lone, calls: usize) {
    let met = || node.etcd.faults_met();
    eventually("calls meet the fault", AFTER_A_TIMEOUT, || ensure(met() >= calls, || format!("{}", met())));
}

#[test]
fn a_lost_lease_is_replaced() {
    let node = Lone::start();
    let grants = node.etcd.calls(Call::Grant);
    node.etcd.lose_leases();
    assert!(node.etcd.value(RECORD).is_empty());
    node.serves(1, AT_ONCE);
    assert_eq!(node.etcd.calls(Call::Grant), grants + 1);
    node.was_well();
}

#[test]
fn a_change_behind_a_compaction_is_found() {
    let node = Lone::start();
    node.etcd.compact_behind_watches(|store| store.put(ASSIGNMENT, &assignment("first", 2)));
    node.serves(2, AT_ONCE);
    node.was_well();
}

#[test]
fn a_watch_that_says_nothing_is_found_out() {
    let node = Lone::start();
    node.etcd.silence_watches();
    assign(&node.etcd, "first", 2);
    node.serves(2, AT_ONCE);
    node.was_well();
}

#[test]
fn slow_answers_are_waited_for() {
    let node = Lone::start();
    node.etcd.fault_all(Fault::Late(Duration::from_millis(800)));
    assign(&node.etcd, "first", 2);
    node.serves(2, AFTER_A_TIMEOUT);
    wait_met(&node, SOME);
    node.was_well();
}

#[test]
fn an_overloaded_etcd_is_left_in_peace() {
    let node = Lone::start();
    node.etcd.fault_all(Fault::TooManyRequests);
    wait_met(&node, SOME);
    node.etcd.heal();
    assign(&node.etcd, "first", 2);
    node.serves(2, AFTER_A_TIMEOUT);
    node.was_well();
}

#[test]
fn a_member_without_a_leader_is_outlived() {
    let node = Lone::start();
    node.etcd.lose_leader();
    wait_met(&node, SOME);
    node.etcd.heal();
    node.serves(1, AFTER_A_TIMEOUT);
    node.was_well();
}

#[test]
fn an_etcd_that_does_not_answer_is_outlived() {
    let node = Lone::start();
    node.etcd.fault_all(Fault::Silence);
    wait_met(&node, 2);
    // Its lease ends meanwhile.
    eventually("the record is gone", AT_ONCE, || ensure(node.etcd.value(RECORD).is_empty(), || "there".into()));
    node.etcd.heal();
    node.serves(1, AFTER_A_TIMEOUT);
    node.was_well();
}

#[test]
fn a_full_disk_of_etcd_is_outlived() {
    let node = Lone::start();
    node.etcd.set_no_space(true);
    node.etcd.lose_leases();
    let grants = node.etcd.calls(Call::Grant);
    let asked = || node.etcd.calls(Call::Grant) - grants;
    eventually("it asks for a lease", AT_ONCE, || ensure(asked() >= SOME, || asked().to_string()));
    node.etcd.set_no_space(false);
    node.serves(1, AFTER_A_TIMEOUT);
    assert!(node.log().contains("space exceeded"), "the cause is told: {}", node.log());
    node.was_well();
}

#[test]
fn lost_connections_are_made_again() {
    let node = Lone::start();
    for n in 2..5 {
        node.etcd.drop_connections();
        assign(&node.etcd, "first", n);
        node.serves(n, AT_ONCE);
    }
    node.was_well();
}

#[test]
fn a_registration_whose_answer_is_lost_is_ones_own() {
    let node = Lone::start();
    node.etcd.lose_leases();
    node.etcd.fault_next(1, Call::Txn, Fault::AnswerLost);
    node.serves(1, AFTER_A_TIMEOUT);
    wait_met(&node, 1);
    assign(&node.etcd, "first", 2);
    node.serves(2, AFTER_A_TIMEOUT);
    assert!(!node.log().contains("is held by"), "{}", node.log());
    node.was_well();
}

#[test]
fn what_an_overloaded_etcd_has_done_is_not_asked_for_again() {
    let node = Lone::start();
    let grants = node.etcd.calls(Call::Grant);
    node.etcd.fault_next(1, Call::Grant, Fault::TookTooLong);
    node.etcd.fault_puts(RECORD, Fault::TookTooLong);
    node.etcd.lose_leases();
    node.serves(1, AFTER_A_TIMEOUT);
    wait_met(&node, 2);
    // Found, it is known to be written: the node has nothing more to say, and loses nothing.
    node.etcd.heal();
    assign(&node.etcd, "first", 2);
    node.serves(2, AFTER_A_TIMEOUT);
    assert_eq!(node.etcd.calls(Call::Grant), grants + 1);
    assert_eq!(node.etcd.faults_met(), 2);
    node.was_well();
}

#[test]
fn a_heartbeat_that_is_refused_costs_nothing_else() {
    let node = Lone::start();
    let (grants, watches) = (node.etcd.calls(Call::Grant), node.etcd.calls(Call::Watch));
    node.etcd.fault_next(1, Call::KeepAlive, Fault::TooManyRequests);
    wait_met(&node, 1);
    assign(&node.etcd, "first", 2);
    node.serves(2, AT_ONCE);
    assert_eq!((node.etcd.calls(Call::Grant), node.etcd.calls(Call::Watch)), (grants, watches));
    node.was_well();
}

#[test]
fn an_answer_about_a_new_revision_may_be_lost() {
    let node = Lone::start();
    node.etcd.fault_next(1, Call::Txn, Fault::AnswerLost);
    assign(&node.etcd, "first", 2);
    node.serves(2, AFTER_A_TIMEOUT);
    wait_met(&node, 1);
    assign(&node.etcd, "first", 3);
    node.serves(3, AFTER_A_TIMEOUT);
    node.was_well();
}

#[test]
fn a_restored_backup_takes_the_node_back_with_it() {
    let node = Lone::start();
    let backup = node.etcd.backup();
    assign(&node.etcd, "first", 2);
    node.serves(2, AT_ONCE);
    node.etcd.restore(&backup);
    // Its own record of then says that revision 1 is served, which is not true yet.
    eventually("revision 1 is applied again", AT_ONCE, || {
        let applied = node.log().matches("serving revision=1 ").count();
        ensure(applied == 2, || node.log())
    });
    node.serves(1, AT_ONCE);
    assign(&node.etcd, "first", 3);
    node.serves(3, AT_ONCE);
    node.was_well();
}

#[test]
fn a_restored_backup_is_told_from_its_own_history_even_at_the_same_revision() {
    let node = Lone::start();
    let backup = node.etcd.backup();
    assign(&node.etcd, "first", 2);
    node.serves(2, AT_ONCE);
    node.etcd.restore(&backup);
    // The first change of either history.
    assign(&node.etcd, "first", 3);
    node.serves(3, AT_ONCE);
    node.was_well();
}

#[test]
fn a_wiped_etcd_is_no_reason_to_stop() {
    let node = Lone::start();
    node.etcd.wipe();
    node.serves(1, AT_ONCE);
    // A pool of the same name, made anew, begins at 1 again.
    assign(&node.etcd, "second", 1);
    eventually("the new pool's revision is served", AT_ONCE, || {
        let record = node.etcd.value(RECORD);
        ensure(record.contains("second"), || record)
    });
    node.was_well();
}
