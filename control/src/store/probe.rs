//! Looks at one member of etcd by itself: whether it answers, how fast, and what it says of its health.
//!
//! Used by the diagnosis only; everything else talks to whichever member answers. Reads, and changes nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::dial::Dial;
use super::{Store, StoreError};

/// Most reads whose median tells the latency.
const READS: usize = 5;
/// Longest time for all of them: an etcd that is slow is to be told of as such, to somebody who still waits.
const READS_DEADLINE: Duration = Duration::from_secs(4);

/// Complaints of one member that are kept.
const MAX_ERRORS: usize = 16;

/// What one member says and how fast.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: u64,
    /// Id of the leader it knows; 0: none.
    pub leader: u64,
    /// Of the program.
    pub version: String,
    /// Bytes of its database, and the most it may have; 0: it does not tell.
    pub size: u64,
    /// See `size`.
    pub quota: u64,
    /// The last entry of the log that it has applied.
    pub applied: u64,
    /// What it complains of, in its words: the alarms of all members too.
    pub errors: Vec<String>,
    /// How long a read took, which the quorum confirms: the median of up to five.
    pub read: Duration,
    /// How long this status took, which it answers alone.
    pub status: Duration,
}

impl Store {
    /// Looks at the member behind one of the endpoints.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn member(&self, endpoint: &str) -> Result<Member, StoreError> {
        let failed = |e| StoreError::from_etcd(endpoint, "connect", e);
        let dial = Arc::new(Dial::new(vec![endpoint.to_owned()]).await.map_err(failed)?);
        let alone = Self { dial, keys: self.keys.clone(), endpoints: endpoint.to_owned() };
        let begun = Instant::now();
        let mut maintenance = alone.client().maintenance_client();
        let answer = alone.call("tell its status", async move { maintenance.status().await }).await?;
        let status = begun.elapsed();
        let leader = self.keys.leader();
        let read = median(|| alone.get_entry(&leader)).await?.ok_or_else(|| alone.late())?;
        Ok(Member {
            id: answer.header().map_or(0, etcd_client::ResponseHeader::member_id),
            leader: answer.leader(),
            version: answer.version().to_owned(),
            size: u64::try_from(answer.db_size()).unwrap_or_default(),
            quota: u64::try_from(answer.db_size_quota()).unwrap_or_default(),
            applied: answer.raft_applied_index(),
            // The client's own list of alarms is not sound for kinds that it does not know.
            errors: answer.errors().iter().take(MAX_ERRORS).cloned().collect(),
            read,
            status,
        })
    }
}

/// How long `read` takes, as often as it is done in time; `None`: not even once.
async fn median<T, E, F: Future<Output = Result<T, E>>>(read: impl Fn() -> F) -> Result<Option<Duration>, E> {
    let deadline = Instant::now() + READS_DEADLINE;
    let mut took = Vec::with_capacity(READS);
    while took.len() < READS {
        let begun = Instant::now();
        let Ok(read) = timeout_at(deadline, read()).await else { break };
        read?;
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    Ok(took.get(took.len() / 2).copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_slow_member_is_measured_as_often_as_time_allows() {
        let reads = |took| async move {
            let begun = Instant::now();
            let read = || async move {
                tokio::time::sleep(took).await;
                Ok::<_, ()>(())
            };
            (median(read).await, begun.elapsed())
        };
        let (fast, slow, dead) = (Duration::from_millis(1), Duration::from_millis(1_800), Duration::from_secs(9));
        assert_eq!(reads(fast).await, (Ok(Some(fast)), fast * 5));
        assert_eq!(reads(slow).await, (Ok(Some(slow)), READS_DEADLINE));
        assert_eq!(reads(dead).await, (Ok(None), READS_DEADLINE));
    }
}
