//! Rollouts as callers see them: the newest of a pool, now and as it changes.
//!
//! Part of the Pools service; served from the view, once that has caught up with what is stored.

use std::collections::BTreeMap;
use std::time::Duration;

use echo_proto::ids::PoolName;
use echo_proto::keys::Keys;
use echo_proto::v1;

use super::super::Api;
use super::super::error::ApiError;
use super::super::watch::Source;
use crate::present;
use crate::store::{StoreError, Stored};
use crate::view::{Slot, State};

/// Longest wait for the view to show what etcd holds already.
const CATCH_UP_DEADLINE: Duration = Duration::from_secs(2);

impl Api {
    /// A pool from etcd itself.
    pub(super) async fn stored_pool(&self, name: &PoolName) -> Result<Stored<v1::PoolRecord>, ApiError> {
        self.read_pool(name).await?.ok_or_else(|| ApiError::no_pool(name))
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
pub(super) struct RolloutSource {
    name: PoolName,
    /// etcd keys of the pool and of its rollout.
    keys: [String; 2],
}

impl RolloutSource {
    pub(super) fn new(keys: &Keys, name: PoolName) -> Self {
        let keys = [keys.pool(&name), keys.rollout(&name)];
        Self { name, keys }
    }

    /// The rollout as it is; an error where there is no pool, or where a record that can't be read stands in the way:
    /// nobody should wait for the end of such a rollout.
    pub(super) fn now(&self, state: &State) -> Result<v1::WatchRolloutResponse, ApiError> {
        let pool = state.pools.get(&self.name).ok_or_else(|| ApiError::no_pool(&self.name))?;
        let unreadable = |key: &String| {
            let cause = state.invalid.get(key).map_or_else(|| "it can't be read".to_owned(), |i| i.cause.clone());
            ApiError::Store(StoreError::Invalid { key: key.clone(), cause })
        };
        let [pool_key, rollout_key] = &self.keys;
        let newest = match &pool.pool {
            Slot::Valid(stored) => stored.value.record.revision.as_ref(),
            Slot::Invalid(_) => return Err(unreadable(pool_key)),
            Slot::Absent => return Err(ApiError::no_pool(&self.name)),
        };
        if matches!(pool.rollout, Slot::Invalid(_)) {
            return Err(unreadable(rollout_key));
        }
        let rollout = present::rollout(pool);
        let pending = rollout.as_ref().and_then(|r| r.to.as_ref()) != newest;
        Ok(v1::WatchRolloutResponse { rollout, pending, newest: newest.cloned() })
    }
}

impl Source for RolloutSource {
    type Key = ();
    type Version = v1::WatchRolloutResponse;
    type Object = v1::WatchRolloutResponse;
    type Reply = v1::WatchRolloutResponse;

    fn versions(&self, state: &State) -> BTreeMap<(), v1::WatchRolloutResponse> {
        self.now(state).ok().map(|now| ((), now)).into_iter().collect()
    }

    fn object(&self, state: &State, (): &()) -> Option<v1::WatchRolloutResponse> {
        self.now(state).ok()
    }

    fn broken(&self, state: &State) -> Option<ApiError> {
        self.now(state).err()
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::{Entry, Update};
    use crate::view::View;

    const POOL: &str = r#"{"metadata":{"name":"edge","uid":"u"},"revision":{"uid":"u","n":1,"digest":"d"},"spec":
        {"template":{"listeners":[{"name":"a","protocol":"PROTOCOL_TCP","port":7007,"service":{"echo":{}}}]}}}"#;

    #[test]
    fn what_can_not_end_is_an_error_at_once() {
        let (keys, name): (Keys, PoolName) = (Keys::new(&"test".parse().unwrap()), "edge".parse().unwrap());
        let (pool, rollout) = (keys.pool(&name), keys.rollout(&name));
        let now = |values: &[(&str, &str)]| {
            let entry = |(key, value): &(&str, &str)| {
                let (key, value) = (key.as_bytes().to_vec(), value.as_bytes().to_vec());
                Entry { key, value, mod_revision: 3, create_revision: 3, version: 1 }
            };
            let view = View::new(keys.clone());
            view.apply(Update::Reset(values.iter().map(entry).collect()), 3);
            view.read(|state| RolloutSource::new(&keys, name.clone()).now(state))
        };
        let unreadable =
            |result: Result<_, ApiError>| matches!(result, Err(ApiError::Store(StoreError::Invalid { .. })));
        assert!(matches!(now(&[]), Err(ApiError::NotFound(_))));
        assert!(matches!(now(&[(&rollout, "{}")]), Err(ApiError::NotFound(_))));
        assert!(unreadable(now(&[(&pool, "{}")])));
        assert!(unreadable(now(&[(&pool, POOL), (&rollout, "[]")])));
        assert!(now(&[(&pool, POOL)]).unwrap().pending);
        assert!(!now(&[(&pool, POOL), (&rollout, r#"{"to":{"uid":"u","n":1,"digest":"d"}}"#)]).unwrap().pending);
    }
}
