//! How a pool goes, with all that belongs to it.
//!
//! Part of the Pools service. One transaction removes every key of the pool but its nodes' own records, so that nobody
//! sees half a pool: its nodes take the end of their assignment as the end of the pool. A record that can't be read can
//! be deleted all the same, since that is how it is got rid of.

use echo_proto::ids::PoolName;
use echo_proto::v1;

use super::super::conflict::expected_version;
use super::super::error::ApiError;
use super::super::request::asked;
use super::super::write::ATTEMPTS;
use super::super::{Api, pool_name};
use crate::event;
use crate::plan::owned;
use crate::store::{Change, Entry, Stored, prefix_end};

impl Api {
    pub(super) async fn delete_pool(
        &self,
        request: v1::PoolsDeleteRequest,
    ) -> Result<v1::PoolsDeleteResponse, ApiError> {
        let name = pool_name(&request.name)?;
        let expected = expected_version("resourceVersion", &request.resource_version)?;
        let asked = asked(&request.author, "", false)?;
        for _ in 0..ATTEMPTS {
            let entry = self.store.get_entry(&self.store.keys().pool(&name)).await?;
            let entry = entry.ok_or_else(|| ApiError::no_pool(&name))?;
            let stored = stored(&name, &entry);
            self.check_version(&name, expected, Some(&stored)).await?;
            let pool = self.present(&name, &stored.value, stored.mod_revision);
            if request.dry_run || self.store.commit(self.deletion(&name, &stored, asked.who())).await?.is_some() {
                let warnings = owned::warnings(&name, &stored.value, owned::Change::Deleted);
                return Ok(v1::PoolsDeleteResponse { pool: Some(pool), warnings });
            }
        }
        Err(ApiError::contended(&event::of_pool(&name)))
    }

    fn deletion(&self, name: &PoolName, stored: &Stored<v1::PoolRecord>, author: &str) -> Change {
        let keys = self.store.keys();
        let change = Change::new()
            .require(&keys.pool(name), stored.mod_revision)
            .delete(&keys.pool(name))
            .delete(&keys.assignment(name))
            .delete(&keys.rollout(name))
            .delete(&keys.scale(name));
        let ranges = [keys.revisions(Some(name)), keys.intents(name)];
        let change =
            ranges.iter().fold(change, |change, range| change.delete_range(range, prefix_end(range).as_bytes()));
        let n = stored.value.revision.as_ref().map_or(0, |r| r.n);
        let event = event::normal("PoolDeleted", event::of_pool(name), "deleted; its nodes drain and serve nothing");
        change.event(keys, v1::Event { actor: author.to_owned(), from: format!("revision {n}"), ..event })
    }
}

/// The pool as far as it can be read.
fn stored(name: &PoolName, entry: &Entry) -> Stored<v1::PoolRecord> {
    entry.decode().unwrap_or_else(|_| {
        let metadata = v1::ObjectMeta { name: name.to_string(), ..Default::default() };
        let value = v1::PoolRecord { metadata: Some(metadata), ..Default::default() };
        Stored { value, mod_revision: entry.mod_revision, create_revision: entry.create_revision }
    })
}
