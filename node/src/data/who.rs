//! Who answers: what whoami and stamps say of the node.
//!
//! Made by [`crate::live`], anew for each revision that is applied, and handed to the shards with it. It never changes:
//! whoever holds one sees one moment's truth.

use std::collections::BTreeMap;

use echo_proto::stamp::{Identity, Name};
use echo_proto::v1;

use super::clock::ClockError;

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
    /// How far off its clock may be: the one thing here that changes by itself.
    pub clock_error: ClockError,
}

impl Who {
    /// As stamps say it.
    pub(crate) fn stamp(&self) -> Identity {
        let digest = self.revision.digest.get(..8).and_then(|hex| u32::from_str_radix(hex, 16).ok());
        Identity {
            node: Name::new(&self.node),
            zone: Name::new(&self.zone),
            revision: self.revision.n,
            digest: digest.unwrap_or_default().to_be_bytes(),
            clock_error: self.clock_error.micros(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_says_the_number_and_the_beginning_of_the_digest() {
        let revision = v1::RevisionRef { uid: "u".into(), n: 7, digest: "0a0f4cc6a7b4".into() };
        let stamp = Who { node: "n-1".into(), zone: "z".into(), revision, ..Who::default() }.stamp();
        assert_eq!((stamp.node.as_str(), stamp.zone.as_str()), ("n-1", "z"));
        assert_eq!((stamp.revision, stamp.digest), (7, [0x0a, 0x0f, 0x4c, 0xc6]));
        assert_eq!(Who::default().stamp().digest, [0; 4], "none is none");
    }
}
