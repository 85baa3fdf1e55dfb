//! Looks at one member of etcd by itself: whether it answers, how fast, and what it says of its health.
//!
//! Used by the diagnosis only; everything else talks to whichever member answers. Reads, and changes nothing.

use std::time::Duration;

use etcd_client::Client;
use tokio::time::Instant;

use super::{Store, StoreError, options};

/// Reads whose median tells the latency.
const READS: usize = 5;

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
    /// How long a read took, which the quorum confirms: the median of five.
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
        let client = Client::connect([endpoint], Some(options())).await.map_err(failed)?;
        let alone = Self { client, keys: self.keys.clone(), endpoints: endpoint.to_owned() };
        let begun = Instant::now();
        let mut maintenance = alone.client.maintenance_client();
        let answer = alone.call("tell its status", async move { maintenance.status().await }).await?;
        let status = begun.elapsed();
        let mut reads = Vec::with_capacity(READS);
        for _ in 0..READS {
            let begun = Instant::now();
            alone.get_entry(&self.keys.leader()).await?;
            reads.push(begun.elapsed());
        }
        reads.sort_unstable();
        Ok(Member {
            id: answer.header().map_or(0, etcd_client::ResponseHeader::member_id),
            leader: answer.leader(),
            version: answer.version().to_owned(),
            size: u64::try_from(answer.db_size()).unwrap_or_default(),
            quota: u64::try_from(answer.db_size_quota()).unwrap_or_default(),
            applied: answer.raft_applied_index(),
            // The client's own list of alarms is not sound for kinds that it does not know.
            errors: answer.errors().iter().take(MAX_ERRORS).cloned().collect(),
            read: reads.get(READS / 2).copied().unwrap_or_default(),
            status,
        })
    }
}
