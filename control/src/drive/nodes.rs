//! Events about nodes: what was told of each, compared with what is.
//!
//! Part of the drive. What was told is taken from the stored events when a term begins, so that a new leader repeats
//! nothing, and misses nothing that happened while nobody led. A storm is few events: what happens to more nodes of a
//! pool in one look is told as an event on the pool, with the names. It must never take for told what is not stored.

mod told;
mod words;

use std::collections::BTreeMap;
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
/// Most events of one kind that one look tells of the nodes of a pool singly.
const MAX_SINGLE: usize = 16;
/// Most nodes that one event stands for: their names are far less than etcd takes.
const MAX_TOGETHER: usize = 256;
/// Nodes that the message of such an event names for all of them.
const MAX_NAMED: usize = 5;

/// A node of a pool.
type Name = (PoolName, NodeId);

/// What was told of all nodes.
#[derive(Debug)]
pub(super) struct Nodes {
    told: BTreeMap<PoolName, BTreeMap<NodeId, Told>>,
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
        let mut nodes = Self { told: BTreeMap::new(), since, due: Instant::now() };
        for Stored { value: event, mod_revision, .. } in events {
            let Ok(pool) = event.pool.parse::<PoolName>() else { continue };
            let names = event.object.strip_prefix("node/").into_iter().chain(event.nodes.iter().map(String::as_str));
            for node in names.filter_map(|name| name.parse::<NodeId>().ok()) {
                nodes.told(&pool).entry(node).or_default().recall(event, *mod_revision);
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
        self.forget();
        self.due = now + LOOK_EVERY;
        Ok(Pass::Done(None))
    }

    /// What was told of a pool's nodes.
    fn told(&mut self, pool: &PoolName) -> &mut BTreeMap<NodeId, Told> {
        self.told.entry(pool.clone()).or_default()
    }

    /// All that is to tell, each node's events in their order.
    fn items(&mut self, state: &State) -> Vec<Item> {
        let (mut items, since) = (Vec::new(), self.since);
        for (pool, known) in &state.pools {
            let told = self.told(pool);
            for node in known.fleet.iter() {
                let name = || (pool.clone(), node.id.clone());
                items.extend(steps(told, node, since).into_iter().map(|step| Item { name: name(), step }));
            }
        }
        for (pool, told) in &mut self.told {
            let fleet = state.pools.get(pool).map(|pool| &pool.fleet);
            told.retain(|node, told| {
                if fleet.is_some_and(|fleet| fleet.get(node).is_some()) {
                    return true;
                }
                let left = fleet.and_then(|fleet| fleet.left(node));
                let step = left.map_or_else(|| told.missing(), |node| told.left(node));
                let is_told = step.is_none();
                items.extend(step.map(|step| Item { name: (pool.clone(), node.clone()), step }));
                !is_told
            });
        }
        items
    }

    fn note(&mut self, (pool, node): Name, told: Told) {
        self.told(&pool).insert(node, told);
    }

    /// Forgets those of whom nothing will be told any more.
    fn forget(&mut self) {
        self.told.retain(|_, pool| {
            pool.retain(|_, told| !told.is_over());
            !pool.is_empty()
        });
    }

    /// Stores them; `false` if not all are stored. What is stored is noted.
    async fn tell(&mut self, items: Vec<Item>, journal: &mut Journal) -> Result<bool, StoreError> {
        for (item, event) in events(items) {
            if let Some(event) = event {
                tracing::info!(object = event.object, reason = event.reason, "{}", event.message);
                if !journal.tell(event).await? {
                    return Ok(false);
                }
            }
            self.note(item.name, item.step.after);
        }
        Ok(true)
    }
}

/// What is to tell of a node, of which so much was `told`.
fn steps(told: &mut BTreeMap<NodeId, Told>, node: &Node, since: i64) -> Vec<Step> {
    if !told.contains_key(&node.id) && node.record.create_revision < since {
        told.insert(node.id.clone(), Told::of(node));
    }
    let before = told.get(&node.id).cloned().unwrap_or_default();
    let (steps, after) = before.steps(node);
    if steps.is_empty() && after != before {
        told.insert(node.id.clone(), after);
    }
    steps
}

/// Each step with the event that tells it; without one, where that of another node stands for it.
fn events(items: Vec<Item>) -> Vec<(Item, Option<v1::Event>)> {
    let kind = |Item { name, step }: &Item| (name.0.clone(), step.reason.clone(), step.to.clone());
    let mut kinds: BTreeMap<_, Vec<NodeId>> = BTreeMap::new();
    for item in &items {
        kinds.entry(kind(item)).or_default().push(item.name.1.clone());
    }
    let mut told: BTreeMap<_, usize> = BTreeMap::new();
    let event = |item: Item| {
        let kind = kind(&item);
        let nodes = kinds.get(&kind).map_or(&[][..], Vec::as_slice);
        let n = told.entry(kind).or_default();
        let event = match *n % MAX_TOGETHER {
            _ if nodes.len() <= MAX_SINGLE => Some(item.step.event(&item.name)),
            0 => nodes.chunks(MAX_TOGETHER).nth(*n / MAX_TOGETHER).map(|nodes| many(&item.name.0, &item.step, nodes)),
            _ => None,
        };
        *n += 1;
        (item, event)
    };
    items.into_iter().map(event).collect()
}

/// One event for what happened to so many nodes.
fn many(pool: &PoolName, step: &Step, nodes: &[NodeId]) -> v1::Event {
    let named: Vec<&str> = nodes.iter().take(MAX_NAMED).map(NodeId::as_str).collect();
    let more = nodes.len().saturating_sub(named.len());
    let message = format!("{} nodes: {} and {more} more", nodes.len(), named.join(", "));
    let build = if step.warning { event::warning } else { event::normal };
    let count = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
    let nodes = nodes.iter().map(NodeId::to_string).collect();
    v1::Event { to: step.to.clone(), count, nodes, ..build(&step.reason, event::of_pool(pool), message) }
}

#[cfg(test)]
mod tests;
