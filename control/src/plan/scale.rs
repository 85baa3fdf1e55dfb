//! Which processes to start and which to stop, so that each pool has as many nodes as it wants.
//!
//! Used by the process scaler, which knows the processes; records in etcd are never counted. Indexes count the
//! processes of the host over all pools, since each stands for a loopback address.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use echo_proto::ids::PoolName;

/// Most nodes of a host: 127.0.0.1 to 127.0.0.254.
pub const MAX_PER_HOST: u32 = 254;

/// One index in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Stands for id and address.
    pub index: u32,
    /// Whose node it is.
    pub pool: PoolName,
    /// Told to drain and exit: holds its index, but does not count.
    pub leaving: bool,
    /// How much it is used.
    pub usage: Usage,
}

/// How much a node is used: who is used least goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Usage {
    /// An operator drained it: it serves nothing.
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
}

/// Compares what is wanted with what there is. Pools that are not named keep what they have.
pub fn plan(wanted: &BTreeMap<PoolName, u32>, workers: &[Worker]) -> Plan {
    let mut plan = Plan::default();
    let taken: BTreeSet<u32> = workers.iter().map(|w| w.index).collect();
    let mut free = (1..=MAX_PER_HOST).filter(|index| !taken.contains(index));
    for (pool, replicas) in wanted {
        let mut present: Vec<&Worker> = workers.iter().filter(|w| w.pool == *pool && !w.leaving).collect();
        // Of those alike the highest goes first: who scales up again later gets the same ids back.
        present.sort_unstable_by_key(|w| (Reverse(w.usage), w.index));
        let replicas = *replicas as usize;
        plan.actions.extend(present.iter().skip(replicas).rev().map(|w| Action::Stop(w.index)));
        for missing in (1..=replicas.saturating_sub(present.len())).rev() {
            let Some(index) = free.next() else {
                // At most MAX_REPLICAS of the validity rule.
                plan.refused.insert(pool.clone(), missing as u32);
                break;
            };
            plan.actions.push(Action::Start(index, pool.clone()));
        }
    }
    plan
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn pool(name: &str) -> PoolName {
        name.parse().unwrap()
    }

    fn worker(index: u32, name: &str) -> Worker {
        Worker { index, pool: pool(name), leaving: false, usage: Usage::Serves }
    }

    fn wanted(pools: &[(&str, u32)]) -> BTreeMap<PoolName, u32> {
        pools.iter().map(|(name, n)| (pool(name), *n)).collect()
    }

    #[test]
    fn starts_fill_the_lowest_indexes_over_all_pools() {
        let found = plan(&wanted(&[("a", 2), ("b", 2)]), &[worker(2, "b")]);
        let start = |index, name| Action::Start(index, pool(name));
        assert_eq!(found.actions, [start(1, "a"), start(3, "a"), start(4, "b")]);
        assert!(found.refused.is_empty());
    }

    #[test]
    fn stops_take_the_highest_first_and_leave_other_pools_alone() {
        let workers = [worker(1, "a"), worker(2, "a"), worker(3, "b"), worker(4, "a")];
        let found = plan(&wanted(&[("a", 1)]), &workers);
        assert_eq!(found.actions, [Action::Stop(4), Action::Stop(2)]);
    }

    #[test]
    fn stops_take_those_first_that_serve_nobody() {
        let used = |index, usage| Worker { usage, ..worker(index, "a") };
        let workers = [used(1, Usage::Cordoned), used(2, Usage::Drained), worker(3, "a"), worker(4, "a")];
        let stops = |left| plan(&wanted(&[("a", left)]), &workers).actions;
        assert_eq!(stops(3), [Action::Stop(2)]);
        assert_eq!(stops(2), [Action::Stop(2), Action::Stop(1)]);
        assert_eq!(stops(1), [Action::Stop(2), Action::Stop(1), Action::Stop(4)]);
    }

    #[test]
    fn who_leaves_holds_its_index_but_does_not_count() {
        let leaving = Worker { leaving: true, ..worker(1, "a") };
        let found = plan(&wanted(&[("a", 1)]), &[leaving]);
        assert_eq!(found.actions, [Action::Start(2, pool("a"))]);
    }

    #[test]
    fn enough_is_enough() {
        assert_eq!(plan(&wanted(&[("a", 1)]), &[worker(7, "a")]), Plan::default());
        assert_eq!(plan(&wanted(&[]), &[worker(7, "a")]), Plan::default(), "a pool that is not named");
    }

    #[test]
    fn a_host_has_254_addresses() {
        let found = plan(&wanted(&[("a", 256)]), &[worker(254, "b")]);
        assert_eq!(found.actions.len(), 253);
        assert_eq!(found.refused, wanted(&[("a", 3)]));
    }
}
