//! Hundreds of agents that want everything at the same moment of an etcd that can't keep up: each waits its turn, keeps
//! what it has got, and has etcd do nothing twice.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::Duration;

use echo_tests::scripted::{Call, Fault};
use echo_tests::wait::ensure;
use echo_tests::{Scripted, Swarm, eventually};

const SIZE: usize = 400;
const TTL: Duration = Duration::from_secs(10);
/// All of them together wait for longer than any of them waits at first, which is 3 s.
const EACH: Duration = Duration::from_millis(10);
/// What they ask for takes 16 s, and they come apart over some seconds.
const SETTLED: Duration = Duration::from_secs(60);

#[track_caller]
fn settle(swarm: &Swarm) {
    eventually("all have a record", SETTLED, || ensure(swarm.told() == swarm.size(), || swarm.troubles()));
}

#[test]
fn a_herd_settles_on_an_etcd_that_cannot_keep_up() {
    let etcd = Scripted::start();
    for call in [Call::Grant, Call::Txn, Call::TimeToLive] {
        etcd.fault(call, Fault::Queued(EACH));
    }
    let swarm = Swarm::start(&etcd.url(), SIZE, TTL, SIZE);
    settle(&swarm);
    // One that was granted late is not asked for again, unless it ran out before its node could look for it.
    let grants = etcd.calls(Call::Grant);
    assert!(grants <= SIZE * 5 / 4, "{grants} leases");

    // All come back at the same moment.
    let before = etcd.calls(Call::Txn);
    etcd.drop_connections();
    eventually("all have noticed", SETTLED, || ensure(swarm.told() < SIZE / 2, || swarm.troubles()));
    settle(&swarm);
    assert_eq!(etcd.calls(Call::Grant), grants, "no lease ran out meanwhile");
    // Each writes its record and reads its keys.
    let asked = etcd.calls(Call::Txn) - before;
    assert!(asked <= SIZE * 5 / 2, "{asked} transactions");
}
