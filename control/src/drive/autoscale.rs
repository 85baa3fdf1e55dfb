//! How many nodes pools should have: the autoscalers' decisions, and what keeps pools from having as many as they want.
//!
//! Part of the drive. Each pool has one key for both, written fenced and with its event; what was written is not
//! decided again before the view shows it. A new leader goes on from there, or from the nodes that run where those are
//! more, and watches for a while before it takes a node away.

mod found;
mod standing;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use echo_proto::ids::PoolName;
use echo_proto::spec::MAX_REPLICAS;
use echo_proto::v1;
use tokio::time::Instant;

use self::found::{Found, Kept, found};
use self::standing::Standing;
use super::Pass;
use crate::event;
use crate::figures::{Figures, User, Whom};
use crate::plan::change::{self, Request};
use crate::scaler::{self, Failure, Scaler};
use crate::store::election::Leadership;
use crate::store::{Change, Store, StoreError};
use crate::view::{PoolState, View};
use crate::words::count;

/// Reason of the event of a pool that got another number of nodes.
const SCALED: &str = "PoolScaled";

/// Who did it.
const ACTOR: &str = "autoscaler";

/// A pool lacks nodes for so long before it is told that nobody starts them: one that is started again is soon back.
const LACK_FOR: Duration = Duration::from_secs(5);

/// Who gave a pool its number for want of one that was named.
const CONTROL: &str = "control";

/// One leader's work on the sizes of all pools.
pub(super) struct Scales {
    store: Store,
    leadership: Leadership,
    figures: Figures,
    scaler: Arc<dyn Scaler>,
    /// What this leader saw of each pool that has an autoscaler.
    kept: HashMap<PoolName, Kept>,
    /// Numbers that nobody named, as this leader wrote or confirmed them.
    begun: HashMap<PoolName, Standing>,
    /// Pools that lack nodes which nobody starts, and since when.
    lacking: HashMap<PoolName, Instant>,
    /// Revisions of own writes that the view has yet to show.
    written: HashMap<PoolName, i64>,
}

impl Scales {
    pub(super) fn new(store: Store, leadership: Leadership, figures: Figures, scaler: Arc<dyn Scaler>) -> Self {
        Self {
            store,
            leadership,
            figures,
            scaler,
            kept: HashMap::new(),
            begun: HashMap::new(),
            lacking: HashMap::new(),
            written: HashMap::new(),
        }
    }

    /// Whether a pool may get the number of nodes that it wants as it is stored: not before this leader has looked who
    /// runs, where nobody named that number.
    pub(super) fn stands(&self, name: &PoolName, pool: &PoolState) -> bool {
        Standing::of(pool).is_none_or(|standing| self.begun.get(name) == Some(&standing))
    }

