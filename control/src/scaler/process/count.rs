//! The processes of this host and the nodes that others started, as the plan counts them.
//!
//! Used by the supervisor. Pure.

use std::collections::{BTreeMap, BTreeSet};

use echo_proto::ids::{NodeId, PoolName};

use super::choice::Choice;
use super::others::Other;
use super::worker::Worker;
use crate::plan::scale::{self, Keeper, Usage};

/// All of them. Who is dead serves nobody, whatever is known of its last life.
pub(super) fn all(
    workers: &BTreeMap<u32, Worker>,
    others: &[Other],
    idle: &BTreeMap<(PoolName, NodeId), Usage>,
    choice: &Choice,
) -> Vec<scale::Worker> {
    let counted = |(index, worker): (&u32, &Worker)| {
        let key = node_id(*index).filter(|_| worker.is_alive()).map(|id| (worker.pool.clone(), id));
        let usage = key.as_ref().map_or(Usage::Drained, |key| idle.get(key).copied().unwrap_or(Usage::Serves));
        let load = key.and_then(|(pool, id)| choice.load(&pool, &id));
        let (pool, zone) = (worker.pool.clone(), worker.zone.clone());
        let (leaving, keeper) = (worker.is_leaving(), Keeper::Here);
        scale::Worker { index: *index, pool, zone, leaving, usage, load, keeper }
    };
    workers.iter().map(counted).chain(others.iter().map(Other::counted)).collect()
}

/// The living nodes of each pool that is to lose some of its nodes, and not all.
pub(super) fn shrinking(
    workers: &BTreeMap<u32, Worker>,
    others: &[Other],
    wanted: &BTreeMap<PoolName, u32>,
) -> BTreeMap<PoolName, BTreeSet<NodeId>> {
    let of_pool = |(pool, left): (&PoolName, &u32)| {
        let nodes = || workers.iter().filter(|(_, w)| w.pool == *pool && !w.is_leaving());
        let elsewhere = others.iter().filter(|o| o.pool == *pool && !o.node.leaves && o.node.sure).count();
        let shrinks = *left > 0 && nodes().count() + elsewhere > *left as usize;
        let alive = nodes().filter(|(_, worker)| worker.is_alive()).filter_map(|(index, _)| node_id(*index));
        shrinks.then(|| (pool.clone(), alive.collect()))
    };
    wanted.iter().filter_map(of_pool).collect()
}

/// As the launcher names the node of this index.
pub(super) fn node_id(index: u32) -> Option<NodeId> {
    format!("node-{index}").parse().ok()
}
