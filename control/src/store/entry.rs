//! A key with its value, as the rest of control sees it.
//!
//! Made by the store from what etcd answers; keys and values are bytes, since anybody can write anything under our
//! prefix.

use echo_proto::codec::{self, Message, Strictness};
use etcd_client::KeyValue;

use super::StoreError;

/// One key of etcd.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// The whole key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
    /// etcd's revision of its last change.
    pub mod_revision: i64,
    /// etcd's revision of its creation.
    pub create_revision: i64,
    /// Counts its changes since then, from 1.
    pub version: i64,
}

/// A record with where etcd keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored<T> {
    /// The record.
    pub value: T,
    /// Of its key: what a compare-and-put names.
    pub mod_revision: i64,
    /// Of its key: tells a key that was made again.
    pub create_revision: i64,
}

impl Entry {
    /// The key for people: bytes that are no text are replaced.
    pub fn name(&self) -> String {
        String::from_utf8_lossy(&self.key).into_owned()
    }

    /// Reads its value. Unknown fields are a newer writer's, and are passed over.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn decode<M: Message>(&self) -> Result<Stored<M>, StoreError> {
        let (mod_revision, create_revision) = (self.mod_revision, self.create_revision);
        match codec::from_json(&self.value, Strictness::Lenient) {
            Ok(value) => Ok(Stored { value, mod_revision, create_revision }),
            Err(errors) => Err(StoreError::Invalid { key: self.name(), cause: errors.to_string() }),
        }
    }
}

impl From<KeyValue> for Entry {
    fn from(kv: KeyValue) -> Self {
        let (mod_revision, create_revision, version) = (kv.mod_revision(), kv.create_revision(), kv.version());
        let (key, value) = kv.into_key_value();
        Self { key, value, mod_revision, create_revision, version }
    }
}
