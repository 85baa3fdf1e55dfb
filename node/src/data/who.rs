//! Who answers: what whoami says of the node, and stamps will.
//!
//! Made by [`crate::live`], anew for each revision that is applied, and handed to the shards with it. It never changes:
//! whoever holds one sees one moment's truth.

use std::collections::BTreeMap;

use echo_proto::v1;

/// A node at one revision.
#[derive(Debug, Clone, Default)]
pub struct Who {
    /// Its id.
    pub node: String,
    /// Its pool.
    pub pool: String,
    /// Its zone; empty: none.
    pub zone: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What it serves.
    pub revision: v1::RevisionRef,
}
