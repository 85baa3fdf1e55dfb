//! Names and identities that must not be mistaken for one another, and what a node runs by them.
//!
//! Parsed once at the edge (flags, files, etcd, gRPC) and carried as types from there. Nothing here does I/O, except
//! that fresh ids ask the kernel for random bytes.

mod place;

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

pub use self::place::{Place, rollout_hash, runs_next};
use crate::v1;

/// Longest DNS label (RFC 1123, section 2.1).
const MAX_LABEL: usize = 63;
/// Longest DNS subdomain, as Kubernetes allows it for a pod's name.
const MAX_SUBDOMAIN: usize = 253;

/// Why a name is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {value:?} is not valid: {rule}")]
pub struct InvalidName {
    kind: &'static str,
    value: String,
    rule: &'static str,
}

const LABEL_RULE: &str = "use 1 to 63 of a-z, 0-9 and '-', starting and ending with a letter or digit";
const SUBDOMAIN_RULE: &str = "use dot-separated labels of a-z, 0-9 and '-', 253 characters at most";

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=MAX_LABEL).contains(&bytes.len())
        && bytes.iter().all(|b| alphanumeric(b) || *b == b'-')
        && bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
}

fn is_subdomain(text: &str) -> bool {
    text.len() <= MAX_SUBDOMAIN && text.split('.').all(is_label)
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $check:ident, $rule:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                if $check(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidName { kind: $kind, value: text.to_owned(), rule: $rule })
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// Name of a cluster: a DNS label; the first part of every key.
    ClusterName, "cluster name", is_label, LABEL_RULE
);
name!(
    /// Name of a pool: a DNS label.
    PoolName, "pool name", is_label, LABEL_RULE
);
name!(
    /// Name of a listener: a DNS label, unique in its pool.
    ListenerName, "listener name", is_label, LABEL_RULE
);
name!(
    /// Id of a node: a DNS subdomain, unique in its pool; by default the host's name.
    NodeId, "node id", is_subdomain, SUBDOMAIN_RULE
);

/// Identity of one life of a pool: a pool that is deleted and made again has another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PoolUid(String);

impl PoolUid {
    /// A random UUID (RFC 9562, version 4).
    pub fn random() -> Self {
        let mut b = random_bytes::<16>();
        b[6] = (b[6] & 0x0f) | 0x40;
        b[8] = (b[8] & 0x3f) | 0x80;
        let hex = hex(&b);
        let (a, rest) = hex.split_at(8);
        let (b, rest) = rest.split_at(4);
        let (c, rest) = rest.split_at(4);
        let (d, e) = rest.split_at(4);
        Self(format!("{a}-{b}-{c}-{d}-{e}"))
    }

    /// The UID as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for PoolUid {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for PoolUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Number of a revision in its pool, from 1. Means nothing without the pool's UID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RevisionNumber(pub u32);

impl fmt::Display for RevisionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// SHA-256 of a template in canonical protobuf JSON, as 64 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Digest(String);

impl Digest {
    /// The digest of a template. Anyone can check it: `jq -cj .stable.config | sha256sum` on an assignment.
    pub fn of(template: &v1::PoolTemplate) -> Self {
        Self::of_text(&crate::codec::to_json(template))
    }

    /// The digest of a text.
    pub fn of_text(text: &str) -> Self {
        Self(hex(&Sha256::digest(text)))
    }

    /// The digest as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One life of a node's process: 16 hex digits, random.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Incarnation(String);

impl Incarnation {
    /// A new one, at every start.
    pub fn random() -> Self {
        Self(hex(&random_bytes::<8>()))
    }

