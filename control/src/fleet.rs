//! The nodes of a pool: those that have a record, and for a while those that went away.
//!
//! Part of the view: a record comes, changes and goes here, and the roll call puts down who answered. A record that
//! can't be read is no node. Whoever asks how many there are must say of whom: [`Fleet::live`] or [`Fleet::iter`].

mod kept;
mod order;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use echo_proto::ids::NodeId;
use echo_proto::v1;
use tokio::time::Instant;

use self::kept::Kept;
pub use self::order::natural_order;
use crate::store::{Entry, Stored};

/// A record that still stands so long after etcd came back is held by somebody: leases of two minutes are rare.
const DOUBT_FOR: Duration = Duration::from_secs(120);

/// The nodes of one pool.
#[derive(Debug, Default)]
pub struct Fleet {
    live: BTreeMap<NodeId, Arc<Node>>,
    vanished: Kept,
    /// Those that said that they leave; nobody lists them.
    left: Kept,
}

/// One node.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Its record; the last one, if it is gone.
    pub record: Stored<v1::NodeRecord>,
    /// `record.value.status`, which a valid record has; of a node without etcd, what its Agent told since.
    pub status: v1::NodeStatus,
    /// How sure it is that it lives.
    pub presence: Presence,
}

/// How sure it is that a node lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It wrote its record, or its Agent answered, since this process follows etcd without a break.
    Sure,
    /// Its record was there already when etcd came or came back, at `since`. A start of etcd gives every lease its
    /// whole time again, also those of the dead.
    Doubtful {
        /// Since when.
        since: Instant,
        /// Whether its Agent was silent when it was asked.
        silent: bool,
    },
    /// Its record went away without a word.
    Vanished {
        /// When, for timers.
        since: Instant,
        /// When, for people.
        at: SystemTime,
        /// What its Agent said; `None`: not asked yet.
        answers: Option<bool>,
    },
    /// It drained and went, and its record said so.
    Left,
}

/// What an Agent said.
#[derive(Debug)]
pub enum Answer {
    /// Nothing, or another life of the node answered.
    Silent,
    /// The life that was asked for: what it says of itself.
    Alive(Box<v1::NodeStatus>),
}

impl Node {
    /// What is shown in place of the node's state towards its assignment; `None`: it lives for sure.
    pub fn doubt(&self) -> Option<v1::SyncState> {
        match self.presence {
            Presence::Sure => None,
            Presence::Doubtful { silent: false, .. } | Presence::Vanished { answers: None, .. } => {
                Some(v1::SyncState::Unknown)
            }
            Presence::Vanished { answers: Some(true), .. } => Some(v1::SyncState::Stale),
            Presence::Doubtful { silent: true, .. } | Presence::Vanished { .. } | Presence::Left => {
                Some(v1::SyncState::Lost)
            }
        }
    }

    /// Whether it is on its way out, as its record says.
    pub fn leaves(&self) -> bool {
        self.status.phase() == v1::NodePhase::Draining || self.status.drain.as_ref().is_some_and(|drain| drain.exits)
    }

    /// Whether its record went away without a word.
    pub fn has_vanished(&self) -> bool {
        matches!(self.presence, Presence::Vanished { .. })
    }
}

impl Fleet {
    /// Takes a record over; what is wrong with it otherwise. One that was just written is `sure` to be of a living node.
    pub(crate) fn put(&mut self, id: NodeId, entry: &Entry, sure: bool) -> Result<(), String> {
        let read = entry.decode::<v1::NodeRecord>().map_err(|e| e.cause()).and_then(|record| {
            let status = record.value.status.clone().ok_or("status: required")?;
            Ok((record, status))
        });
        let (record, status) = match read {
            Ok(read) => read,
            Err(cause) => {
                self.remove(&id);
                return Err(cause);
            }
        };
        self.vanished.remove(&id);
        let presence = if sure { Presence::Sure } else { Presence::Doubtful { since: Instant::now(), silent: false } };
        self.live.insert(id.clone(), Arc::new(Node { id, record, status, presence }));
        Ok(())
    }

    /// Its record is gone.
    pub(crate) fn remove(&mut self, id: &NodeId) {
        if let Some(node) = self.live.remove(id) {
            self.depart(&node);
        }
    }

    fn depart(&mut self, node: &Node) {
        let exits = match &node.status.drain {
            Some(drain) => drain.exits,
            // An older node says no more than that.
            None => node.status.phase() == v1::NodePhase::Draining,
        };
        let now = Instant::now();
        if exits {
            self.left.insert(now, Node { presence: Presence::Left, ..node.clone() });
        } else {
            let presence = Presence::Vanished { since: now, at: SystemTime::now(), answers: None };
            self.vanished.insert(now, Node { presence, ..node.clone() });
        }
    }

