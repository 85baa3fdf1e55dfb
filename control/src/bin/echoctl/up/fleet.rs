//! The nodes of a fresh cluster: what is wanted, what is there, and who is to blame when it isn't. Pure.
//!
//! Used by the start of `up` and its report. Records of an earlier run of this state dir, whose leases have not ended
//! yet, do not count.

use std::collections::BTreeMap;
use std::time::SystemTime;

use echo_control::plan::scale::MAX_PER_HOST;
use echo_proto::spec::DEFAULT_REPLICAS;
use echo_proto::v1::{self, NodePhase, WatchType};

use super::deaths::is_end;
use crate::object::source::Change;
use crate::object::{Object as _, replicas, revision};

/// Most nodes that one message names.
const MAX_NAMED: usize = 16;
/// A node that ended so often since the start is not waiting for an earlier process to make room.
const MANY_ENDS: u32 = 3;

/// Tells the nodes of this run from what an earlier one has left in etcd.
#[derive(Debug, Clone)]
pub(super) struct ThisRun {
    since: SystemTime,
    host: String,
}

impl ThisRun {
    /// The run that began at `since` on `host`.
    pub(super) fn new(since: SystemTime, host: String) -> Self {
        Self { since, host }
    }

    /// Whether the node may live. This host's earlier nodes ended with the `up` that had started them.
    pub(super) fn has(&self, node: &v1::Node) -> bool {
        let elsewhere = node.status.as_ref().is_some_and(|s| s.host != self.host);
        let registered = node.metadata.as_ref().and_then(|m| m.create_time).and_then(|t| t.try_into().ok());
        elsewhere || registered.is_none_or(|time: SystemTime| time >= self.since)
    }

    /// Whether the event, or the last of those that it counts, happened in this run.
    pub(super) fn saw(&self, event: &v1::Event) -> bool {
        let last = event.last_time.and_then(|time| SystemTime::try_from(time).ok());
        last.is_some_and(|time| time >= self.since)
    }
}

/// Nodes wanted, and nodes seen.
#[derive(Debug)]
pub(super) struct Fleet {
    wanted: BTreeMap<String, u32>,
    nodes: BTreeMap<String, v1::Node>,
    /// How often each node's process ended in this run, by the node's name.
    ends: BTreeMap<String, u32>,
    run: ThisRun,
}

impl Fleet {
    /// What these pools want, from nodes of this run.
    pub(super) fn new(pools: &[v1::Pool], run: ThisRun) -> Self {
        let wanted =
            pools.iter().map(|pool| (pool.name().to_owned(), replicas(pool).unwrap_or(DEFAULT_REPLICAS))).collect();
        Self { wanted, nodes: BTreeMap::new(), ends: BTreeMap::new(), run }
    }

    /// Takes note of a change.
    pub(super) fn take(&mut self, change: Change<v1::Node>) {
        match (change.kind, change.object) {
            (WatchType::Resync, _) => self.nodes.clear(),
            (WatchType::Deleted, Some(node)) => {
                self.nodes.remove(&node.key());
            }
            (WatchType::Added | WatchType::Modified, Some(node)) => {
                self.nodes.insert(node.key(), node);
            }
            _ => {}
        }
    }

    /// Takes note of the ends of this run's node processes, and of starts that failed.
    pub(super) fn heard(&mut self, event: &v1::Event) {
        if let Some(name) = event.object.strip_prefix("node/").filter(|_| is_end(event) && self.run.saw(event)) {
            self.ends.insert(name.to_owned(), event.count.max(1));
        }
    }

    /// Nodes wanted in all pools, but for those that this host has no address for.
    pub(super) fn wanted(&self) -> u32 {
        self.wanted_beyond_host().0
    }

    /// Nodes that this host has no address for.
    pub(super) fn beyond_host(&self) -> u32 {
        self.wanted_beyond_host().1
    }

    fn wanted_beyond_host(&self) -> (u32, u32) {
        let all = self.wanted.values().fold(0, |sum: u32, wanted| sum.saturating_add(*wanted));
        (all.min(MAX_PER_HOST), all.saturating_sub(MAX_PER_HOST))
    }

    /// Nodes that serve, as far as they are wanted.
    pub(super) fn ready(&self) -> u32 {
        self.in_phases(&[NodePhase::Ready]).min(self.wanted())
    }

