//! Records -> the objects that callers see.
//!
//! Used by the services, the view and the metrics; pure. What is computed (status, sync, acknowledgements) is computed
//! here, from one instant of the view.

use echo_proto::ids::{NodeId, PoolName};
use echo_proto::{API_VERSION, v1};

use crate::fleet::{Node, Presence};
use crate::plan::pin::pinned;
use crate::plan::sync;
use crate::view::{PoolState, State};

/// Most conditions of a pool that are shown.
const MAX_CONDITIONS: usize = 8;

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
        ready: count(&|node| is_ready(&node.status)),
        // One that drains still runs what it is assigned, but is on its way out.
        synced: count(&|node| sync::is_asked(&node.status) && sync_state(pool, node) == v1::SyncState::Synced),
        stable: assignment.and_then(|a| reference(&a.stable)),
        next: assignment.and_then(|a| reference(&a.next)),
        rollout: pool.rollout.valid().map_or(0, |r| r.value.phase),
        desired: pool.desired().or(pool.pool.valid().map(|p| p.value.plan.replicas)).unwrap_or_default(),
        conditions: conditions(pool),
        pins: pool.pool.valid().map_or_else(Vec::new, |p| p.value.record.pins.clone()),
    }
}

/// What keeps a pool from being as wanted: of its rollout, then of its size.
fn conditions(pool: &PoolState) -> Vec<v1::PoolCondition> {
    let rollout = pool.rollout.valid().into_iter().flat_map(|rollout| &rollout.value.conditions);
    let scale = pool.scale.valid().into_iter().flat_map(|scale| &scale.value.conditions);
    rollout.chain(scale).take(MAX_CONDITIONS).cloned().collect()
}

/// Whether it serves, and nobody keeps new clients from it: what its /readyz says.
fn is_ready(status: &v1::NodeStatus) -> bool {
    status.phase() == v1::NodePhase::Ready && status.cordoned_by.is_empty()
}

/// A pool's rollout with who acknowledged it; `None` while there is none.
pub(crate) fn rollout(pool: &PoolState) -> Option<v1::Rollout> {
    let mut rollout = pool.rollout.valid()?.value.clone();
    let asked = |node: &&std::sync::Arc<Node>| sync::is_asked(&node.status) && pinned_revision(pool, node) == 0;
    rollout.nodes = pool.fleet.live().filter(asked).count() as u32;
    rollout.pinned = pool.fleet.live().filter(|node| pinned_revision(pool, node) > 0).count() as u32;
    let acked = |node: &&std::sync::Arc<Node>| node.status.applied.is_some() && node.status.applied == rollout.to;
    rollout.acked = pool.fleet.live().filter(asked).filter(acked).count() as u32;
    Some(rollout)
}

/// What became of a revision, as its pool's newest rollout tells.
pub(crate) fn outcome(state: &State, revision: &v1::Revision) -> Option<v1::RevisionOutcome> {
    let this = revision.revision.as_ref()?;
    let rollout = state.pools.get(&revision.pool.parse::<PoolName>().ok()?)?.rollout.valid()?;
    // Of another life of the pool's it tells nothing.
    let told = rollout.value.to.as_ref().filter(|to| to.uid == this.uid).map(|_| &rollout.value.outcomes)?;
    told.iter().find(|outcome| outcome.n == this.n).cloned()
}

/// A node that refused what its pool's newest rollout gave it, and so does not try it again in this rollout.
pub(crate) fn refusing(pool: &PoolState) -> Option<NodeId> {
    let rollout = &pool.rollout.valid()?.value;
    let refused = |status: &v1::NodeStatus| {
        let of = status.rejection.as_ref();
        of.is_some_and(|rejection| rejection.revision == rollout.to && rejection.rollout == rollout.id)
    };
    let asked = |node: &std::sync::Arc<Node>| sync::is_asked(&node.status) && pinned_revision(pool, node) == 0;
    let mut live = pool.fleet.live();
    live.find(|node| asked(node) && refused(&node.status)).map(|node| node.id.clone())
}

/// A node with its sync state, without live figures.
pub(crate) fn node(pool: &PoolState, node: &Node) -> v1::Node {
    let mut metadata = node.record.value.metadata.clone().unwrap_or_default();
    node.id.as_str().clone_into(&mut metadata.name);
    metadata.resource_version = node.record.mod_revision.to_string();
    let mut status = node.status.clone();
    status.sync = sync_state(pool, node).into();
    status.pinned_revision = pinned_revision(pool, node);
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

/// The revision that a node is pinned to; 0: none.
pub(crate) fn pinned_revision(pool: &PoolState, node: &Node) -> u32 {
    pool.pool.valid().map_or(0, |stored| pinned(&stored.value.record, &node.id))
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::{Delta, Entry, Update};
    use crate::view::View;

    #[test]
    fn only_who_takes_clients_is_ready_and_only_who_stays_is_in_sync() {
        let root = "/echo/v1/test/";
        let config = r#"{"listeners":[{"name":"a","protocol":"PROTOCOL_TCP","port":7007,"service":{"echo":{}}}]}"#;
        let pool = format!(
            r#"{{"metadata":{{"name":"edge","uid":"u"}},"revision":{{"uid":"u","n":2,"digest":"e"}},"spec":{{"template":{config}}}}}"#
        );
        let assignment = format!(r#"{{"uid":"u","stable":{{"n":1,"digest":"d","config":{config}}}}}"#);
        let node = |phase: &str, more: &str| {
            format!(r#"{{"status":{{"phase":"NODE_PHASE_{phase}","applied":{{"uid":"u","n":1,"digest":"d"}}{more}}}}}"#)
        };
        let values = [
            ("pools/edge", pool),
            ("assignments/edge", assignment),
            ("nodes/edge/node-1", node("READY", "")),
            ("nodes/edge/node-2", node("READY", r#","cordonedBy":"ann""#)),
            ("nodes/edge/node-3", node("READY", r#","rejection":{"revision":{"uid":"u","n":2,"digest":"e"}}"#)),
            ("nodes/edge/node-4", node("DRAINING", "")),
        ];
        let entry = |(key, value): (&str, String)| {
            let key = format!("{root}{key}").into_bytes();
            Entry { key, value: value.into_bytes(), ..Default::default() }
        };
        let view = View::new(echo_proto::keys::Keys::new(&"test".parse().unwrap()));
        view.apply(Update::Reset(Vec::new()), 2);
        // Seen as they are written: none is in doubt.
        view.apply(Update::Changes(values.into_iter().map(|value| Delta::Put(entry(value))).collect()), 3);
        view.read(|state| {
            assert!(state.invalid.is_empty(), "{:?}", state.invalid);
            let status = status(state.pools.values().next().unwrap());
            assert_eq!((status.nodes, status.ready, status.synced), (4, 2, 2));
        });
    }
}
