//! The lease that holds a node's record: granted, kept alive, given back.
//!
//! Driven by the session. Only the monotonic clock tells whether a lease may have run out: a node that was paused finds
//! out by itself.

use std::convert::Infallible;
use std::time::Duration;

use echo_proto::backoff::{Backoff, jittered};
use etcd_client::{LeaseGrantOptions, LeaseKeepAliveStream, LeaseKeeper};
use tokio::time::{Instant, sleep, sleep_until};

use super::etcd::{Etcd, EtcdError};

/// Heartbeats within the life of a lease, a tenth more or less: nodes that came together do not beat together.
const BEATS: u32 = 3;
/// Least wait for the answer to a heartbeat: a process that slept past its lease asks etcd before it gives up.
const LEAST_WAIT: Duration = Duration::from_secs(1);

/// A member that was just connected to, and says nothing for so long, is not there: etcd answers within 7 s, be it that it
/// could not do it in time.
const SILENCE: Duration = Duration::from_secs(8);

/// An open stream of heartbeats.
type Heart = (LeaseKeeper, LeaseKeepAliveStream);

/// A granted lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// etcd's id of it.
    pub id: i64,
    /// How long it lives without a heartbeat.
    pub ttl: Duration,
    /// It was granted then, or later.
    pub since: Instant,
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

/// Asks etcd for a lease of this id.
///
/// # Errors
/// No answer, or an error as the answer.
pub async fn grant(etcd: &Etcd, id: i64, ttl: Duration) -> Result<Lease, EtcdError> {
    let (mut client, since) = (etcd.client(), Instant::now());
    let (seconds, options) = (i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX), LeaseGrantOptions::new().with_id(id));
    // etcd may grant more than was asked for: it needs time to elect a leader within a lease's life.
    let ttl = match etcd.answer("grant a lease", client.lease_grant(seconds, Some(options))).await {
        Err(error) if error.is_done_before() => granted(etcd, id).await?,
        answer => Duration::from_secs(u64::try_from(answer?.ttl()).unwrap_or_default()),
    };
    Ok(Lease { id, ttl, since })
}

/// As [`grant`], where it was asked for before without an answer, first at `since`. Looking costs etcd less than another lease, and none is
/// left over that nobody keeps.
///
/// # Errors
/// No answer, or an error as the answer.
pub async fn find_or_grant(etcd: &Etcd, id: i64, ttl: Duration, since: Instant) -> Result<Lease, EtcdError> {
    match granted(etcd, id).await? {
        Duration::ZERO => grant(etcd, id, ttl).await,
        ttl => Ok(Lease { id, ttl, since }),
    }
}

/// For how long any lease was granted; zero if etcd does not know it any more.
///
/// # Errors
/// No answer, or an error as the answer.
pub async fn granted(etcd: &Etcd, id: i64) -> Result<Duration, EtcdError> {
    let mut client = etcd.client();
    let answer = etcd.answer("look for a lease", client.lease_time_to_live(id, None)).await?;
    Ok(Duration::from_secs(u64::try_from(answer.granted_ttl()).unwrap_or_default()))
}

/// Gives the lease back: etcd deletes what it holds. Whether it was still there; one that was not is no error.
///
/// # Errors
/// No answer within `limit`, or another error as the answer.
pub async fn revoke(etcd: &Etcd, id: i64, limit: Duration) -> Result<bool, EtcdError> {
    let mut client = etcd.client();
    match etcd.answer_within(limit, "revoke the lease", client.lease_revoke(id)).await {
        Err(error) if error.is_not_found() => Ok(false),
        other => other.map(|_| true),
    }
}

/// Keeps the lease alive; returns only when it can't.
///
/// # Errors
/// Always: why it ended.
pub async fn keep_alive(etcd: &Etcd, lease: &Lease) -> Result<Infallible, LeaseError> {
    let mut crowd = Backoff::spread(lease.ttl / BEATS, lease.ttl / BEATS);
    // Counted from before each request: etcd refreshed the lease then or later. One that was just granted is refreshed; of
    // an older one, kept over a loss, the first heartbeat tells whether it lives.
    let is_new = lease.since.elapsed() < lease.ttl / BEATS;
    let (mut refreshed, mut heart) = (if is_new { lease.since } else { Instant::now() }, None);
    if is_new {
        sleep_until(refreshed + jittered(lease.ttl / BEATS)).await;
    }
    loop {
        let asked = Instant::now();
        let left = (refreshed + lease.ttl).saturating_duration_since(asked).max(LEAST_WAIT);
        match beat(etcd, lease, &mut heart, left).await {
            Ok(()) => {
                refreshed = asked;
                sleep_until(refreshed + jittered(lease.ttl / BEATS)).await;
            }
            // It is there, and the lease may well outlive what it is busy with.
            Err(LeaseError::Etcd(error)) if error.refusal().is_some() && refreshed.elapsed() < lease.ttl => {
                heart = None;
                sleep(crowd.next_wait()).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// One heartbeat, over a stream that is opened where there is none.
async fn beat(etcd: &Etcd, lease: &Lease, heart: &mut Option<Heart>, left: Duration) -> Result<(), LeaseError> {
    const CALL: &str = "keep the lease alive";
    let Some((keeper, answers)) = heart else {
        let mut client = etcd.client();
        // The first answer is a heartbeat's.
        return match etcd.answer_within(left.min(SILENCE), CALL, client.lease_keep_alive(lease.id)).await {
            Err(EtcdError::Call { source, .. }) if matches!(*source, etcd_client::Error::LeaseKeepAliveError(_)) => {
                Err(LeaseError::Gone)
            }
            opened => {
                *heart = Some(opened?);
                Ok(())
            }
        };
    };
    etcd.answer_within(left, CALL, keeper.keep_alive()).await?;
    match etcd.answer_within(left, CALL, answers.message()).await? {
        Some(answer) if answer.ttl() > 0 => Ok(()),
        Some(_) => Err(LeaseError::Gone),
        None => Err(etcd.ended(CALL, "").into()),
    }
}
