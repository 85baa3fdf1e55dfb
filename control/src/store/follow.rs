//! Follows a range of keys: a list, then every change, for as long as the caller asks.
//!
//! Used by the view. A broken watch goes on where it stopped; after a compaction, or when etcd turns out to be another
//! one (restored, wiped), the list comes again. The caller must take [`Update::Away`] seriously: what it knows is old
//! until the next update.

use std::time::Duration;

use tokio::time::Instant;

use super::list::prefix_end;
use super::{Delta, Entry, Store, StoreError, Tail};
use echo_proto::backoff::Backoff;

/// Waits between attempts to reach etcd.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// What is new.
#[derive(Debug)]
pub enum Update {
    /// All there is; what was known is void.
    Reset(Vec<Entry>),
    /// What happened since, in order; empty when a broken watch goes on after etcd had a new term.
    Changes(Vec<Delta>),
    /// A broken watch goes on, and etcd was there all the time: nothing is to be doubted.
    Resumed,
    /// etcd can't be reached; trying goes on.
    Away {
        /// Why.
        error: StoreError,
        /// When it was asked for what it has not answered.
        since: Instant,
    },
}

/// The follower of one prefix.
pub struct Follow {
    store: Store,
    prefix: String,
    /// Keys below `prefix` that are not listed.
    unlisted: Option<String>,
    tail: Tail,
    listed: bool,
    backoff: Backoff,
    /// The next attempt has to wait.
    failed: bool,
    /// The last list came since a change, and is void already.
    again: bool,
}

impl Follow {
    /// Follows all keys that start with `prefix`. Of those that start with `unlisted` only the changes are told.
    pub fn new(store: Store, prefix: String, unlisted: Option<String>) -> Self {
        let tail = Tail::new(store.clone(), prefix.clone());
        let backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        Self { store, prefix, unlisted, tail, listed: false, backoff, failed: false, again: false }
    }

    /// The etcd revision up to which everything was handed out.
    pub fn revision(&self) -> i64 {
        self.tail.revision()
    }

    /// The next update. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Update {
        loop {
            if self.failed {
                tokio::time::sleep(self.backoff.next_wait()).await;
                self.failed = false;
            }
            match self.step().await {
                Ok(update) => return update,
                Err(StoreError::Compacted) => {
                    self.listed = false;
                    // One that comes over and over must not spin.
                    self.failed = std::mem::replace(&mut self.again, true);
                }
                Err(error) => {
                    self.failed = true;
                    // An open watch that breaks breaks now; one that was silent owed an answer for longer.
                    let since = self.tail.asked().unwrap_or_else(Instant::now);
                    return Update::Away { error, since };
                }
            }
        }
    }

    async fn step(&mut self) -> Result<Update, StoreError> {
        if !self.listed {
            return self.list().await;
        }
        let deltas = self.tail.next().await?;
        self.backoff.reset();
        self.again &= deltas.is_empty();
        let resumed = deltas.is_empty() && self.tail.is_same_term();
        Ok(if resumed { Update::Resumed } else { Update::Changes(deltas) })
    }

    /// Lists everything, around what is left out, as of one revision.
    async fn list(&mut self) -> Result<Update, StoreError> {
        let end = prefix_end(&self.prefix);
        let ranges = match &self.unlisted {
            None => vec![(self.prefix.clone(), end)],
            Some(unlisted) => vec![(self.prefix.clone(), unlisted.clone()), (prefix_end(unlisted), end)],
        };
        let (mut all, mut revision) = (Vec::new(), 0);
        for (start, end) in ranges {
            let (entries, at) = self.store.list(&start, &end, revision).await?;
            revision = at;
            all.extend(entries);
        }
        self.tail.start(revision, all.iter().max_by_key(|entry| entry.mod_revision));
        self.listed = true;
        Ok(Update::Reset(all))
    }
}
