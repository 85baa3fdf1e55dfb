//! The mirror itself: keys -> typed state, one bad key at a time.
//!
//! Changed by [`super::View`] only. A value that cannot be read makes its own slot invalid and nothing else; the drive
//! reports it. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use echo_proto::ids::{NodeId, PoolName};
use echo_proto::keys::{Key, Keys};
use echo_proto::spec::PoolPlan;
use echo_proto::v1;
use tokio::time::Instant;

use super::history::History;
use super::outage::{Outage, Outages};
use super::pool::PoolState;
use super::read::{read_assignment, read_pool};
use crate::fleet::Answer;
use crate::store::{Delta, Entry, StoreError, Stored};

/// Most unreadable keys that are remembered; beyond, they are still passed over, but not reported.
const MAX_INVALID: usize = 1_000;

/// What is known.
#[derive(Debug)]
pub struct State {
    keys: Keys,
    /// Everything up to this etcd revision is in here.
    pub revision: i64,
    /// A full list was read at least once.
    pub synced: bool,
    /// Why etcd does not answer now; what is known is old.
    pub away: Option<StoreError>,
    /// Since when it is seen without a break who comes and goes; `None`: it is not seen now.
    pub followed_since: Option<Instant>,
    /// Whether those that were there at first were asked whether they live.
    pub called: bool,
    /// All that is known of each pool.
    pub pools: BTreeMap<PoolName, PoolState>,
    /// Where the fleet answers datagrams.
    pub guard_ports: Slot<v1::GuardPorts>,
    /// Who drives.
    pub leader: Option<Stored<v1::LeaderRecord>>,
    /// Keys of ours whose value or name cannot be read.
    pub invalid: BTreeMap<String, Invalid>,
    pub(super) history: History,
    pub(super) outages: Outages,
}

/// What the Agent of a node said that stood with this record.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) pool: PoolName,
    pub(crate) node: NodeId,
    /// Of the record.
    pub(crate) mod_revision: i64,
    pub(crate) answer: Answer,
}

/// A key that can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// Tells one bad value from the next.
    pub mod_revision: i64,
    /// What is wrong.
    pub cause: String,
}

/// A record that is there, missing, or unreadable.
#[derive(Debug, Default)]
pub enum Slot<T> {
    /// No such key.
    #[default]
    Absent,
    /// Read and checked.
    Valid(Arc<Stored<T>>),
    /// There, but unreadable, at this mod_revision. Hands off until it is repaired, save for who can write it anew.
    Invalid(i64),
}

/// A pool with its checked plan.
#[derive(Debug)]
pub struct PoolEntry {
    /// As stored.
    pub record: v1::PoolRecord,
    /// As checked.
    pub plan: PoolPlan,
}

/// An assignment that has what every assignment must have.
#[derive(Debug)]
pub struct AssignmentEntry {
    /// As stored.
    pub record: v1::Assignment,
    /// Its `stable`.
    pub stable: v1::AssignedRevision,
    /// The longest that a node which runs one of its configs may take to drain.
    pub longest_drain: Duration,
}

impl Invalid {
    /// As events tell it.
    pub fn version(&self) -> String {
        self.mod_revision.to_string()
    }
}

impl<T> Slot<T> {
    /// The record, if it is there and readable.
    pub fn valid(&self) -> Option<&Arc<Stored<T>>> {
        match self {
            Self::Valid(stored) => Some(stored),
            Self::Absent | Self::Invalid(_) => None,
        }
    }

    /// Of the key, readable or not; 0 if there is none: what a compare-and-put names.
    pub fn mod_revision(&self) -> i64 {
        match self {
            Self::Valid(stored) => stored.mod_revision,
            Self::Invalid(mod_revision) => *mod_revision,
            Self::Absent => 0,
        }
    }
}

impl State {
    pub(super) fn new(keys: Keys) -> Self {
        Self {
            keys,
            revision: 0,
            synced: false,
            away: None,
            followed_since: None,
            called: false,
            pools: BTreeMap::new(),
            guard_ports: Slot::Absent,
            leader: None,
            invalid: BTreeMap::new(),
            history: History::default(),
            outages: Outages::default(),
        }
    }

    pub(super) fn reset(&mut self, entries: &[Entry], revision: i64) {
        let before = std::mem::replace(self, Self::new(self.keys.clone()));
        for entry in entries {
            self.put(entry, false);
        }
        for (name, pool) in before.pools {
            self.pools.entry(name).or_default().fleet.inherit(pool.fleet, before.away.is_some());
        }
        self.pools.retain(|_, pool| !pool.is_empty());
        self.revision = revision;
        self.history = History::renew(before.revision, revision);
        (self.outages, self.followed_since, self.called) = (before.outages, before.followed_since, before.called);
        self.synced = true;
    }

    pub(super) fn apply(&mut self, deltas: &[Delta], revision: i64) {
        if self.away.take().is_some() {
            self.pools.values_mut().for_each(|pool| pool.fleet.doubt());
        }
        for delta in deltas {
            match delta {
                Delta::Put(entry) => self.put(entry, true),
                Delta::Gone(key) => self.gone(key, revision),
            }
        }
        self.revision = revision;
    }

    /// The last time that etcd was away and came back.
    pub fn outage(&self) -> Option<Outage> {
        self.outages.last()
    }

