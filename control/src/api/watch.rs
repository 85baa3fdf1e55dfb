//! Streams that show the view's state as it changes.
//!
//! Used by the `Watch` calls. Each watcher compares the view with what it sent last, so that it needs no queue of
//! changes: one that reads slowly gets fewer, newer states, and one that does not read at all is cut. So is everybody
//! while etcd does not answer: what was sent grows old, and another control may know more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use echo_proto::v1::WatchType;
use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::Api;
use super::conflict::expected_version;
use super::error::ApiError;
use crate::pace;
use crate::stop::Stop;
use crate::view::{State, View};

/// Messages on their way to one watcher.
const QUEUE: usize = 64;
/// A watcher that takes nothing for so long is cut.
const SEND_DEADLINE: Duration = Duration::from_secs(10);
/// Least time between two looks at the view: a burst of changes is one look.
const MIN_INTERVAL: Duration = Duration::from_millis(20);

/// Streams of this process, of all callers.
const MAX_WATCHERS: usize = 1_024;

/// Counts the streams.
#[derive(Clone)]
pub(super) struct Watchers(Arc<Semaphore>);

impl Default for Watchers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_WATCHERS)))
    }
}

/// What a `Watch` call returns.
pub(super) type Stream<R> = ReceiverStream<Result<R, Status>>;

/// Sends to one watcher.
pub(super) struct Outlet<R> {
    _permit: OwnedSemaphorePermit,
    sender: mpsc::Sender<Result<R, Status>>,
    /// Room for the last word, kept free from the start.
    last: OwnedPermit<Result<R, Status>>,
}

/// Why a watcher gets no more.
#[derive(Debug)]
pub(super) enum End {
    /// It left.
    Gone,
    /// It is told why.
    Cut(ApiError),
}

impl<R: Send + 'static> Outlet<R> {
    /// The end to send to and the one that the call returns, unless too many watch already.
    pub(super) fn channel(watchers: &Watchers) -> Result<(Self, Stream<R>), ApiError> {
        let permit = watchers.0.clone().try_acquire_owned().map_err(|_| ApiError::Crowded(MAX_WATCHERS))?;
        let (sender, receiver) = mpsc::channel(QUEUE + 1);
        // A fresh channel has room.
        let last = sender.clone().try_reserve_owned().map_err(|_| ApiError::Starting)?;
        Ok((Self { _permit: permit, sender, last }, ReceiverStream::new(receiver)))
    }

    pub(super) async fn send(&self, message: R) -> Result<(), End> {
        match tokio::time::timeout(SEND_DEADLINE, self.sender.send(Ok(message))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(End::Cut(ApiError::Slow(SEND_DEADLINE.as_secs()))),
        }
    }

    /// Returns when the watcher has left.
    pub(super) async fn gone(&self) {
        self.sender.closed().await;
    }

    pub(super) fn close(self, end: End) {
        if let End::Cut(error) = end {
            self.last.send(Err(error.into()));
        }
    }
}

/// How a kind of object is found in the view and put in a message.
pub(super) trait Source: Send + Sync + 'static {
    /// Tells one object from another.
    type Key: Ord + Clone + Send;
    /// Differs where the object has changed.
    type Version: PartialEq + Send;
    /// The object.
    type Object: Send;
    /// The message of the stream.
    type Reply: Send + 'static;

    /// All objects of interest.
    fn versions(&self, state: &State) -> BTreeMap<Self::Key, Self::Version>;
    /// One of them.
    fn object(&self, state: &State, key: &Self::Key) -> Option<Self::Object>;
    /// One that is gone: its name and no more.
    fn gone(&self, key: &Self::Key) -> Self::Object;
    /// Objects that may have changed after a revision that the state remembers, with the revision of their creation; also
    /// those that are gone. `None`: that can't be told.
    fn since(&self, _: &State, _revision: i64) -> Option<BTreeMap<Self::Key, i64>> {
        None
    }
    /// Why there is nothing to watch any more; the watcher is told, and cut.
    fn broken(&self, _: &State) -> Option<ApiError> {
        None
    }
    /// A message; `None` where this stream has none of the kind.
    fn reply(&self, kind: WatchType, object: Option<Self::Object>, resource_version: String) -> Option<Self::Reply>;
}

/// Streams the objects of `source`, until `stop`: RESYNC, all of them, BOOKMARK, then changes. After a version that the
/// caller names, and that is still known: what changed since, BOOKMARK, then changes.
pub(super) fn stream<S: Source>(source: S, after: &str, api: &Api) -> Result<Stream<S::Reply>, ApiError> {
    let after = expected_version("resource_version", after)?;
    serve(source, after, api.view.clone(), api.stop.clone(), &api.watchers)
}

