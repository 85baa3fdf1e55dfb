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
        // A version of another history of etcd says nothing about this one.
        let after = after.filter(|after| self.view.read(|state| state.is_of_this_history(*after)));
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
        let (mut after, mut listed) = (after, false);
        loop {
            let halt = if let Some(version) = after {
                match self.resume(version, outlet).await {
                    Ok(resumed) => {
                        (after, listed) = (None, resumed);
                        continue;
                    }
                    Err(halt) => halt,
                }
            } else if listed {
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
    async fn resume(&mut self, after: i64, outlet: &Outlet<v1::EventsWatchResponse>) -> Result<bool, Halt> {
        let prefix = self.store.keys().events();
        let known = self.store.page(prefix.as_bytes(), &prefix_end(&prefix), 1, 0).await?;
        if after <= 0 || after > known.revision {
            return Ok(false);
        }
        self.tail.start(after, None);
        outlet.send(reply(WatchType::Bookmark, None, Some(after))).await?;
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
                outlet.send(reply(WatchType::Resync, None, None)).await?;
            }
            for event in page.entries.iter().filter_map(|entry| read_event(entry, &self.object)) {
                outlet.send(reply(WatchType::Added, Some(event), None)).await?;
            }
            let Some(next) = page.next else { break };
            start = next;
        }
        self.tail.start(revision, None);
        Ok(outlet.send(reply(WatchType::Bookmark, None, Some(revision))).await?)
    }

    /// Sends what happens then, until etcd fails or the watcher leaves.
    async fn follow(&mut self, outlet: &Outlet<v1::EventsWatchResponse>) -> Halt {
        loop {
            let deltas = match self.tail.next().await {
                Ok(deltas) => deltas,
                Err(error) => return error.into(),
            };
            self.backoff.reset();
            for message in messages(&deltas, &self.object) {
                if let Err(end) = outlet.send(message).await {
                    return end.into();
                }
            }
        }
    }
}

/// What a watcher of `object` is told of these changes. One transaction may store several events: only the last of them
/// carries its revision, so that who is cut between them gets all of them again.
fn messages(deltas: &[Delta], object: &str) -> Vec<v1::EventsWatchResponse> {
    let shown = deltas.iter().filter_map(|delta| match delta {
        Delta::Put(entry) => Some((entry, read_event(entry, object)?)),
        Delta::Gone(_) => None,
    });
    let (mut shown, mut messages) = (shown.peekable(), Vec::new());
    while let Some((entry, event)) = shown.next() {
        let kind = if entry.version == 1 { WatchType::Added } else { WatchType::Modified };
        let more = shown.peek().is_some_and(|(next, _)| next.mod_revision == entry.mod_revision);
        messages.push(reply(kind, Some(event), Some(entry.mod_revision - i64::from(more))));
    }
    messages
}

/// A message; `complete`: the watcher has all up to this revision.
fn reply(kind: WatchType, event: Option<v1::Event>, complete: Option<i64>) -> v1::EventsWatchResponse {
    let resource_version = complete.map_or_else(String::new, |revision| revision.to_string());
    v1::EventsWatchResponse { r#type: kind.into(), event, resource_version }
}

/// An event of the wanted object; one that can't be read is passed over, and reported by the drive.
fn read_event(entry: &Entry, object: &str) -> Option<v1::Event> {
    let stored = entry.decode::<v1::Event>().ok()?;
    let mut event = stored.value;
    event.metadata.get_or_insert_default().resource_version = stored.mod_revision.to_string();
    (object.is_empty() || event.object == object).then_some(event)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn of_one_transaction_only_the_last_event_carries_its_revision() {
        let put = |object: &str, revision| {
            let value = format!(r#"{{"object":"{object}"}}"#).into_bytes();
            Delta::Put(Entry { value, mod_revision: revision, version: 1, ..Entry::default() })
        };
        let deltas = [put("a", 5), put("a", 7), put("b", 7), put("a", 7), put("b", 7), put("a", 9)];
        let versions = |object| messages(&deltas, object).into_iter().map(|message| message.resource_version);
        assert!(versions("").eq(["5", "6", "6", "6", "7", "9"]));
        assert!(versions("b").eq(["6", "7"]));
    }
}
