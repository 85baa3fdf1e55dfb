//! Older revisions: how one becomes the newest again.
//!
//! Part of the Pools service. An undo never brings an old number back: it makes a new revision with the old template,
//! so that numbers only grow and a node can't mistake one for another.

use std::time::SystemTime;

use echo_proto::ids::PoolName;
use echo_proto::v1;

use super::super::error::ApiError;
use super::super::request::asked;
use super::super::write::Terms;
use super::super::{Api, pool_name};
use crate::plan::change;
use crate::store::{MAX_PAGE, Stored, prefix_end};

impl Api {
    pub(super) async fn undo_rollout(&self, request: v1::UndoRequest) -> Result<v1::UndoResponse, ApiError> {
        let name = pool_name(&request.pool)?;
        let stored = self.stored_pool(&name).await?;
        let revisions = self.revisions(&name, &stored.value).await?;
        let asked = asked(&request.author, "", request.now)?;
        let choose = |stored: &v1::PoolRecord, rollout: Option<&v1::Rollout>| {
            let newest = stored.revision.as_ref().map_or(0, |r| r.n);
            if request.to_revision == newest && !change::was_taken_back(stored, rollout) {
                let message = format!("pool/{name} is at revision {newest} already; nothing to undo");
                return Err(ApiError::Precondition(message));
            }
            choose(&revisions, newest, request.to_revision).ok_or_else(|| unknown(&name, &revisions, &request))
        };
        let plan = |stored: Option<&Stored<v1::PoolRecord>>, rollout: Option<&v1::Rollout>| {
            let stored = &stored.ok_or_else(|| ApiError::no_pool(&name))?.value;
            let old = choose(stored, rollout)?;
            Ok(Some(change::undo(&name, stored, old, &asked, SystemTime::now())))
        };
        let written = self.change_pool(&name, Terms { dry_run: request.dry_run, expected: None }, plan).await?;
        let before = written.before.as_ref().and_then(|b| b.revision.as_ref()).map_or(0, |r| r.n);
        let restored = choose_number(&revisions, before, request.to_revision);
        let pool = self.present(&name, &written.record, written.mod_revision);
        Ok(v1::UndoResponse { pool: Some(pool), revision: written.record.revision, restored, warnings: Vec::new() })
    }

    /// The stored revisions of this life of the pool, oldest first.
    async fn revisions(&self, name: &PoolName, pool: &v1::PoolRecord) -> Result<Vec<v1::Revision>, ApiError> {
        let prefix = self.store.keys().revisions(Some(name));
        let page = self.store.page(prefix.as_bytes(), &prefix_end(&prefix), MAX_PAGE, 0).await?;
        let uid = pool.metadata.as_ref().map_or("", |m| m.uid.as_str());
        let revisions = page.entries.iter().filter_map(|entry| entry.decode::<v1::Revision>().ok()).map(|r| r.value);
        Ok(revisions.filter(|r| r.revision.as_ref().is_some_and(|r| r.uid == uid)).collect())
    }
}

/// The revision asked for; 0: the last one before the newest that differs from it.
fn choose(revisions: &[v1::Revision], newest: u32, asked: u32) -> Option<&v1::Revision> {
    let wanted = choose_number(revisions, newest, asked);
    revisions.iter().find(|r| n(r) == wanted)
}

fn choose_number(revisions: &[v1::Revision], newest: u32, asked: u32) -> u32 {
    if asked > 0 {
        return asked;
    }
    let digest = |r: &v1::Revision| r.revision.as_ref().map(|r| r.digest.clone());
    let undone = revisions.iter().find(|r| n(r) == newest).and_then(digest);
    // A revision that was tried twice stands twice: going from one to the other would undo nothing.
    revisions.iter().filter(|r| n(r) < newest && digest(r) != undone).map(n).max().unwrap_or(0)
}

fn n(revision: &v1::Revision) -> u32 {
    revision.revision.as_ref().map_or(0, |r| r.n)
}

fn unknown(name: &PoolName, revisions: &[v1::Revision], request: &v1::UndoRequest) -> ApiError {
    let kept: Vec<String> = revisions.iter().map(|r| n(r).to_string()).collect();
    let kept = kept.join(", ");
    ApiError::NotFound(match request.to_revision {
        0 => format!("pool/{name} has no revision before its newest; it has {kept}"),
        asked => format!("revision {asked} of pool/{name} not found; it has {kept}"),
    })
}

#[cfg(test)]
#[allow(clippy::expect_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn revision(n: u32) -> v1::Revision {
        let revision = v1::RevisionRef { n, digest: n.to_string(), ..Default::default() };
        v1::Revision { revision: Some(revision), ..Default::default() }
    }

    #[test]
    fn zero_is_the_last_other_one() {
        let kept = [revision(2), revision(4), revision(5)];
        assert_eq!(choose(&kept, 5, 0), Some(&kept[1]));
        assert_eq!(choose(&kept, 5, 2), Some(&kept[0]));
        assert_eq!(choose(&kept, 5, 3), None);
        assert_eq!(choose(&kept[..1], 2, 0), None);
        let mut again = revision(5);
        again.revision.as_mut().expect("set above").digest = "4".to_owned();
        assert_eq!(choose(&[revision(2), revision(4), again], 5, 0), Some(&kept[0]));
    }

    #[test]
    fn an_unknown_one_names_those_there_are() {
        let request = v1::UndoRequest { to_revision: 9, ..Default::default() };
        let error = unknown(&"edge".parse().expect("a name"), &[revision(2), revision(4)], &request);
        assert_eq!(error.to_string(), "revision 9 of pool/edge not found; it has 2, 4");
    }
}
