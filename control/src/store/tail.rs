//! What happens to a range of keys after one revision: every change, once and in order.
//!
//! Used by [`super::Follow`] and by the API's event watchers; who starts it has read everything up to that revision. A
//! watch that breaks or falls silent is an error, and the next call goes on where it stopped. It must never skip a
//! change: where etcd has lost some, it says so ([`StoreError::Compacted`]), and a new list is needed.

use std::collections::HashSet;

use etcd_client::{WatchFilterType, WatchOptions, WatchResponse, WatchStream};
use tokio::time::{Duration, Instant, timeout};

use super::list::MAX_MESSAGE_BYTES;
use super::witness::Witness;
use super::{Entry, REQUEST_DEADLINE, Store, StoreError};

/// A watch that is silent for so long is asked for a sign of life.
const PROBE_AFTER: Duration = Duration::from_secs(5);
/// Silent for so long, it counts as dead.
const DEAD_AFTER: Duration = Duration::from_secs(10);

/// One change of a key.
#[derive(Debug)]
pub enum Delta {
    /// Made or changed.
    Put(Entry),
    /// Removed, or gone with its lease.
    Gone(Vec<u8>),
}

/// The watch of one prefix.
pub struct Tail {
    store: Store,
    prefix: String,
    filter: Option<WatchFilterType>,
    handed: Handed,
    /// The newest change that is known.
    witness: Option<Witness>,
    etcd_cluster: u64,
    term: Term,
    stream: Option<WatchStream>,
    heard: Instant,
    /// When it was asked for a sign of life, which has not come yet.
    probed: Option<Instant>,
}

/// The raft term of etcd: with a new one every lease gets its whole time again, also those of the dead.
#[derive(Debug, Default)]
struct Term {
    /// 0: not known.
    newest: u64,
    /// The last watch began in the term in which the one before it ended.
    lasts: bool,
}

/// How far changes were handed out.
#[derive(Debug, Default)]
struct Handed {
    /// All changes before this revision of etcd were, and of this one some.
    revision: i64,
    /// The keys of `revision` that were; `None`: all of them. A revision may come in parts, and a watch may break
    /// between two of them.
    keys: Option<HashSet<Vec<u8>>>,
}

impl Tail {
    /// Watches all keys that start with `prefix`, once it is started.
    pub fn new(store: Store, prefix: String) -> Self {
        let (heard, handed) = (Instant::now(), Handed::default());
        Self {
            store,
            prefix,
            filter: None,
            handed,
            witness: None,
            etcd_cluster: 0,
            term: Term::default(),
            stream: None,
            heard,
            probed: None,
        }
    }

    /// Leaves removals out: etcd does not even send them.
    pub fn without_removals(self) -> Self {
        Self { filter: Some(WatchFilterType::NoDelete), ..self }
    }

    /// Everything up to `revision` is known; `newest` is what was changed last.
    pub fn start(&mut self, revision: i64, newest: Option<&Entry>) {
        self.handed = Handed { revision, keys: None };
        self.witness = newest.cloned().map(Witness::Put);
        self.stream = None;
    }

    /// The etcd revision up to which everything was handed out.
    pub fn revision(&self) -> i64 {
        self.handed.revision
    }

    /// Whether the last watch to begin found etcd in the term in which it was when the one before it broke.
    pub fn is_same_term(&self) -> bool {
        self.term.lasts
    }

    /// When etcd was asked for what it has not answered yet; `None`: it owes nothing.
    pub fn asked(&self) -> Option<Instant> {
        self.probed
    }

    /// The next changes; none when a watch has begun. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`StoreError::Compacted`]: start again after a list. Others: call again.
    pub async fn next(&mut self) -> Result<Vec<Delta>, StoreError> {
        loop {
            match self.step().await {
                Ok(Some(deltas)) => return Ok(deltas),
                Ok(None) => {}
                Err(error) => {
                    self.stream = None;
                    return Err(error);
                }
            }
        }
    }

    async fn step(&mut self) -> Result<Option<Vec<Delta>>, StoreError> {
        let Some(stream) = &mut self.stream else {
            self.open().await?;
            return Ok(None);
        };
        let wait = if self.probed.is_some() { DEAD_AFTER } else { PROBE_AFTER };
        match tokio::time::timeout_at(self.heard + wait, stream.message()).await {
            Ok(Ok(Some(response))) => {
                self.heard = Instant::now();
                self.probed = None;
                self.take(&response)
            }
            Ok(Ok(None)) => Err(self.unavailable("the watch ended")),
            Ok(Err(e)) => Err(StoreError::from_etcd(&self.store.endpoints, "watch", e)),
            Err(_) if self.probed.is_some() => {
                self.store.dial.renew(self.heard).await;
                Err(self.unavailable("the watch is silent"))
            }
            Err(_) => {
                self.probed = Some(Instant::now());
                // Queued; a full queue means that nothing is sent any more.
                let asked = timeout(REQUEST_DEADLINE, stream.request_progress()).await;
                asked.map_or(Err(self.unavailable("the watch is stuck")), |_| Ok(None))
            }
        }
    }

