//! The watch service of the scripted etcd: one task a stream, any number of watches in it.
//!
//! What a watch has to be told is read from the store's history, so that a watch that was held back catches up, or is
//! canceled if history was compacted meanwhile: as etcd does with a slow watcher.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::pb::event::EventType;
use super::pb::watch_create_request::FilterType;
use super::pb::watch_request::RequestUnion;
use super::pb::watch_server::Watch;
use super::pb::{Event, WatchCreateRequest, WatchRequest, WatchResponse};
use super::refusal::Refusal;
use super::script::{self, Call, Verdict};
use super::services::Service;
use super::shared::Shared;
use super::store::{Keys, Store};

/// Messages that wait for a slow client.
const MESSAGES: usize = 64;
/// In a progress report: for all watches of the stream.
const ALL_WATCHES: i64 = -1;

#[async_trait]
impl Watch for Service {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<Streaming<WatchRequest>>) -> Result<Response<Self::WatchStream>, Status> {
        let (sender, messages) = mpsc::channel(MESSAGES);
        let stream = Open { shared: Arc::clone(&self.0), number: self.0.stream(), watchers: BTreeMap::new(), sender };
        tokio::spawn(stream.run(request.into_inner()));
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }
}

/// One watch.
struct Watcher {
    keys: Keys,
    /// The first revision that it has not been told.
    next: i64,
    prev_kv: bool,
    filters: Vec<FilterType>,
}

/// An open stream.
struct Open {
    shared: Arc<Shared>,
    number: u64,
    watchers: BTreeMap<i64, Watcher>,
    sender: mpsc::Sender<Result<WatchResponse, Status>>,
}

/// The client has gone, or was told the end.
struct Ended;

impl Open {
    async fn run(mut self, mut requests: Streaming<WatchRequest>) {
        let mut changes = self.shared.changes();
        loop {
            let done = tokio::select! {
                request = requests.message() => match request {
                    Ok(Some(WatchRequest { request_union: Some(request) })) => self.asked(request).await,
                    _ => return,
                },
                _ = changes.changed() => self.flush().await,
            };
            if done.is_err() {
                return;
            }
        }
    }

    async fn asked(&mut self, request: RequestUnion) -> Result<(), Ended> {
        match request {
            RequestUnion::CreateRequest(create) => {
                let fault = self.shared.script(|script| script.meet(Call::Watch, &[]));
                match script::meet(fault).await {
                    Ok(Verdict::Answer) => self.create(&create).await,
                    Ok(_) => Ok(()),
                    Err(refusal) => self.end(refusal).await,
                }
            }
            RequestUnion::CancelRequest(cancel) => match self.watchers.remove(&cancel.watch_id) {
                Some(_) => self.say(WatchResponse { canceled: true, ..self.answer(cancel.watch_id) }).await,
                None => Ok(()),
            },
            RequestUnion::ProgressRequest(_) if self.shared.fate().held => Ok(()),
            RequestUnion::ProgressRequest(_) => self.say(self.answer(ALL_WATCHES)).await,
        }
    }

    async fn create(&mut self, create: &WatchCreateRequest) -> Result<(), Ended> {
        let id = self.watchers.keys().next_back().map_or(0, |last| last + 1);
        let next = match create.start_revision {
            0 => self.shared.look(|store| store.revision + 1),
            start => start,
        };
        let keys = Keys::new(&create.key, &create.range_end);
        let watcher = Watcher { keys, next, prev_kv: create.prev_kv, filters: create.filters().collect() };
        self.watchers.insert(id, watcher);
        self.say(WatchResponse { created: true, ..self.answer(id) }).await?;
        self.flush().await
    }

    /// Tells every watch what it does not know yet.
    async fn flush(&mut self) -> Result<(), Ended> {
        let fate = self.shared.fate();
        if self.number <= fate.ended {
            return self.end(Refusal::NoLeader).await;
        }
        if fate.held {
            return Ok(());
        }
        let news: Vec<WatchResponse> = self.shared.look(|store| {
            let news = self.watchers.iter_mut().filter_map(|(id, watcher)| watcher.news(*id, store));
            news.collect()
        });
        for message in news {
            if message.canceled {
                self.watchers.remove(&message.watch_id);
            }
            self.say(message).await?;
        }
        Ok(())
    }

    async fn say(&self, message: WatchResponse) -> Result<(), Ended> {
        if self.number <= self.shared.fate().silenced {
            return Ok(());
        }
        self.sender.send(Ok(message)).await.map_err(|_| Ended)
    }

    async fn end(&self, refusal: Refusal) -> Result<(), Ended> {
        let _ = self.sender.send(Err(refusal.into())).await;
        Err(Ended)
    }

    fn answer(&self, watch_id: i64) -> WatchResponse {
        WatchResponse { header: self.shared.look(Store::header), watch_id, ..Default::default() }
    }
}

impl Watcher {
    /// What it has to be told now.
    fn news(&mut self, watch_id: i64, store: &Store) -> Option<WatchResponse> {
        let answer = WatchResponse { header: store.header(), watch_id, ..Default::default() };
        if self.next < store.compacted {
            return Some(WatchResponse { canceled: true, compact_revision: store.compacted, ..answer });
        }
        let events: Vec<Event> = store.changes(self.next).filter(|event| self.wants(event)).cloned().collect();
        // A watch may wait for a revision that is yet to come.
        self.next = self.next.max(store.revision + 1);
        let events: Vec<Event> = match self.prev_kv {
            true => events,
            false => events.into_iter().map(|event| Event { prev_kv: None, ..event }).collect(),
        };
        (!events.is_empty()).then_some(WatchResponse { events, ..answer })
    }

    fn wants(&self, event: &Event) -> bool {
        let filtered = match event.r#type() {
            EventType::Put => FilterType::Noput,
            EventType::Delete => FilterType::Nodelete,
        };
        !self.filters.contains(&filtered) && event.kv.as_ref().is_some_and(|kv| self.keys.contain(&kv.key))
    }
}
