//! What a watch of pools shows, and when a pool of it has changed.
//!
//! Part of the Pools service; streamed by [`super::super::watch`].

use std::collections::BTreeMap;

use echo_proto::ids::PoolName;
use echo_proto::keys::Key;
use echo_proto::v1;

use super::super::watch::Source;
use crate::present;
use crate::selector::Selector;
use crate::view::{PoolState, Slot, State};

/// Whether a pool is one of those wanted.
pub(super) fn selects(selector: &Selector, record: &v1::PoolRecord) -> bool {
    let labels = record.metadata.as_ref().map(|m| &m.labels);
    selector.matches(|key| labels?.get(key).map(String::as_str))
}

/// Watches pools, one or all.
pub(super) struct PoolSource {
    pub(super) filter: Option<PoolName>,
    pub(super) selector: Selector,
}

impl Source for PoolSource {
    type Key = PoolName;
    type Version = (i64, v1::PoolStatus);
    type Object = v1::Pool;
    type Reply = v1::PoolsWatchResponse;

    fn versions(&self, state: &State) -> BTreeMap<PoolName, Self::Version> {
        let pools = present::pools(state, self.filter.as_ref());
        let version = |pool: &PoolState| {
            let stored = pool.pool.valid().filter(|stored| selects(&self.selector, &stored.value.record))?;
            Some((stored.mod_revision, present::status(pool)))
        };
        pools.filter_map(|(name, pool)| Some((name.clone(), version(pool)?))).collect()
    }

    fn object(&self, state: &State, name: &PoolName) -> Option<v1::Pool> {
        let pool = state.pools.get(name)?;
        let stored = pool.pool.valid()?;
        let object = present::pool(&stored.value.record, stored.mod_revision);
        Some(v1::Pool { status: Some(present::status(pool)), ..object })
    }

    fn since(&self, state: &State, revision: i64) -> Option<BTreeMap<PoolName, i64>> {
        // Which pools matched earlier can't be told.
        if !self.selector.is_empty() {
            return None;
        }
        let created = |pool: &PoolState| pool.pool.valid().map_or(0, |stored| stored.create_revision);
        let pools = present::pools(state, self.filter.as_ref());
        // Nodes without a pool are none.
        let pools = pools.filter(|(_, pool)| !matches!(pool.pool, Slot::Absent));
        let touched = pools.filter(|(name, pool)| state.is_touched(name, pool, revision));
        let mut touched: BTreeMap<_, _> = touched.map(|(name, pool)| (name.clone(), created(pool))).collect();
        for key in state.gone_since(revision) {
            if let Key::Pool(name) = key
                && self.filter.as_ref().is_none_or(|wanted| wanted == name)
            {
                touched.entry(name.clone()).or_insert(0);
            }
        }
        Some(touched)
    }

    fn gone(&self, name: &PoolName) -> v1::Pool {
        let metadata = v1::ObjectMeta { name: name.to_string(), ..Default::default() };
        present::pool(&v1::PoolRecord { metadata: Some(metadata), ..Default::default() }, 0)
    }

    fn reply(
        &self,
        kind: v1::WatchType,
        pool: Option<v1::Pool>,
        resource_version: String,
    ) -> Option<v1::PoolsWatchResponse> {
        Some(v1::PoolsWatchResponse { r#type: kind.into(), pool, resource_version })
    }
}