    /// Whether all that is wanted serves.
    pub(super) fn is_full(&self) -> bool {
        self.ready() == self.wanted()
    }

    /// Nodes that serve on this host and are not wanted: control had begun with as many as were stored, and retires them.
    pub(super) fn surplus(&self) -> usize {
        let serves = |pool: &str, node: &v1::Node| {
            let is_ours = |s: &v1::NodeStatus| s.pool == pool && s.host == self.run.host;
            phase(node) == NodePhase::Ready && node.status.as_ref().is_some_and(is_ours)
        };
        let serving = |pool: &str| self.current().filter(|node| serves(pool, node)).count();
        self.wanted.iter().map(|(pool, wanted)| serving(pool).saturating_sub(*wanted as usize)).sum()
    }

    /// Whether all that is wanted is there, except for nodes that refuse what they are assigned.
    pub(super) fn rest_is_rejected(&self) -> bool {
        self.in_phases(&[NodePhase::Ready, NodePhase::Rejected]) >= self.wanted()
    }

    /// Whether all that is wanted is there, except for nodes that refuse, or end again and again.
    pub(super) fn rest_is_hopeless(&self) -> bool {
        let failing = u32::try_from(self.failing().count()).unwrap_or(u32::MAX);
        let there = self.in_phases(&[NodePhase::Ready, NodePhase::Rejected]);
        failing > 0 && there.saturating_add(failing) >= self.wanted()
    }

    /// The nodes that end again and again and are not there now, and how often they did.
    fn failing(&self) -> impl Iterator<Item = (&String, u32)> {
        let there = |name: &str| self.current().any(|node| node.name() == name);
        self.ends
            .iter()
            .filter(move |(name, ends)| **ends >= MANY_ENDS && !there(name))
            .map(|(name, ends)| (name, *ends))
    }

    /// `2 of 3 ready`.
    pub(super) fn summary(&self) -> String {
        format!("{} of {} ready", self.ready(), self.wanted())
    }

    /// What keeps each node that is known from being ready, one a line.
    pub(super) fn blockers(&self) -> Vec<String> {
        let unready = self.current().filter(|node| phase(node) != NodePhase::Ready);
        let why = |node: &v1::Node| node.note().unwrap_or_else(|| format!("{}: {}", node.name(), doing(node)));
        let failing = self.failing().map(|(name, ends)| format!("{name}: ended {ends} times; its log tells why"));
        unready.map(why).chain(failing).take(MAX_NAMED).collect()
    }

    /// Whether a node of that name serves.
    pub(super) fn is_ready(&self, name: &str) -> bool {
        self.current().any(|node| node.name() == name && phase(node) == NodePhase::Ready)
    }

    /// Nodes in one of these phases, of each pool at most as many as it wants.
    fn in_phases(&self, phases: &[NodePhase]) -> u32 {
        let counts = self.wanted.iter().map(|(pool, wanted)| {
            let of_pool = |node: &&v1::Node| node.status.as_ref().is_some_and(|s| s.pool == *pool);
            let nodes = self.current().filter(of_pool).filter(|node| phases.contains(&phase(node)));
            u32::try_from(nodes.count()).unwrap_or(u32::MAX).min(*wanted)
        });
        counts.fold(0, u32::saturating_add)
    }

    fn current(&self) -> impl Iterator<Item = &v1::Node> {
        self.nodes.values().filter(|node| self.run.has(node))
    }
}

fn phase(node: &v1::Node) -> NodePhase {
    node.status.as_ref().map_or(NodePhase::Unspecified, v1::NodeStatus::phase)
}

