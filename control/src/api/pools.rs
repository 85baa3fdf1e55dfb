//! The Pools service: what pools are, how they change, how a change reaches the nodes.
//!
//! Reads come from etcd itself; status and rollouts from the view, which is made to catch up where a caller may ask for
//! what it has just changed.

mod delete;
mod numbers;
mod orders;
mod rollouts;
mod source;
mod undo;

use std::time::SystemTime;

use echo_proto::ids::PoolName;
use echo_proto::keys::Key;
use echo_proto::{spec, v1};
use tonic::{Request, Response, Status};
use v1::pools_server::Pools;

use self::rollouts::RolloutSource;
use self::source::{PoolSource, selects};
use super::error::ApiError;
use super::pages::{Listed, Wanted};
use super::request::asked;
use super::watch;
use super::write::Terms;
use super::{Api, filter, pool_name, selector};
use crate::event;
use crate::plan::change::{self, Beside};
use crate::plan::owned;
use crate::present;
use crate::store::{Entry, Stored};
use crate::view::check_record;

/// Why a pool that has an autoscaler is not scaled by hand.
fn autoscaled(name: &PoolName, rule: &v1::Autoscale) -> ApiError {
    let (least, most) = change::bounds(rule);
    let text = format!(
        "pool {:?} is autoscaled, {least} to {most} nodes; change spec.autoscale of its file, or apply it with \
         spec.replicas in its place",
        name.as_str()
    );
    ApiError::unmet("AUTOSCALED", event::of_pool(name), text)
}

#[tonic::async_trait]
impl Pools for Api {
    async fn apply(&self, request: Request<v1::ApplyRequest>) -> Result<Response<v1::ApplyResponse>, Status> {
        let request = request.into_inner();
        let written = self.write_pool(&request).await?;
        let outcome = match (&written.before, written.changed) {
            (None, _) => v1::ApplyOutcome::Created,
            (Some(_), true) => v1::ApplyOutcome::Configured,
            (Some(_), false) => v1::ApplyOutcome::Unchanged,
        };
        let pool = Some(self.present(&written.name, &written.record, written.mod_revision));
        let mut warnings = written.warnings(owned::Change::Spec);
        warnings.extend(change::in_vain(&written.name, written.before.as_ref(), &written.record, request.now));
        let before = written.before.as_ref().and_then(|before| before.spec.as_ref());
        let spec = written.record.spec.as_ref();
        warnings.extend(spec.into_iter().flat_map(|spec| self.spec_warnings(&written.name, before, spec)));
        if request.keep_nodes {
            let asked = request.pool.as_ref().and_then(|pool| pool.spec.as_ref());
            warnings.extend(change::kept(&written.name, asked, written.record.spec.as_ref()));
        }
        let (outcome, revision) = (outcome.into(), written.record.revision);
        Ok(Response::new(v1::ApplyResponse { pool, outcome, revision, warnings }))
    }

    async fn get(&self, request: Request<v1::PoolsGetRequest>) -> Result<Response<v1::PoolsGetResponse>, Status> {
        let name = pool_name(&request.into_inner().name)?;
        let stored = self.stored_pool(&name).await?;
        let pool = self.present(&name, &stored.value, stored.mod_revision);
        Ok(Response::new(v1::PoolsGetResponse { pool: Some(pool) }))
    }

    async fn list(&self, request: Request<v1::PoolsListRequest>) -> Result<Response<v1::PoolsListResponse>, Status> {
        let request = request.into_inner();
        let selector = selector(&request.selector)?;
        let prefix = self.store.keys().pools();
        let wanted = Wanted { token: &request.page_token, size: request.page_size, back: false };
        let readable = |entry: &Entry| {
            let stored = entry.decode::<v1::PoolRecord>().ok()?;
            let Some(Key::Pool(name)) = self.store.keys().parse(&entry.key) else { return None };
            check_record(&name, &stored.value).ok()?;
            Some((name, stored))
        };
        let mut unreadable = Vec::new();
        let listed = self
            .list_page(&prefix, &wanted, |entry| {
                let Some((name, stored)) = readable(entry) else {
                    unreadable.push(String::from_utf8_lossy(&entry.key).into_owned());
                    return None;
                };
                let matches = selects(&selector, &stored.value);
                matches.then(|| self.present(&name, &stored.value, stored.mod_revision))
            })
            .await?;
        let Listed { items: pools, next_page_token, resource_version } = listed;
        Ok(Response::new(v1::PoolsListResponse { pools, next_page_token, resource_version, unreadable }))
    }