    /// Goes on from what was known before all was read anew: who is not in the new list has gone. What stands there
    /// unchanged is as sure as it was, unless etcd was `away`.
    pub(crate) fn inherit(&mut self, before: Self, away: bool) {
        self.vanished.add_forgotten(before.vanished.forgotten());
        let known = |fleet: &Self, id: &NodeId| fleet.live.contains_key(id);
        for (since, node) in
            before.vanished.into_entries().filter(|(_, node)| !known(self, &node.id)).collect::<Vec<_>>()
        {
            self.vanished.insert(since, node);
        }
        for (since, node) in before.left.into_entries() {
            self.left.insert(since, node);
        }
        for (id, node) in before.live {
            match self.live.get_mut(&id) {
                Some(new) if !away && new.record.mod_revision == node.record.mod_revision => *new = node,
                Some(_) => {}
                None => self.depart(&node),
            }
        }
    }

    /// etcd was away: nobody's record proves anything before it is written again, or its Agent has answered.
    pub(crate) fn doubt(&mut self) {
        let since = Instant::now();
        for node in self.live.values_mut() {
            Arc::make_mut(node).presence = Presence::Doubtful { since, silent: false };
        }
    }

    /// Puts down what the Agent of a node said that stood with this record; `false`: nothing has changed.
    pub(crate) fn judge(&mut self, id: &NodeId, mod_revision: i64, answer: Answer) -> bool {
        let asked = |node: &&mut Arc<Node>| node.record.mod_revision == mod_revision;
        let node = match self.live.get_mut(id).filter(asked) {
            Some(node) => Some(node),
            None => self.vanished.get_mut(id).filter(asked),
        };
        let Some(node) = node else { return false };
        let presence = match (node.presence, &answer) {
            (Presence::Doubtful { .. }, Answer::Alive(_)) => Presence::Sure,
            (Presence::Doubtful { since, .. }, Answer::Silent) => Presence::Doubtful { since, silent: true },
            (Presence::Vanished { since, at, .. }, answer) => {
                Presence::Vanished { since, at, answers: Some(matches!(answer, Answer::Alive(_))) }
            }
            (Presence::Sure | Presence::Left, _) => return false,
        };
        let told = match answer {
            // What it could not write to etcd.
            Answer::Alive(status) if node.has_vanished() && node.status != *status => Some(*status),
            _ => None,
        };
        if presence == node.presence && told.is_none() {
            return false;
        }
        let node = Arc::make_mut(node);
        node.presence = presence;
        node.status = told.unwrap_or_else(|| node.status.clone());
        true
    }

    /// Forgets who is gone for long, and doubts nobody for ever; `false`: nothing has changed.
    pub(crate) fn sweep(&mut self, now: Instant) -> bool {
        let mut changed = self.vanished.sweep(now) | self.left.sweep(now);
        for node in self.live.values_mut() {
            if matches!(node.presence, Presence::Doubtful { since, .. } if now.saturating_duration_since(since) >= DOUBT_FOR)
            {
                Arc::make_mut(node).presence = Presence::Sure;
                changed = true;
            }
        }
        changed
    }

    /// Vanished nodes that are not listed any more before their time, because there were too many of them.
    pub fn forgotten(&self) -> u64 {
        self.vanished.forgotten()
    }

    /// Whether there is none, and was none lately.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty() && self.vanished.is_empty() && self.left.is_empty()
    }

    /// One of them, also one that has vanished.
    pub fn get(&self, id: &NodeId) -> Option<&Arc<Node>> {
        self.live.get(id).or_else(|| self.vanished.get(id))
    }

    /// Those that have a record, by id as text: whom a rollout waits for. A doubtful one is among them, since its record
    /// goes away by itself when it is dead.
    pub fn live(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.live.values()
    }

    /// How many there are that stay: of those that have a record, and of the living that may have none yet. Who saw its
    /// pool deleted is as good as gone.
    pub fn staying(&self, living: &BTreeSet<NodeId>) -> usize {
        let stays = |node: &Node| !node.leaves() && node.status.phase() != v1::NodePhase::NoPool;
        let unknown = living.iter().filter(|id| !self.live.contains_key(*id)).count();
        unknown + self.live.values().filter(|node| stays(node)).count()
    }

    /// Those that have a record, then those that vanished.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.live.values().chain(self.vanished.iter())
    }

    /// Those that vanished, with when they went.
    pub fn vanished(&self) -> impl Iterator<Item = (&Arc<Node>, Instant)> {
        self.vanished.iter().filter_map(|node| match node.presence {
            Presence::Vanished { since, .. } => Some((node, since)),
            Presence::Sure | Presence::Doubtful { .. } | Presence::Left => None,
        })
    }

    /// Those that drained and went lately, as the process that they were; another one may be there again.
    pub fn leavers(&self) -> impl Iterator<Item = (&NodeId, &str)> {
        self.left.iter().map(|node| (&node.id, node.status.incarnation.as_str()))
    }

    /// One that drained and went lately; another process may be there again.
    pub fn left(&self, id: &NodeId) -> Option<&Arc<Node>> {
        self.left.get(id)
    }
}

#[cfg(test)]
mod tests;
