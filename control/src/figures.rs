//! The nodes' live figures, asked from their Agents in the background, for whoever decides by them.
//!
//! Used by the leader: the autoscaler, the rollout's health rule, and the process scaler when it chooses whom to stop.
//! Each says what it wants and reads what was answered last; nobody waits for an Agent, and a finished round wakes who
//! follows [`Figures::rounds`]. Where nobody wants anything, nobody is asked.

mod asking;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use echo_proto::ids::{NodeId, PoolName};
use echo_proto::v1;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// From the beginning of one round to that of the next over some nodes ...
const EVERY_OF_SOME: Duration = Duration::from_millis(500);
/// ... and over a whole pool.
const EVERY_OF_POOL: Duration = Duration::from_secs(2);
/// A round over a whole pool that takes long is followed by a pause of so many times its length ...
const PAUSE_OF_POOL: u32 = 4;
/// ... and one over some nodes by one as long as it was: a rollout waits for what they say.
const PAUSE_OF_SOME: u32 = 1;
/// A node's sample is dropped when it has not answered for so long, and for two rounds.
const KEEP_FOR: Duration = Duration::from_secs(60);

/// What the nodes' Agents said last; cheap to clone.
#[derive(Clone, Default)]
pub struct Figures {
    shared: Arc<Shared>,
}

/// What one node said of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// When it was asked: what it counts is not older than this.
    pub at: Instant,
    /// Its counters begin anew with another one.
    pub incarnation: String,
    /// What it said.
    pub live: v1::LiveFigures,
}

/// Who wants figures; each has one wish for a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum User {
    /// How many nodes there should be.
    Autoscaler,
    /// Whether a revision does harm.
    Health,
    /// Whom to stop.
    Scaler,
}

/// Whose figures are wanted; only nodes with a record are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// All nodes of the pool.
    Pool,
    /// These, whatever the size of their pool.
    Nodes(BTreeSet<NodeId>),
}

impl Whom {
    fn every(&self) -> Duration {
        match self {
            Self::Pool => EVERY_OF_POOL,
            Self::Nodes(_) => EVERY_OF_SOME,
        }
    }

    /// After a round that lasted so long.
    fn pause(&self, lasted: Duration) -> Duration {
        lasted.saturating_mul(match self {
            Self::Pool => PAUSE_OF_POOL,
            Self::Nodes(_) => PAUSE_OF_SOME,
        })
    }
}

#[derive(Default)]
struct Shared {
    known: Mutex<Known>,
    /// A wish has changed.
    changed: Notify,
    /// Counts finished rounds.
    rounds: watch::Sender<u64>,
}

#[derive(Default)]
struct Known {
    wishes: BTreeMap<(PoolName, User), Wish>,
    heard: BTreeMap<PoolName, HashMap<NodeId, Heard>>,
    /// Counts wishes.
    made: u64,
}

#[derive(Debug)]
struct Wish {
    /// Tells it from those before it: a round over other nodes is none of its own.
    id: u64,
    whom: Whom,
    /// When its last finished round began.
    asked: Option<Instant>,
    /// Who did not answer in that.
    silent: usize,
    /// When its next round begins; `None`: one is under way.
    due: Option<Instant>,
}

/// What came of the questions to one node.
struct Heard {
    /// When the newest one that is over was asked.
    asked: Instant,
    /// How many in a row had no answer.
    missed: u32,
    /// The process that answered last.
    last: Option<String>,
    /// Its answer, while that is not too old.
    sample: Option<Arc<Sample>>,
}

impl Heard {
    /// Asked, but not heard yet.
    fn of(asked: Instant) -> Self {
        Self { asked, missed: 0, last: None, sample: None }
    }

    /// A question is over. One that was overtaken by a newer one says nothing any more.
    fn note(&mut self, asked: Instant, sample: Option<Sample>, counts: bool) {
        if asked < self.asked {
            return;
        }
        self.asked = asked;
        match sample {
            Some(sample) => {
                (self.missed, self.last) = (0, Some(sample.incarnation.clone()));
                self.sample = Some(Arc::new(sample));
            }
            None => self.missed = self.missed.saturating_add(counts.into()),
        }
    }
}

impl Figures {
    /// Has these nodes of a pool asked again and again from now on, in place of what this user wanted of it; `None`: no
    /// more of them. The same wish again changes nothing.
    pub fn want(&self, user: User, pool: &PoolName, whom: Option<Whom>) {
        let (mut known, key) = (self.known(), (pool.clone(), user));
        match whom {
            Some(whom) if known.wishes.get(&key).is_some_and(|wish| wish.whom == whom) => return,
            Some(whom) => {
                known.made += 1;
                let wish = Wish { id: known.made, whom, asked: None, silent: 0, due: Some(Instant::now()) };
                known.wishes.insert(key, wish);
            }
            None => known.forget(&key),
        }
        drop(known);
        self.shared.changed.notify_one();
    }

    /// Ends all wishes of a user but those for the pools that `keep` names.
    pub fn keep(&self, user: User, keep: impl Fn(&PoolName) -> bool) {
        let mut known = self.known();
        let over = |(pool, whose): &&(PoolName, User)| *whose == user && !keep(pool);
        for key in known.wishes.keys().filter(over).cloned().collect::<Vec<_>>() {
            known.forget(&key);
        }
    }

    /// When the last finished round over what this user wants of a pool began; `None`: there was none since it wants
    /// that. A node whose [`Sample::at`] is earlier, or that has no sample, did not answer in it.
    pub fn asked(&self, user: User, pool: &PoolName) -> Option<Instant> {
        self.known().wishes.get(&(pool.clone(), user))?.asked
    }

    /// How many did not answer in that round.
    pub fn silent(&self, user: User, pool: &PoolName) -> usize {
        self.known().wishes.get(&(pool.clone(), user)).map_or(0, |wish| wish.silent)
    }

    /// What a node said last, if that is not long ago and somebody wants figures of its pool.
    pub fn sample(&self, pool: &PoolName, node: &NodeId) -> Option<Arc<Sample>> {
        self.known().heard.get(pool)?.get(node)?.sample.clone()
    }

    /// How many questions in a row the process `incarnation` of a node has left without an answer, of those that were
    /// asked of some nodes, and not of a whole pool.
    pub fn missed(&self, pool: &PoolName, node: &NodeId, incarnation: &str) -> u32 {
        let known = self.known();
        let heard = known.heard.get(pool).and_then(|nodes| nodes.get(node));
        heard
            .filter(|heard| heard.last.as_deref().is_none_or(|last| last == incarnation))
            .map_or(0, |heard| heard.missed)
    }

    /// Tells of every finished round.
    pub fn rounds(&self) -> watch::Receiver<u64> {
        self.shared.rounds.subscribe()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.shared.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn forget(&mut self, key: &(PoolName, User)) {
        self.wishes.remove(key);
        if !self.wishes.keys().any(|(pool, _)| *pool == key.0) {
            self.heard.remove(&key.0);
        }
    }
}

#[cfg(test)]
mod tests;