fn doing(node: &v1::Node) -> String {
    let applied = node.status.as_ref().and_then(|s| s.applied.as_ref());
    let phase = phase(node).as_str_name().trim_start_matches("NODE_PHASE_").to_lowercase();
    format!("{phase}, runs revision {}", revision(applied))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::Duration;

    const HOST: &str = "here";

    fn fleet(replicas: u32) -> Fleet {
        let pool = v1::Pool {
            metadata: Some(v1::ObjectMeta { name: "edge".into(), ..Default::default() }),
            spec: Some(v1::PoolSpec { replicas: Some(replicas), ..Default::default() }),
            ..Default::default()
        };
        Fleet::new(&[pool], ThisRun::new(SystemTime::UNIX_EPOCH + Duration::from_secs(100), HOST.into()))
    }

    fn see(fleet: &mut Fleet, name: &str, phase: NodePhase, host: &str, registered: i64) {
        let time = Some(prost_time(registered));
        let metadata = v1::ObjectMeta { name: name.into(), create_time: time, ..Default::default() };
        let mut status = v1::NodeStatus { pool: "edge".into(), host: host.into(), ..Default::default() };
        status.set_phase(phase);
        let node = v1::Node { metadata: Some(metadata), status: Some(status), ..Default::default() };
        fleet.take(Change { kind: WatchType::Added, object: Some(node), version: String::new() });
    }

    fn prost_time<T: From<SystemTime>>(seconds: i64) -> T {
        (SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs())).into()
    }

    #[test]
    fn records_of_an_earlier_run_do_not_count() {
        let mut fleet = fleet(2);
        see(&mut fleet, "node-1", NodePhase::Ready, HOST, 99);
        see(&mut fleet, "node-2", NodePhase::Ready, HOST, 101);
        assert_eq!(fleet.summary(), "1 of 2 ready");
        see(&mut fleet, "node-9", NodePhase::Ready, "elsewhere", 1);
        assert_eq!((fleet.ready(), fleet.wanted()), (2, 2));
    }

    fn dies(fleet: &mut Fleet, name: &str, times: u32, last: i64) {
        let (reason, object) = ("NodeDied".to_owned(), format!("node/{name}"));
        let last_time = Some(prost_time(last));
        fleet.heard(&v1::Event { reason, object, count: times, last_time, ..Default::default() });
    }

    #[test]
    fn a_node_that_ends_again_and_again_is_not_waited_for() {
        let mut fleet = fleet(2);
        see(&mut fleet, "node-1", NodePhase::Ready, HOST, 101);
        dies(&mut fleet, "node-2", 9, 99);
        dies(&mut fleet, "node-2", MANY_ENDS - 1, 102);
        assert!(!fleet.rest_is_hopeless(), "an earlier run's ends do not count, and a few may pass");
        dies(&mut fleet, "node-2", MANY_ENDS, 103);
        assert!(fleet.rest_is_hopeless());
        assert_eq!(fleet.blockers(), ["node-2: ended 3 times; its log tells why"]);
        see(&mut fleet, "node-2", NodePhase::Starting, HOST, 104);
        assert!(!fleet.rest_is_hopeless(), "it lives");
    }

    #[test]
    fn no_more_nodes_are_waited_for_than_the_host_has_addresses() {
        let mut fleet = fleet(MAX_PER_HOST + 2);
        assert_eq!((fleet.wanted(), fleet.beyond_host()), (MAX_PER_HOST, 2));
        for i in 1..=MAX_PER_HOST {
            see(&mut fleet, &format!("node-{i}"), NodePhase::Ready, HOST, 101);
        }
        assert!(fleet.is_full());
    }

    #[test]
    fn a_node_that_control_is_about_to_retire_is_waited_for() {
        let mut fleet = fleet(2);
        for name in ["node-1", "node-2", "node-3"] {
            see(&mut fleet, name, NodePhase::Ready, HOST, 101);
        }
        see(&mut fleet, "node-9", NodePhase::Ready, "elsewhere", 101);
        assert_eq!((fleet.is_full(), fleet.surplus()), (true, 1));
        see(&mut fleet, "node-3", NodePhase::Draining, HOST, 101);
        assert_eq!((fleet.is_full(), fleet.surplus()), (true, 0));
    }

    #[test]
    fn a_rejecting_node_is_named() {
        let mut fleet = fleet(2);
        see(&mut fleet, "node-1", NodePhase::Ready, HOST, 101);
        see(&mut fleet, "node-2", NodePhase::Starting, HOST, 101);
        assert!(!fleet.rest_is_rejected());
        assert_eq!(fleet.blockers(), ["node-2: starting, runs revision -"]);
        see(&mut fleet, "node-2", NodePhase::Rejected, HOST, 101);
        assert!(fleet.rest_is_rejected());
    }
}
