//! What a caller sent beside a pool's spec: checked, and within bounds.
//!
//! Used by the changes of pools. The spec itself is checked by the one validity rule, `echo_proto::spec`.

use echo_proto::codec::{FieldError, FieldErrors};
use echo_proto::ids::PoolName;
use echo_proto::v1;

use super::error::ApiError;
use crate::plan::change::Request;
use crate::store::Stored;

/// Most labels of a pool.
const MAX_LABELS: usize = 32;
/// Longest key or value of a label.
const MAX_LABEL_BYTES: usize = 253;
/// Longest author.
const MAX_AUTHOR_BYTES: usize = 253;
/// Longest message.
const MAX_MESSAGE_BYTES: usize = 4_096;

/// Labels are matched by selectors and shown in tables; the nodes' own have the same bounds.
pub(super) fn check_labels(pool: &v1::Pool) -> Result<(), FieldErrors> {
    let labels = pool.metadata.as_ref().map(|m| &m.labels).into_iter().flatten();
    let (count, long) = labels.fold((0, None), |(count, long), (key, value)| {
        let too_long = key.is_empty() || key.len() > MAX_LABEL_BYTES || value.len() > MAX_LABEL_BYTES;
        (count + 1, long.or(too_long.then_some(key)))
    });
    let mut errors = Vec::new();
    if count > MAX_LABELS {
        errors.push(FieldError::new("metadata.labels", format!("{count} labels; at most {MAX_LABELS}")));
    }
    if let Some(key) = long {
        let key: String = key.chars().take(40).collect();
        let cause = format!("{key:?}: a key has 1 to {MAX_LABEL_BYTES} bytes, a value at most {MAX_LABEL_BYTES}");
        errors.push(FieldError::new("metadata.labels", cause));
    }
    if errors.is_empty() { Ok(()) } else { Err(FieldErrors(errors)) }
}

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

    fn pool(resource_version: &str, labels: &[(&str, &str)]) -> v1::Pool {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let resource_version = resource_version.to_owned();
        let metadata = v1::ObjectMeta { resource_version, labels, ..Default::default() };
        v1::Pool { metadata: Some(metadata), ..Default::default() }
    }

    #[test]
    fn who_names_a_version_changes_that_one_or_nothing() {
        let name = "edge".parse().unwrap();
        let stored = Stored { value: v1::PoolRecord::default(), mod_revision: 7, create_revision: 1 };
        let check = |version: &str, stored| check_version(&name, expected_version(&pool(version, &[]))?, stored);
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
        assert!(check_labels(&pool("", &[("team", "net")])).is_ok());
        let FieldErrors(errors) = check_labels(&pool("", &[("", "x")])).unwrap_err();
        assert_eq!(errors.first().unwrap().path, "metadata.labels");
    }
}