    type WatchStream = watch::Stream<v1::PoolsWatchResponse>;

    async fn watch(&self, request: Request<v1::PoolsWatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let request = request.into_inner();
        let source = PoolSource { filter: filter(&request.name)?, selector: selector(&request.selector)? };
        self.current()?;
        Ok(Response::new(watch::stream(source, &request.resource_version, self)?))
    }

    async fn scale(&self, request: Request<v1::ScaleRequest>) -> Result<Response<v1::ScaleResponse>, Status> {
        let v1::ScaleRequest { name, replicas, author, dry_run } = request.into_inner();
        let name = pool_name(&name)?;
        if replicas > spec::MAX_REPLICAS {
            let most = spec::MAX_REPLICAS;
            return Err(ApiError::argument("replicas", format!("{replicas} is too large; at most {most}")).into());
        }
        self.check_number(replicas)?;
        let asked = asked(&author, "", false)?;
        let plan = |stored: Option<&Stored<v1::PoolRecord>>, _: Beside<'_>| {
            let stored = stored.ok_or_else(|| ApiError::no_pool(&name))?;
            if let Some(rule) = stored.value.spec.as_ref().and_then(|spec| spec.autoscale.as_ref()) {
                return Err(autoscaled(&name, rule));
            }
            Ok(change::scale(&name, &stored.value, replicas, &asked, SystemTime::now()))
        };
        let written = self.change_pool(&name, Terms { dry_run, ..Terms::default() }, plan).await?;
        let previous_replicas = written.before.as_ref().map_or(0, change::replicas);
        let pool = Some(self.present(&name, &written.record, written.mod_revision));
        let mut warnings = written.warnings(owned::Change::Replicas);
        warnings.extend(self.number_warnings(&name, replicas));
        Ok(Response::new(v1::ScaleResponse { pool, previous_replicas, warnings }))
    }

    async fn delete(
        &self,
        request: Request<v1::PoolsDeleteRequest>,
    ) -> Result<Response<v1::PoolsDeleteResponse>, Status> {
        Ok(Response::new(self.delete_pool(request.into_inner()).await?))
    }

    async fn list_revisions(
        &self,
        request: Request<v1::ListRevisionsRequest>,
    ) -> Result<Response<v1::ListRevisionsResponse>, Status> {
        let request = request.into_inner();
        let pool = filter(&request.pool)?;
        if let Some(pool) = &pool {
            self.stored_pool(pool).await?;
        }
        let prefix = self.store.keys().revisions(pool.as_ref());
        let wanted = Wanted { token: &request.page_token, size: request.page_size, back: false };
        let listed = self
            .list_page(&prefix, &wanted, |entry| {
                let stored = entry.decode::<v1::Revision>().ok()?;
                let mut revision = stored.value;
                revision.outcome = self.view.read(|state| present::outcome(state, &revision));
                revision.metadata.get_or_insert_default().resource_version = stored.mod_revision.to_string();
                Some(revision)
            })
            .await?;
        let Listed { items: revisions, next_page_token, resource_version } = listed;
        Ok(Response::new(v1::ListRevisionsResponse { revisions, next_page_token, resource_version }))
    }

    async fn undo(&self, request: Request<v1::UndoRequest>) -> Result<Response<v1::UndoResponse>, Status> {
        Ok(Response::new(self.undo_rollout(request.into_inner()).await?))
    }

    async fn order_rollout(
        &self,
        request: Request<v1::OrderRolloutRequest>,
    ) -> Result<Response<v1::OrderRolloutResponse>, Status> {
        Ok(Response::new(self.put_order(request.into_inner()).await?))
    }

    async fn get_rollout(
        &self,
        request: Request<v1::GetRolloutRequest>,
    ) -> Result<Response<v1::GetRolloutResponse>, Status> {
        let name = pool_name(&request.into_inner().pool)?;
        self.caught_up(&name).await?;
        let source = RolloutSource::new(self.store.keys(), name);
        let rollout = self.view.read(|state| source.now(state))?.rollout;
        Ok(Response::new(v1::GetRolloutResponse { rollout }))
    }

    type WatchRolloutStream = watch::Stream<v1::WatchRolloutResponse>;

    async fn watch_rollout(
        &self,
        request: Request<v1::WatchRolloutRequest>,
    ) -> Result<Response<Self::WatchRolloutStream>, Status> {
        let name = pool_name(&request.into_inner().pool)?;
        self.caught_up(&name).await?;
        Ok(Response::new(watch::stream(RolloutSource::new(self.store.keys(), name), "", self)?))
    }
}
