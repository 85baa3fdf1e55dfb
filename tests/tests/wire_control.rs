//! Whatever etcd does, a real control tells the truth about it, does not storm it, and leads again by itself.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "wire/led.rs"]
mod led;

use std::net::IpAddr;
use std::time::Duration;

use echo_tests::cluster::{bound, name, pool_file, text};
use echo_tests::ports::free_port;
use echo_tests::scripted::{Call, Fault};
use echo_tests::wait::ensure;
use echo_tests::{client, eventually};

use led::{LEADER, Led, POOL};

const ASSIGNMENT: &str = "/echo/v1/default/assignments/default";
const ROLLOUT: &str = "/echo/v1/default/rollouts/default";
const PORTS: &str = "/echo/v1/default/guard/ports";
/// What control is told at once, and a node that has to start.
const AT_ONCE: Duration = Duration::from_secs(10);
/// A watch is dead after 10 s of silence; then the same.
const AFTER_SILENCE: Duration = Duration::from_secs(20);

/// How many nodes the stored pool wants.
fn replicas(led: &Led) -> u64 {
    let pool: serde_json::Value = serde_json::from_str(&led.etcd.value(POOL)).unwrap();
    pool.pointer("/spec/replicas").and_then(serde_json::Value::as_u64).unwrap()
}

#[test]
fn a_lost_leader_key_is_won_again() {
    let led = Led::start();
    led.etcd.change(|store| store.delete(LEADER));
    led.drives(2, AT_ONCE);
    assert!(!led.etcd.value(LEADER).is_empty());
    // With every lease at once, also those of its nodes.
    let leader = led.etcd.value(LEADER);
    led.etcd.lose_leases();
    eventually("another term", AT_ONCE, || {
        let next = led.etcd.value(LEADER);
        ensure(!next.is_empty() && next != leader, || next)
    });
    led.has_nodes(2, AT_ONCE);
    led.drives(1, AT_ONCE);
    led.was_well();
}

#[test]
fn a_watch_that_says_nothing_is_found_out() {
    let led = Led::start();
    led.etcd.silence_watches();
    led.drives(2, AFTER_SILENCE);
    led.was_well();
}

#[test]
fn connections_that_fall_silent_are_left_soon() {
    let led = Led::start();
    led.etcd.mute_connections();
    // The call that finds it out fails; the checks of the connection itself take up to 15 s.
    eventually("a change is taken", AT_ONCE, || {
        let scaled = led.run("scale pool/default --replicas 2");
        ensure(scaled.code == 0, || scaled.stderr)
    });
    led.has_nodes(2, AFTER_SILENCE);
    eventually("how long it had no answer is told", AT_ONCE, || {
        let events = led.items("get events")?;
        let told = events.iter().find(|event| text(event, "/reason") == "EtcdReturned").ok_or("not yet")?;
        let seconds = text(told, "/message").split_whitespace().rev().nth(1).and_then(|n| n.parse::<u64>().ok());
        // It was asked after 5 s of silence, and given up 5 s later.
        ensure(seconds.is_some_and(|n| n >= 5), || format!("{told}"))
    });
    led.was_well();
}

#[test]
fn a_change_behind_a_compaction_is_found() {
    let led = Led::start();
    let other = led.etcd.value(POOL).replace("\"default\"", "\"other\"").replace("\"replicas\":1", "\"replicas\":0");
    led.etcd.compact_behind_watches(|store| store.put("/echo/v1/default/pools/other", &other));
    eventually("the other pool is listed", AT_ONCE, || {
        let pools: Vec<_> = led.items("get pools")?.iter().map(name).collect();
        ensure(pools == ["default", "other"], || format!("{pools:?}"))
    });
    led.drives(2, AT_ONCE);
    led.was_well();
}

#[test]
fn an_overloaded_etcd_is_named_and_left_in_peace() {
    let led = Led::start();
    led.etcd.fault(Call::Txn, Fault::TooManyRequests);
    let refused = led.run("scale pool/default --replicas 2");
    assert_eq!(refused.code, 1, "{}", refused.stdout);
    assert!(refused.stderr.contains("too many requests"), "{}", refused.stderr);
    assert_eq!(replicas(&led), 1);
    led.etcd.heal();
    led.drives(2, AT_ONCE);
    led.was_well();
}

