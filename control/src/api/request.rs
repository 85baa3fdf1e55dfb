//! What a caller sent beside a pool's spec: checked, and within bounds.
//!
//! Used by the changes of pools and nodes. The spec itself is checked by the one validity rule, `echo_proto::spec`.

use super::error::ApiError;
use crate::plan::change::Request;

/// Longest author.
const MAX_AUTHOR_BYTES: usize = 253;
/// Longest message.
const MAX_MESSAGE_BYTES: usize = 4_096;

/// Who asks, within bounds: it is stored with the pool, the revision and the event.
pub(super) fn asked(author: &str, message: &str, now: bool) -> Result<Request, ApiError> {
    for (field, text, most) in [("author", author, MAX_AUTHOR_BYTES), ("message", message, MAX_MESSAGE_BYTES)] {
        if text.len() > most {
            return Err(ApiError::argument(field, format!("{} bytes; at most {most}", text.len())));
        }
    }
    Ok(Request { author: author.to_owned(), message: message.to_owned(), now })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_for_ever_is_bounded() {
        assert!(asked("ann", "why", false).is_ok());
        assert!(asked(&"a".repeat(MAX_AUTHOR_BYTES + 1), "", false).is_err());
        assert!(asked("", &"m".repeat(MAX_MESSAGE_BYTES + 1), false).is_err());
    }
}
