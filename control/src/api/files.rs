//! Changes that pool files make: applied, disowned, told of; all of it only by the control that leads.
//!
//! Called by the pool files' task. Every write is fenced by the leader's key, so that a leader that was paused can't
//! bring the files of yesterday back.

use std::sync::PoisonError;
use std::time::SystemTime;

use echo_proto::ids::PoolName;
use echo_proto::v1;

use super::Api;
use super::diagnose::finding;
use super::error::ApiError;
use super::request::asked;
use super::write::Terms;
use crate::event;
use crate::plan::change::Beside;
use crate::plan::owned::{self, Due, Source};
use crate::store::election::Leadership;
use crate::store::{Change, Stored};
use crate::view::PoolState;

/// Most complaints about pool files that a diagnosis tells.
pub(super) const MAX_FILE_FINDINGS: usize = 20;

/// What became of a pool's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileApplied {
    /// It is applied now.
    Now,
    /// It was applied already.
    Before,
    /// It may be behind.
    Held,
}

impl Api {
    /// What is wrong with the pool files by now; nobody forgets it before the next look.
    pub(crate) fn complain_of_files(&self, told: &[(&str, String, String)]) {
        let hint = "mend the file: it is read again when it changes";
        let findings = told.iter().take(MAX_FILE_FINDINGS);
        let findings = findings
            .map(|(check, object, text)| finding::warning(check, object.as_str(), text.as_str(), hint))
            .collect();
        *self.file_findings.lock().unwrap_or_else(PoisonError::into_inner) = findings;
    }

    /// The same, for a diagnosis.
    pub(super) fn file_findings(&self) -> Vec<v1::Finding> {
        self.file_findings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the view shows that this control leads, which tells what a file may ask for.
    pub(crate) async fn leads(&self, leadership: Leadership) {
        let is_it = |leader: &Stored<v1::LeaderRecord>| leader.create_revision == leadership.create_revision;
        self.view.until(|state| state.leader.as_ref().is_some_and(is_it)).await;
    }

    /// Applies a pool of the file `place`, unless that was done already or is held.
    pub(crate) async fn apply_file(
        &self,
        leadership: Leadership,
        name: &PoolName,
        pool: &v1::Pool,
        source: &Source,
        place: &str,
    ) -> Result<FileApplied, ApiError> {
        let asked = asked(&source.owner, place, false)?;
        let plan = |stored: Option<&Stored<v1::PoolRecord>>, beside: Beside<'_>| {
            let stored = stored.map(|stored| &stored.value);
            self.possible(stored, owned::apply(name, stored, beside, pool, source, &asked, SystemTime::now()))
        };
        let written = self.change_pool(name, fenced(leadership), plan).await?;
        Ok(match owned::due(written.before.as_ref(), source) {
            Due::Text | Due::Ownership => FileApplied::Now,
            Due::Nothing => FileApplied::Before,
            Due::Later => FileApplied::Held,
        })
    }

    /// Notes that a pool's file is gone.
    pub(crate) async fn disown(&self, leadership: Leadership, name: &PoolName, owner: &str) -> Result<(), ApiError> {
        let plan = |stored: Option<&Stored<v1::PoolRecord>>, _: Beside<'_>| {
            Ok(stored.and_then(|stored| owned::disown(name, &stored.value, owner)))
        };
        self.change_pool(name, fenced(leadership), plan).await.map(drop)
    }

    /// The pools that `owner` owns, as the view has them.
    pub(crate) fn owned_by(&self, owner: &str) -> Vec<PoolName> {
        self.view.read(|state| {
            let owned = state.pools.iter().filter(|(_, pool)| {
                pool.pool.valid().is_some_and(|stored| owned::owner(&stored.value.record) == owner)
            });
            owned.map(|(name, _)| name.clone()).collect()
        })
    }

    /// Whether pools are there that files made or changed, as the view has them.
    pub(crate) fn knows_files(&self) -> bool {
        let applied = |pool: &PoolState| pool.pool.valid().is_some_and(|s| !s.value.record.file_digest.is_empty());
        self.view.read(|state| state.pools.values().any(applied))
    }

    /// The cluster, for events that are about none of its objects.
    pub(crate) fn object(&self) -> String {
        event::of_cluster(self.store.keys())
    }

    /// Stores an event about the files; without effect where another control leads by now.
    pub(crate) async fn tell(&self, leadership: Leadership, event: v1::Event) -> Result<(), ApiError> {
        let keys = self.store.keys();
        let change = Change::new().fenced(keys, &leadership).event(keys, event);
        Ok(self.store.commit(change).await.map(drop)?)
    }
}

fn fenced(leadership: Leadership) -> Terms {
    Terms { leader: Some(leadership), ..Terms::default() }
}
