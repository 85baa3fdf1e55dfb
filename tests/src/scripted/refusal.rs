//! What the scripted etcd refuses, in etcd's own words (its api/v3rpc/rpctypes/error.go).

use tonic::{Code, Status};

/// Why a call was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    EmptyKey,
    DuplicateKey,
    TooManyOps,
    Compacted,
    Future,
    NoLease,
    LeaseExists,
    NoSpace,
    TooManyRequests,
    NoLeader,
    TookTooLong,
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let (code, text) = match refusal {
            Refusal::EmptyKey => (Code::InvalidArgument, "key is not provided"),
            Refusal::DuplicateKey => (Code::InvalidArgument, "duplicate key given in txn request"),
            Refusal::TooManyOps => (Code::InvalidArgument, "too many operations in txn request"),
            Refusal::Compacted => (Code::OutOfRange, "mvcc: required revision has been compacted"),
            Refusal::Future => (Code::OutOfRange, "mvcc: required revision is a future revision"),
            Refusal::NoLease => (Code::NotFound, "requested lease not found"),
            Refusal::LeaseExists => (Code::FailedPrecondition, "lease already exists"),
            Refusal::NoSpace => (Code::ResourceExhausted, "mvcc: database space exceeded"),
            Refusal::TooManyRequests => (Code::ResourceExhausted, "too many requests"),
            Refusal::NoLeader => (Code::Unavailable, "no leader"),
            Refusal::TookTooLong => (Code::Unavailable, "request timed out"),
        };
        Self::new(code, format!("etcdserver: {text}"))
    }
}
