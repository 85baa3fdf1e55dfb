//! Every error of the API and its gRPC status, in one place.
//!
//! The text names the object, the cause and the next step; the code tells a program whether trying again may help.
//! Mistakes go out whole, as google.rpc.BadRequest; what is missing as ResourceInfo, what does not hold as
//! PreconditionFailure; every error has a stable reason, as google.rpc.ErrorInfo.

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
    Argument(FieldError),
    /// No such object; the text says how to list those that exist.
    #[error("{}", .0.text)]
    NotFound(Missing),
    /// Someone else changed it meanwhile.
    #[error("{}", .0.text)]
    Conflict(Conflict),
    /// Others change it all the time.
    #[error("{0}")]
    Contended(String),
    /// Not in this state.
    #[error("{}", .0.text)]
    Precondition(Unmet),
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

/// What is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    /// As in events: `pool/edge`.
    pub(super) object: String,
    pub(super) text: String,
}

/// What does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unmet {
    /// Stable, for programs: `ROLLOUT_PHASE`, `REVISION_PRUNED` ...
    pub(super) kind: &'static str,
    /// As in events: `pool/edge`.
    pub(super) object: String,
    pub(super) text: String,
}

impl ApiError {
    /// A mistake in the request's `field`.
    pub(super) fn argument(field: &str, cause: impl Into<String>) -> Self {
        Self::Argument(FieldError::new(field, cause))
    }

    pub(super) fn missing(object: impl Into<String>, text: impl Into<String>) -> Self {
        Self::NotFound(Missing { object: object.into(), text: text.into() })
    }

    pub(super) fn unmet(kind: &'static str, object: impl Into<String>, text: impl Into<String>) -> Self {
        Self::Precondition(Unmet { kind, object: object.into(), text: text.into() })
    }

    pub(super) fn no_pool(name: &PoolName) -> Self {
        let text = format!("pool {:?} not found; `echoctl get pools` lists what there is", name.as_str());
        Self::missing(crate::event::of_pool(name), text)
    }

    pub(super) fn no_node(name: &str, pool: Option<&PoolName>) -> Self {
        let place = pool.map_or_else(String::new, |pool| format!(" in pool {:?}", pool.as_str()));
        let text = format!("node {name:?} not found{place}; `echoctl get nodes` lists what there is");
        Self::missing(format!("node/{name}"), text)
    }

    pub(super) fn contended(object: &str) -> Self {
        Self::Contended(format!("{object} is being changed by others all the time; try again"))
    }

    /// Whether the same call may succeed later.
    pub(crate) fn is_unavailable(&self) -> bool {
        self.code() == Code::Unavailable || matches!(self, Self::Store(error) if error.is_unavailable())
    }

    /// Whether the same change may be stored a little later.
    pub(crate) fn may_pass(&self) -> bool {
        self.is_unavailable() || matches!(self, Self::Contended(_))
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
        match error {
            ApiError::Store(StoreError::Busy { .. }) => drop(details.set_retry_info(Some(RETRY_DELAY))),
            ApiError::Fields(FieldErrors(errors)) => {
                let violation = |e: FieldError| FieldViolation::new(e.path, e.cause);
                details.set_bad_request(errors.into_iter().map(violation).collect::<Vec<_>>());
            }
            ApiError::Argument(FieldError { path, cause }) => drop(details.add_bad_request_violation(path, cause)),
            ApiError::NotFound(Missing { object, text }) => {
                let (kind, name) = object.split_once('/').unwrap_or(("", &object));
                details.set_resource_info(kind, name, "", text);
            }
            ApiError::Precondition(Unmet { kind, object, text }) => {
                details.add_precondition_failure_violation(kind, object, text);
            }
            ApiError::Conflict(Conflict { object, text, .. }) => {
                details.add_precondition_failure_violation("RESOURCE_VERSION", object, text);
            }
            _ => {}
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
        assert_eq!(status.message(), "pool \"edge\" not found; `echoctl get pools` lists what there is");
        let info = status.get_details_error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("not_found", DOMAIN));
        let missing = status.get_details_resource_info().unwrap();
        assert_eq!((missing.resource_type.as_str(), missing.resource_name.as_str()), ("pool", "edge"));
    }

    #[test]
    fn what_does_not_hold_is_told_to_programs_too() {
        let status = Status::from(ApiError::unmet("ROLLOUT_PHASE", "pool/edge", "nothing to pause"));
        assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "nothing to pause"));
        let violation = status.get_details_precondition_failure().unwrap().violations.remove(0);
        assert_eq!((violation.r#type.as_str(), violation.subject.as_str()), ("ROLLOUT_PHASE", "pool/edge"));
        let status = Status::from(ApiError::argument("replicas", "7 is too large"));
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "replicas: 7 is too large"));
        assert_eq!(status.get_details_bad_request().unwrap().field_violations.remove(0).field, "replicas");
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
