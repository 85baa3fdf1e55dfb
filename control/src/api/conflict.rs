//! Refuses a change of a pool that is not what its caller has seen, and tells who changed it and when.
//!
//! Used by every change of a pool whose caller may name a version. The newer change is found by its event, which was
//! stored in the same transaction and so has the same revision of etcd.

use echo_proto::ids::PoolName;
use echo_proto::v1;

use super::Api;
use super::error::ApiError;
use crate::store::Stored;

/// What a stale writer is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub(super) text: String,
    /// As in events: `pool/edge`.
    pub(super) object: String,
    /// The stored version; `None`: there is none any more.
    pub(super) newer: Option<i64>,
}

/// The version that a caller changes; `None`: whatever is stored.
pub(super) fn expected_version(field: &str, text: &str) -> Result<Option<i64>, ApiError> {
    match text {
        "" => Ok(None),
        text => match text.parse() {
            Ok(version) => Ok(Some(version)),
            Err(_) => Err(ApiError::argument(field, format!("{text:?} is not one of ours"))),
        },
    }
}

impl Api {
    /// Whether the stored pool is the one that the caller has seen.
    pub(super) async fn check_version(
        &self,
        name: &PoolName,
        expected: Option<i64>,
        stored: Option<&Stored<v1::PoolRecord>>,
    ) -> Result<(), ApiError> {
        let Some(expected) = expected.filter(|expected| stored.is_none_or(|s| s.mod_revision != *expected)) else {
            return Ok(());
        };
        let newer = stored.map(|s| s.mod_revision);
        let event = match newer {
            // It only helps here: without it the conflict is a conflict still.
            Some(newer) => self.store.event_of(newer).await.unwrap_or_default(),
            None => None,
        };
        let text = text(name, expected, stored, event.as_ref());
        Err(ApiError::Conflict(Conflict { text, object: crate::event::of_pool(name), newer }))
    }
}

fn text(name: &PoolName, expected: i64, stored: Option<&Stored<v1::PoolRecord>>, event: Option<&v1::Event>) -> String {
    let Some(stored) = stored else {
        return format!("pool/{name} does not exist any more; leave resourceVersion out to create it");
    };
    let (record, version) = (&stored.value, stored.mod_revision);
    let n = record.revision.as_ref().map_or(0, |r| r.n);
    let by = event.map_or(record.author.as_str(), |e| e.actor.as_str());
    let at = event.and_then(|e| e.last_time).map_or_else(String::new, |time| format!(" at {time}"));
    let what = event.map_or_else(String::new, |e| format!(": {}", e.message));
    format!(
        "pool/{name} was changed meanwhile: you have resourceVersion {expected}, stored is {version} (revision {n}, by \
         {by}{at}{what}); get it again, or leave resourceVersion out to overwrite, as the files of \
         `echoctl backup` do"
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_writer_learns_what_is_newer_by_whom_and_when() {
        let name = "edge".parse().unwrap();
        let revision = v1::RevisionRef { n: 2, ..Default::default() };
        let value = v1::PoolRecord { revision: Some(revision), author: "ann".into(), ..Default::default() };
        let stored = Stored { value, mod_revision: 7, create_revision: 1 };
        let told = text(&name, 6, Some(&stored), None);
        assert!(told.contains("you have resourceVersion 6, stored is 7 (revision 2, by ann)"), "{told}");
        let last_time = Some(prost_types::Timestamp { seconds: 0, nanos: 0 });
        let event = v1::Event { actor: "bob".into(), message: "scaled".into(), last_time, ..Default::default() };
        let told = text(&name, 6, Some(&stored), Some(&event));
        assert!(told.contains("(revision 2, by bob at 1970-01-01T00:00:00Z: scaled)"), "{told}");
        assert!(text(&name, 6, None, None).contains("does not exist any more"));
    }

    #[test]
    fn a_version_is_a_number() {
        assert_eq!(expected_version("v", ""), Ok(None));
        assert_eq!(expected_version("v", "7"), Ok(Some(7)));
        assert!(matches!(expected_version("v", "x"), Err(ApiError::Argument(e)) if e.path == "v"));
    }
}
