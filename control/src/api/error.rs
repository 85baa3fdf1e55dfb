//! Every error of the API and its gRPC status, in one place.
//!
//! The text names the object, the cause and the next step; the code tells a program whether trying again may help.
//! Mistakes in a pool go out whole, as google.rpc.BadRequest; every error has a stable reason, as google.rpc.ErrorInfo.

use std::collections::HashMap;
use std::time::Duration;

use echo_proto::codec::{FieldError, FieldErrors};
use echo_proto::ids::PoolName;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use super::conflict::Conflict;
use crate::store::StoreError;

/// Whose reasons they are, as google.rpc.ErrorInfo has it.
const DOMAIN: &str = "echo.v1";

/// What a caller should wait while etcd is overloaded, as google.rpc.RetryInfo tells it.
const RETRY_DELAY: Duration = Duration::from_secs(2);

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ApiError {
    /// etcd, or what it holds.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// Mistakes in what was sent.
    #[error("{0}")]
    Fields(#[from] FieldErrors),
    /// A part of the request that is no field of a pool.
    #[error("{0}")]
    Argument(String),
    /// No such object; the text says how to list those that exist.
    #[error("{0}")]
    NotFound(String),
    /// Someone else changed it meanwhile.
    #[error("{}", .0.text)]
    Conflict(Conflict),
    /// Others change it all the time.
    #[error("{0}")]
    Contended(String),
    /// Not in this state.
    #[error("{0}")]
    Precondition(String),
    /// Cut: the caller reads too slowly.
    #[error("this watch was cut: nothing was read for {0} s; watch again")]
    Slow(u64),
    /// Cut: the caller has not taken the list in time.
    #[error("this watch was cut: its list was not read within {0} s; watch again")]
    SlowList(u64),
    /// No more watchers.
    #[error("{0} watches are open already; end some, or ask another control")]
    Crowded(usize),
    /// One at a time.
    #[error("another diagnosis is running; try again in some seconds")]
    Diagnosing,
    /// An Agent that is asked for more than its record holds.
    #[error(
        "the Agent of node {node:?} at {address} does not answer, or knows of no sessions; `echoctl get nodes` shows \
         whether it lives"
    )]
    SilentAgent {
        /// Its node.
        node: String,
        /// Where it should be.
        address: String,
    },
    /// The process has just started.
    #[error("control has not read the cluster's state yet; try again in a moment")]
    Starting,
    /// The process is about to end.
    #[error("control is stopping; try again in a moment")]
    Stopping,
}

impl ApiError {
    pub(super) fn no_pool(name: &PoolName) -> Self {
        Self::NotFound(format!("pool {:?} not found; `echoctl get pools` lists those that exist", name.as_str()))
    }

    pub(super) fn no_node(name: &str, pool: Option<&PoolName>) -> Self {
        let place = pool.map_or_else(String::new, |pool| format!(" in pool {:?}", pool.as_str()));
        Self::NotFound(format!("node {name:?} not found{place}; `echoctl get nodes` lists those that exist"))
    }

    pub(super) fn contended(object: &str) -> Self {
        Self::Contended(format!("{object} is being changed by others all the time; try again"))
    }

    /// Whether the same call may succeed later.
    pub(crate) fn is_unavailable(&self) -> bool {
        self.code() == Code::Unavailable || matches!(self, Self::Store(error) if error.is_unavailable())
    }

