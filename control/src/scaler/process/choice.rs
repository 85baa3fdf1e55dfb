//! Who of a pool that shrinks is used least, by what the nodes' Agents say.
//!
//! Kept by the supervisor, which must not stop a node of such a pool before they were asked, or did not answer in time.
//! Where no pool shrinks, nobody is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use echo_proto::ids::{NodeId, PoolName};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::figures::{Figures, User, Whom};

/// Longest wait for what the nodes say: later, those that said nothing count as busy. Several rounds: an Agent is late
/// where its host is busy, and that must not make a busy node look like the better choice.
const ASK_WITHIN: Duration = Duration::from_secs(5);

/// What the choice rests on.
pub(super) struct Choice {
    figures: Figures,
    rounds: watch::Receiver<u64>,
    /// Pools that have more nodes than they want, and since when.
    shrinking: BTreeMap<PoolName, Instant>,
}

impl Choice {
    pub(super) fn new(figures: Figures) -> Self {
        Self { rounds: figures.rounds(), figures, shrinking: BTreeMap::new() }
    }

    /// Has the nodes of those pools asked, of which some are to go and some to stay; nobody else any more. Returns the
    /// pools that one has to wait for.
    pub(super) fn ask(&mut self, pools: BTreeMap<PoolName, BTreeSet<NodeId>>, now: Instant) -> BTreeSet<PoolName> {
        self.shrinking.retain(|pool, _| pools.contains_key(pool));
        self.figures.keep(User::Scaler, |pool| pools.contains_key(pool));
        for (pool, nodes) in pools {
            self.figures.want(User::Scaler, &pool, Some(Whom::Nodes(nodes)));
            self.shrinking.entry(pool).or_insert(now);
        }
        let figures = &self.figures;
        let waits = |(pool, since): &(&PoolName, &Instant)| {
            let said = figures.asked(User::Scaler, pool).is_some() && figures.silent(User::Scaler, pool) == 0;
            !said && now < **since + ASK_WITHIN
        };
        self.shrinking.iter().filter(waits).map(|(pool, _)| pool.clone()).collect()
    }

    /// Its connections and UDP flows, if it said so since its pool shrinks.
    pub(super) fn load(&self, pool: &PoolName, node: &NodeId) -> Option<u64> {
        let since = self.shrinking.get(pool)?;
        let sample = self.figures.sample(pool, node).filter(|sample| sample.at >= *since)?;
        Some(u64::from(sample.live.connections) + u64::from(sample.live.udp_flows))
    }

    /// Nobody is to be chosen any more.
    pub(super) fn forget(&mut self) {
        self.ask(BTreeMap::new(), Instant::now());
    }

    /// When a wait ends.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        self.shrinking.values().map(|since| *since + ASK_WITHIN).filter(|until| *until > now).min()
    }

    /// Returns when nodes have answered.
    pub(super) async fn answered(&mut self) {
        if self.rounds.changed().await.is_err() {
            // The sender lives in `self.figures`.
            std::future::pending::<()>().await;
        }
    }
}
