//! How many nodes pools should have: the autoscalers' decisions, and what keeps pools from having as many as they want.
//!
//! Part of the drive. Each pool has one key for both, written fenced and with its event; what was written is not
//! decided again before the view shows it. A new leader goes on from there, and watches for a while before it takes a
//! node away.

mod found;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use echo_proto::ids::PoolName;
use echo_proto::v1;
use tokio::time::Instant;

use self::found::{Found, Kept, found};
use super::Pass;
use crate::event;
use crate::figures::{Figures, User, Whom};
use crate::scaler::{self, Scaler};
use crate::store::election::Leadership;
use crate::store::{Change, Store, StoreError};
use crate::view::View;

/// Reason of the event of a pool that got another number of nodes.
const SCALED: &str = "PoolScaled";

/// Who did it.
const ACTOR: &str = "autoscaler";

/// One leader's work on the sizes of all pools.
pub(super) struct Scales {
    store: Store,
    leadership: Leadership,
    figures: Figures,
    scaler: Arc<dyn Scaler>,
    /// What this leader saw of each pool that has an autoscaler.
    kept: HashMap<PoolName, Kept>,
    /// Revisions of own writes that the view has yet to show.
    written: HashMap<PoolName, i64>,
}

impl Scales {
    pub(super) fn new(store: Store, leadership: Leadership, figures: Figures, scaler: Arc<dyn Scaler>) -> Self {
        Self { store, leadership, figures, scaler, kept: HashMap::new(), written: HashMap::new() }
    }

    pub(super) async fn pass(&mut self, view: &View) -> Pass {
        let failures = self.scaler.failures().borrow().clone();
        let (revision, pools) = view.read(|state| {
            let pools = state.pools.iter().filter_map(|(name, pool)| found(name, pool));
            // What is old is no ground to decide on.
            let pools = if state.away.is_some() { Vec::new() } else { pools.collect() };
            (state.revision, pools)
        });
        self.written.retain(|_, at| *at > revision);
        let ruled: HashSet<PoolName> =
            pools.iter().filter(|pool| pool.rule.is_some()).map(|pool| pool.name.clone()).collect();
        self.kept.retain(|name, _| ruled.contains(name));
        self.figures.keep(User::Autoscaler, |name| ruled.contains(name));
        let mut again = false;
        for mut pool in pools {
            if self.written.contains_key(&pool.name) {
                continue;
            }
            if pool.rule.is_some() && pool.scale.replicas == 0 {
                pool.there = scaler::there(&self.scaler, view, &pool.name).await;
            }
            match self.step(&pool, failures.get(&pool.name)).await {
                Ok(Pass::Done(_)) => {}
                Ok(Pass::Again) => again = true,
                Err(error) => {
                    tracing::warn!(%error, pool = %pool.name, "a pool's size was not written");
                    again = true;
                    // The next pool would wait for the same deadline.
                    if error.is_unavailable() {
                        break;
                    }
                }
            }
        }
        if again { Pass::Again } else { Pass::Done(None) }
    }

    async fn step(&mut self, pool: &Found, failure: Option<&String>) -> Result<Pass, StoreError> {
        let (mut scale, now) = (pool.scale.clone(), Instant::now());
        let mut kept = None;
        if let Some(rule) = &pool.rule {
            self.figures.want(User::Autoscaler, &pool.name, Some(Whom::Pool));
            let before = self.kept.get(&pool.name).filter(|kept| kept.is_of(pool)).cloned();
            let mut seen = before.unwrap_or_else(|| Kept::new(pool, rule.clone(), now));
            seen.decide(pool, &self.figures, &mut scale, now);
            kept = Some(seen);
        }
        let limit = kept.as_ref().and_then(|kept| kept.limit(now));
        let idle = kept.is_some() && !self.scaler.acts();
        scale.conditions = found::conditions(&pool.scale.conditions, limit, failure, idle);
        let written = if scale == pool.scale { Some(None) } else { self.write(pool, &scale).await?.map(Some) };
        let Some(revision) = written else { return Ok(Pass::Again) };
        // Only now: what was not stored has not happened.
        self.kept.extend(kept.map(|kept| (pool.name.clone(), kept)));
        self.written.extend(revision.map(|revision| (pool.name.clone(), revision)));
        Ok(Pass::Done(None))
    }

    /// Stores a pool's size and conditions; the revision, or `None` where another was faster.
    async fn write(&self, pool: &Found, scale: &v1::Scale) -> Result<Option<i64>, StoreError> {
        let (keys, name) = (self.store.keys(), &pool.name);
        let key = keys.scale(name);
        let change = Change::new()
            .fenced(keys, &self.leadership)
            .require(&keys.pool(name), pool.mod_revision)
            .require(&key, pool.scale_at);
        let is_empty = scale.replicas == 0 && scale.conditions.is_empty();
        let mut change = if is_empty { change.delete(&key) } else { change.put(&key, scale) };
        let (from, to) = (pool.scale.replicas, scale.replicas);
        // What it begins with is no change.
        if from != to && from != 0 {
            let text = format!("scaled from {from} to {to} nodes: {}", scale.reason);
            tracing::info!(pool = %name, "{text}");
            let (event, actor) = (event::normal(SCALED, event::of_pool(name), text), ACTOR.to_owned());
            change = change.event(keys, v1::Event { actor, from: from.to_string(), to: to.to_string(), ..event });
        }
        self.store.commit(change).await
    }
}
