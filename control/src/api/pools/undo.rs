//! Undo: an older revision becomes the newest again.
//!
//! Part of the Pools service. An undo never brings an old number back: it makes a new revision with the old template,
//! so that numbers only grow and a node can't mistake one for another.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use echo_proto::ids::PoolName;
use echo_proto::v1;
use v1::RevisionEnd as End;

use super::super::error::ApiError;
use super::super::request::asked;
use super::super::revisions::n;
use super::super::write::Terms;
use super::super::{Api, pool_name};
use crate::event;
use crate::plan::change::{self, Beside};
use crate::plan::owned;
use crate::present;
use crate::store::Stored;

impl Api {
    pub(super) async fn undo_rollout(&self, request: v1::UndoRequest) -> Result<v1::UndoResponse, ApiError> {
        let name = pool_name(&request.pool)?;
        self.stored_pool(&name).await?;
        let kept = self.kept_revisions(&name).await?;
        let asked = asked(&request.author, &request.message, request.now)?;
        let choose = |stored: &v1::PoolRecord, rollout: Option<&v1::Rollout>| {
            let newest = stored.revision.as_ref().map_or(0, |r| r.n);
            if request.to_revision == newest && !change::was_taken_back(stored, rollout) {
                let text = format!("pool/{name} is at revision {newest} already, so there is nothing to undo");
                return Err(ApiError::unmet("NOTHING_TO_UNDO", event::of_pool(&name), text));
            }
            match request.to_revision {
                0 if change::was_taken_back(stored, rollout) => Err(taken_back(&name, newest, rollout)),
                0 => kept.before(&name, stored, rollout),
                wanted => kept.find(&name, stored, wanted),
            }
        };
        let restored = AtomicU32::new(0);
        let plan = |stored: Option<&Stored<v1::PoolRecord>>, beside: Beside<'_>| {
            let stored = &stored.ok_or_else(|| ApiError::no_pool(&name))?.value;
            let old = choose(stored, beside.rollout)?;
            restored.store(n(old), Ordering::Relaxed);
            Ok(Some(change::undo(&name, stored, old, &asked, SystemTime::now())))
        };
        let written = self.change_pool(&name, Terms { dry_run: request.dry_run, ..Terms::default() }, plan).await?;
        let restored = restored.into_inner();
        let pool = Some(self.present(&name, &written.record, written.mod_revision));
        let bad = kept.find(&name, &written.record, restored).ok().and_then(|old| self.was_bad(old));
        let warnings = bad.into_iter().chain(written.warnings(owned::Change::Spec)).collect();
        Ok(v1::UndoResponse { pool, revision: written.record.revision, restored, warnings })
    }

    /// What is said of a revision that was taken back when it was tried last.
    fn was_bad(&self, old: &v1::Revision) -> Option<String> {
        let outcome = self.view.read(|state| present::outcome(state, old))?;
        let bad = matches!(outcome.end(), End::Reverted | End::RevertIncomplete | End::Aborted);
        bad.then(|| format!("revision {} was taken back when it was tried: {}", outcome.n, outcome.reason))
    }
}

/// Why there is nothing to undo where the newest revision was taken back.
fn taken_back(name: &PoolName, newest: u32, rollout: Option<&v1::Rollout>) -> ApiError {
    let runs = rollout.and_then(|rollout| rollout.from.as_ref()).map_or(0, |from| from.n);
    let text = format!(
        "revision {newest} of pool/{name} was taken back, so its nodes run revision {runs} already and there is nothing \
         to undo; `echoctl rollout undo pool/{name} --to-revision N` goes further back"
    );
    ApiError::unmet("NOTHING_TO_UNDO", event::of_pool(name), text)
}
