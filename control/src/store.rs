//! Typed etcd operations, each with a deadline: read, list, commit, watch, election.
//!
//! Used by the API, the view and the drive. Reads try again a few times; a commit does not, since a lost answer says
//! nothing about whether it happened. It must never decide anything about pools: that is the plans' work.

mod change;
mod dial;
pub mod election;
mod entry;
mod error;
pub mod events;
mod follow;
mod lease_file;
mod list;
mod probe;
mod tail;
mod witness;

use std::future::Future;
use std::sync::Arc;

use echo_proto::codec::Message;
use echo_proto::ids::ClusterName;
use echo_proto::keys::Keys;
use etcd_client::{Client, KvClient};
use tokio::time::{Duration, Instant, timeout};
use tracing::{Instrument as _, Span, field, info_span};

pub use self::change::Change;
use self::dial::Dial;
pub use self::entry::{Entry, Stored};
pub use self::error::StoreError;
pub use self::follow::{Follow, Update};
pub use self::lease_file::LeaseFile;
pub use self::list::{MAX_PAGE, Page, prefix_end};
pub use self::probe::Member;
pub use self::tail::{Delta, Tail};
use echo_proto::backoff::Backoff;

/// Longest wait for one answer of etcd: a caller of the API should learn soon that it is gone.
const REQUEST_DEADLINE: Duration = Duration::from_secs(2);
/// Attempts of a read; a restarted etcd costs the first one.
const READ_ATTEMPTS: u32 = 3;
/// Wait between the attempts of a read.
const READ_BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(200));

/// A handle on one cluster's keys; cheap to clone.
#[derive(Clone)]
pub struct Store {
    dial: Arc<Dial>,
    keys: Keys,
    endpoints: String,
}

impl Store {
    /// A store that connects when it is first used.
    ///
    /// # Errors
    /// An endpoint that is no URL.
    pub async fn new(cluster: &ClusterName, endpoints: &[String]) -> Result<Self, StoreError> {
        let named = endpoints.join(",");
        let dial = Dial::new(endpoints.to_vec()).await;
        let dial = dial.map_err(|e| StoreError::from_etcd(&named, "connect", e))?;
        Ok(Self { dial: Arc::new(dial), keys: Keys::new(cluster), endpoints: named })
    }

    /// Where each record lives.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The etcd addresses, for messages.
    pub fn endpoints(&self) -> &str {
        &self.endpoints
    }

    /// Reads one record; `None` if there is none.
    ///
    /// # Errors
    /// No answer, or a value that cannot be read.
    pub async fn get<M: Message>(&self, key: &str) -> Result<Option<Stored<M>>, StoreError> {
        self.get_entry(key).await?.map(|entry| entry.decode()).transpose()
    }

    /// Reads one key, whatever its value; `None` if there is none.
    ///
    /// # Errors
    /// No answer.
    pub async fn get_entry(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let read = || async move { self.kv().get(key, None).await };
        let mut response = self.read("get", key, read).await?;
        Ok(response.take_kvs().pop().map(Entry::from))
    }

    /// Commits a change; `None` if what it expects does not hold, else the revision it made.
    ///
    /// # Errors
    /// No answer: unless etcd was not even reached, the change may or may not have happened
    /// ([`StoreError::Unconfirmed`]).
    pub async fn commit(&self, change: Change) -> Result<Option<i64>, StoreError> {
        let mut kv = self.kv();
        let span = client_span("etcd.Txn", self.keys.root());
        let mut reached = true;
        let commit = async {
            let answer = kv.txn(change.into_txn()).await;
            reached = !answer.as_ref().is_err_and(error::is_unsent);
            answer
        };
        let answer = self.call("commit", Box::pin(commit)).instrument(span).await;
        let response = answer.map_err(|error| if reached { error.unconfirmed() } else { error })?;
        let revision = response.header().map_or(0, etcd_client::ResponseHeader::revision);
        Ok(response.succeeded().then_some(revision))
    }

    fn client(&self) -> Client {
        self.dial.client()
    }

    fn kv(&self) -> KvClient {
        self.client().kv_client().max_decoding_message_size(list::MAX_MESSAGE_BYTES)
    }

    /// A read that tries again while etcd is away.
    async fn read<T, F, A>(&self, operation: &'static str, key: &str, attempt: A) -> Result<T, StoreError>
    where
        A: Fn() -> F,
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let span = client_span("etcd.Range", key);
        let mut backoff = Backoff::new(READ_BACKOFF.0, READ_BACKOFF.1);
        let attempts = async {
            let mut attempts = 0;
            loop {
                attempts += 1;
                // Boxed: a call of the client is tens of kilobytes, which every caller's caller would carry.
                match self.call(operation, Box::pin(attempt())).await {
                    Err(e) if e.is_unavailable() && attempts < READ_ATTEMPTS => {
                        tokio::time::sleep(backoff.next_wait()).await;
                    }
                    result => return result,
                }
            }
        };
        // The deadline is for all attempts together.
        self.in_time(attempts).instrument(span).await
    }

    async fn call<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, etcd_client::Error>>,
    ) -> Result<T, StoreError> {
        let call = async { call.await.map_err(|e| StoreError::from_etcd(&self.endpoints, operation, e)) };
        let result = self.in_time(call).await;
        if let Err(error) = &result {
            Span::current().record("error.type", error.label());
        }
        result
    }

    /// An answer that does not come makes the next call go over a connection of its own.
    async fn in_time<T>(&self, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let begun = Instant::now();
        match timeout(REQUEST_DEADLINE, call).await {
            Ok(result) => result,
            Err(_) => {
                Box::pin(self.dial.renew(begun)).await;
                Err(self.late())
            }
        }
    }

    fn late(&self) -> StoreError {
        let cause = format!("no answer within {} s", REQUEST_DEADLINE.as_secs());
        StoreError::Unavailable { endpoints: self.endpoints.clone(), cause }
    }
}

/// A client span by OpenTelemetry's database conventions.
fn client_span(name: &'static str, key: &str) -> Span {
    info_span!(
        "etcd",
        otel.name = name,
        otel.kind = "client",
        db.system.name = "etcd",
        db.namespace = key,
        error.type = field::Empty
    )
}
