//! What can go wrong between control and etcd.
//!
//! Made in the store only; `api/error.rs` turns it into a gRPC status. Its texts must name etcd's address or the key,
//! so that an operator knows where to look.

use tonic::Code;

/// Why an operation on etcd did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No answer: wrong address, not running, no quorum, or too slow.
    #[error("cannot reach etcd at {endpoints}; is it running? ({cause})")]
    Unavailable {
        /// The addresses tried.
        endpoints: String,
        /// What the last attempt met.
        cause: String,
    },
    /// etcd answered, and refused.
    #[error("etcd at {endpoints} refused to {operation}: {cause}")]
    Refused {
        /// The addresses tried.
        endpoints: String,
        /// What was asked: `get`, `commit` ...
        operation: &'static str,
        /// etcd's reason.
        cause: String,
    },
    /// The revision asked for is compacted: list again.
    #[error("etcd compacted the revision that was asked for; list again")]
    Compacted,
    /// A value of ours that cannot be read.
    #[error("{key} is not valid: {cause}; repair it, or delete it with `etcdctl del {key}`")]
    Invalid {
        /// The key.
        key: String,
        /// What is wrong with its value.
        cause: String,
    },
}

impl StoreError {
    /// Stable name for metrics and spans.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "etcd_unavailable",
            Self::Refused { .. } => "etcd_refused",
            Self::Compacted => "etcd_compacted",
            Self::Invalid { .. } => "record_invalid",
        }
    }

    /// What is wrong, without the key, for where that is told beside it.
    pub fn cause(&self) -> String {
        match self {
            Self::Invalid { cause, .. } => cause.clone(),
            other => other.to_string(),
        }
    }

    /// Whether trying again may help.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    pub(super) fn from_etcd(endpoints: &str, operation: &'static str, error: etcd_client::Error) -> Self {
        let endpoints = endpoints.to_owned();
        match error {
            etcd_client::Error::GRpcStatus(status) => match status.code() {
                Code::OutOfRange => Self::Compacted,
                // Unknown: what tonic makes of a connection that breaks in the middle of a call.
                Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown => {
                    Self::Unavailable { endpoints, cause: root_cause(&status) }
                }
                _ => Self::Refused { endpoints, operation, cause: status.message().to_owned() },
            },
            etcd_client::Error::InvalidArgs(cause) => Self::Refused { endpoints, operation, cause },
            other => Self::Unavailable { endpoints, cause: other.to_string() },
        }
    }
}

/// The innermost error says "connection refused"; the outer ones only "transport error".
fn root_cause(status: &tonic::Status) -> String {
    let mut error: &dyn std::error::Error = status;
    while let Some(source) = error.source() {
        error = source;
    }
    if std::ptr::eq(error as *const dyn std::error::Error as *const u8, status as *const tonic::Status as *const u8) {
        return status.message().to_owned();
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Status;

    #[test]
    fn statuses_are_sorted_by_what_helps() {
        let from = |status| StoreError::from_etcd("http://e:1", "get", etcd_client::Error::GRpcStatus(status));
        assert_eq!(from(Status::out_of_range("compacted")), StoreError::Compacted);
        assert!(from(Status::unavailable("etcdserver: no leader")).is_unavailable());
        let refused = from(Status::resource_exhausted("mvcc: database space exceeded"));
        assert_eq!(refused.to_string(), "etcd at http://e:1 refused to get: mvcc: database space exceeded");
        assert_eq!(refused.label(), "etcd_refused");
        let gone = from(Status::unavailable("x")).to_string();
        assert!(gone.starts_with("cannot reach etcd at http://e:1; is it running?"), "{gone}");
    }
}
