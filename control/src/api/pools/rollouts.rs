//! Rollouts as callers see them: the newest of a pool, now and as it changes.
//!
//! Part of the Pools service; served from the view, once that has caught up with what is stored.

use std::collections::BTreeMap;
use std::time::Duration;

use echo_proto::ids::PoolName;
use echo_proto::v1;

use super::super::error::ApiError;
use super::super::watch::Source;
use super::super::{Api, present};
use crate::store::{StoreError, Stored};
use crate::view::State;

/// Longest wait for the view to show what etcd holds already.
const CATCH_UP_DEADLINE: Duration = Duration::from_secs(2);

impl Api {
    /// A pool from etcd itself.
    pub(super) async fn stored_pool(&self, name: &PoolName) -> Result<Stored<v1::PoolRecord>, ApiError> {
        let stored = self.store.get(&self.store.keys().pool(name)).await?;
        stored.ok_or_else(|| ApiError::no_pool(name))
    }

    /// Waits until the view shows the pool as it is stored: who asks for a rollout may have applied just now.
    pub(super) async fn caught_up(&self, name: &PoolName) -> Result<(), ApiError> {
        let stored = self.stored_pool(name).await?;
        let shown = self.view.until(|state| state.synced && state.revision >= stored.mod_revision);
        let late = || StoreError::Unavailable {
            endpoints: self.store.endpoints().to_owned(),
            cause: "its changes do not arrive".to_owned(),
        };
        tokio::time::timeout(CATCH_UP_DEADLINE, shown).await.map_err(|_| ApiError::Store(late()))
    }
}

/// Watches the rollouts of one pool.
pub(super) struct RolloutSource(pub(super) PoolName);

impl RolloutSource {
    fn now(&self, state: &State) -> Option<v1::WatchRolloutResponse> {
        let pool = state.pools.get(&self.0)?;
        let rollout = present::rollout(pool);
        let newest = pool.pool.valid()?.value.record.revision.as_ref();
        let pending = rollout.as_ref().and_then(|r| r.to.as_ref()) != newest;
        Some(v1::WatchRolloutResponse { rollout, pending })
    }
}

impl Source for RolloutSource {
    type Key = ();
    type Version = v1::WatchRolloutResponse;
    type Object = v1::WatchRolloutResponse;
    type Reply = v1::WatchRolloutResponse;

    fn versions(&self, state: &State) -> BTreeMap<(), v1::WatchRolloutResponse> {
        self.now(state).map(|now| ((), now)).into_iter().collect()
    }

    fn object(&self, state: &State, (): &()) -> Option<v1::WatchRolloutResponse> {
        self.now(state)
    }

    fn gone(&self, (): &()) -> v1::WatchRolloutResponse {
        v1::WatchRolloutResponse::default()
    }

    /// This stream has no frame: each message is the rollout as it is.
    fn reply(
        &self,
        _: v1::WatchType,
        now: Option<v1::WatchRolloutResponse>,
        _: String,
    ) -> Option<v1::WatchRolloutResponse> {
        now
    }
}
