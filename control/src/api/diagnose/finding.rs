//! One thing that was looked at, as the diagnosis tells it.
//!
//! Used by all parts of the diagnosis. A finding that is not all right must say what to do.

use echo_proto::v1::{Finding, Severity};

/// All is well.
pub(in crate::api) fn ok(check: &str, object: impl Into<String>, message: impl Into<String>) -> Finding {
    finding(Severity::Ok, check, object.into(), message.into(), String::new())
}

/// It works, but should be looked at.
pub(in crate::api) fn warning(
    check: &str,
    object: impl Into<String>,
    message: impl Into<String>,
    hint: impl Into<String>,
) -> Finding {
    finding(Severity::Warning, check, object.into(), message.into(), hint.into())
}

/// It does not work.
pub(in crate::api) fn error(
    check: &str,
    object: impl Into<String>,
    message: impl Into<String>,
    hint: impl Into<String>,
) -> Finding {
    finding(Severity::Error, check, object.into(), message.into(), hint.into())
}

fn finding(severity: Severity, check: &str, object: String, message: String, hint: String) -> Finding {
    Finding { check: check.to_owned(), severity: severity.into(), object, message, hint }
}