    /// Stable name in the details of the status: what a program tells errors of one code apart by.
    fn reason(&self) -> &'static str {
        match self {
            Self::Store(error) => error.label(),
            Self::Fields(_) => "fields_invalid",
            Self::Argument(_) => "argument_invalid",
            Self::NotFound(_) => "not_found",
            Self::Conflict(_) => "stale_version",
            Self::Contended(_) => "contended",
            Self::Precondition(_) => "precondition_failed",
            Self::Slow(_) | Self::SlowList(_) => "watch_too_slow",
            Self::Crowded(_) => "too_many_watches",
            Self::Diagnosing => "diagnosis_running",
            Self::SilentAgent { .. } => "agent_silent",
            Self::Starting => "starting",
            Self::Stopping => "stopping",
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::Store(StoreError::Unavailable { .. } | StoreError::Busy { .. } | StoreError::NoLeader { .. })
            | Self::Starting
            | Self::Stopping
            | Self::SilentAgent { .. } => Code::Unavailable,
            // Not Unavailable: clients may repeat such a call by themselves.
            Self::Store(StoreError::Unconfirmed { .. }) => Code::Unknown,
            Self::Store(StoreError::Compacted | StoreError::Future) => Code::OutOfRange,
            Self::Store(StoreError::Refused { .. } | StoreError::TooLarge { .. }) => Code::Internal,
            Self::Store(StoreError::Invalid { .. }) => Code::DataLoss,
            Self::Fields(_) | Self::Argument(_) => Code::InvalidArgument,
            Self::NotFound(_) => Code::NotFound,
            Self::Conflict(_) | Self::Contended(_) => Code::Aborted,
            Self::Precondition(_) => Code::FailedPrecondition,
            Self::Store(StoreError::Full { .. })
            | Self::Slow(_)
            | Self::SlowList(_)
            | Self::Crowded(_)
            | Self::Diagnosing => Code::ResourceExhausted,
        }
    }
}

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Self {
        let (code, text) = (error.code(), error.to_string());
        let (reason, mut details) = (error.reason(), HashMap::new());
        if let ApiError::Conflict(Conflict { object, newer, .. }) = &error {
            details.insert("object".to_owned(), object.clone());
            details.extend(newer.map(|newer| ("resourceVersion".to_owned(), newer.to_string())));
        }
        let mut details = ErrorDetails::with_error_info(reason, DOMAIN, details);
        if let ApiError::Store(StoreError::Busy { .. }) = &error {
            details.set_retry_info(Some(RETRY_DELAY));
        }
        if let ApiError::Fields(FieldErrors(errors)) = error {
            let violation = |e: FieldError| FieldViolation::new(e.path, e.cause);
            details.set_bad_request(errors.into_iter().map(violation).collect::<Vec<_>>());
        }
        Self::with_error_details(code, text, details)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_travels_with_its_path() {
        let errors = vec![FieldError::new("spec.replicas", "too large"), FieldError::new("kind", "expected Pool")];
        let status = Status::from(ApiError::Fields(FieldErrors(errors)));
        assert_eq!(status.code(), Code::InvalidArgument);
        let details = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(details.len(), 2);
        assert_eq!(details.first().unwrap().field, "spec.replicas");
    }

    #[test]
    fn a_missing_object_comes_with_the_next_command() {
        let status = Status::from(ApiError::no_pool(&"edge".parse().unwrap()));
        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(status.message(), "pool \"edge\" not found; `echoctl get pools` lists those that exist");
        let info = status.get_details_error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("not_found", DOMAIN));
    }

    #[test]
    fn what_etcd_refuses_for_now_is_told_apart_from_what_needs_an_operator() {
        let of = |error| Status::from(ApiError::Store(error));
        let busy = of(StoreError::Busy { endpoints: "http://e".into(), cause: "too many requests".into() });
        assert_eq!(busy.code(), Code::Unavailable);
        assert_eq!(busy.get_details_retry_info().unwrap().retry_delay, Some(RETRY_DELAY));
        let full = of(StoreError::Full { endpoints: "http://e".into() });
        assert_eq!(
            (full.code(), full.get_details_error_info().unwrap().reason.as_str()),
            (Code::ResourceExhausted, "etcd_full")
        );
    }

    #[test]
    fn a_conflict_names_the_newer_version_to_programs_too() {
        let conflict = Conflict { text: "changed".into(), object: "pool/edge".into(), newer: Some(7) };
        let status = Status::from(ApiError::Conflict(conflict));
        assert_eq!((status.code(), status.message()), (Code::Aborted, "changed"));
        let info = status.get_details_error_info().unwrap();
        assert_eq!(info.metadata.get("resourceVersion").map(String::as_str), Some("7"));
        assert_eq!(info.metadata.get("object").map(String::as_str), Some("pool/edge"));
    }
}