    pub(super) async fn pass(&mut self, view: &View) -> Pass {
        let failures = self.scaler.failures().borrow().clone();
        let (revision, leader, pools) = view.read(|state| {
            let pools = state.pools.iter().filter_map(|(name, pool)| found(name, pool));
            // What is old is no ground to decide on.
            let pools = if state.away.is_some() { Vec::new() } else { pools.collect() };
            (state.revision, state.leader.as_ref().map(|leader| leader.value.clone()), pools)
        });
        let idle = leader.filter(|_| !self.scaler.acts()).map(|leader| scaler::idle(&leader));
        self.written.retain(|_, at| *at > revision);
        let ruled: HashSet<PoolName> =
            pools.iter().filter(|pool| pool.rule.is_some()).map(|pool| pool.name.clone()).collect();
        let unnamed: HashSet<PoolName> =
            pools.iter().filter(|pool| pool.standing.is_some()).map(|pool| pool.name.clone()).collect();
        self.kept.retain(|name, _| ruled.contains(name));
        self.begun.retain(|name, _| unnamed.contains(name));
        self.figures.keep(User::Autoscaler, |name| ruled.contains(name));
        self.lacking.retain(|name, _| pools.iter().any(|pool| pool.lacks && pool.name == *name));
        let (mut due, mut again) = (None::<Instant>, false);
        for mut pool in pools {
            if self.written.contains_key(&pool.name) {
                continue;
            }
            if pool.standing.as_ref().is_some_and(|standing| self.begun.get(&pool.name) != Some(standing)) {
                pool.there = Some(self.there(view, &pool).await);
            }
            match self.step(&pool, failures.get(&pool.name), idle.as_ref()).await {
                Ok(Pass::Done(at)) => due = due.into_iter().chain(at).min(),
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
        if again { Pass::Again } else { Pass::Done(due) }
    }

    /// How many nodes a pool begins with. Where a number is stored, those that others run are no part of it.
    async fn there(&self, view: &View, pool: &Found) -> u32 {
        let lost = pool.rule.is_some() && pool.scale.replicas == 0;
        if lost {
            return scaler::there(&self.scaler, view, &pool.name).await;
        }
        scaler::living(&self.scaler, &pool.name).await.len().try_into().unwrap_or(u32::MAX)
    }

    async fn step(
        &mut self,
        pool: &Found,
        failure: Option<&Failure>,
        idle: Option<&String>,
    ) -> Result<Pass, StoreError> {
        if let (Some(there), Some(standing), None) = (pool.there, &pool.standing, &pool.rule) {
            return self.confirm(pool, standing, there).await;
        }
        let (mut scale, now) = (pool.scale.clone(), Instant::now());
        let mut kept = None;
        if let Some(rule) = &pool.rule {
            self.figures.want(User::Autoscaler, &pool.name, Some(Whom::Pool));
            let before = self.kept.get(&pool.name).filter(|_| pool.there.is_none()).cloned();
            let mut seen = before.unwrap_or_else(|| Kept::new(pool, rule.clone(), now));
            seen.decide(pool, &self.figures, &mut scale, now);
            kept = Some(seen);
        }
        let limit = kept.as_ref().and_then(|kept| kept.limit(now));
        let lacks = pool.lacks && idle.is_some();
        let told = lacks.then(|| *self.lacking.entry(pool.name.clone()).or_insert(now) + LACK_FOR);
        let idle = idle.filter(|_| kept.is_some() || told.is_some_and(|at| at <= now)).cloned();
        scale.conditions = found::conditions(&pool.scale.conditions, limit, failure, idle);
        let written = if scale == pool.scale { Some(None) } else { self.write(pool, &scale).await?.map(Some) };
        let Some(revision) = written else { return Ok(Pass::Again) };
        // Only now: what was not stored has not happened.
        self.kept.extend(kept.map(|kept| (pool.name.clone(), kept)));
        let standing = pool.standing.clone().map(|standing| standing.decided(scale.replicas));
        self.begun.extend(standing.map(|standing| (pool.name.clone(), standing)));
        self.written.extend(revision.map(|revision| (pool.name.clone(), revision)));
        // The scaler has yet to be told.
        Ok(Pass::Done(pool.there.map(|_| now).or(told.filter(|at| *at > now))))
    }

    /// Goes on from the number of a pool whose file left it open, or from how many run, where those are more: they may be
    /// unknown to the control that made the pool.
    async fn confirm(&mut self, pool: &Found, standing: &Standing, there: u32) -> Result<Pass, StoreError> {
        let (keys, name, stored) = (self.store.keys(), &pool.name, &pool.pool.value.record);
        let raised = there.min(MAX_REPLICAS).max(pool.pool.value.plan.replicas);
        let request = Request { author: CONTROL.to_owned(), ..Request::default() };
        let Some(changed) = change::scale(name, stored, raised, &request, SystemTime::now()) else {
            self.begun.insert(name.clone(), standing.clone());
            // The scaler has yet to be told.
            return Ok(Pass::Done(Some(Instant::now())));
        };
        let record = v1::PoolRecord { trace: stored.trace.clone(), ..changed.record };
        let message = format!("{}: they run already", changed.event.message);
        let key = keys.pool(name);
        let change = Change::new()
            .fenced(keys, &self.leadership)
            .require(&key, pool.pool.mod_revision)
            .put(&key, &record)
            .event(keys, v1::Event { message, ..changed.event });
        let Some(revision) = self.store.commit(change).await? else { return Ok(Pass::Again) };
        self.written.insert(name.clone(), revision);
        Ok(Pass::Done(None))
    }

    /// Stores a pool's size and conditions; the revision, or `None` where another was faster.
    async fn write(&self, pool: &Found, scale: &v1::Scale) -> Result<Option<i64>, StoreError> {
        let (keys, name) = (self.store.keys(), &pool.name);
        let key = keys.scale(name);
        let change = Change::new()
            .fenced(keys, &self.leadership)
            .require(&keys.pool(name), pool.pool.mod_revision)
            .require(&key, pool.scale_at);
        let is_empty = scale.replicas == 0 && scale.conditions.is_empty();
        let mut change = if is_empty { change.delete(&key) } else { change.put(&key, scale) };
        let (from, to) = (pool.scale.replicas, scale.replicas);
        // What it begins with is no change.
        if from != to && from != 0 {
            let text = format!("scaled from {from} to {}: {}", count(to, "node"), scale.reason);
            tracing::info!(pool = %name, "{text}");
            let (event, actor) = (event::normal(SCALED, event::of_pool(name), text), ACTOR.to_owned());
            change = change.event(keys, v1::Event { actor, from: from.to_string(), to: to.to_string(), ..event });
        }
        self.store.commit(change).await
    }
}