fn serve<S: Source>(
    source: S,
    after: Option<i64>,
    view: View,
    mut stop: Stop,
    watchers: &Watchers,
) -> Result<Stream<S::Reply>, ApiError> {
    let (outlet, stream) = Outlet::channel(watchers)?;
    tokio::spawn(async move {
        let end = tokio::select! {
            end = follow(&source, after, &view, &outlet) => end,
            () = outlet.gone() => End::Gone,
            () = stop.wait() => End::Cut(ApiError::Stopping),
        };
        outlet.close(end);
    });
    Ok(stream)
}

async fn follow<S: Source>(source: &S, after: Option<i64>, view: &View, outlet: &Outlet<S::Reply>) -> End {
    let mut updates = view.updates();
    let mut sent = BTreeMap::new();
    let mut begin = true;
    // What the watcher has all of; nothing before its first BOOKMARK, unless it goes on.
    let mut complete = String::new();
    loop {
        updates.mark_unchanged();
        let began = Instant::now();
        // One instant of the view; objects are made for what has changed only.
        let look = view.read(|state| {
            let broken = state.away.clone().map(ApiError::Store).or_else(|| source.broken(state));
            let messages = match (broken, begin) {
                (Some(error), _) => return Err(End::Cut(error)),
                (None, true) => {
                    let (messages, goes_on) = beginning(source, state, after, &mut sent);
                    complete = goes_on.map_or_else(String::new, |after| after.to_string());
                    messages
                }
                (None, false) => changes(source, state, &mut sent),
            };
            Ok((messages, state.revision.to_string()))
        });
        begin = false;
        let rest = pace::rest(began.elapsed(), MIN_INTERVAL);
        match look {
            Ok((messages, version)) => {
                if let Err(end) = send(source, messages, &complete, &version, outlet).await {
                    return end;
                }
                complete = version;
            }
            Err(end) => return end,
        }
        tokio::time::sleep(rest).await;
        if updates.changed().await.is_err() {
            return End::Gone;
        }
    }
}

/// Sends what one look found. Only the last message carries the version of the look: a watcher that is cut before it, and
/// goes on after the version that it has, must get the rest.
async fn send<S: Source>(
    source: &S,
    messages: Vec<Message<S>>,
    complete: &str,
    version: &str,
    outlet: &Outlet<S::Reply>,
) -> Result<(), End> {
    let mut messages = messages.into_iter().peekable();
    while let Some((kind, object)) = messages.next() {
        let version = if messages.peek().is_some() { complete } else { version };
        if let Some(reply) = source.reply(kind, object, version.to_owned()) {
            outlet.send(reply).await?;
        }
    }
    Ok(())
}

/// What a message is made of.
type Message<S> = (WatchType, Option<<S as Source>::Object>);
/// What a watcher knows.
type Sent<S> = BTreeMap<<S as Source>::Key, <S as Source>::Version>;

/// What a watcher gets first, and after which version that goes on; `None`: it is everything.
fn beginning<S: Source>(
    source: &S,
    state: &State,
    after: Option<i64>,
    sent: &mut Sent<S>,
) -> (Vec<Message<S>>, Option<i64>) {
    let missed =
        after.filter(|after| state.remembers(*after)).and_then(|after| Some((after, source.since(state, after)?)));
    let goes_on = missed.as_ref().map(|(after, _)| *after);
    let mut messages = Vec::new();
    match missed {
        None => {
            messages.push((WatchType::Resync, None));
            messages.extend(changes(source, state, sent));
        }
        Some((after, touched)) => {
            *sent = source.versions(state);
            messages.extend(touched.into_iter().filter_map(|(key, created)| {
                let kind = match sent.contains_key(&key) {
                    false => return Some((WatchType::Deleted, Some(source.gone(&key)))),
                    true if created > after => WatchType::Added,
                    true => WatchType::Modified,
                };
                source.object(state, &key).map(|object| (kind, Some(object)))
            }));
        }
    }
    messages.push((WatchType::Bookmark, None));
    (messages, goes_on)
}

/// What is new against what was sent.
fn changes<S: Source>(source: &S, state: &State, sent: &mut Sent<S>) -> Vec<Message<S>> {
    let known = source.versions(state);
    let mut messages = Vec::new();
    for (key, version) in &known {
        let kind = match sent.get(key) {
            None => WatchType::Added,
            Some(old) if old != version => WatchType::Modified,
            Some(_) => continue,
        };
        messages.extend(source.object(state, key).map(|object| (kind, Some(object))));
    }
    let gone = sent.keys().filter(|key| !known.contains_key(*key));
    messages.extend(gone.map(|key| (WatchType::Deleted, Some(source.gone(key)))));
    *sent = known;
    messages
}

#[cfg(test)]
mod tests;
