//! Which processes to start and which to stop, so that each pool has as many nodes as it wants.
//!
//! Used by the process scaler, which knows the processes; records in etcd are never counted. Nodes
//! that another control started fill places and hold their ids, but nobody here can stop them. Indexes count the
//! processes of the host over all pools, since each stands for a loopback address. Who serves nobody goes first, then
//! the emptiest of the zone with the most nodes: a pool that shrinks cuts as few off as it can, and stays spread.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use echo_proto::ids::{NodeId, PoolName};

/// Most nodes of a host: 127.0.0.1 to 127.0.0.254.
pub const MAX_PER_HOST: u32 = 254;

/// One index in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Stands for id and address.
    pub index: u32,
    /// Whose node it is.
    pub pool: PoolName,
    /// Where it was told that it is; empty: nowhere.
    pub zone: String,
    /// Told to drain and exit: holds its index, but does not count.
    pub leaving: bool,
    /// What it is there for.
    pub usage: Usage,
    /// Its connections and UDP flows; `None`: unknown, which counts as more than any other.
    pub load: Option<u64>,
    /// Whose process it is.
    pub keeper: Keeper,
}

/// Whose process a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    /// This control's.
    Here,
    /// Another control started it.
    Elsewhere {
        /// It lives for certain. One that may be dead already is no reason to stop another.
        sure: bool,
    },
}

/// What a node is there for: who is used least goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Usage {
    /// It serves nothing: an operator drained it, or it is dead.
    Drained,
    /// An operator cordoned it: nobody new is sent to it.
    Cordoned,
    /// It serves, as far as is known.
    Serves,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start a node under a free index.
    Start(u32, PoolName),
    /// Let the node of this index drain and exit.
    Stop(u32),
}

/// The decision.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order in which to do it.
    pub actions: Vec<Action>,
    /// Nodes that found no free index, by pool.
    pub refused: BTreeMap<PoolName, u32>,
    /// Nodes too many that another control started, by pool.
    pub beyond: BTreeMap<PoolName, u32>,
}

/// The index that a node's id stands for, where a process scaler gave it.
pub fn index(id: &NodeId) -> Option<u32> {
    let digits = id.as_str().strip_prefix("node-").filter(|digits| !digits.starts_with(['0', '+']))?;
    digits.parse().ok().filter(|index| (1..=MAX_PER_HOST).contains(index))
}

/// The zone of a node of this index: they take turns.
pub fn zone(zones: &[String], index: u32) -> &str {
    let turn = index.saturating_sub(1) as usize;
    zones.get(turn.checked_rem(zones.len()).unwrap_or(0)).map_or("", String::as_str)
}

/// Compares what is wanted with what there is. Pools that are not named keep what they have.
pub fn plan(wanted: &BTreeMap<PoolName, u32>, workers: &[Worker], zones: &[String]) -> Plan {
    let mut plan = Plan::default();
    let taken: BTreeSet<u32> = workers.iter().map(|w| w.index).collect();
    let mut free: BTreeSet<u32> = (1..=MAX_PER_HOST).filter(|index| !taken.contains(index)).collect();
    for (pool, replicas) in wanted {
        let all = || workers.iter().filter(|w| w.pool == *pool && !w.leaving);
        let present: Vec<&Worker> = all().filter(|w| w.keeper == Keeper::Here).collect();
        let certain = all().filter(|w| w.keeper != Keeper::Elsewhere { sure: false }).count();
        let replicas = *replicas as usize;
        let (missing, excess) = (replicas.saturating_sub(all().count()), certain.saturating_sub(replicas));
        let mut spread: BTreeMap<&str, usize> = BTreeMap::new();
        all().for_each(|w| *spread.entry(w.zone.as_str()).or_default() += 1);
        plan.actions.extend(stops(&present, excess).into_iter().map(Action::Stop));
        let beyond = excess.saturating_sub(present.len()) as u32;
        plan.beyond.extend((beyond > 0).then(|| (pool.clone(), beyond)));
        for missing in (1..=missing).rev() {
            let taken = |index: &u32| spread.get(zone(zones, *index)).copied().unwrap_or_default();
            let Some(index) = free.iter().copied().min_by_key(|index| (taken(index), *index)) else {
                // At most MAX_REPLICAS of the validity rule.
                plan.refused.insert(pool.clone(), missing as u32);
                break;
            };
            free.remove(&index);
            *spread.entry(zone(zones, index)).or_default() += 1;
            plan.actions.push(Action::Start(index, pool.clone()));
        }
    }
    plan
}

/// Whom to stop of those that run here, if so many are too many.
fn stops(present: &[&Worker], excess: usize) -> Vec<u32> {
    let mut idle: Vec<&Worker> = present.iter().copied().filter(|w| w.usage != Usage::Serves).collect();
    idle.sort_unstable_by_key(|w| emptiness(w));
    let mut stops: Vec<u32> = idle.iter().take(excess).map(|w| w.index).collect();
    let mut zones: BTreeMap<&str, Vec<&Worker>> = BTreeMap::new();
    for worker in present.iter().filter(|w| w.usage == Usage::Serves) {
        zones.entry(&worker.zone).or_default().push(worker);
    }
    // The emptiest last.
    zones.values_mut().for_each(|nodes| nodes.sort_unstable_by_key(|w| Reverse(emptiness(w))));
    while stops.len() < excess {
        let most = zones.values_mut().max_by_key(|nodes| (nodes.len(), nodes.last().map(|w| Reverse(emptiness(w)))));
        let Some(worker) = most.and_then(Vec::pop) else { break };
        stops.push(worker.index);
    }
    stops
}

/// Least is emptiest. Of those alike it is the highest index: who scales up again later gets the same ids back.
fn emptiness(worker: &Worker) -> (Usage, u64, Reverse<u32>) {
    (worker.usage, worker.load.unwrap_or(u64::MAX), Reverse(worker.index))
}

#[cfg(test)]
mod tests;
