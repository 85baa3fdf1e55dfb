//! What a watch of nodes shows, and when a node of it has changed.
//!
//! Part of the Nodes service; streamed by [`super::super::watch`].

use std::collections::BTreeMap;

use echo_proto::ids::{NodeId, PoolName};
use echo_proto::keys::Key;
use echo_proto::{API_VERSION, v1};

use super::super::watch::Source;
use super::selects;
use crate::fleet::Node;
use crate::present;
use crate::selector::Selector;
use crate::view::{PoolState, State, is_changed};

/// Watches nodes, of one pool or of all.
pub(super) struct NodeSource {
    pub(super) filter: Option<PoolName>,
    pub(super) selector: Selector,
}

impl Source for NodeSource {
    type Key = (PoolName, NodeId);
    /// The record, what is computed from other records, and what a node without etcd tells of itself: no record says that.
    type Version = (i64, v1::SyncState, u32, Option<v1::NodeStatus>);
    type Object = v1::Node;
    type Reply = v1::NodesWatchResponse;

    fn versions(&self, state: &State) -> BTreeMap<Self::Key, Self::Version> {
        let rows = present::pools(state, self.filter.as_ref())
            .flat_map(|(name, pool)| pool.fleet.iter().map(move |node| (name, pool, node)))
            .filter(|(name, _, node)| selects(&self.selector, name, node));
        let version = |pool: &PoolState, node: &Node| {
            let sync = present::sync_state(pool, node);
            let told = (sync == v1::SyncState::Stale).then(|| node.status.clone());
            (node.record.mod_revision, sync, present::pinned_revision(pool, node), told)
        };
        rows.map(|(name, pool, node)| ((name.clone(), node.id.clone()), version(pool, node))).collect()
    }

    fn object(&self, state: &State, (name, id): &Self::Key) -> Option<v1::Node> {
        let pool = state.pools.get(name)?;
        pool.fleet.get(id).map(|node| present::node(pool, node))
    }

    fn since(&self, state: &State, revision: i64) -> Option<BTreeMap<Self::Key, i64>> {
        // Which nodes matched earlier can't be told.
        if !self.selector.is_empty() {
            return None;
        }
        let mut touched = BTreeMap::new();
        for (name, pool) in present::pools(state, self.filter.as_ref()) {
            let all = state.is_reassigned(name, pool, revision);
            let changed = pool.fleet.iter().filter(|node| all || is_changed(node, revision));
            touched.extend(changed.map(|node| ((name.clone(), node.id.clone()), node.record.create_revision)));
        }
        for key in state.gone_since(revision) {
            if let Key::Node(name, id) = key
                && self.filter.as_ref().is_none_or(|wanted| wanted == name)
            {
                touched.entry((name.clone(), id.clone())).or_insert(0);
            }
        }
        Some(touched)
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::fleet::Answer;
    use crate::store::{Delta, Entry, Update};
    use crate::view::{Verdict, View};

    const ASSIGNMENT: &str = r#"{"uid":"u","rollout":1,"stable":{"n":1,"digest":"d","config":{}}}"#;
    /// It says that it leaves, so that it is not kept as vanished.
    const NODE: &str = r#"{"status":{"incarnation":"i","drain":{"exits":true}}}"#;

    fn put(key: &str, value: &str, revision: i64) -> Delta {
        let key = format!("/echo/v1/test/{key}").into_bytes();
        let value = value.as_bytes().to_vec();
        Delta::Put(Entry { key, value, mod_revision: revision, create_revision: revision, version: 1 })
    }

    /// Two nodes at revisions 5 and 6, one of which goes at 7.
    fn view() -> View {
        let view = View::new(echo_proto::keys::Keys::new(&"test".parse().unwrap()));
        view.apply(Update::Reset(Vec::new()), 4);
        view.apply(Update::Changes(vec![put("nodes/edge/node-1", NODE, 5)]), 5);
        view.apply(Update::Changes(vec![put("nodes/edge/node-2", NODE, 6)]), 6);
        view.apply(Update::Changes(vec![Delta::Gone(b"/echo/v1/test/nodes/edge/node-2".to_vec())]), 7);
        view
    }

    fn since(view: &View, selector: &str, revision: i64) -> Option<Vec<String>> {
        let source = NodeSource { filter: None, selector: selector.parse().unwrap() };
        let touched = view.read(|state| source.since(state, revision))?;
        Some(touched.into_iter().map(|((_, id), created)| format!("{id}@{created}")).collect())
    }

    #[test]
    fn what_a_node_without_etcd_tells_is_news() {
        let view = view();
        let lives = br#"{"status":{"incarnation":"i"}}"#;
        view.apply(Update::Changes(vec![put("nodes/edge/node-3", std::str::from_utf8(lives).unwrap(), 8)]), 8);
        view.apply(Update::Changes(vec![Delta::Gone(b"/echo/v1/test/nodes/edge/node-3".to_vec())]), 9);
        let source = NodeSource { filter: None, selector: "".parse().unwrap() };
        let tell = |phase: v1::NodePhase| {
            let status = v1::NodeStatus { incarnation: "i".into(), phase: phase.into(), ..Default::default() };
            let answer = Answer::Alive(Box::new(status));
            let (pool, node) = ("edge".parse().unwrap(), "node-3".parse().unwrap());
            view.judge(vec![Verdict { pool, node, mod_revision: 8, answer }]);
            view.read(|state| source.versions(state))
        };
        let ready = tell(v1::NodePhase::Ready);
        assert!(ready == tell(v1::NodePhase::Ready) && ready != tell(v1::NodePhase::Draining));
    }

    #[test]
    fn what_came_or_went_since_is_told() {
        let view = view();
        assert_eq!(since(&view, "", 4).unwrap(), ["node-1@5", "node-2@0"]);
        assert_eq!(since(&view, "", 6).unwrap(), ["node-2@0"]);
        assert!(since(&view, "", 7).unwrap().is_empty());
        assert_eq!(since(&view, "team=net", 4), None, "who matched then is not known");
    }

    #[test]
    fn an_assignment_that_came_or_went_touches_every_node_of_its_pool() {
        let view = view();
        view.apply(Update::Changes(vec![put("assignments/edge", ASSIGNMENT, 8)]), 8);
        assert_eq!(since(&view, "", 7).unwrap(), ["node-1@5"]);
        view.apply(Update::Changes(vec![Delta::Gone(b"/echo/v1/test/assignments/edge".to_vec())]), 9);
        assert_eq!(since(&view, "", 8).unwrap(), ["node-1@5"]);
        assert!(since(&view, "", 9).unwrap().is_empty());
    }
}
