//! Where each record lives in etcd, who writes it and whether a lease holds it.
//!
//! Used by the node's agent and by control's store. All keys lie under `/echo/v1/<cluster>/`; values are canonical
//! protobuf JSON, so that `etcdctl get --prefix /echo/v1` can be read by a person.
//!
//! | key | written by | leased | value |
//! |---|---|---|---|
//! | `nodes/<pool>/<node>` | that node | yes | [`NodeRecord`](crate::v1::NodeRecord) |
//! | `pools/<pool>` | control | no | [`PoolRecord`](crate::v1::PoolRecord) |
//! | `revisions/<pool>/<n>` | control | no | [`Revision`](crate::v1::Revision), `n` in 10 digits |
//! | `assignments/<pool>` | the leader | no | [`Assignment`](crate::v1::Assignment) |
//! | `rollouts/<pool>` | the leader | no | [`Rollout`](crate::v1::Rollout) |
//! | `scales/<pool>` | the leader; control, with a pool whose autoscaler comes or goes | no | [`Scale`](crate::v1::Scale) |
//! | `intents/<pool>/<node>` | control | no | [`Intent`](crate::v1::Intent) |
//! | `events/<seq>` | with the change it reports | no | [`Event`](crate::v1::Event) |
//! | `guard/ports` | the leader | no | [`GuardPorts`](crate::v1::GuardPorts) |
//! | `leader` | control | yes | [`LeaderRecord`](crate::v1::LeaderRecord) |
//!
//! `orders/` is kept for later and belongs to control as well.

use std::time::SystemTime;

use crate::ids::{ClusterName, NodeId, PoolName, RevisionNumber, random_hex};

/// The keys of one cluster.
#[derive(Debug, Clone)]
pub struct Keys {
    root: String,
}

/// What a key of ours names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// `nodes/<pool>/<node>`
    Node(PoolName, NodeId),
    /// `pools/<pool>`
    Pool(PoolName),
    /// `revisions/<pool>/<n>`
    Revision(PoolName, RevisionNumber),
    /// `assignments/<pool>`
    Assignment(PoolName),
    /// `rollouts/<pool>`
    Rollout(PoolName),
    /// `scales/<pool>`
    Scale(PoolName),
    /// `intents/<pool>/<node>`
    Intent(PoolName, NodeId),
    /// `events/<seq>`
    Event(String),
    /// `guard/ports`
    GuardPorts,
    /// `leader`
    Leader,
}

impl Keys {
    /// The keys of `cluster`.
    pub fn new(cluster: &ClusterName) -> Self {
        Self { root: format!("/echo/v1/{cluster}/") }
    }

    /// The cluster's name.
    pub fn cluster(&self) -> &str {
        self.root.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
    }

    /// The prefix of all keys of the cluster.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// A node's record.
    pub fn node(&self, pool: &PoolName, node: &NodeId) -> String {
        format!("{}nodes/{pool}/{node}", self.root)
    }

    /// Prefix of the records of all nodes.
    pub fn nodes(&self) -> String {
        format!("{}nodes/", self.root)
    }

    /// A pool as it was applied.
    pub fn pool(&self, pool: &PoolName) -> String {
        format!("{}pools/{pool}", self.root)
    }

    /// Prefix of all pools.
    pub fn pools(&self) -> String {
        format!("{}pools/", self.root)
    }

    /// One immutable revision; ten digits keep the keys in the order of the numbers.
    pub fn revision(&self, pool: &PoolName, n: RevisionNumber) -> String {
        format!("{}{:010}", self.revisions(Some(pool)), n.0)
    }

    /// Prefix of a pool's revisions, or of all pools'.
    pub fn revisions(&self, pool: Option<&PoolName>) -> String {
        match pool {
            Some(pool) => format!("{}revisions/{pool}/", self.root),
            None => format!("{}revisions/", self.root),
        }
    }

    /// What the nodes of a pool run: the only key of their pool that they watch for config.
    pub fn assignment(&self, pool: &PoolName) -> String {
        format!("{}assignments/{pool}", self.root)
    }

    /// Prefix of all assignments.
    pub fn assignments(&self) -> String {
        format!("{}assignments/", self.root)
    }

    /// State of a pool's newest rollout.
    pub fn rollout(&self, pool: &PoolName) -> String {
        format!("{}rollouts/{pool}", self.root)
    }

    /// Prefix of all rollouts.
    pub fn rollouts(&self) -> String {
        format!("{}rollouts/", self.root)
    }

    /// How many nodes the autoscaler decided on, and what keeps a pool from having as many as it wants.
    pub fn scale(&self, pool: &PoolName) -> String {
        format!("{}scales/{pool}", self.root)
    }

    /// What an operator wants of one node.
    pub fn intent(&self, pool: &PoolName, node: &NodeId) -> String {
        format!("{}{node}", self.intents(pool))
    }