    /// The incarnation as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Random bytes as lower-case hex digits, two a byte; for ids and key suffixes.
pub fn random_hex<const N: usize>() -> String {
    hex(&random_bytes::<N>())
}

/// A number for a lease of etcd, random and above 0: asked for lease 0, etcd takes a number of its own.
pub fn random_lease() -> i64 {
    (i64::from_be_bytes(random_bytes()) & i64::MAX).max(1)
}

fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if getrandom::fill(&mut bytes).is_err() {
        // Linux answers getrandom(2) once the pool is filled; before that, at early boot, the clock must do.
        let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos());
        let seed = Sha256::digest(format!("{nanos} {}", std::process::id()));
        for (byte, seed) in bytes.iter_mut().zip(seed.iter().cycle()) {
            *byte = *seed;
        }
    }
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_dns() {
        assert!("default".parse::<PoolName>().is_ok());
        assert!("node-1.zone-a".parse::<NodeId>().is_ok());
        for bad in ["", "Edge", "-a", "a-", "a_b", "a/b", "a.b", &"a".repeat(64)] {
            assert!(bad.parse::<PoolName>().is_err(), "{bad:?}");
        }
        for bad in ["", "a..b", "a/b", ".", &"a.".repeat(127)] {
            assert!(bad.parse::<NodeId>().is_err(), "{bad:?}");
        }
        let error = "Edge".parse::<PoolName>().unwrap_err().to_string();
        assert!(error.starts_with("pool name \"Edge\" is not valid: use 1 to 63"), "{error}");
    }

    /// Reproduce with: printf 'UID\0ROLLOUT\0NODE' | sha256sum | cut -c1-16
    #[test]
    fn rollout_hash_vectors() {
        let uid = PoolUid("0f8fad5b-d9cb-469f-a165-70867728950e".into());
        let hash = |rollout, node: &str| format!("{:016x}", rollout_hash(&uid, rollout, &node.parse().unwrap()));
        assert_eq!(hash(1, "node-1"), "7d3767b8e6fd7cee");
        assert_eq!(hash(1, "node-2"), "40c3a73df75f57a4");
        assert_eq!(hash(12, "node-1"), "6021f3913f1aebf3");
    }

    #[test]
    fn only_picked_or_cut_nodes_run_next() {
        let node: NodeId = "node-1".parse().unwrap();
        let mut a = v1::Assignment { uid: PoolUid::random().to_string(), rollout: 3, ..Default::default() };
        a.cut = u64::MAX;
        assert!(!runs_next(&a, &node), "no next, nobody runs it");
        a.next = Some(v1::AssignedRevision::default());
        assert!(runs_next(&a, &node), "the maximum reaches everybody");
        a.cut = 0;
        assert!(!runs_next(&a, &node), "0 reaches nobody");
        a.picked = vec!["node-1".into()];
        assert!(runs_next(&a, &node));
        a.picked.clear();
        a.cut = rollout_hash(&PoolUid(a.uid.clone()), 3, &node);
        assert!(runs_next(&a, &node), "the cut includes its own value");
        a.cut -= 1;
        assert!(!runs_next(&a, &node));
    }

    #[test]
    fn a_pin_goes_before_the_rollout() {
        let revision = |n| v1::AssignedRevision { n, ..Default::default() };
        let node: NodeId = "node-1".parse().unwrap();
        let mut a = v1::Assignment { stable: Some(revision(3)), next: Some(revision(4)), ..Default::default() };
        (a.cut, a.pinned) = (u64::MAX, vec![revision(1), revision(2)]);
        a.pins = vec![v1::AssignedPin { node: "node-2".into(), n: 1 }];
        assert_eq!(Place::of(&a, &node), Place::Next, "the pin is another's");
        for (n, place, found) in [
            (3, Place::Stable, Some(3)),
            (4, Place::Next, Some(4)),
            (2, Place::Pinned(1), Some(2)),
            (9, Place::Missing(9), None),
        ] {
            a.pins = vec![v1::AssignedPin { node: "node-1".into(), n }];
            assert_eq!(Place::of(&a, &node), place);
            assert_eq!(place.revision(&a).map(|revision| revision.n), found);
        }
    }

    #[test]
    fn uids_are_version_4() {
        let uid = PoolUid::random();
        let parts: Vec<_> = uid.as_str().split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert_eq!(uid.as_str().chars().nth(14), Some('4'));
        assert_ne!(uid, PoolUid::random());
    }

    #[test]
    fn digest_is_of_canonical_json() {
        let template = v1::PoolTemplate {
            listeners: vec![v1::Listener { name: "a".into(), port: 7, ..Default::default() }],
            ..Default::default()
        };
        // printf '{"listeners":[{"name":"a","port":7}]}' | sha256sum
        assert_eq!(Digest::of(&template).as_str(), "0a0f4cc6a7b48e952ef220b005eb8157f5d393afa13f538df9425e5786bfd218");
    }
}
