//! The scripted etcd against the real one: the same calls in the same order have the same answers.
//!
//! What the other wire tests show is worth as much as this.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "wire/calls.rs"]
mod calls;

use std::time::Duration;

use echo_tests::scripted::pb::{self, Compare, LeaseGrantRequest, RangeRequest, WatchCreateRequest};
use echo_tests::{Etcd, Scripted, tools};

use calls::{Caller, branch, delete, equal, get, put, range_of, txn};

/// A lease that nobody keeps alive, and which must not end before its test does.
const LEASE: i64 = 77;

fn grant(id: i64, ttl: i64) -> LeaseGrantRequest {
    LeaseGrantRequest { ttl, id }
}

/// Keys: what is written, read, counted, cut, ordered and refused.
async fn keys(caller: &mut Caller) {
    caller.range(get("a")).await;
    caller.put(put("a", "1")).await;
    caller.put(pb::PutRequest { prev_kv: true, ..put("a", "2") }).await;
    for key in ["b/1", "b/2", "b/3", "c"] {
        caller.put(put(key, "x")).await;
    }
    caller.range(range_of("b/", "b0")).await;
    caller.range(RangeRequest { limit: 2, ..range_of("b/", "b0") }).await;
    caller.range(RangeRequest { limit: 3, ..range_of("b/", "b0") }).await;
    caller.range(RangeRequest { count_only: true, limit: 1, ..range_of("b/", "b0") }).await;
    caller.range(RangeRequest { keys_only: true, ..range_of("b/", "\0") }).await;
    caller.range(range_of("\0", "\0")).await;
    caller.range(RangeRequest { sort_order: 2, sort_target: 3, ..range_of("a", "z") }).await;
    caller.range(RangeRequest { sort_target: 1, ..range_of("a", "z") }).await;
    caller.range(RangeRequest { revision: 2, ..range_of("a", "z") }).await;
    caller.range(RangeRequest { revision: 99, ..get("a") }).await;
    caller.range(get("")).await;
    caller.put(put("", "no key")).await;
    caller.delete(pb::DeleteRangeRequest { prev_kv: true, ..delete("b/2", "") }).await;
    caller.delete(delete("b/2", "")).await;
    caller.delete(delete("b/", "b0")).await;
    caller.put(put("b/2", "a new life")).await;
    caller.range(get("b/2")).await;
}

/// Transactions: every target of a compare, both branches, and what is checked before anything is done.
async fn transactions(caller: &mut Caller) {
    use pb::compare::{CompareResult as Result, CompareTarget as Target, TargetUnion as Union};
    let compare = |key: &str, result: Result, target: Target, union| Compare {
        result: result.into(),
        target: target.into(),
        key: key.into(),
        target_union: Some(union),
        range_end: Vec::new(),
    };
    caller.txn(txn(vec![equal("t", 0)], vec![branch(put("t", "made"))], vec![branch(get("t"))])).await;
    caller.txn(txn(vec![equal("t", 0)], vec![branch(put("t", "again"))], vec![branch(get("t"))])).await;
    let compares = [
        compare("t", Result::Equal, Target::Value, Union::Value("made".into())),
        compare("t", Result::Less, Target::Value, Union::Value("n".into())),
        compare("t", Result::Greater, Target::Version, Union::Version(0)),
        compare("t", Result::NotEqual, Target::Mod, Union::ModRevision(1)),
        compare("t", Result::Equal, Target::Lease, Union::Lease(0)),
        compare("t", Result::Equal, Target::Lease, Union::Lease(LEASE)),
        compare("none", Result::Equal, Target::Value, Union::Value(Vec::new())),
        compare("none", Result::Equal, Target::Lease, Union::Lease(0)),
        Compare { range_end: "b0".into(), ..compare("b/", Result::Greater, Target::Create, Union::CreateRevision(0)) },
        Compare { range_end: "u".into(), ..compare("a", Result::Equal, Target::Value, Union::Value("made".into())) },
    ];
    for compare in compares {
        caller.txn(txn(vec![compare], vec![branch(get("t"))], vec![])).await;
    }
    // One revision for all of it; reads see what was written before them.
    let both =
        vec![branch(get("u")), branch(put("u", "1")), branch(delete("t", "")), branch(get("u")), branch(get("t"))];
    caller.txn(txn(vec![], both, vec![])).await;
    caller.txn(txn(vec![], vec![branch(delete("nothing", ""))], vec![])).await;
    caller.txn(txn(vec![], vec![branch(put("u", "1")), branch(put("u", "2"))], vec![])).await;
    caller.txn(txn(vec![], vec![branch(put("u", "1")), branch(delete("t", "z"))], vec![])).await;
    caller.txn(txn(vec![], vec![branch(put("u", "1")); 129], vec![])).await;
    let leased = pb::PutRequest { lease: 4040, ..put("u", "2") };
    caller.txn(txn(vec![], vec![branch(put("w", "1")), branch(leased)], vec![])).await;
    caller.range(range_of("t", "z")).await;
}

