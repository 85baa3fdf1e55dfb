//! Follows a range of keys: a list, then every change, for as long as the caller asks.
//!
//! Used by the view and by event watchers. A broken watch goes on where it stopped; after a compaction, or when etcd
//! turns out to be another one (restored, wiped), the list comes again. Changes may come twice, never not at all. The
//! caller must take [`Update::Away`] seriously: what it knows is old until the next update.

use std::time::Duration;

use etcd_client::{KeyValue, WatchOptions, WatchResponse, WatchStream};
use tokio::time::{Instant, timeout};

use super::list::{MAX_MESSAGE_BYTES, prefix_end};
use super::{Entry, REQUEST_DEADLINE, Store, StoreError};
use echo_proto::backoff::Backoff;

/// A watch that is silent for so long is asked for a sign of life.
const PROBE_AFTER: Duration = Duration::from_secs(5);
/// Silent for so long, it counts as dead.
const DEAD_AFTER: Duration = Duration::from_secs(10);
/// Waits between attempts to reach etcd.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// What is new.
#[derive(Debug)]
pub enum Update {
    /// All there is; what was known is void.
    Reset(Vec<Entry>),
    /// What happened since, in order; empty when a broken watch goes on.
    Changes(Vec<Delta>),
    /// etcd can't be reached; trying goes on.
    Away(StoreError),
}

/// One change of a key.
#[derive(Debug)]
pub enum Delta {
    /// Made or changed.
    Put(Entry),
    /// Removed, or gone with its lease.
    Gone(Vec<u8>),
}

/// The follower of one prefix.
pub struct Follow {
    store: Store,
    prefix: String,
    /// Keys below `prefix` that are of no interest.
    except: Option<String>,
    /// Everything up to here was handed out; 0: nothing yet.
    revision: i64,
    etcd_cluster: u64,
    stream: Option<WatchStream>,
    heard: Instant,
    probed: bool,
    backoff: Backoff,
    failed: bool,
}

impl Follow {
    /// Follows all keys that start with `prefix`, save those that start with `except`.
    pub fn new(store: Store, prefix: String, except: Option<String>) -> Self {
        Self {
            store,
            prefix,
            except,
            revision: 0,
            etcd_cluster: 0,
            stream: None,
            heard: Instant::now(),
            probed: false,
            backoff: Backoff::new(BACKOFF.0, BACKOFF.1),
            failed: false,
        }
    }

    /// The etcd revision up to which everything was handed out.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The next update. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Update {
        loop {
            if self.failed {
                tokio::time::sleep(self.backoff.next_wait()).await;
                self.failed = false;
            }
            match self.step().await {
                Ok(Some(update)) => {
                    self.backoff.reset();
                    return update;
                }
                Ok(None) => {}
                Err(StoreError::Compacted) => self.revision = 0,
                Err(error) => {
                    self.stream = None;
                    self.failed = true;
                    return Update::Away(error);
                }
            }
        }
    }

    async fn step(&mut self) -> Result<Option<Update>, StoreError> {
        if self.revision == 0 {
            self.stream = None;
            return self.list().await.map(Some);
        }
        let Some(stream) = &mut self.stream else {
            self.open().await?;
            return Ok(None);
        };
        let wait = if self.probed { DEAD_AFTER } else { PROBE_AFTER };
        match tokio::time::timeout_at(self.heard + wait, stream.message()).await {
            Ok(Ok(Some(response))) => {
                self.heard = Instant::now();
                self.probed = false;
                self.take(&response)
            }
            Ok(Ok(None)) => Err(self.unavailable("the watch ended")),
            Ok(Err(e)) => Err(StoreError::from_etcd(&self.store.endpoints, "watch", e)),
            Err(_) if self.probed => Err(self.unavailable("the watch is silent")),
            Err(_) => {
                self.probed = true;
                // Queued; a full queue means that nothing is sent any more.
                let asked = timeout(REQUEST_DEADLINE, stream.request_progress()).await;
                asked.map_or(Err(self.unavailable("the watch is stuck")), |_| Ok(None))
            }
        }
    }

    /// Lists everything, around what is left out, as of one revision.
    async fn list(&mut self) -> Result<Update, StoreError> {
        let end = prefix_end(&self.prefix);
        let ranges = match &self.except {
            None => vec![(self.prefix.clone(), end)],
            Some(except) => vec![(self.prefix.clone(), except.clone()), (prefix_end(except), end)],
        };
        let (mut all, mut revision) = (Vec::new(), 0);
        for (start, end) in ranges {
            let (entries, at) = self.store.list(&start, &end, revision).await?;
            revision = at;
            all.extend(entries);
        }
        self.revision = revision;
        Ok(Update::Reset(all))
    }

    async fn open(&mut self) -> Result<(), StoreError> {
        // From the last revision on, not the next: a revision may come in parts, and the last part may be missing.
        let options = WatchOptions::new().with_prefix().with_fragment().with_start_revision(self.revision);
        let mut client = self.store.client.watch_client().max_decoding_message_size(MAX_MESSAGE_BYTES);
        let opened = timeout(REQUEST_DEADLINE, client.watch(self.prefix.as_str(), Some(options))).await;
        let opened = opened.map_err(|_| self.unavailable("no watch within the deadline"))?;
        self.stream = Some(opened.map_err(|e| StoreError::from_etcd(&self.store.endpoints, "watch", e))?);
        self.heard = Instant::now();
        self.probed = false;
        Ok(())
    }

    fn take(&mut self, response: &WatchResponse) -> Result<Option<Update>, StoreError> {
        let (cluster, at) = response.header().map_or((0, 0), |h| (h.cluster_id(), h.revision()));
        let other = self.etcd_cluster != 0 && cluster != 0 && cluster != self.etcd_cluster;
        if other || (response.created() && at < self.revision) {
            tracing::warn!("etcd went back in time or is another one: everything is read again");
            self.etcd_cluster = cluster;
            return Err(StoreError::Compacted);
        }
        self.etcd_cluster = cluster;
        if response.compact_revision() > 0 {
            return Err(StoreError::Compacted);
        }
        if response.canceled() {
            return Err(self.unavailable(response.cancel_reason()));
        }
        if response.created() {
            // Nothing may happen for long: this tells that what is known is current again.
            return Ok(Some(Update::Changes(Vec::new())));
        }
        let deltas: Vec<Delta> = response.events().iter().filter_map(|event| self.delta(event)).collect();
        let last = response.events().last().and_then(etcd_client::Event::kv);
        self.revision = self.revision.max(last.map_or(0, KeyValue::mod_revision));
        Ok((!deltas.is_empty()).then_some(Update::Changes(deltas)))
    }

    fn delta(&self, event: &etcd_client::Event) -> Option<Delta> {
        let kv = event.kv()?;
        if self.except.as_ref().is_some_and(|except| kv.key().starts_with(except.as_bytes())) {
            return None;
        }
        // A key that is gone has no version; the client's own event type panics on what it does not know.
        Some(if kv.version() > 0 { Delta::Put(kv.clone().into()) } else { Delta::Gone(kv.key().to_vec()) })
    }

    fn unavailable(&self, cause: &str) -> StoreError {
        StoreError::Unavailable { endpoints: self.store.endpoints.clone(), cause: cause.to_owned() }
    }
}
