//! The node's own record: claimed under a lease, rewritten while it is ours.
//!
//! Driven by the session. It must never write over a record that another process holds: the first write creates the key,
//! every later one compares its lease. Who holds a record has it under a lease; what somebody else put there without one
//! is in the way of nobody, and is replaced.

use std::time::Duration;

use echo_proto::codec::{self, Strictness};
use echo_proto::v1;
use etcd_client::{Compare, CompareOp, KeyValue, PutOptions, ResponseHeader, Txn, TxnOp, TxnOpResponse, TxnResponse};
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::etcd::{Etcd, EtcdError};
use super::lease::{self, Lease};
use super::patience::Cause;
use echo_proto::backoff::jittered;

/// How much longer than a lease a record may outlive its process: etcd expires leases in rounds of half a second.
const EXPIRY_SLACK: Duration = Duration::from_secs(2);
/// How often it is looked whether the id is free.
const POLL: Duration = Duration::from_millis(250);
/// What etcd tells as the lease of a key that has none.
const UNLEASED: i64 = 0;

/// Who holds a record that should be ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("node id {id} is held by {address} since {since}; stop that node, or choose another --id")]
pub struct HeldByOther {
    /// The id, as in `pool/id`.
    pub id: String,
    /// Address of the holder's Agent service.
    pub address: String,
    /// When the holder started.
    pub since: String,
}

