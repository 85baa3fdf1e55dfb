//! Changes that pool files make: applied, disowned, told of; all of it only by the control that leads.
//!
//! Called by the pool files' task. Every write is fenced by the leader's key, so that a leader that was paused can't
//! bring the files of yesterday back.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::SystemTime;

use echo_proto::ids::PoolName;
use echo_proto::v1;
use tokio::time::Instant;

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

/// What was applied of pool files.
#[derive(Debug, Clone, Default)]
pub(crate) struct FilesApplied {
    /// Whether any pool is there that a file made or changed.
    pub(crate) any: bool,
    /// The digest of what was applied last, of each pool that files own.
    pub(crate) owned: BTreeMap<PoolName, String>,
}

/// Something that is wrong with the pool files, or that they wait for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Complaint {
    /// `PoolFileInvalid`
    pub(crate) reason: &'static str,
    /// `pool/edge`, or the cluster.
    pub(crate) object: String,
    /// The file or folder that it is about; empty: the object.
    pub(crate) about: String,
    /// What follows on that, but for how long it goes on.
    pub(crate) text: String,
    /// When a file that may be behind is applied.
    pub(crate) until: Option<Instant>,
}

impl Complaint {
    /// One that goes on until a file changes.
    pub(crate) fn new(reason: &'static str, object: String, about: String, text: String) -> Self {
        Self { reason, object, about, text, until: None }
    }

    /// In words, as they are at `now`.
    pub(crate) fn told(&self, now: Instant) -> String {
        let wait = self.until.map_or_else(String::new, |until| {
            let left = until.saturating_duration_since(now).as_secs();
            format!(", or for {left}s more (--pools-behind; 0s where all controls read the same files)")
        });
        [self.about.as_str(), &self.text, &wait].concat()
    }

    fn finding(&self, now: Instant) -> v1::Finding {
        let hint = match self.until {
            Some(_) => "wait, or change the file once more: what is seen to change is applied at once",
            None => "mend the file: it is read again when it changes",
        };
        finding::warning(self.reason, self.object.as_str(), self.told(now), hint)
    }
}

impl Api {
    /// What is wrong with the pool files by now; nobody forgets it before the next look.
    pub(crate) fn complain_of_files(&self, complaints: Vec<Complaint>) {
        *self.file_complaints.lock().unwrap_or_else(PoisonError::into_inner) = complaints;
    }

    /// The same, for a diagnosis.
    pub(super) fn file_findings(&self) -> Vec<v1::Finding> {
        let now = Instant::now();
        let complaints = self.file_complaints.lock().unwrap_or_else(PoisonError::into_inner);
        complaints.iter().take(MAX_FILE_FINDINGS).map(|complaint| complaint.finding(now)).collect()
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
            let changed = owned::apply(name, stored, beside, pool, source, &asked, SystemTime::now());
            self.possible(pool.spec.as_ref(), stored, changed)
        };
        let written = self.change_pool(name, fenced(leadership), plan).await?;
        Ok(match owned::due(written.before.as_ref(), source) {
            Due::Text | Due::Ownership => FileApplied::Now,
            Due::Nothing => FileApplied::Before,
            Due::Later => FileApplied::Held,
        })
    }

    /// Notes that a pool's file is gone from its folder.
    pub(crate) async fn disown(
        &self,
        leadership: Leadership,
        name: &PoolName,
        owner: &str,
        folder: &str,
    ) -> Result<(), ApiError> {
        let plan = |stored: Option<&Stored<v1::PoolRecord>>, _: Beside<'_>| {
            Ok(stored.and_then(|stored| owned::disown(name, &stored.value, owner, folder)))
        };
        self.change_pool(name, fenced(leadership), plan).await.map(drop)
    }

    /// The pools that `owner` owns, as the view has them, and whether what was applied of them lay in this folder.
    pub(crate) fn owned_by(&self, owner: &str, folder: &str) -> Vec<(PoolName, bool)> {
        self.view.read(|state| {
            let records = state.pools.iter().filter_map(|(name, pool)| Some((name, &pool.pool.valid()?.value.record)));
            let owned = records.filter(|(_, record)| owned::owner(record) == owner);
            owned.map(|(name, record)| (name.clone(), owned::is_from(record, folder))).collect()
        })
    }

    /// What files were applied, as the view has it. For who leads, once the view shows that: then it has all that those
    /// before it applied, and tells what a file may ask for.
    pub(crate) fn files_applied(&self, leads: Option<Leadership>) -> Result<FilesApplied, ApiError> {
        self.current()?;
        self.view.read(|state| {
            let shown = state.leader.as_ref().map(|leader| leader.create_revision);
            if leads.is_some_and(|term| shown != Some(term.create_revision)) {
                return Err(ApiError::Starting);
            }
            let mut applied = FilesApplied::default();
            for (name, pool) in &state.pools {
                let Some(stored) = pool.pool.valid() else { continue };
                let record = &stored.value.record;
                applied.any |= !record.file_digest.is_empty();
                if !owned::owner(record).is_empty() {
                    applied.owned.insert(name.clone(), record.file_digest.clone());
                }
            }
            Ok(applied)
        })
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
