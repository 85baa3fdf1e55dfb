//! The Events service: what happened, oldest first.
//!
//! Served from etcd itself; this process keeps no events. A watcher that reads slowly slows its own watch of etcd and
//! nobody else.

use echo_proto::v1;
use tonic::{Request, Response, Status};
use v1::WatchType;
use v1::events_server::Events;

use super::Api;
use super::error::ApiError;
use super::pages::Listed;
use super::watch::{self, End, Outlet};
use crate::store::{Delta, Entry, Follow, Update};

#[tonic::async_trait]
impl Events for Api {
    async fn list(&self, request: Request<v1::EventsListRequest>) -> Result<Response<v1::EventsListResponse>, Status> {
        let request = request.into_inner();
        let prefix = self.store.keys().events();
        let read = |entry: &Entry| read_event(entry, &request.object);
        let listed = self.list_page(&prefix, &request.page_token, request.page_size, read).await?;
        let Listed { items: events, next_page_token, resource_version } = listed;
        Ok(Response::new(v1::EventsListResponse { events, next_page_token, resource_version }))
    }

    type WatchStream = watch::Stream<v1::EventsWatchResponse>;

    async fn watch(&self, request: Request<v1::EventsWatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let object = request.into_inner().object;
        self.current()?;
        let (outlet, stream) = Outlet::channel(&self.watchers)?;
        let (mut stop, prefix) = (self.stop.clone(), self.store.keys().events());
        let mut watcher = EventWatcher { follow: Follow::new(self.store.clone(), prefix, None), object };
        tokio::spawn(async move {
            let end = tokio::select! {
                end = watcher.run(&outlet) => end,
                () = outlet.gone() => End::Gone,
                () = stop.wait() => End::Cut(ApiError::Stopping),
            };
            outlet.close(end);
        });
        Ok(Response::new(stream))
    }
}

/// Copies events from etcd to one watcher.
struct EventWatcher {
    follow: Follow,
    object: String,
}

impl EventWatcher {
    async fn run(&mut self, outlet: &Outlet<v1::EventsWatchResponse>) -> End {
        loop {
            if let Err(end) = self.step(outlet).await {
                return end;
            }
        }
    }

    async fn step(&mut self, outlet: &Outlet<v1::EventsWatchResponse>) -> Result<(), End> {
        let update = self.follow.next().await;
        let version = self.follow.revision().to_string();
        let reply = |kind: WatchType, event| v1::EventsWatchResponse {
            r#type: kind.into(),
            event,
            resource_version: version.clone(),
        };
        match update {
            Update::Reset(entries) => {
                outlet.send(reply(WatchType::Resync, None)).await?;
                for event in entries.iter().filter_map(|entry| read_event(entry, &self.object)) {
                    outlet.send(reply(WatchType::Added, Some(event))).await?;
                }
                outlet.send(reply(WatchType::Bookmark, None)).await?;
            }
            Update::Changes(deltas) => {
                for delta in deltas {
                    // Removed events are old ones: who watches has seen them.
                    let Delta::Put(entry) = delta else { continue };
                    let Some(event) = read_event(&entry, &self.object) else { continue };
                    let kind = if entry.version == 1 { WatchType::Added } else { WatchType::Modified };
                    outlet.send(reply(kind, Some(event))).await?;
                }
            }
            // Goes on by itself.
            Update::Away(_) => {}
        }
        Ok(())
    }
}

/// An event of the wanted object; one that can't be read is passed over, as it has been reported.
fn read_event(entry: &Entry, object: &str) -> Option<v1::Event> {
    let stored = entry.decode::<v1::Event>().ok()?;
    let mut event = stored.value;
    event.metadata.get_or_insert_default().resource_version = stored.mod_revision.to_string();
    (object.is_empty() || event.object == object).then_some(event)
}
