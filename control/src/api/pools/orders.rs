//! Pause, resume and abort: how an order for a rollout is stored.
//!
//! Part of the Pools service. It is stored with the pool and its event; the leader carries it out, and nothing here waits
//! for that.

use std::time::{Duration, SystemTime};

use echo_proto::ids::PoolName;
use echo_proto::v1;

use super::super::error::ApiError;
use super::super::request::asked;
use super::super::write::Terms;
use super::super::{Api, pool_name};
use crate::event;
use crate::plan::change::Beside;
use crate::plan::order;
use crate::present;
use crate::store::Stored;
use crate::view::State;

/// Longest wait for the leader to begin the rollout of what was applied just now.
const BEGIN_DEADLINE: Duration = Duration::from_secs(2);

impl Api {
    pub(super) async fn put_order(
        &self,
        request: v1::OrderRolloutRequest,
    ) -> Result<v1::OrderRolloutResponse, ApiError> {
        let name = pool_name(&request.pool)?;
        let kind = request.kind();
        if kind == v1::RolloutOrderKind::Unspecified {
            return Err(ApiError::argument("kind", "expected PAUSE, RESUME or ABORT"));
        }
        let asked = asked(&request.author, "", false)?;
        self.begun(&name).await?;
        let refusing = self.view.read(|state| state.pools.get(&name).and_then(present::refusing));
        let plan = |stored: Option<&Stored<v1::PoolRecord>>, beside: Beside<'_>| {
            let stored = &stored.ok_or_else(|| ApiError::no_pool(&name))?.value;
            let planned =
                order::order(&name, stored, beside.rollout, refusing.as_ref(), kind, &asked, SystemTime::now());
            planned.map_err(|text| ApiError::unmet("ROLLOUT_PHASE", event::of_pool(&name), text))
        };
        let written = self.change_pool(&name, Terms { dry_run: request.dry_run, ..Terms::default() }, plan).await?;
        Ok(v1::OrderRolloutResponse {
            rollout: self.view.read(|state| state.pools.get(&name).and_then(present::rollout)),
            unchanged: !written.changed,
            order: written.record.order.map_or(0, |order| order.id),
        })
    }

    /// Gives the rollout of the newest revision a moment to begin: who orders something may have applied just now.
    async fn begun(&self, name: &PoolName) -> Result<(), ApiError> {
        self.caught_up(name).await?;
        let newest = |state: &State| {
            let pool = state.pools.get(name)?;
            let wanted = pool.pool.valid()?.value.record.revision.as_ref();
            pool.rollout.valid().filter(|rollout| rollout.value.to.as_ref() == wanted).map(drop)
        };
        // What has not begun by then is told from what is stored.
        let _ = tokio::time::timeout(BEGIN_DEADLINE, self.view.until(|state| newest(state).is_some())).await;
        Ok(())
    }
}
