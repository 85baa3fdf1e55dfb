//! The newest change that was handed out: whether etcd still tells it says whether its history is the one we followed.
//!
//! Asked by [`super::Tail`] before it opens a watch. Revisions alone do not tell: nodes that register again may have
//! brought a restored backup past our revision before we look.

use etcd_client::{GetOptions, KeyValue};

use super::{Entry, Store, StoreError};

/// One change of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Witness {
    /// Made or changed.
    Put(Entry),
    /// Removed at this revision.
    Gone(Vec<u8>, i64),
}

impl Witness {
    pub(super) fn of(kv: &KeyValue) -> Self {
        // A key that is gone has no version.
        if kv.version() == 0 { Self::Gone(kv.key().to_vec(), kv.mod_revision()) } else { Self::Put(kv.clone().into()) }
    }

    /// Whether etcd's history has this change. Where it was compacted away nobody knows: [`StoreError::Compacted`].
    ///
    /// # Errors
    /// That, or no answer.
    pub(super) async fn holds(&self, store: &Store) -> Result<bool, StoreError> {
        match self.told(store).await {
            // History has not come so far.
            Err(StoreError::Future) => Ok(false),
            other => other,
        }
    }

    async fn told(&self, store: &Store) -> Result<bool, StoreError> {
        let told = match self {
            // The newest change of all is mostly its key's last one: then no history is needed.
            Self::Put(entry) => {
                is(entry, at(store, &entry.key, 0).await?)
                    || is(entry, at(store, &entry.key, entry.mod_revision).await?)
            }
            Self::Gone(key, revision) => {
                at(store, key, revision - 1).await?.is_some() && at(store, key, *revision).await?.is_none()
            }
        };
        Ok(told)
    }
}

fn is(known: &Entry, found: Option<Entry>) -> bool {
    found.as_ref() == Some(known)
}

/// The key as of a revision; 0: now.
async fn at(store: &Store, key: &[u8], revision: i64) -> Result<Option<Entry>, StoreError> {
    let read = || async move { store.kv().get(key, Some(GetOptions::new().with_revision(revision))).await };
    let mut found = store.read("get", &String::from_utf8_lossy(key), read).await?;
    Ok(found.take_kvs().pop().map(Entry::from))
}
