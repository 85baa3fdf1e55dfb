//! Events about nodes: what was told of each, compared with what is.
//!
//! Part of the drive. What was told is taken from the stored events when a term begins, so that a new leader repeats
//! nothing, and misses nothing that happened while nobody led. A storm is one event: of one reason in one pool, so many
//! are told singly in one look, and more as a count on the pool. It must never take for told what is not stored.

mod told;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use echo_proto::ids::{NodeId, PoolName};
use echo_proto::v1;
use tokio::time::Instant;

use self::told::{Step, Told};
use super::Pass;
use super::journal::Journal;
use crate::event;
use crate::fleet::Node;
use crate::store::{StoreError, Stored};
use crate::view::{State, View};

/// Between two looks: what comes in a burst is told together.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Most events of one reason that one look tells of the nodes of a pool singly.
const MAX_SINGLE: usize = 16;
/// Nodes that an event names for all of them.
const MAX_NAMED: usize = 5;

/// A node of a pool.
type Name = (PoolName, NodeId);

/// What was told of all nodes.
#[derive(Debug)]
pub(super) struct Nodes {
    told: BTreeMap<Name, Told>,
    /// What earlier leaders told of a pool's nodes together: pool and reason -> etcd's revision of it. Only for the first
    /// look.
    together: HashMap<(String, String), i64>,
    /// etcd's revision of the oldest event that is kept: of who was there before, nothing may have been kept.
    since: i64,
    /// When to look next.
    due: Instant,
}

/// One event to tell.
#[derive(Debug)]
struct Item {
    name: Name,
    step: Step,
}

impl Nodes {
    /// What the events of earlier leaders tell, in the order of their last writing.
    pub(super) fn recall(events: &[Stored<v1::Event>]) -> Self {
        let since = events.iter().map(|event| event.create_revision).min().unwrap_or(0);
        let mut nodes = Self { told: BTreeMap::new(), together: HashMap::new(), since, due: Instant::now() };
        for Stored { value: event, mod_revision, .. } in events {
            let Ok(pool) = event.pool.parse::<PoolName>() else { continue };
            match event.object.strip_prefix("node/").map(str::parse::<NodeId>) {
                Some(Ok(node)) => nodes.told.entry((pool, node)).or_default().recall(event, *mod_revision),
                Some(Err(_)) => {}
                None => drop(nodes.together.insert((event.pool.clone(), event.reason.clone()), *mod_revision)),
            }
        }
        nodes
    }

    pub(super) async fn pass(&mut self, view: &View, journal: &mut Journal) -> Result<Pass, StoreError> {
        let now = Instant::now();
        if now < self.due {
            return Ok(Pass::Done(Some(self.due)));
        }
        let items = view.read(|state| self.items(state));
        if !self.tell(items, journal).await? {
            return Ok(Pass::Again);
        }
        self.together.clear();
        self.told.retain(|_, told| !told.is_over());
        self.due = now + LOOK_EVERY;
        Ok(Pass::Done(None))
    }

    /// All that is to tell, each node's events in their order.
    fn items(&mut self, state: &State) -> Vec<Item> {
        let mut items = Vec::new();
        let mut present = BTreeSet::new();
        for (pool, known) in &state.pools {
            for node in known.fleet.iter() {
                let name = (pool.clone(), node.id.clone());
                items.extend(self.steps(&name, node).into_iter().map(|step| Item { name: name.clone(), step }));
                present.insert(name);
            }
        }
        self.told.retain(|name, told| {
            if present.contains(name) {
                return true;
            }
            let left = state.pools.get(&name.0).and_then(|pool| pool.fleet.left(&name.1));
            let step = left.map_or_else(|| told.missing(), |node| told.left(node));
            items.extend(step.map(|step| Item { name: name.clone(), step }));
            items.last().is_some_and(|item| item.name == *name)
        });
        items
    }

    fn steps(&mut self, name: &Name, node: &Node) -> Vec<Step> {
        if !self.told.contains_key(name) && node.record.create_revision < self.since {
            self.told.insert(name.clone(), Told::of(node));
        }
        let before = self.told.get(name).cloned().unwrap_or_default();
        let (mut steps, told) = before.steps(node);
        steps.retain(|step| {
            let together = self.together.get(&(name.0.to_string(), step.reason.clone())).copied().unwrap_or(0);
            let covered = together > before.at && together >= node.record.create_revision;
            if covered {
                self.told.insert(name.clone(), step.after.clone());
            }
            !covered
        });
        if steps.is_empty() && told != before {
            self.told.insert(name.clone(), told);
        }
        steps
    }

    /// Stores them; `false` if not all are stored. What is stored is noted.
    async fn tell(&mut self, items: Vec<Item>, journal: &mut Journal) -> Result<bool, StoreError> {
        let mut kinds: BTreeMap<(PoolName, String), Vec<NodeId>> = BTreeMap::new();
        for Item { name: (pool, node), step } in &items {
            kinds.entry((pool.clone(), step.reason.clone())).or_default().push(node.clone());
        }
        let mut done = BTreeSet::new();
        for Item { name, step } in items {
            let kind = (name.0.clone(), step.reason.clone());
            let nodes = kinds.get(&kind).map_or(&[][..], Vec::as_slice);
            let event = if nodes.len() <= MAX_SINGLE {
                Some(step.event(&name))
            } else if done.insert(kind) {
                Some(many(&name.0, &step, nodes))
            } else {
                None
            };
            if let Some(event) = event {
                tracing::info!(object = event.object, reason = event.reason, "{}", event.message);
                if !journal.tell(event).await? {
                    return Ok(false);
                }
            }
            self.told.insert(name, step.after);
        }
        Ok(true)
    }
}

/// One event for what happened to so many nodes.
fn many(pool: &PoolName, step: &Step, nodes: &[NodeId]) -> v1::Event {
    let named: Vec<&str> = nodes.iter().take(MAX_NAMED).map(NodeId::as_str).collect();
    let more = nodes.len().saturating_sub(named.len());
    let message = format!("{} nodes: {} and {more} more", nodes.len(), named.join(", "));
    let build = if step.warning { event::warning } else { event::normal };
    let count = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
    v1::Event { to: step.to.clone(), count, ..build(&step.reason, event::of_pool(pool), message) }
}

#[cfg(test)]
mod tests;
