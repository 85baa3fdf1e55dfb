//! Keeps the events few: those of the last day, and the newest 20,000 of them.
//!
//! Called by the drive, once a minute and when it takes over. Events are only ever removed from the old end, fenced. Also
//! finds events by what they are about, for the API and the drive.

use std::time::{Duration, SystemTime};

use echo_proto::v1;
use etcd_client::GetOptions;

use super::election::Leadership;
use super::list::{MAX_PAGE, after, prefix_end};
use super::{Change, Entry, Store, StoreError, Stored};

/// Older events are removed.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);
/// Of more events, the oldest are removed.
const MAX_EVENTS: i64 = 20_000;
/// Rounds of one call; a burst larger than this many pages is worked off in the next calls.
const MAX_ROUNDS: usize = 40;

/// Removes what is too old, and the oldest of what is too much.
pub(crate) async fn prune(store: &Store, leadership: &Leadership) -> Result<(), StoreError> {
    let keys = store.keys();
    let start = keys.events();
    let oldest = SystemTime::now().checked_sub(MAX_AGE).unwrap_or(SystemTime::UNIX_EPOCH);
    remove_before(store, leadership, keys.event(oldest).as_bytes()).await?;
    for _ in 0..MAX_ROUNDS {
        let surplus = count(store, &start).await? - MAX_EVENTS;
        if surplus <= 0 {
            return Ok(());
        }
        let limit = usize::try_from(surplus).unwrap_or(MAX_PAGE);
        let page = store.page(start.as_bytes(), &prefix_end(&start), limit, 0).await?;
        let Some(last) = page.entries.last() else { return Ok(()) };
        remove_before(store, leadership, &after(&last.key)).await?;
    }
    Ok(())
}

impl Store {
    /// The event of the change that made this revision of etcd, while it is kept.
    ///
    /// # Errors
    /// No answer, or a value that cannot be read.
    pub async fn event_of(&self, revision: i64) -> Result<Option<v1::Event>, StoreError> {
        let start = self.keys().events();
        let options = GetOptions::new().with_prefix().with_limit(1);
        let options = options.with_min_mod_revision(revision).with_max_mod_revision(revision);
        let read = || {
            let (mut kv, options, start) = (self.kv(), options.clone(), start.as_str());
            async move { kv.get(start, Some(options)).await }
        };
        let mut response = self.read("get", &start, read).await?;
        response.take_kvs().pop().map(|kv| Entry::from(kv).decode().map(|stored| stored.value)).transpose()
    }
}

/// All events that can be read, in the order in which they began.
pub(crate) async fn all(store: &Store) -> Result<Vec<Stored<v1::Event>>, StoreError> {
    let start = store.keys().events();
    let (entries, _) = store.list(&start, &prefix_end(&start), 0).await?;
    Ok(entries.iter().filter_map(|entry| entry.decode().ok()).collect())
}

async fn remove_before(store: &Store, leadership: &Leadership, end: &[u8]) -> Result<(), StoreError> {
    let keys = store.keys();
    let change = Change::new().fenced(keys, leadership).delete_range(&keys.events(), end);
    // A lost leadership ends the drive's term; the next leader prunes.
    store.commit(change).await.map(drop)
}

async fn count(store: &Store, start: &str) -> Result<i64, StoreError> {
    let options = GetOptions::new().with_prefix().with_count_only();
    let read = || {
        let (mut kv, options) = (store.kv(), options.clone());
        async move { kv.get(start, Some(options)).await }
    };
    Ok(store.read("count", start, read).await?.count())
}
