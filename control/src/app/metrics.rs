//! Control's own metrics: nodes by sync state, and whether this process leads.
//!
//! Registered once by the app; observed from the view when somebody scrapes or exports.

use std::collections::BTreeMap;

use echo_proto::telemetry::names;
use echo_proto::v1::SyncState;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use crate::present;
use crate::view::{State, View};

/// States that a node can be in: shown also where there are none, so that a graph falls to zero.
const STATES: [(SyncState, &str); 6] = [
    (SyncState::Synced, "synced"),
    (SyncState::Pending, "pending"),
    (SyncState::Rejected, "rejected"),
    (SyncState::Unknown, "unknown"),
    (SyncState::Stale, "stale"),
    (SyncState::Lost, "lost"),
];

/// Registers the instruments; they live as long as the meter's provider.
pub(super) fn observe(meter: &Meter, view: &View, instance: &str) {
    let watched = view.clone();
    meter
        .u64_observable_gauge(names::ROLLOUT_NODE_COUNT)
        .with_description("Nodes by pool and sync state")
        .with_unit("{node}")
        .with_callback(move |observer| {
            for ((pool, state), nodes) in watched.read(count) {
                observer.observe(nodes, &[KeyValue::new(names::POOL, pool), KeyValue::new(names::SYNC_STATE, state)]);
            }
        })
        .build();
    let watched = view.clone();
    meter
        .u64_observable_counter(names::REGISTRY_NODE_FORGOTTEN)
        .with_description("Vanished nodes that are not listed any more before their time, as there were too many")
        .with_unit("{node}")
        .with_callback(move |observer| {
            let forgotten = |state: &State| -> Vec<_> {
                state.pools.iter().map(|(name, pool)| (name.to_string(), pool.fleet.forgotten())).collect()
            };
            for (pool, nodes) in watched.read(forgotten) {
                observer.observe(nodes, &[KeyValue::new(names::POOL, pool)]);
            }
        })
        .build();
    let (watched, instance) = (view.clone(), instance.to_owned());
    meter
        .u64_observable_gauge(names::LEADER)
        .with_description("1 where this control process drives the cluster, else 0")
        .with_callback(move |observer| {
            let leads = watched.read(|state| state.leader.as_ref().is_some_and(|l| l.value.instance == instance));
            observer.observe(u64::from(leads), &[]);
        })
        .build();
}

fn count(state: &State) -> BTreeMap<(String, &'static str), u64> {
    let mut counts = BTreeMap::new();
    for (name, pool) in &state.pools {
        for (wanted, label) in STATES {
            let nodes = pool.fleet.iter().filter(|node| present::sync_state(pool, node) == wanted).count();
            counts.insert((name.to_string(), label), nodes as u64);
        }
    }
    counts
}
