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
    /// No answer to a change: etcd may have stored it.
    #[error(
        "etcd at {endpoints} did not confirm the change ({cause}): it may be stored or not; look at it before you try again"
    )]
    Unconfirmed {
        /// The addresses tried.
        endpoints: String,
        /// What was met.
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
    /// etcd's space is used up: it takes no change.
    #[error(
        "etcd at {endpoints} is full and takes no change (NOSPACE): compact and defragment it, then run `etcdctl alarm disarm`"
    )]
    Full {
        /// The addresses tried.
        endpoints: String,
    },
    /// etcd has more to do than it can, and did not begin with this.
    #[error("etcd at {endpoints} is overloaded ({cause}); try again in a moment")]
    Busy {
        /// The addresses tried.
        endpoints: String,
        /// etcd's words.
        cause: String,
    },
    /// Too few members of etcd reach each other; it did not begin with this.
    #[error(
        "etcd at {endpoints} has no leader: too few of its members run, or reach each other; try again when they do"
    )]
    NoLeader {
        /// The addresses tried.
        endpoints: String,
    },
    /// The revision asked for is compacted: list again.
    #[error("etcd compacted the revision that was asked for; list again")]
    Compacted,
    /// The revision asked for is yet to come, for this etcd: it was restored, or is another one.
    #[error("etcd has not come to the revision that was asked for; list again from the start")]
    Future,
    /// One answer that is larger than any should be.
    #[error("the answer of etcd at {endpoints} is too large ({cause}); remove large values below /echo/v1/")]
    TooLarge {
        /// The addresses tried.
        endpoints: String,
        /// How large, and what is taken.
        cause: String,
    },
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
            Self::Unconfirmed { .. } => "etcd_unconfirmed",
            Self::Refused { .. } => "etcd_refused",
            Self::Full { .. } => "etcd_full",
            Self::Busy { .. } => "etcd_busy",
            Self::NoLeader { .. } => "etcd_no_leader",
            Self::Compacted => "etcd_compacted",
            Self::Future => "etcd_future_revision",
            Self::TooLarge { .. } => "etcd_answer_too_large",
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
        matches!(self, Self::Unavailable { .. } | Self::Unconfirmed { .. } | Self::Busy { .. } | Self::NoLeader { .. })
    }

    /// The same of a change that was sent.
    pub(super) fn unconfirmed(self) -> Self {
        match self {
            Self::Unavailable { endpoints, cause } => Self::Unconfirmed { endpoints, cause },
            other => other,
        }
    }

    pub(super) fn from_etcd(endpoints: &str, operation: &'static str, error: etcd_client::Error) -> Self {
        let endpoints = endpoints.to_owned();
        match error {
            etcd_client::Error::GRpcStatus(status) => match status.code() {
                Code::OutOfRange => Self::out_of_range(endpoints, status.message()),
                Code::ResourceExhausted => Self::exhausted(endpoints, operation, status.message()),
                Code::Unavailable if status.message().contains("etcdserver: no leader") => Self::NoLeader { endpoints },
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

    /// Two faults share this code, and only their texts differ, which are part of etcd's API.
    fn exhausted(endpoints: String, operation: &'static str, text: &str) -> Self {
        if text.contains("database space exceeded") {
            Self::Full { endpoints }
        } else if text.contains("too many requests") {
            Self::Busy { endpoints, cause: text.to_owned() }
        } else {
            Self::Refused { endpoints, operation, cause: text.to_owned() }
        }
    }

    /// Three faults share this code, and only their texts differ: etcd's two, which are part of its API
    /// (api/v3rpc/rpctypes/error.go), and that of tonic for a message beyond the limit.
    fn out_of_range(endpoints: String, text: &str) -> Self {
        if text.contains("required revision has been compacted") {
            Self::Compacted
        } else if text.contains("required revision is a future revision") {
            Self::Future
        } else {
            Self::TooLarge { endpoints, cause: text.to_owned() }
        }
    }
}

/// Whether a call failed before anything was sent.
pub(super) fn is_unsent(error: &etcd_client::Error) -> bool {
    // The client's own error hides the source of what it wraps.
    let mut error: Option<&(dyn std::error::Error + 'static)> = match error {
        etcd_client::Error::GRpcStatus(status) => Some(status),
        other => Some(other),
    };
    while let Some(found) = error {
        if found.is::<tonic::ConnectError>() {
            return true;
        }
        error = found.source();
    }
    false
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
        let compacted = "etcdserver: mvcc: required revision has been compacted";
        assert_eq!(from(Status::out_of_range(compacted)), StoreError::Compacted);
        let future = "etcdserver: mvcc: required revision is a future revision";
        assert_eq!(from(Status::out_of_range(future)), StoreError::Future);
        let large = "Error, decoded message length too large: found 70 bytes, the limit is: 64 bytes";
        assert_eq!(from(Status::out_of_range(large)).label(), "etcd_answer_too_large");
        let leaderless = from(Status::unavailable("etcdserver: no leader"));
        assert!(leaderless.is_unavailable() && leaderless.label() == "etcd_no_leader");
        let full = from(Status::resource_exhausted("etcdserver: mvcc: database space exceeded"));
        assert!(!full.is_unavailable() && full.to_string().contains("etcdctl alarm disarm"), "{full}");
        let busy = from(Status::resource_exhausted("etcdserver: too many requests"));
        assert!(busy.is_unavailable() && busy.clone().unconfirmed() == busy, "etcd did not begin with it: {busy}");
        let refused = from(Status::permission_denied("no"));
        assert_eq!(refused.to_string(), "etcd at http://e:1 refused to get: no");
        assert_eq!(refused.label(), "etcd_refused");
        let gone = from(Status::unavailable("x")).to_string();
        assert!(gone.starts_with("cannot reach etcd at http://e:1; is it running?"), "{gone}");
    }

    #[test]
    fn a_change_without_an_answer_may_be_stored_unless_it_was_never_sent() {
        let broken = std::io::Error::other("refused");
        let unsent = Status::from_error(Box::new(tonic::ConnectError(Box::new(broken))));
        assert!(is_unsent(&etcd_client::Error::GRpcStatus(unsent)));
        let lost = etcd_client::Error::GRpcStatus(Status::from_error(Box::new(std::io::Error::other("reset"))));
        assert!(!is_unsent(&lost));
        let told = StoreError::from_etcd("http://e:1", "commit", lost).unconfirmed();
        assert!(told.to_string().contains("may be stored or not"), "{told}");
        assert!(told.is_unavailable());
    }
}