    /// Prefix of what operators want of a pool's nodes.
    pub fn intents(&self, pool: &PoolName) -> String {
        format!("{}intents/{pool}/", self.root)
    }

    /// A fresh event key: Unix nanoseconds in 20 digits, then 4 random hex digits. Create it only if absent.
    pub fn event(&self, at: SystemTime) -> String {
        let nanos = at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_nanos());
        format!("{}{nanos:020}{}", self.events(), random_hex::<2>())
    }

    /// Prefix of all events, in the order of time.
    pub fn events(&self) -> String {
        format!("{}events/", self.root)
    }

    /// Where the fleet answers datagrams.
    pub fn guard_ports(&self) -> String {
        format!("{}guard/ports", self.root)
    }

    /// Who drives.
    pub fn leader(&self) -> String {
        format!("{}leader", self.root)
    }

    /// Reads a key back; `None` for what is not ours or not a key of this layout.
    pub fn parse(&self, key: &[u8]) -> Option<Key> {
        let rest = std::str::from_utf8(key).ok()?.strip_prefix(self.root.as_str())?;
        let mut parts = rest.split('/');
        let parsed = match (parts.next()?, parts.next(), parts.next()) {
            ("leader", None, None) => Key::Leader,
            ("nodes", Some(pool), Some(node)) => Key::Node(pool.parse().ok()?, node.parse().ok()?),
            ("pools", Some(pool), None) => Key::Pool(pool.parse().ok()?),
            ("revisions", Some(pool), Some(n)) if n.len() == 10 && n.bytes().all(|b| b.is_ascii_digit()) => {
                Key::Revision(pool.parse().ok()?, RevisionNumber(n.parse().ok()?))
            }
            ("assignments", Some(pool), None) => Key::Assignment(pool.parse().ok()?),
            ("rollouts", Some(pool), None) => Key::Rollout(pool.parse().ok()?),
            ("scales", Some(pool), None) => Key::Scale(pool.parse().ok()?),
            ("intents", Some(pool), Some(node)) => Key::Intent(pool.parse().ok()?, node.parse().ok()?),
            ("guard", Some("ports"), None) => Key::GuardPorts,
            ("events", Some(seq), None) if !seq.is_empty() => Key::Event(seq.to_owned()),
            _ => return None,
        };
        parts.next().is_none().then_some(parsed)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn every_key_reads_back() {
        let keys = Keys::new(&"prod".parse().unwrap());
        let pool: PoolName = "edge".parse().unwrap();
        let node: NodeId = "node-1.a".parse().unwrap();
        let n = RevisionNumber(7);
        assert_eq!(keys.node(&pool, &node), "/echo/v1/prod/nodes/edge/node-1.a");
        assert_eq!(keys.revision(&pool, n), "/echo/v1/prod/revisions/edge/0000000007");
        let read = |key: String| keys.parse(key.as_bytes());
        assert_eq!(read(keys.node(&pool, &node)), Some(Key::Node(pool.clone(), node.clone())));
        assert_eq!(read(keys.pool(&pool)), Some(Key::Pool(pool.clone())));
        assert_eq!(read(keys.revision(&pool, n)), Some(Key::Revision(pool.clone(), n)));
        assert_eq!(read(keys.assignment(&pool)), Some(Key::Assignment(pool.clone())));
        assert_eq!(read(keys.rollout(&pool)), Some(Key::Rollout(pool.clone())));
        assert_eq!(read(keys.scale(&pool)), Some(Key::Scale(pool.clone())));
        assert_eq!(read(keys.intent(&pool, &node)), Some(Key::Intent(pool, node)));
        assert_eq!(read(keys.guard_ports()), Some(Key::GuardPorts));
        assert_eq!(read(keys.leader()), Some(Key::Leader));
    }

    #[test]
    fn events_sort_by_time() {
        let keys = Keys::new(&"prod".parse().unwrap());
        let at = |secs| keys.event(SystemTime::UNIX_EPOCH + Duration::from_secs(secs));
        assert!(at(9) < at(10) && at(10) < at(1_800_000_000));
        let seq = at(1).strip_prefix("/echo/v1/prod/events/").unwrap().to_owned();
        assert_eq!(seq.len(), 24);
        assert!(seq.starts_with("00000000001000000000"));
    }

    #[test]
    fn foreign_keys_are_nothing() {
        let keys = Keys::new(&"prod".parse().unwrap());
        for key in [
            "/echo/v1/other/leader",
            "/echo/v1/prod/pools/a/b",
            "/echo/v1/prod/pools/A",
            "/echo/v1/prod/x",
            "",
            "/echo/v1/prod/revisions/a/+000000001",
        ] {
            assert_eq!(keys.parse(key.as_bytes()), None, "{key}");
        }
        assert_eq!(keys.parse(b"/echo/v1/prod/pools/\xff"), None);
    }
}