/// Why there is no record of ours.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// Another process holds the id, and does not let go.
    #[error(transparent)]
    Held(#[from] HeldByOther),
    /// The record was there and is no longer ours.
    #[error("the node's record was deleted or taken over")]
    Lost,
    /// etcd did not do it.
    #[error(transparent)]
    Etcd(#[from] EtcdError),
}

impl Cause for RegisterError {
    fn etcd(&self) -> Option<&EtcdError> {
        if let Self::Etcd(error) = self { Some(error) } else { None }
    }
}

/// The key of one node's record.
#[derive(Debug, Clone)]
pub struct Registration {
    /// The key.
    pub key: String,
    /// `pool/id`, for people.
    pub name: String,
}

/// etcd's revision of a write: what the record has as long as nobody else writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written(i64);

/// What became of an attempt to take the key.
enum Claim {
    Ours(Written),
    Others(KeyValue),
}

impl Registration {
    /// Writes `record` under `lease`: creates it, or rewrites it if it is under this lease or under none.
    ///
    /// # Errors
    /// Another process holds the key; or etcd did not do it.
    pub async fn claim(&self, etcd: &Etcd, lease: &Lease, record: &v1::NodeRecord) -> Result<Written, RegisterError> {
        match self.try_claim(etcd, lease, record).await? {
            Claim::Ours(written) => Ok(written),
            Claim::Others(kv) if kv.lease() == UNLEASED => {
                warn!(key = self.key, "somebody wrote this node's key without a lease; replacing that");
                let unchanged = Compare::mod_revision(self.key.as_str(), CompareOp::Equal, kv.mod_revision());
                self.write_if(unchanged, etcd, lease, record).await
            }
            Claim::Others(kv) => Err(self.holder(&kv).into()),
        }
    }

    /// Waits until nobody holds the key, as long as the lease of a process that died may last: that lease tells how
    /// long, and it is `ttl` at least.
    ///
    /// # Errors
    /// It is still held; or etcd does not answer.
    pub async fn wait_until_free(&self, etcd: &Etcd, ttl: Duration) -> Result<(), RegisterError> {
        let began = Instant::now();
        let mut longest = ttl;
        while let Some(kv) = self.read(etcd).await?.filter(|kv| kv.lease() != UNLEASED) {
            longest = longest.max(lease::granted(etcd, kv.lease()).await?);
            if began.elapsed() >= longest + EXPIRY_SLACK {
                return Err(self.holder(&kv).into());
            }
            sleep(jittered(POLL)).await;
        }
        Ok(())
    }

    /// Writes `record` if the key is under `lease`.
    ///
    /// # Errors
    /// [`RegisterError::Lost`] if it is not; or etcd did not do it.
    pub async fn rewrite(&self, etcd: &Etcd, lease: &Lease, record: &v1::NodeRecord) -> Result<Written, RegisterError> {
        let ours = Compare::lease(self.key.as_str(), CompareOp::Equal, lease.id);
        self.write_if(ours, etcd, lease, record).await
    }

    /// Looks whether `record` was written under `lease` already.
    ///
    /// # Errors
    /// etcd does not answer.
    pub async fn find(
        &self,
        etcd: &Etcd,
        lease: &Lease,
        record: &v1::NodeRecord,
    ) -> Result<Option<Written>, EtcdError> {
        let found = self.read(etcd).await?;
        let same = |kv: &KeyValue| kv.lease() == lease.id && kv.value() == codec::to_json(record).as_bytes();
        Ok(found.filter(same).map(|kv| Written(kv.mod_revision())))
    }

    /// Looks whether the record is still the one that was `written`.
    ///
    /// # Errors
    /// [`RegisterError::Lost`] if it is not; or etcd does not answer.
    pub async fn check(&self, etcd: &Etcd, written: Written) -> Result<(), RegisterError> {
        let found = self.read(etcd).await?;
        if found.is_some_and(|kv| Written(kv.mod_revision()) == written) { Ok(()) } else { Err(RegisterError::Lost) }
    }

    async fn read(&self, etcd: &Etcd) -> Result<Option<KeyValue>, EtcdError> {
        let mut client = etcd.client();
        let mut found = etcd.answer("look for our record", client.get(self.key.as_str(), None)).await?;
        Ok(found.take_kvs().into_iter().next())
    }

    async fn write_if(
        &self,
        condition: Compare,
        etcd: &Etcd,
        lease: &Lease,
        record: &v1::NodeRecord,
    ) -> Result<Written, RegisterError> {
        let txn = Txn::new().when([condition]).and_then([self.put(lease, record)]);
        let mut client = etcd.client();
        let answer = etcd.answer("write the node's record", client.txn(txn)).await?;
        if answer.succeeded() { Ok(written(&answer)) } else { Err(RegisterError::Lost) }
    }

    /// One transaction, whatever is there: after a loss of etcd all nodes claim at the same time what they have already.
    async fn try_claim(&self, etcd: &Etcd, lease: &Lease, record: &v1::NodeRecord) -> Result<Claim, EtcdError> {
        let absent = Compare::create_revision(self.key.as_str(), CompareOp::Equal, 0);
        let ours = Compare::lease(self.key.as_str(), CompareOp::Equal, lease.id);
        let look = TxnOp::get(self.key.as_str(), None);
        let rewrite = Txn::new().when([ours]).and_then([self.put(lease, record)]).or_else([look]);
        let txn = Txn::new().when([absent]).and_then([self.put(lease, record)]).or_else([TxnOp::txn(rewrite)]);
        let mut client = etcd.client();
        let answer = etcd.answer("register", client.txn(txn)).await?;
        let ours = Claim::Ours(written(&answer));
        match (answer.succeeded(), answer.op_responses().pop()) {
            (true, _) => return Ok(ours),
            (false, Some(TxnOpResponse::Txn(inner))) if inner.succeeded() => return Ok(ours),
            (false, Some(TxnOpResponse::Txn(inner))) => {
                if let Some(TxnOpResponse::Get(mut got)) = inner.op_responses().pop()
                    && let Some(kv) = got.take_kvs().pop()
                {
                    return Ok(Claim::Others(kv));
                }
            }
            (false, _) => {}
        }
        Err(etcd.ended("register", "an answer that does not fit the question"))
    }

    fn put(&self, lease: &Lease, record: &v1::NodeRecord) -> TxnOp {
        TxnOp::put(self.key.as_str(), codec::to_json(record), Some(PutOptions::new().with_lease(lease.id)))
    }

    fn holder(&self, kv: &KeyValue) -> HeldByOther {
        let record = codec::from_json::<v1::NodeRecord>(kv.value(), Strictness::Lenient).unwrap_or_default();
        let address = record.status.map(|s| s.agent_address).unwrap_or_default();
        let since = record.metadata.and_then(|m| m.create_time).map_or_else(|| "?".to_owned(), |at| at.to_string());
        let address = if address.is_empty() { "?".to_owned() } else { address };
        HeldByOther { id: self.name.clone(), address, since }
    }
}

fn written(answer: &TxnResponse) -> Written {
    Written(answer.header().map_or(0, ResponseHeader::revision))
}