/// Leases: granted, held, looked at, lost with their keys.
async fn leases(caller: &mut Caller) {
    caller.grant(grant(LEASE, 60)).await;
    caller.grant(grant(LEASE, 60)).await;
    caller.put(pb::PutRequest { lease: LEASE, ..put("l/1", "held") }).await;
    caller.put(pb::PutRequest { lease: LEASE, ..put("l/2", "held") }).await;
    caller.put(pb::PutRequest { lease: 4040, ..put("l/3", "held") }).await;
    caller.time_to_live(LEASE).await;
    caller.time_to_live(4040).await;
    caller.keep_alive(LEASE).await;
    caller.keep_alive(4040).await;
    caller.put(put("l/2", "free")).await;
    caller.revoke(LEASE).await;
    caller.revoke(LEASE).await;
    caller.keep_alive(LEASE).await;
    caller.range(range_of("l/", "l0")).await;
    caller.list_leases().await;
    // Nobody keeps this one alive: its key goes with it.
    caller.grant(grant(78, 2)).await;
    caller.put(pb::PutRequest { lease: 78, ..put("m", "held") }).await;
    caller.watch(WatchCreateRequest { key: "m".into(), ..Default::default() }, 1).await;
    caller.range(get("m")).await;
    caller.time_to_live(78).await;
    caller.talk().await;
}

/// Watches: from the past, with filters, cut off by a compaction; last, since history is gone then.
async fn history(caller: &mut Caller) {
    let watch = |key: &str, end: &str, start_revision| WatchCreateRequest {
        key: key.into(),
        range_end: end.into(),
        start_revision,
        ..Default::default()
    };
    caller.watch(watch("b/", "b0", 2), 7).await;
    caller.watch(WatchCreateRequest { prev_kv: true, ..watch("a", "", 1) }, 2).await;
    caller.watch(WatchCreateRequest { filters: vec![1], ..watch("b/", "b0", 2) }, 4).await;
    caller.watch(WatchCreateRequest { filters: vec![0], ..watch("\0", "\0", 2) }, 5).await;
    caller.compact(99).await;
    caller.compact(7).await;
    caller.compact(7).await;
    caller.range(RangeRequest { revision: 6, ..get("a") }).await;
    caller.range(RangeRequest { revision: 7, ..range_of("a", "z") }).await;
    caller.watch(watch("b/", "b0", 6), 1).await;
    caller.watch(watch("b/", "b0", 7), 4).await;
}

async fn all(url: &str) -> Vec<String> {
    let mut caller = Caller::connect(url).await;
    keys(&mut caller).await;
    transactions(&mut caller).await;
    leases(&mut caller).await;
    history(&mut caller).await;
    caller.answers
}

#[test]
fn the_scripted_etcd_answers_as_the_real_one() {
    let dir = tools::scratch("wire");
    let (real, scripted) = (Etcd::start(&dir), Scripted::start());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (real, scripted) = runtime.block_on(async {
        let url = scripted.url();
        let both = async { tokio::join!(all(real.url()), all(&url)) };
        tokio::time::timeout(Duration::from_secs(20), both).await.expect("both answer everything in time")
    });
    assert_eq!(real.len(), scripted.len());
    let different: Vec<_> = real.iter().zip(&scripted).filter(|(real, scripted)| real != scripted).collect();
    let text = different.iter().map(|(real, scripted)| format!("etcd:     {real}\nscripted: {scripted}\n"));
    assert!(different.is_empty(), "{} of {} answers differ\n{}", different.len(), real.len(), text.collect::<String>());
}
