//! Changes of a pool: read, plan, compare-and-put.
//!
//! Used by the Pools service and at the start for the bootstrap pool. Two writers at once: the slower one plans again
//! on what the faster one stored, unless its caller named the version that it changes.

use std::time::SystemTime;

use echo_proto::ids::{PoolName, RevisionNumber};
use echo_proto::keys::{Key, Keys};
use echo_proto::{spec, v1};

use super::Api;
use super::conflict::expected_version;
use super::error::ApiError;
use super::request::asked;
use crate::plan::change::{self, Beside, Changed, Number};
use crate::plan::owned;
use crate::present;
use crate::scaler;
use crate::store::election::Leadership;
use crate::store::{Change, MAX_PAGE, StoreError, Stored, prefix_end};
use crate::view::check_record;

/// Attempts against other writers.
pub(super) const ATTEMPTS: u32 = 5;
/// Revisions of a pool that are kept.
const REVISIONS_KEPT: u32 = 10;

/// How a pool may be changed.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    /// Plan everything, store nothing.
    pub(super) dry_run: bool,
    /// The version that the caller has seen; `None`: whatever is stored.
    pub(super) expected: Option<i64>,
    /// Only while this process leads.
    pub(super) leader: Option<Leadership>,
}

/// A pool after a change that was stored, or need not be.
pub(crate) struct Written {
    /// The pool's name.
    pub(crate) name: PoolName,
    /// As stored now; in a dry run, as it would be.
    pub(crate) record: v1::PoolRecord,
    /// Of the record; in a dry run, of the one it would replace.
    pub(crate) mod_revision: i64,
    /// What it was; `None`: the pool is new.
    pub(crate) before: Option<v1::PoolRecord>,
    /// Whether anything changed.
    pub(crate) changed: bool,
    /// The rollout that gave way, in words.
    replaced: Option<String>,
}

impl Written {
    /// What who asked for it should know.
    pub(super) fn warnings(&self, change: owned::Change) -> Vec<String> {
        let before = self.before.as_ref().filter(|_| self.changed);
        let owned = before.map_or_else(Vec::new, |before| owned::warnings(&self.name, before, change));
        self.replaced.iter().cloned().chain(owned).collect()
    }
}

impl Api {
    /// Carries out an apply, of a bootstrap pool too.
    pub(crate) async fn write_pool(&self, request: &v1::ApplyRequest) -> Result<Written, ApiError> {
        let pool = request.pool.clone().unwrap_or_default();
        let name = spec::check_pool(&pool)?.name;
        let seen = pool.metadata.as_ref().map_or("", |m| m.resource_version.as_str());
        let expected = expected_version("metadata.resourceVersion", seen)?;
        let asked = asked(&request.author, &request.message, request.now)?;
        let terms = Terms { dry_run: request.dry_run, expected, leader: None };
        self.change_pool(&name, terms, |stored, beside| {
            let (stored, now) = (stored.map(|stored| &stored.value), SystemTime::now());
            let keeping = request.keep_nodes.then(|| change::keeping(&pool, stored, beside));
            let kept = keeping.as_ref().unwrap_or(&pool);
            let changed = match stored {
                None => Some(change::create(&name, kept, beside.there, &asked, now)),
                Some(stored) => change::apply(&name, stored, beside, kept, &asked, now),
            };
            self.possible(pool.spec.as_ref(), stored, changed)
        })
        .await
    }

    /// Creates a pool, unless one of its name exists; tells whether it did.
    pub(crate) async fn create_pool(&self, request: &v1::ApplyRequest) -> Result<bool, ApiError> {
        let pool = request.pool.clone().unwrap_or_default();
        let name = spec::check_pool(&pool)?.name;
        let asked = asked(&request.author, &request.message, request.now)?;
        let written = self.change_pool(&name, Terms::default(), |stored, beside| {
            let now = SystemTime::now();
            Ok(stored.is_none().then(|| change::create(&name, &pool, beside.there, &asked, now)))
        });
        Ok(written.await?.changed)
    }