    /// Puts down what Agents said; `false`: nothing has changed.
    pub(super) fn judge(&mut self, verdicts: Vec<Verdict>) -> bool {
        let fleets = &mut self.pools;
        let judge = |verdict: Verdict| {
            let Verdict { pool, node, mod_revision, answer } = verdict;
            fleets.get_mut(&pool).is_some_and(|pool| pool.fleet.judge(&node, mod_revision, answer))
        };
        // Each of them, also after the first that changes something.
        let changed = verdicts.into_iter().map(judge).filter(|changed| *changed).count() > 0;
        self.unrevised(changed)
    }

    /// Forgets nodes that are gone for long; `false`: nothing has changed.
    pub(super) fn sweep(&mut self, now: Instant) -> bool {
        let swept = self.pools.values_mut().map(|pool| pool.fleet.sweep(now)).filter(|changed| *changed).count();
        self.pools.retain(|_, pool| !pool.is_empty());
        self.unrevised(swept > 0)
    }

    /// A change that has no revision of etcd: who comes back can't be told of it by revisions.
    fn unrevised(&mut self, changed: bool) -> bool {
        if changed {
            self.history.begin(self.revision.saturating_add(1));
        }
        changed
    }

    /// Takes an entry over; `new`: it was written just now, and not only read.
    fn put(&mut self, entry: &Entry, new: bool) {
        let name = entry.name();
        self.invalid.remove(&name);
        let result = match self.keys.parse(&entry.key) {
            Some(key) => self.place(key, entry, new),
            None if self.is_ours(&name) => Err("it is no key of this version's layout".to_owned()),
            None => Ok(()),
        };
        if let Err(cause) = result
            && self.invalid.len() < MAX_INVALID
        {
            self.invalid.insert(name, Invalid { mod_revision: entry.mod_revision, cause });
        }
    }

    /// Puts a record in its place, or says what is wrong with it.
    fn place(&mut self, key: Key, entry: &Entry, new: bool) -> Result<(), String> {
        match key {
            Key::Pool(name) => {
                let read = read_pool(&name, entry);
                fill(&mut self.pools.entry(name).or_default().pool, entry, read)
            }
            Key::Assignment(name) => {
                fill(&mut self.pools.entry(name).or_default().assignment, entry, read_assignment(entry))
            }
            Key::Rollout(name) => {
                fill(&mut self.pools.entry(name).or_default().rollout, entry, entry.decode().map_err(|e| e.cause()))
            }
            Key::Scale(name) => {
                fill(&mut self.pools.entry(name).or_default().scale, entry, entry.decode().map_err(|e| e.cause()))
            }
            Key::Node(pool, node) => self.pools.entry(pool).or_default().fleet.put(node, entry, new),
            Key::GuardPorts => fill(&mut self.guard_ports, entry, entry.decode().map_err(|e| e.cause())),
            Key::Leader => {
                self.leader = None;
                self.leader = Some(entry.decode().map_err(|e| e.cause())?);
                Ok(())
            }
            // Read from etcd by those who need them; here only checked.
            Key::Revision(..) => entry.decode::<v1::Revision>().map(drop).map_err(|e| e.cause()),
            Key::Intent(pool, node) => {
                let intents = &mut self.pools.entry(pool).or_default().intents;
                intents.remove(&node);
                intents.insert(node, Arc::new(entry.decode().map_err(|e| e.cause())?));
                Ok(())
            }
            Key::Event(_) => entry.decode::<v1::Event>().map(drop).map_err(|e| e.cause()),
        }
    }

    fn gone(&mut self, key: &[u8], revision: i64) {
        self.invalid.remove(&*String::from_utf8_lossy(key));
        let key = self.keys.parse(key);
        if let Some(Key::Pool(_) | Key::Assignment(_) | Key::Rollout(_) | Key::Scale(_) | Key::Node(..)) = &key {
            key.iter().for_each(|key| self.history.note(revision, key.clone()));
        }
        match key {
            Some(Key::Pool(name)) => self.pools.entry(name).or_default().pool = Slot::Absent,
            Some(Key::Assignment(name)) => self.pools.entry(name).or_default().assignment = Slot::Absent,
            Some(Key::Rollout(name)) => self.pools.entry(name).or_default().rollout = Slot::Absent,
            Some(Key::Scale(name)) => self.pools.entry(name).or_default().scale = Slot::Absent,
            Some(Key::Node(pool, node)) => self.pools.entry(pool).or_default().fleet.remove(&node),
            Some(Key::Intent(pool, node)) => drop(self.pools.entry(pool).or_default().intents.remove(&node)),
            Some(Key::GuardPorts) => self.guard_ports = Slot::Absent,
            Some(Key::Leader) => self.leader = None,
            Some(Key::Revision(..) | Key::Event(_)) | None => {}
        }
        self.pools.retain(|_, pool| !pool.is_empty());
    }

    /// Whether a key that is none of ours lies where only ours belong; `orders/` and `guard/` are for later versions.
    fn is_ours(&self, key: &str) -> bool {
        let later = |rest: &str| ["orders/", "guard/"].iter().any(|prefix| rest.starts_with(prefix));
        key.strip_prefix(self.keys.root()).is_some_and(|rest| !later(rest))
    }
}

fn fill<T>(slot: &mut Slot<T>, entry: &Entry, read: Result<Stored<T>, String>) -> Result<(), String> {
    *slot = Slot::Invalid(entry.mod_revision);
    *slot = Slot::Valid(Arc::new(read?));
    Ok(())
}
