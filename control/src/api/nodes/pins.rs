//! Pins: how one node is given a revision of its own, and how that is taken back.
//!
//! Part of the Nodes service. A pin is stored with the node's pool, in one transaction with its event; the leader puts
//! it into the assignment, and the node answers in its record. Nothing here waits for either.

use std::time::SystemTime;

use echo_proto::ids::PoolName;
use echo_proto::v1;

use super::super::Api;
use super::super::error::ApiError;
use super::super::request::asked;
use super::super::write::Terms;
use super::find::Named;
use crate::event;
use crate::plan::change::Beside;
use crate::plan::pin;
use crate::present;
use crate::store::Stored;

impl Api {
    pub(super) async fn put_pin(&self, request: v1::PinRequest) -> Result<v1::PinResponse, ApiError> {
        let named = Named::parse(&request.node, &request.pool)?;
        let asked = asked(&request.author, "", false)?;
        self.current()?;
        let wanted = request.revision;
        let pool = self.view.read(|state| {
            let known = if wanted == 0 { named.pinned(state) } else { named.find(state).map(|(name, ..)| name) };
            known.cloned()
        })?;
        let kept = if wanted == 0 { None } else { Some(self.kept_revisions(&pool).await?) };
        let plan = |stored: Option<&Stored<v1::PoolRecord>>, _: Beside<'_>| {
            let stored = &stored.ok_or_else(|| ApiError::no_pool(&pool))?.value;
            let Some(kept) = &kept else { return Ok(pin::unpin(&pool, stored, &named.id, &asked)) };
            kept.find(&pool, stored, wanted)?;
            let planned = pin::pin(&pool, stored, &named.id, wanted, &asked, SystemTime::now());
            planned.map_err(|text| ApiError::unmet("PINS", event::of_pool(&pool), text))
        };
        let written = self.change_pool(&pool, Terms { dry_run: request.dry_run, ..Terms::default() }, plan).await?;
        Ok(v1::PinResponse {
            node: self.shown(&pool, &named),
            unchanged: !written.changed,
            previous: written.before.as_ref().map_or(0, |before| pin::pinned(before, &named.id)),
        })
    }

    fn shown(&self, pool: &PoolName, named: &Named) -> Option<v1::Node> {
        self.view.read(|state| {
            let pool = state.pools.get(pool)?;
            pool.fleet.get(&named.id).map(|node| present::node(pool, node))
        })
    }
}