    /// Reads a pool, plans its change and stores that; plans again when another writer was faster.
    pub(crate) async fn change_pool(
        &self,
        name: &PoolName,
        terms: Terms,
        plan: impl Fn(Option<&Stored<v1::PoolRecord>>, Beside<'_>) -> Result<Option<Changed>, ApiError>,
    ) -> Result<Written, ApiError> {
        let keys = self.store.keys();
        for _ in 0..ATTEMPTS {
            let stored = self.read_pool(name).await?;
            self.check_version(name, terms.expected, stored.as_ref()).await?;
            let rollout = readable(self.store.get::<v1::Rollout>(&keys.rollout(name)).await)?;
            let scale = readable(self.store.get::<v1::Scale>(&keys.scale(name)).await)?;
            let there = match (&stored, &scale) {
                (Some(_), Some(_)) => 0,
                _ => scaler::there(&self.about.scaler, &self.view, name).await,
            };
            let (rollout, scale) = (rollout.as_ref().map(|r| &r.value), scale.as_ref().map(|scale| &scale.value));
            let beside = Beside { rollout, scale, there };
            let before = stored.as_ref().map(|s| s.value.clone());
            let mod_revision = stored.as_ref().map_or(0, |s| s.mod_revision);
            let Some(changed) = plan(stored.as_ref(), beside)? else {
                let record = before.clone().unwrap_or_default();
                return Ok(Written {
                    name: name.clone(),
                    record,
                    mod_revision,
                    before,
                    changed: false,
                    replaced: None,
                });
            };
            let record = changed.record.clone();
            let replaced = before.as_ref().and_then(|before| change::replaced(name, before, &record, rollout));
            let written =
                |mod_revision| Written { name: name.clone(), record, mod_revision, before, changed: true, replaced };
            if terms.dry_run {
                return Ok(written(mod_revision));
            }
            let change = self.transaction(name, mod_revision, changed).await?;
            let change = match &terms.leader {
                Some(leader) => change.fenced(keys, leader),
                None => change,
            };
            if let Some(mod_revision) = self.store.commit(change).await? {
                return Ok(written(mod_revision));
            }
        }
        Err(ApiError::contended(&crate::event::of_pool(name)))
    }

    /// A pool from etcd itself. One that is stored but not valid is an error: what can't be read is not changed.
    pub(super) async fn read_pool(&self, name: &PoolName) -> Result<Option<Stored<v1::PoolRecord>>, StoreError> {
        let key = self.store.keys().pool(name);
        let stored = self.store.get::<v1::PoolRecord>(&key).await?;
        if let Some(stored) = &stored {
            check_record(name, &stored.value).map_err(|cause| StoreError::Invalid { key, cause })?;
        }
        Ok(stored)
    }

    async fn transaction(&self, name: &PoolName, mod_revision: i64, changed: Changed) -> Result<Change, ApiError> {
        let keys = self.store.keys();
        let mut change = Change::new().require(&keys.pool(name), mod_revision).put(&keys.pool(name), &changed.record);
        if let Some(revision) = changed.revision {
            let n = revision.revision.as_ref().map_or(0, |r| r.n);
            let key = keys.revision(name, RevisionNumber(n));
            for old in self.outdated(name, n, &changed.record.pins).await? {
                change = change.delete(&keys.revision(name, RevisionNumber(old)));
            }
            change = change.put(&key, &revision);
        }
        // The leader writes it only while the pool is as it saw it.
        change = match changed.number {
            Number::Stays => change,
            Number::Begins(replicas) => change.put(&keys.scale(name), &v1::Scale { replicas, ..Default::default() }),
            Number::Ends => change.delete(&keys.scale(name)),
        };
        Ok(change.event(keys, changed.event))
    }

    /// Revisions that go when `newest` comes: all but the last few, those that nodes run or would return to, and those
    /// that nodes are pinned to.
    async fn outdated(&self, name: &PoolName, newest: u32, pins: &[v1::Pin]) -> Result<Vec<u32>, ApiError> {
        let keys = self.store.keys();
        let prefix = keys.revisions(Some(name));
        let page = self.store.page(prefix.as_bytes(), &prefix_end(&prefix), MAX_PAGE, 0).await?;
        let assignment = readable(self.store.get::<v1::Assignment>(&keys.assignment(name)).await)?.map(|a| a.value);
        let rollout = readable(self.store.get::<v1::Rollout>(&keys.rollout(name)).await)?.map(|r| r.value);
        let assigned = assignment.iter().flat_map(|a| [&a.stable, &a.next]).flatten().map(|r| r.n);
        let rolled = rollout.iter().flat_map(|r| [&r.from, &r.to]).flatten().map(|r| r.n);
        let needed: Vec<u32> = assigned.chain(rolled).chain(pins.iter().map(|pin| pin.revision)).collect();
        let numbers = page.entries.iter().filter_map(|entry| number(keys, &entry.key));
        let old = |n: u32| n.saturating_add(REVISIONS_KEPT) <= newest && !needed.contains(&n);
        // Higher ones are an earlier life of the pool's.
        let outdated = numbers.filter(|n| *n > newest || old(*n));
        // A transaction holds 128 operations.
        Ok(outdated.take(100).collect())
    }

    /// A pool's object with its status.
    pub(super) fn present(&self, name: &PoolName, record: &v1::PoolRecord, mod_revision: i64) -> v1::Pool {
        let status = self.view.read(|state| state.pools.get(name).map(present::status));
        v1::Pool { status: Some(status.unwrap_or_default()), ..present::pool(record, mod_revision) }
    }
}

/// The leader's records only help here: one that can't be read, which the drive reports, must not stop an operator.
fn readable<T>(read: Result<Option<T>, StoreError>) -> Result<Option<T>, StoreError> {
    match read {
        Err(StoreError::Invalid { .. }) => Ok(None),
        read => read,
    }
}

fn number(keys: &Keys, key: &[u8]) -> Option<u32> {
    match keys.parse(key) {
        Some(Key::Revision(_, RevisionNumber(n))) => Some(n),
        _ => None,
    }
}