#[test]
fn a_full_disk_of_etcd_is_named_and_reads_go_on() {
    let led = Led::start();
    led.etcd.set_no_space(true);
    let refused = led.run("scale pool/default --replicas 2");
    assert_eq!(refused.code, 1, "{}", refused.stdout);
    assert!(refused.stderr.contains("NOSPACE"), "{}", refused.stderr);
    assert_eq!(led.items("get nodes").unwrap().len(), 1);
    led.etcd.set_no_space(false);
    led.drives(2, AT_ONCE);
    led.was_well();
}

#[test]
fn slow_answers_are_waited_for_and_too_slow_ones_are_told() {
    let led = Led::start();
    led.etcd.fault_all(Fault::Late(Duration::from_millis(500)));
    led.drives(2, AFTER_SILENCE);
    led.etcd.heal();
    led.etcd.fault(Call::Txn, Fault::Silence);
    let late = led.run("scale pool/default --replicas 3");
    assert_eq!(late.code, 1, "{}", late.stdout);
    assert!(late.stderr.contains("may be stored or not"), "{}", late.stderr);
    led.etcd.heal();
    led.drives(1, AFTER_SILENCE);
    led.was_well();
}

#[test]
fn a_change_whose_answer_is_lost_is_not_called_done_nor_undone() {
    let led = Led::start();
    // Of this change: control may have events to store as well.
    led.etcd.fault_puts(POOL, Fault::AnswerLost);
    let unsure = led.run("scale pool/default --replicas 2");
    assert_eq!((led.etcd.faults_met(), unsure.code), (1, 1), "{}", unsure.stdout);
    led.etcd.heal();
    assert!(unsure.stderr.contains("may be stored or not"), "{}", unsure.stderr);
    // It was.
    assert_eq!(replicas(&led), 2);
    led.has_nodes(2, AT_ONCE);
    let again = led.run("scale pool/default --replicas 2");
    assert_eq!(again.code, 0, "{}", again.stderr);
    led.was_well();
}

#[test]
fn a_member_without_a_leader_is_outlived() {
    let led = Led::start();
    led.etcd.lose_leader();
    let refused = led.run("scale pool/default --replicas 2");
    assert_eq!(refused.code, 1, "{}", refused.stdout);
    assert!(refused.stderr.contains("etcd"), "{}", refused.stderr);
    led.etcd.heal();
    led.drives(2, AFTER_SILENCE);
    led.was_well();
}

#[test]
fn a_restored_backup_is_followed() {
    let led = Led::start();
    let backup = led.etcd.backup();
    led.drives(2, AT_ONCE);
    led.etcd.restore(&backup);
    assert_eq!(replicas(&led), 1);
    led.has_nodes(1, AFTER_SILENCE);
    led.drives(2, AFTER_SILENCE);
    led.was_well();
}

#[test]
fn a_restored_backup_is_followed_though_its_revisions_have_passed_ours() {
    let led = Led::start();
    let mut backup = led.etcd.backup();
    led.drives(2, AT_ONCE);
    // As a fleet does that registers again before control looks.
    (0..100).for_each(|n| backup.put("/elsewhere", &n.to_string()));
    led.etcd.restore(&backup);
    led.has_nodes(1, AFTER_SILENCE);
    led.drives(2, AFTER_SILENCE);
    led.was_well();
}

#[test]
fn a_wiped_etcd_ends_no_node() {
    let led = Led::start();
    let node = led.items("get nodes").unwrap().remove(0);
    let mut open = client::connect(bound(&node, "echo-tcp")).unwrap();
    client::echo_on(&mut open, b"before").unwrap();
    led.etcd.wipe();
    // Another pool's node tells that control leads again, and has thought about all that it knows.
    let file = led.file("other.yaml", &pool_file(1).replace("name: default", "name: other"));
    eventually("another pool is taken", AFTER_SILENCE, || {
        let applied = led.run(&format!("apply -f {file}"));
        ensure(applied.code == 0, || applied.stderr)
    });
    eventually("its node serves", AFTER_SILENCE, || {
        let nodes = led.items("get nodes")?;
        let ready = |n: &serde_json::Value| {
            text(n, "/status/pool") == "other" && text(n, "/status/phase") == "NODE_PHASE_READY"
        };
        ensure(nodes.iter().any(ready), || format!("{nodes:?}"))
    });
    client::echo_on(&mut open, b"after").unwrap();
    led.was_well();
}

