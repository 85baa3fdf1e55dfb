//! The nodes of a fresh cluster: what is wanted, what is there, and who is to blame when it isn't. Pure.
//!
//! Used by the start of `up`. Records of an earlier run of this state dir, whose leases have not ended yet, do not
//! count.

use std::collections::BTreeMap;
use std::time::SystemTime;

use echo_proto::spec::DEFAULT_REPLICAS;
use echo_proto::v1::{self, NodePhase, WatchType};

use crate::object::source::Change;
use crate::object::{Object as _, revision};

/// Most nodes that one message names.
const MAX_NAMED: usize = 16;

/// Nodes wanted, and nodes seen.
#[derive(Debug)]
pub(super) struct Fleet {
    wanted: BTreeMap<String, u32>,
    nodes: BTreeMap<String, v1::Node>,
    since: SystemTime,
    host: String,
}

impl Fleet {
    /// What these pools want on this host, from nodes that registered after `since`.
    pub(super) fn new(pools: &[v1::Pool], since: SystemTime, host: String) -> Self {
        let replicas = |pool: &v1::Pool| pool.spec.as_ref().and_then(|s| s.replicas).unwrap_or(DEFAULT_REPLICAS);
        let wanted = pools.iter().map(|pool| (pool.name().to_owned(), replicas(pool))).collect();
        Self { wanted, nodes: BTreeMap::new(), since, host }
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

    /// Nodes wanted in all pools.
    pub(super) fn wanted(&self) -> u32 {
        self.wanted.values().sum()
    }

    /// Nodes that serve, as far as they are wanted.
    pub(super) fn ready(&self) -> u32 {
        self.wanted.iter().map(|(pool, wanted)| self.count(pool, NodePhase::Ready).min(*wanted)).sum()
    }

    /// Whether all that is wanted is there, except for nodes that refuse what they are assigned.
    pub(super) fn rest_is_rejected(&self) -> bool {
        let rejected = |pool: &str| self.count(pool, NodePhase::Rejected);
        let mut pools = self.wanted.iter();
        pools.all(|(pool, wanted)| self.count(pool, NodePhase::Ready) + rejected(pool) >= *wanted)
    }

    /// `2 of 3 ready`.
    pub(super) fn summary(&self) -> String {
        format!("{} of {} ready", self.ready(), self.wanted())
    }

    /// What keeps each node that is known from being ready, one a line.
    pub(super) fn blockers(&self) -> Vec<String> {
        let unready = self.current().filter(|node| phase(node) != NodePhase::Ready);
        let why = |node: &v1::Node| node.note().unwrap_or_else(|| format!("{}: {}", node.name(), doing(node)));
        unready.map(why).take(MAX_NAMED).collect()
    }

    /// Whether a node of that name serves.
    pub(super) fn is_ready(&self, name: &str) -> bool {
        self.current().any(|node| node.name() == name && phase(node) == NodePhase::Ready)
    }

    fn count(&self, pool: &str, wanted: NodePhase) -> u32 {
        let of_pool = |node: &&v1::Node| node.status.as_ref().is_some_and(|s| s.pool == pool);
        let nodes = self.current().filter(of_pool).filter(|node| phase(node) == wanted);
        u32::try_from(nodes.count()).unwrap_or(u32::MAX)
    }

    /// All but the records of this host's earlier nodes, which ended with the `up` that had started them.
    fn current(&self) -> impl Iterator<Item = &v1::Node> {
        self.nodes.values().filter(|node| {
            let elsewhere = node.status.as_ref().is_some_and(|s| s.host != self.host);
            let registered = node.metadata.as_ref().and_then(|m| m.create_time).and_then(|t| t.try_into().ok());
            elsewhere || registered.is_none_or(|time: SystemTime| time >= self.since)
        })
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
        Fleet::new(&[pool], SystemTime::UNIX_EPOCH + Duration::from_secs(100), HOST.into())
    }

    fn see(fleet: &mut Fleet, name: &str, phase: NodePhase, host: &str, registered: i64) {
        let time = Some(prost_time(registered));
        let metadata = v1::ObjectMeta { name: name.into(), create_time: time, ..Default::default() };
        let mut status = v1::NodeStatus { pool: "edge".into(), host: host.into(), ..Default::default() };
        status.set_phase(phase);
        let node = v1::Node { metadata: Some(metadata), status: Some(status), ..Default::default() };
        fleet.take(Change { kind: WatchType::Added, object: Some(node) });
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
