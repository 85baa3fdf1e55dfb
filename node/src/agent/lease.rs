//! The lease that holds a node's record: granted, kept alive, given back.
//!
//! Driven by the session. Only the monotonic clock tells whether a lease may have run out: a node that was paused finds
//! out by itself.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::etcd::{Etcd, EtcdError};

/// Heartbeats within the life of a lease.
const BEATS: u32 = 3;
/// Least wait for the answer to a heartbeat: a process that slept past its lease asks etcd before it gives up.
const LEAST_WAIT: Duration = Duration::from_secs(1);

/// A granted lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// etcd's id of it.
    pub id: i64,
    /// How long it lives without a heartbeat.
    pub ttl: Duration,
}

/// Why a lease is not kept alive any longer.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// etcd does not know it: it ran out, or was revoked.
    #[error("the registration ran out (its lease is gone)")]
    Gone,
    /// etcd did not answer for the life of the lease, or the connection is lost.
    #[error(transparent)]
    Etcd(#[from] EtcdError),
}

/// Asks etcd for a lease.
///
/// # Errors
/// No answer, or an error as the answer.
pub async fn grant(etcd: &Etcd, ttl: Duration) -> Result<Lease, EtcdError> {
    let mut client = etcd.client();
    let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
    let granted = etcd.answer("grant a lease", client.lease_grant(seconds, None)).await?;
    // etcd may grant more than was asked for: it needs time to elect a leader within a lease's life.
    let ttl = Duration::from_secs(u64::try_from(granted.ttl()).unwrap_or_default());
    Ok(Lease { id: granted.id(), ttl })
}

/// Whether etcd still knows the lease.
///
/// # Errors
/// No answer, or an error as the answer.
pub async fn lives(etcd: &Etcd, lease: &Lease) -> Result<bool, EtcdError> {
    let mut client = etcd.client();
    let answer = etcd.answer("look for our lease", client.lease_time_to_live(lease.id, None)).await?;
    Ok(answer.ttl() > 0)
}

/// For how long any lease was granted; zero if etcd does not know it any more.
///
/// # Errors
/// No answer, or an error as the answer.
pub async fn granted(etcd: &Etcd, id: i64) -> Result<Duration, EtcdError> {
    let mut client = etcd.client();
    let answer = etcd.answer("look for the holder's lease", client.lease_time_to_live(id, None)).await?;
    Ok(Duration::from_secs(u64::try_from(answer.granted_ttl()).unwrap_or_default()))
}

/// Gives the lease back: etcd deletes what it holds. Whether it was still there; one that was not is no error.
///
/// # Errors
/// No answer within `limit`, or another error as the answer.
pub async fn revoke(etcd: &Etcd, id: i64, limit: Duration) -> Result<bool, EtcdError> {
    let mut client = etcd.client();
    match etcd.answer_within(limit, "revoke the lease", client.lease_revoke(id)).await {
        Err(EtcdError::Call { source, .. }) if is_not_found(&source) => Ok(false),
        other => other.map(|_| true),
    }
}

/// Keeps the lease alive; returns only when it can't.
///
/// # Errors
/// Always: why it ended.
pub async fn keep_alive(etcd: &Etcd, lease: &Lease) -> Result<std::convert::Infallible, LeaseError> {
    const CALL: &str = "keep the lease alive";
    let mut client = etcd.client();
    // Counted from before the request: etcd refreshed the lease then or later.
    let mut refreshed = Instant::now();
    let opened = etcd.answer(CALL, client.lease_keep_alive(lease.id)).await;
    let (mut keeper, mut answers) = match opened {
        Err(EtcdError::Call { source, .. }) if matches!(*source, etcd_client::Error::LeaseKeepAliveError(_)) => {
            return Err(LeaseError::Gone);
        }
        other => other?,
    };
    loop {
        sleep_until(refreshed + lease.ttl / BEATS).await;
        let asked = Instant::now();
        let left = (refreshed + lease.ttl).saturating_duration_since(asked).max(LEAST_WAIT);
        etcd.answer_within(left, CALL, keeper.keep_alive()).await?;
        let answer = etcd.answer_within(left, CALL, answers.message()).await?;
        match answer {
            Some(answer) if answer.ttl() > 0 => refreshed = asked,
            Some(_) => return Err(LeaseError::Gone),
            None => return Err(etcd.ended(CALL, "").into()),
        }
    }
}

fn is_not_found(error: &etcd_client::Error) -> bool {
    matches!(error, etcd_client::Error::GRpcStatus(status) if status.code() == tonic::Code::NotFound)
}