#[test]
fn no_port_is_assigned_before_all_nodes_can_know_of_it() {
    let led = Led::start();
    let IpAddr::V4(ip) = bound(&led.items("get nodes").unwrap()[0], "echo-udp").ip() else { panic!("IPv4") };
    let port = format!("port: {}", free_port(ip));
    let file = led.file("more.yaml", &pool_file(1).replacen("UDP, port: 0", &format!("UDP, {port}"), 1));
    let assigned = || led.etcd.value(ASSIGNMENT).contains(&port.replace("port: ", "\"port\":"));
    led.etcd.fault_puts(PORTS, Fault::TooManyRequests);
    let applied = led.run(&format!("apply -f {file}"));
    assert_eq!(applied.code, 0, "{}", applied.stderr);
    // It tries again only after all else that it would have done the first time.
    eventually("control tries to tell of the port, twice", AT_ONCE, || {
        ensure(led.etcd.faults_met() >= 2, || format!("{} times", led.etcd.faults_met()))
    });
    assert!(!assigned(), "assigned though no node could know of it: {}", led.etcd.value(ASSIGNMENT));
    led.etcd.heal();
    eventually("it is assigned then", AT_ONCE, || ensure(assigned(), || led.etcd.value(ASSIGNMENT)));
    led.was_well();
}

#[test]
fn a_rollout_is_taken_back_though_no_port_can_be_told() {
    let led = Led::start();
    let text = pool_file(1)
        .replace("100ms}\n", "600s}\n")
        .replace("listeners:", "limits: {maxConnections: 7}\n    listeners:");
    let file = led.file("next.yaml", &text);
    assert_eq!(led.run(&format!("apply -f {file}")).code, 0);
    let given = || led.etcd.value(ASSIGNMENT).contains("\"next\"");
    eventually("the canary is given it", AT_ONCE, || ensure(given(), || led.etcd.value(ROLLOUT)));
    led.etcd.fault_puts(PORTS, Fault::TooManyRequests);
    // Its listener is of a port that is not told yet.
    let scaled = led.run("scale pool/default --replicas 2");
    assert_eq!(scaled.code, 0, "{}", scaled.stderr);
    eventually("control can't tell of the port", AT_ONCE, || {
        ensure(led.etcd.faults_met() >= 1, || format!("{} times", led.etcd.faults_met()))
    });
    assert_eq!(led.run("rollout abort pool/default").code, 0);
    eventually("it is taken back", AT_ONCE, || ensure(!given(), || led.etcd.value(ROLLOUT)));
    led.etcd.heal();
    led.was_well();
}

#[test]
fn a_leader_that_does_not_know_that_it_leads_no_more_is_refused() {
    let led = Led::start();
    let changed = pool_file(1)
        .replace("minHealthy: 100ms", "minHealthy: 3s")
        .replace("  template:\n", "  template:\n    busyPoll: 1us\n");
    let file = led.file("changed.yaml", &changed);
    let applied = led.run(&format!("apply -f {file}"));
    assert_eq!(applied.code, 0, "{}", applied.stderr);
    eventually("the canary runs it, and has to stay healthy", AT_ONCE, || {
        let status = led.run("rollout status pool/default --watch=false");
        ensure(status.stdout.contains("1 of 1 nodes run revision 2"), || format!("{status:?}"))
    });
    // It hears of nothing any more, and another one has won the election.
    led.etcd.silence_watches();
    led.etcd.change(|store| {
        store.delete(LEADER);
        store.put(LEADER, r#"{"instance":"another","address":"127.0.0.1:1"}"#);
    });
    let (rollout, assignment) = (led.etcd.value(ROLLOUT), led.etcd.value(ASSIGNMENT));
    // Counts the attempts, and changes nothing about them.
    led.etcd.fault_puts(ROLLOUT, Fault::Late(Duration::ZERO));
    eventually("it tries to complete the rollout", AT_ONCE, || {
        ensure(led.etcd.faults_met() >= 2, || format!("{} times", led.etcd.faults_met()))
    });
    assert_eq!((led.etcd.value(ROLLOUT), led.etcd.value(ASSIGNMENT)), (rollout, assignment), "the fence holds");
    led.was_well();
}

#[test]
fn an_election_won_without_an_answer_blocks_nobody() {
    let led = Led::start();
    led.etcd.fault_next(1, Call::Txn, Fault::AnswerLost);
    led.etcd.change(|store| store.delete(LEADER));
    eventually("the answer is lost", AT_ONCE, || ensure(led.etcd.faults_met() == 1, || "not yet".into()));
    led.drives(2, AT_ONCE);
    led.was_well();
}
