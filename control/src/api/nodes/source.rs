//! What a watch of nodes shows, and when a node of it has changed.
//!
//! Part of the Nodes service; streamed by [`super::super::watch`].

use std::collections::BTreeMap;

use echo_proto::ids::{NodeId, PoolName};
use echo_proto::{API_VERSION, v1};

use super::super::watch::Source;
use super::selects;
use crate::fleet::Node;
use crate::present;
use crate::selector::Selector;
use crate::view::{PoolState, State};

/// Watches nodes, of one pool or of all.
pub(super) struct NodeSource {
    pub(super) filter: Option<PoolName>,
    pub(super) selector: Selector,
}

impl Source for NodeSource {
    type Key = (PoolName, NodeId);
    /// The record, and what is computed from other records.
    type Version = (i64, v1::SyncState);
    type Object = v1::Node;
    type Reply = v1::NodesWatchResponse;

    fn versions(&self, state: &State) -> BTreeMap<Self::Key, Self::Version> {
        let rows = present::pools(state, self.filter.as_ref())
            .flat_map(|(name, pool)| pool.fleet.iter().map(move |node| (name, pool, node)))
            .filter(|(name, _, node)| selects(&self.selector, name, node));
        let version = |pool: &PoolState, node: &Node| (node.record.mod_revision, present::sync_state(pool, node));
        rows.map(|(name, pool, node)| ((name.clone(), node.id.clone()), version(pool, node))).collect()
    }

    fn object(&self, state: &State, (name, id): &Self::Key) -> Option<v1::Node> {
        let pool = state.pools.get(name)?;
        pool.fleet.get(id).map(|node| present::node(pool, node))
    }

    fn gone(&self, (pool, id): &Self::Key) -> v1::Node {
        let metadata = v1::ObjectMeta { name: id.to_string(), ..Default::default() };
        let status = v1::NodeStatus { pool: pool.to_string(), ..Default::default() };
        v1::Node {
            api_version: API_VERSION.to_owned(),
            kind: "Node".to_owned(),
            metadata: Some(metadata),
            status: Some(status),
        }
    }

    fn reply(
        &self,
        kind: v1::WatchType,
        node: Option<v1::Node>,
        resource_version: String,
    ) -> Option<v1::NodesWatchResponse> {
        Some(v1::NodesWatchResponse { r#type: kind.into(), node, resource_version })
    }
}
