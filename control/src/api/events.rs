//! The Events service: what happened, oldest first unless the newest are asked for.
//!
//! Served from etcd itself; this process keeps no events. A watcher that reads slowly slows its own watch of etcd and
//! nobody else, holds little memory meanwhile, and is cut in the end.

use std::time::Duration;

use echo_proto::backoff::Backoff;
use echo_proto::v1;
use tokio::time::timeout;
use tonic::{Request, Response, Status};
use v1::WatchType;
use v1::events_server::Events;

use super::Api;
use super::conflict::expected_version;
use super::error::ApiError;
use super::pages::{Listed, Wanted};
use super::watch::{self, End, Outlet};
use crate::store::{Delta, Entry, Store, StoreError, Tail, prefix_end};

/// Events of the list that are kept for one watcher while it reads: there may be a thousand watchers.
const PAGE: usize = 100;
/// Time to read the whole list: 20,000 events are about 8 MB.
const LIST_DEADLINE: Duration = Duration::from_secs(60);
/// Waits after a fault of etcd.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

#[tonic::async_trait]
impl Events for Api {
    async fn list(&self, request: Request<v1::EventsListRequest>) -> Result<Response<v1::EventsListResponse>, Status> {
        let request = request.into_inner();
        let prefix = self.store.keys().events();
        let read = |entry: &Entry| read_event(entry, &request.object);
        let wanted = Wanted { token: &request.page_token, size: request.page_size, back: request.newest_first };
        let listed = self.list_page(&prefix, &wanted, read).await?;
        let Listed { items: events, next_page_token, resource_version } = listed;
        Ok(Response::new(v1::EventsListResponse { events, next_page_token, resource_version }))
    }

    type WatchStream = watch::Stream<v1::EventsWatchResponse>;

    async fn watch(&self, request: Request<v1::EventsWatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let v1::EventsWatchRequest { object, resource_version } = request.into_inner();
        let after = expected_version("resource_version", &resource_version)?;
        self.current()?;
        let (outlet, stream) = Outlet::channel(&self.watchers)?;
        let mut stop = self.stop.clone();
        let mut watcher = EventWatcher::new(self.store.clone(), object);
        tokio::spawn(async move {
            let end = tokio::select! {
                end = watcher.run(after, &outlet) => end,
                () = outlet.gone() => End::Gone,
                () = stop.wait() => End::Cut(ApiError::Stopping),
            };
            outlet.close(end);
        });
        Ok(Response::new(stream))
    }
}

/// Copies events from etcd to one watcher: what is kept for it is a page of the list, or a message of its watch.
struct EventWatcher {
    store: Store,
    tail: Tail,
    object: String,
    backoff: Backoff,
}

/// Why the copying stopped.
enum Halt {
    /// The watcher gets no more.
    End(End),
    /// etcd: goes on after a while.
    Store(StoreError),
}

impl From<End> for Halt {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl EventWatcher {
    fn new(store: Store, object: String) -> Self {
        // Removed events are old ones: who watches has seen them.
        let tail = Tail::new(store.clone(), store.keys().events()).without_removals();
        Self { store, tail, object, backoff: Backoff::new(BACKOFF.0, BACKOFF.1) }
    }

    async fn run(&mut self, after: Option<i64>, outlet: &Outlet<v1::EventsWatchResponse>) -> End {
        let mut listed = match after {
            None => false,
            Some(after) => match self.resume(after, outlet).await {
                Ok(resumed) => resumed,
                Err(end) => return end,
            },
        };
        loop {
            let halt = if listed {
                self.follow(outlet).await
            } else {
                match timeout(LIST_DEADLINE, self.list(outlet)).await {
                    Ok(Ok(())) => {
                        listed = true;
                        continue;
                    }
                    Ok(Err(halt)) => halt,
                    Err(_) => Halt::End(End::Cut(ApiError::SlowList(LIST_DEADLINE.as_secs()))),
                }
            };
            match halt {
                Halt::End(end) => return end,
                Halt::Store(StoreError::Compacted) => listed = false,
                Halt::Store(_) => {}
            }
            tokio::time::sleep(self.backoff.next_wait()).await;
        }
    }

    /// Goes on after what the watcher knows, unless that is yet to come for this etcd. What is compacted since turns out
    /// by following, and is listed then.
    async fn resume(&mut self, after: i64, outlet: &Outlet<v1::EventsWatchResponse>) -> Result<bool, End> {
        let prefix = self.store.keys().events();
        let known = self.store.page(prefix.as_bytes(), &prefix_end(&prefix), 1, 0).await;
        if after <= 0 || !known.is_ok_and(|page| after <= page.revision) {
            return Ok(false);
        }
        self.tail.start(after, None);
        outlet.send(reply(WatchType::Bookmark, None, after)).await?;
        Ok(true)
    }

    /// Sends all there is, a page at a time, as of one revision.
    async fn list(&mut self, outlet: &Outlet<v1::EventsWatchResponse>) -> Result<(), Halt> {
        let prefix = self.store.keys().events();
        let (mut start, mut revision) = (prefix.as_bytes().to_vec(), 0);
        loop {
            let page = self.store.page(&start, &prefix_end(&prefix), PAGE, revision).await?;
            if revision == 0 {
                revision = page.revision;
                outlet.send(reply(WatchType::Resync, None, revision)).await?;
            }
            for event in page.entries.iter().filter_map(|entry| read_event(entry, &self.object)) {
                outlet.send(reply(WatchType::Added, Some(event), revision)).await?;
            }
            let Some(next) = page.next else { break };
            start = next;
        }
        self.tail.start(revision, None);
        Ok(outlet.send(reply(WatchType::Bookmark, None, revision)).await?)
    }

    /// Sends what happens then, until etcd fails or the watcher leaves.
    async fn follow(&mut self, outlet: &Outlet<v1::EventsWatchResponse>) -> Halt {
        loop {
            let deltas = match self.tail.next().await {
                Ok(deltas) => deltas,
                Err(error) => return error.into(),
            };
            self.backoff.reset();
            for delta in deltas {
                let Delta::Put(entry) = delta else { continue };
                let Some(event) = read_event(&entry, &self.object) else { continue };
                let kind = if entry.version == 1 { WatchType::Added } else { WatchType::Modified };
                if let Err(end) = outlet.send(reply(kind, Some(event), entry.mod_revision)).await {
                    return end.into();
                }
            }
        }
    }
}

fn reply(kind: WatchType, event: Option<v1::Event>, revision: i64) -> v1::EventsWatchResponse {
    v1::EventsWatchResponse { r#type: kind.into(), event, resource_version: revision.to_string() }
}

/// An event of the wanted object; one that can't be read is passed over, and reported by the drive.
fn read_event(entry: &Entry, object: &str) -> Option<v1::Event> {
    let stored = entry.decode::<v1::Event>().ok()?;
    let mut event = stored.value;
    event.metadata.get_or_insert_default().resource_version = stored.mod_revision.to_string();
    (object.is_empty() || event.object == object).then_some(event)
}