    async fn open(&mut self) -> Result<(), StoreError> {
        if let Some(witness) = &self.witness
            && !witness.holds(&self.store).await?
        {
            return Err(foreign());
        }
        let options = WatchOptions::new().with_prefix().with_fragment().with_start_revision(self.handed.next());
        let options = options.with_filters(Vec::from_iter(self.filter));
        let mut client = self.store.client().watch_client().max_decoding_message_size(MAX_MESSAGE_BYTES);
        let prefix = self.prefix.clone();
        self.stream = Some(self.store.call("watch", client.watch(prefix, Some(options))).await?);
        self.heard = Instant::now();
        self.probed = None;
        Ok(())
    }

    fn take(&mut self, response: &WatchResponse) -> Result<Option<Vec<Delta>>, StoreError> {
        let told = response.header().map(|h| (h.cluster_id(), h.revision(), h.raft_term()));
        let (cluster, at, term) = told.unwrap_or_default();
        self.term.note(term, response.created());
        let other = self.etcd_cluster != 0 && cluster != 0 && cluster != self.etcd_cluster;
        if other || (response.created() && at < self.handed.revision) {
            self.etcd_cluster = cluster;
            return Err(foreign());
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
            return Ok(Some(Vec::new()));
        }
        let kvs = response.events().iter().filter_map(etcd_client::Event::kv);
        let news = kvs.filter(|kv| self.handed.note(kv.key(), kv.mod_revision()));
        // A key that is gone has no version; the client's own event type panics on what it does not know.
        let delta = |kv: &etcd_client::KeyValue| match kv.version() {
            0 => Delta::Gone(kv.key().to_vec()),
            _ => Delta::Put(kv.clone().into()),
        };
        let news: Vec<_> = news.collect();
        if let Some(newest) = news.last() {
            self.witness = Some(Witness::of(newest));
        }
        let deltas: Vec<Delta> = news.into_iter().map(delta).collect();
        Ok((!deltas.is_empty()).then_some(deltas))
    }

    fn unavailable(&self, cause: &str) -> StoreError {
        StoreError::Unavailable { endpoints: self.store.endpoints.clone(), cause: cause.to_owned() }
    }
}

/// What is known is of no use any more.
fn foreign() -> StoreError {
    tracing::warn!("etcd went back in time or is another one: everything is read again");
    StoreError::Compacted
}

impl Term {
    fn note(&mut self, told: u64, begins: bool) {
        if begins {
            self.lasts = told != 0 && told == self.newest;
        }
        self.newest = told;
    }
}

impl Handed {
    /// Where a watch has to start.
    fn next(&self) -> i64 {
        if self.keys.is_some() { self.revision } else { self.revision.saturating_add(1) }
    }

    /// Whether a change was not handed out yet; notes that it is.
    fn note(&mut self, key: &[u8], revision: i64) -> bool {
        if revision < self.revision || (revision == self.revision && self.keys.is_none()) {
            return false;
        }
        if revision > self.revision {
            *self = Self { revision, keys: Some(HashSet::new()) };
        }
        self.keys.get_or_insert_default().insert(key.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_watch_that_goes_on_in_the_same_term_lasts() {
        let mut term = Term::default();
        let mut begins = |told| {
            term.note(told, true);
            term.lasts
        };
        assert!(!begins(2), "what was before is not known");
        assert!(begins(2) && !begins(3) && begins(3) && !begins(0) && !begins(0));
        term.note(4, true);
        term.note(5, false);
        term.note(5, true);
        assert!(term.lasts, "etcd had another leader while it was watched: no watch was missing");
    }

    #[test]
    fn each_change_is_handed_out_once() {
        let mut handed = Handed { revision: 12, keys: None };
        assert_eq!(handed.next(), 13, "the list showed revision 12 whole");
        assert!(!handed.note(b"a", 12) && !handed.note(b"a", 11));
        assert!(handed.note(b"a", 14) && handed.note(b"b", 14));
        assert_eq!(handed.next(), 14, "the last part of it may be missing");
        assert!(!handed.note(b"a", 14) && !handed.note(b"b", 14) && handed.note(b"c", 14));
        assert!(handed.note(b"a", 15));
    }
}
