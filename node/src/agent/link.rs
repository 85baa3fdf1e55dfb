//! How the node stands with etcd, and why it stands badly.
//!
//! Written by the session and by the writer of the answers; read by the health pages, the Agent service and the drain. It
//! is what etcd itself can't be told.

use std::time::SystemTime;

use echo_proto::v1;
use tokio::sync::watch;
use tracing::warn;

use super::endpoints::{Endpoints, Remedy};
use super::etcd::{EtcdError, Refusal};
use super::lease::LeaseError;
use super::register::RegisterError;
use super::report::{REGISTERED, Report, wrong};

/// How the node stands with etcd.
#[derive(Debug, Clone, PartialEq)]
pub enum Link {
    /// Not registered yet.
    Joining,
    /// The record is there; this is what it says.
    Registered(Box<Report>),
    /// There is no record, or none that says what is true now.
    Lost {
        /// When it was noticed.
        since: SystemTime,
        /// CamelCase and stable.
        reason: &'static str,
        /// Why, and what to try.
        cause: String,
    },
}

/// Why a session broke off.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// etcd did not do it.
    #[error(transparent)]
    Etcd(#[from] EtcdError),
    /// The lease can't be kept.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// There is no record of ours.
    #[error(transparent)]
    Register(#[from] RegisterError),
}

impl Link {
    /// Notes a loss. It is said once for each reason, not for each try.
    pub fn lose(cell: &watch::Sender<Self>, reason: &'static str, cause: String) {
        cell.send_modify(|link| {
            let since = match link {
                Self::Lost { reason: before, since, .. } if *before == reason => *since,
                _ => {
                    warn!(reason = cause, "not registered; serving on, trying again");
                    SystemTime::now()
                }
            };
            *link = Self::Lost { since, reason, cause };
        });
    }

    /// Notes a loss that etcd is the cause of.
    pub fn lose_etcd(cell: &watch::Sender<Self>, error: &EtcdError, endpoints: &Endpoints) {
        Self::lose(cell, error.reason(), format!("{error}; {}", endpoints.hint(error.refusal())));
    }

    /// The condition that the Agent service tells, where there is something to tell.
    pub fn condition(&self) -> Option<v1::Condition> {
        let Self::Lost { since, reason, cause } = self else { return None };
        Some(wrong(REGISTERED, reason, cause.clone(), *since))
    }
}

impl Broken {
    /// Notes this as the reason of a loss.
    pub fn note(&self, cell: &watch::Sender<Link>, endpoints: &Endpoints) {
        let reason = match self {
            Self::Etcd(e) | Self::Lease(LeaseError::Etcd(e)) | Self::Register(RegisterError::Etcd(e)) => {
                return Link::lose_etcd(cell, e, endpoints);
            }
            Self::Lease(LeaseError::Gone) => "LeaseLost",
            Self::Register(RegisterError::Lost) => "RecordLost",
            Self::Register(RegisterError::Held(_)) => "HeldByOther",
        };
        Link::lose(cell, reason, self.to_string());
    }

    /// Whether the lease is gone, whoever noticed it first: the heartbeat, or who wrote under it.
    pub fn is_lease_gone(&self) -> bool {
        match self {
            Self::Lease(LeaseError::Gone) => true,
            Self::Register(RegisterError::Etcd(e)) => e.is_not_found(),
            Self::Etcd(_) | Self::Lease(LeaseError::Etcd(_)) | Self::Register(_) => false,
        }
    }

    /// Who may do better: what this member knows for sure, and a full database, all have in common.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Etcd(e) | Self::Lease(LeaseError::Etcd(e)) | Self::Register(RegisterError::Etcd(e)) => {
                match e.refusal() {
                    Some(Refusal::NoSpace) => Remedy::Here,
                    _ if e.is_late() => Remedy::Later,
                    _ => Remedy::Elsewhere,
                }
            }
            Self::Lease(LeaseError::Gone) | Self::Register(RegisterError::Lost | RegisterError::Held(_)) => {
                Remedy::Here
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::agent::register::HeldByOther;

    fn told(status: tonic::Status) -> EtcdError {
        let source = Box::new(etcd_client::Error::GRpcStatus(status));
        EtcdError::Call { endpoint: "http://a:1".into(), call: "write", source }
    }

    fn refused(message: &str) -> Broken {
        told(tonic::Status::resource_exhausted(message)).into()
    }

    #[test]
    fn each_way_of_losing_etcd_has_its_reason() {
        let held = HeldByOther { id: "p/n".into(), address: "a:1".into(), since: "then".into() };
        let timeout = EtcdError::Timeout { endpoint: "http://a:1".into(), call: "x", after: Default::default() };
        let gone = told(tonic::Status::unavailable("tcp connect error"));
        let slow = told(tonic::Status::unavailable("etcdserver: request timed out"));
        let told = [
            (refused("etcdserver: mvcc: database space exceeded"), "NoSpace", "alarm disarm", Remedy::Here),
            (refused("etcdserver: too many requests"), "EtcdBusy", "overloaded", Remedy::Later),
            (slow.into(), "EtcdBusy", "overloaded", Remedy::Later),
            (timeout.into(), "EtcdLost", "endpoint health", Remedy::Later),
            (gone.into(), "EtcdLost", "endpoint health", Remedy::Elsewhere),
            (LeaseError::Gone.into(), "LeaseLost", "ran out", Remedy::Here),
            (RegisterError::Lost.into(), "RecordLost", "deleted", Remedy::Here),
            (RegisterError::Held(held).into(), "HeldByOther", "node id p/n is held by a:1 since then", Remedy::Here),
        ];
        let endpoints = Endpoints::new(vec!["http://a:1".into()]);
        let cell = watch::Sender::new(Link::Joining);
        for (broken, reason, part, remedy) in told {
            assert_eq!(broken.remedy(), remedy, "{broken}");
            broken.note(&cell, &endpoints);
            let condition = cell.borrow().condition().unwrap();
            assert_eq!((condition.r#type.as_str(), condition.reason.as_str()), (REGISTERED, reason));
            assert!(condition.message.contains(part), "{condition:?}");
        }
    }

    #[test]
    fn a_loss_that_goes_on_keeps_its_time() {
        let cell = watch::Sender::new(Link::Joining);
        Link::lose(&cell, "EtcdLost", "refused".into());
        let before = cell.borrow().condition().unwrap();
        Link::lose(&cell, "EtcdLost", "no answer".into());
        let after = cell.borrow().condition().unwrap();
        assert_eq!((after.transition_time, after.message.as_str()), (before.transition_time, "no answer"));
    }
}
