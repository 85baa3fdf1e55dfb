//! Nodes whose record is gone, kept for a while.
//!
//! Used by the fleet, which decides who belongs here. Bounded in number and time; time is passed in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use echo_proto::ids::NodeId;
use tokio::time::Instant;

use super::Node;

/// How long a node is remembered.
pub(super) const KEEP_FOR: Duration = Duration::from_secs(15 * 60);
/// Most nodes of one pool that are; of more, the ones that went first are forgotten.
pub(super) const MAX_KEPT: usize = 10_000;

/// Nodes that are gone, with when they went.
#[derive(Debug, Default)]
pub(super) struct Kept {
    nodes: BTreeMap<NodeId, (Instant, Arc<Node>)>,
    /// Who went when: a whole pool may vanish at once, and nobody can be looked for among all each time.
    order: BTreeSet<(Instant, NodeId)>,
    forgotten: u64,
}

impl Kept {
    pub(super) fn insert(&mut self, since: Instant, node: impl Into<Arc<Node>>) {
        let node = node.into();
        self.remove(&node.id);
        self.order.insert((since, node.id.clone()));
        self.nodes.insert(node.id.clone(), (since, node));
        if self.nodes.len() > MAX_KEPT
            && let Some((_, first)) = self.order.pop_first()
        {
            self.nodes.remove(&first);
            self.forgotten += 1;
        }
    }

    /// Counts those that an earlier list of the same pool had no room for.
    pub(super) fn add_forgotten(&mut self, nodes: u64) {
        self.forgotten += nodes;
    }

    /// How many had to make room for others.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    pub(super) fn remove(&mut self, id: &NodeId) {
        if let Some((since, node)) = self.nodes.remove(id) {
            self.order.remove(&(since, node.id.clone()));
        }
    }

    /// Forgets who is gone for long; `false`: nobody.
    pub(super) fn sweep(&mut self, now: Instant) -> bool {
        let before = self.nodes.len();
        let is_over = |(since, _): &(Instant, NodeId)| now.saturating_duration_since(*since) >= KEEP_FOR;
        while let Some((_, first)) = self.order.first().filter(|first| is_over(first)).cloned() {
            self.remove(&first);
        }
        self.nodes.len() != before
    }

    pub(super) fn get(&self, id: &NodeId) -> Option<&Arc<Node>> {
        self.nodes.get(id).map(|(_, node)| node)
    }

    pub(super) fn get_mut(&mut self, id: &NodeId) -> Option<&mut Arc<Node>> {
        self.nodes.get_mut(id).map(|(_, node)| node)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.values().map(|(_, node)| node)
    }

    pub(super) fn into_entries(self) -> impl Iterator<Item = (Instant, Arc<Node>)> {
        self.nodes.into_values()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}
