//! Records -> the objects that callers see.
//!
//! Used by the services, the view and the metrics; pure. What is computed (status, sync, acknowledgements) is computed
//! here, from one instant of the view.

use echo_proto::ids::PoolName;
use echo_proto::{API_VERSION, v1};

use crate::fleet::{Node, Presence};
use crate::plan::sync;
use crate::view::{PoolState, State};

/// A pool as stored, without status.
pub(crate) fn pool(record: &v1::PoolRecord, mod_revision: i64) -> v1::Pool {
    let mut metadata = record.metadata.clone().unwrap_or_default();
    metadata.resource_version = mod_revision.to_string();
    v1::Pool {
        api_version: API_VERSION.to_owned(),
        kind: "Pool".to_owned(),
        metadata: Some(metadata),
        spec: record.spec.clone(),
        status: None,
    }
}

/// What is known of a pool's nodes and rollout.
pub(crate) fn status(pool: &PoolState) -> v1::PoolStatus {
    let assignment = pool.assignment.valid().map(|a| &a.value.record);
    let reference = |r: &Option<v1::AssignedRevision>| {
        let uid = assignment.map_or("", |a| a.uid.as_str());
        r.as_ref().map(|r| sync::reference(uid, r))
    };
    let alive = || pool.fleet.live().filter(|node| node.doubt().is_none());
    let count = |wanted: &dyn Fn(&Node) -> bool| alive().filter(|node| wanted(node)).count() as u32;
    v1::PoolStatus {
        nodes: count(&|_| true),
        ready: count(&|node| node.status.phase() == v1::NodePhase::Ready),
        synced: count(&|node| assignment.is_some_and(|a| sync::is_synced(a, &node.id, &node.status))),
        stable: assignment.and_then(|a| reference(&a.stable)),
        next: assignment.and_then(|a| reference(&a.next)),
        rollout: pool.rollout.valid().map_or(0, |r| r.value.phase),
    }
}

/// A pool's rollout with who acknowledged it; `None` while there is none.
pub(crate) fn rollout(pool: &PoolState) -> Option<v1::Rollout> {
    let mut rollout = pool.rollout.valid()?.value.clone();
    let asked = |node: &&std::sync::Arc<Node>| sync::is_asked(&node.status);
    rollout.nodes = pool.fleet.live().filter(asked).count() as u32;
    let acked = |node: &&std::sync::Arc<Node>| node.status.applied.is_some() && node.status.applied == rollout.to;
    rollout.acked = pool.fleet.live().filter(asked).filter(acked).count() as u32;
    Some(rollout)
}

/// A node with its sync state, without live figures.
pub(crate) fn node(pool: &PoolState, node: &Node) -> v1::Node {
    let mut metadata = node.record.value.metadata.clone().unwrap_or_default();
    node.id.as_str().clone_into(&mut metadata.name);
    metadata.resource_version = node.record.mod_revision.to_string();
    let mut status = node.status.clone();
    status.sync = sync_state(pool, node).into();
    status.vanish_time = match node.presence {
        Presence::Vanished { at, .. } => Some(at.into()),
        Presence::Sure | Presence::Doubtful { .. } | Presence::Left => None,
    };
    v1::Node {
        api_version: API_VERSION.to_owned(),
        kind: "Node".to_owned(),
        metadata: Some(metadata),
        status: Some(status),
    }
}

/// How a node stands to what its pool assigns it, or how sure it is that it stands at all.
pub(crate) fn sync_state(pool: &PoolState, node: &Node) -> v1::SyncState {
    if let Some(doubt) = node.doubt() {
        return doubt;
    }
    let newest = pool.pool.valid().and_then(|p| p.value.record.revision.as_ref());
    let assignment = pool.assignment.valid().map(|a| &a.value.record);
    sync::state(newest, assignment, &node.id, &node.status)
}

/// The pools that `filter` names; all if there is none.
pub(crate) fn pools<'a>(
    state: &'a State,
    filter: Option<&'a PoolName>,
) -> impl Iterator<Item = (&'a PoolName, &'a PoolState)> {
    state.pools.iter().filter(move |(name, _)| filter.is_none_or(|wanted| wanted == *name))
}
