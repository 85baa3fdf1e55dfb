//! What a caller sent beside a pool's spec: checked, and within bounds.
//!
//! Used by the changes of pools. The spec itself is checked by the one validity rule, `echo_proto::spec`.

use echo_proto::ids::PoolName;
use echo_proto::v1;

use super::error::ApiError;
use crate::plan::change::Request;
use crate::store::Stored;

/// Longest author.
const MAX_AUTHOR_BYTES: usize = 253;
/// Longest message.
const MAX_MESSAGE_BYTES: usize = 4_096;

/// Who asks, within bounds: it is stored with the pool, the revision and the event.
pub(super) fn asked(author: &str, message: &str, now: bool) -> Result<Request, ApiError> {
    for (field, text, most) in [("author", author, MAX_AUTHOR_BYTES), ("message", message, MAX_MESSAGE_BYTES)] {
        if text.len() > most {
            return Err(ApiError::Argument(format!("{field}: {} bytes; at most {most}", text.len())));
        }
    }
    Ok(Request { author: author.to_owned(), message: message.to_owned(), now })
}

/// The version that the caller changes; `None`: whatever is stored.
pub(super) fn expected_version(pool: &v1::Pool) -> Result<Option<i64>, ApiError> {
    match pool.metadata.as_ref().map_or("", |m| m.resource_version.as_str()) {
        "" => Ok(None),
        text => match text.parse() {
            Ok(version) => Ok(Some(version)),
            Err(_) => Err(ApiError::Argument(format!("metadata.resourceVersion: {text:?} is not one of ours"))),
        },
    }
}

pub(super) fn check_version(
    name: &PoolName,
    expected: Option<i64>,
    stored: Option<&Stored<v1::PoolRecord>>,
) -> Result<(), ApiError> {
    let Some(expected) = expected else { return Ok(()) };
    match stored {
        Some(stored) if stored.mod_revision == expected => Ok(()),
        Some(stored) => {
            let (n, author) = (stored.value.revision.as_ref().map_or(0, |r| r.n), &stored.value.author);
            Err(ApiError::Conflict(format!(
                "pool/{name} was changed meanwhile: you have resourceVersion {expected}, stored is {} (revision {n}, \
                 by {author}); get it again, or leave resourceVersion out to overwrite",
                stored.mod_revision
            )))
        }
        None => Err(ApiError::Conflict(format!(
            "pool/{name} does not exist any more; leave resourceVersion out to create it"
        ))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn pool(resource_version: &str) -> v1::Pool {
        let metadata = v1::ObjectMeta { resource_version: resource_version.to_owned(), ..Default::default() };
        v1::Pool { metadata: Some(metadata), ..Default::default() }
    }

    #[test]
    fn who_names_a_version_changes_that_one_or_nothing() {
        let name = "edge".parse().unwrap();
        let stored = Stored { value: v1::PoolRecord::default(), mod_revision: 7, create_revision: 1 };
        let check = |version: &str, stored| check_version(&name, expected_version(&pool(version))?, stored);
        assert_eq!(check("", Some(&stored)), Ok(()));
        assert_eq!(check("7", Some(&stored)), Ok(()));
        let changed = check("6", Some(&stored)).unwrap_err().to_string();
        assert!(changed.contains("you have resourceVersion 6, stored is 7"), "{changed}");
        assert!(check("6", None).is_err());
        assert!(matches!(check("x", None), Err(ApiError::Argument(_))));
    }

    #[test]
    fn what_is_stored_for_ever_is_bounded() {
        assert!(asked("ann", "why", false).is_ok());
        assert!(asked(&"a".repeat(MAX_AUTHOR_BYTES + 1), "", false).is_err());
        assert!(asked("", &"m".repeat(MAX_MESSAGE_BYTES + 1), false).is_err());
    }
}
