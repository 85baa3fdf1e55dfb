//! Events that belong to no other write: keys that can't be read, and what the scaler tells. Also removes old events.
//!
//! Part of the drive; a fenced transaction each. A bad value is reported once, by its key and mod_revision, whoever
//! leads; what the scaler repeats within a while folds into one event with a count.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, SystemTime};

use echo_proto::v1;
use tokio::sync::mpsc;

use super::Pass;
use crate::event;
use crate::store::election::Leadership;
use crate::store::{Change, Store, StoreError, events};
use crate::view::View;

/// Events of one pass; more follow in the next.
const MAX_PER_PASS: usize = 64;
/// Repeats within this time of the last one fold.
const FOLD_WITHIN: Duration = Duration::from_secs(600);
/// Most events that repeats can fold into; beyond, all are forgotten, and repeats are events of their own again.
const MAX_FOLDING: usize = 1_024;
/// Reason of the report of a bad value.
const INVALID: &str = "InvalidRecord";

/// One leader's reports.
pub(super) struct Reports {
    store: Store,
    leadership: Leadership,
    /// Bad values that were reported: key -> mod_revision. `None`: not yet known what earlier leaders reported.
    told: Option<HashMap<String, String>>,
    /// Taken from the scaler, not stored yet; at most [`MAX_PER_PASS`].
    waiting: VecDeque<v1::Event>,
    /// The last event of each object and reason.
    folding: HashMap<(String, String), v1::Event>,
}

impl Reports {
    pub(super) fn new(store: Store, leadership: Leadership) -> Self {
        Self { store, leadership, told: None, waiting: VecDeque::new(), folding: HashMap::new() }
    }

    pub(super) async fn pass(&mut self, view: &View, notices: &mut mpsc::Receiver<v1::Event>) -> Pass {
        while self.waiting.len() < MAX_PER_PASS
            && let Ok(event) = notices.try_recv()
        {
            self.waiting.push_back(event);
        }
        match self.report(view).await {
            Ok(()) => Pass::Done(None),
            Err(error) => {
                tracing::warn!(%error, "an event was not stored yet");
                Pass::Again
            }
        }
    }

    async fn report(&mut self, view: &View) -> Result<(), StoreError> {
        while let Some(event) = self.waiting.front().cloned() {
            self.fold(event).await?;
            self.waiting.pop_front();
        }
        for event in self.invalid(view).await? {
            tracing::warn!(object = event.object, "{}", event.message);
            let (key, at) = (event::key_of(&event).to_owned(), event.to.clone());
            self.commit(|change, keys| change.event(keys, event)).await?;
            self.told.get_or_insert_default().insert(key, at);
        }
        Ok(())
    }

    /// The reports of bad values that nobody has made yet.
    async fn invalid(&mut self, view: &View) -> Result<Vec<v1::Event>, StoreError> {
        if view.read(|state| state.invalid.is_empty()) {
            return Ok(Vec::new());
        }
        if self.told.is_none() {
            let earlier = events::with_reason(&self.store, INVALID).await?;
            self.told = Some(earlier.into_iter().map(|e| (event::key_of(&e).to_owned(), e.to)).collect());
        }
        let told = self.told.get_or_insert_default();
        Ok(view.read(|state| {
            told.retain(|key, _| state.invalid.contains_key(key));
            let untold = state.invalid.iter().filter(|(key, found)| told.get(*key) != Some(&found.version()));
            let report = |(key, found): (&String, &crate::view::Invalid)| {
                let message = format!("{}; it is passed over until it is repaired or deleted", found.cause);
                v1::Event { to: found.version(), ..event::warning(INVALID, event::of_key(key), message) }
            };
            untold.take(MAX_PER_PASS).map(report).collect()
        }))
    }

    /// Stores an event, or counts it where it repeats a recent one.
    async fn fold(&mut self, event: v1::Event) -> Result<(), StoreError> {
        let kind = (event.object.clone(), event.reason.clone());
        let recent = |e: &&v1::Event| {
            let last = e.last_time.and_then(|at| SystemTime::try_from(at).ok());
            last.and_then(|at| at.elapsed().ok()).is_some_and(|age| age < FOLD_WITHIN)
        };
        let folded = match self.folding.get(&kind).filter(recent) {
            Some(first) => {
                let (metadata, first_time, count) = (first.metadata.clone(), first.first_time, first.count + 1);
                v1::Event { metadata, first_time, count, ..event }
            }
            None => event::placed(event, self.store.keys()),
        };
        let stored = folded.clone();
        self.commit(|change, keys| change.event_again(keys, folded)).await?;
        if self.folding.len() >= MAX_FOLDING {
            self.folding.clear();
        }
        self.folding.insert(kind, stored);
        Ok(())
    }

    /// Returns when the scaler has told something. Dropping the future loses nothing.
    pub(super) async fn arrival(&mut self, notices: &mut mpsc::Receiver<v1::Event>) {
        match notices.recv().await {
            Some(event) => self.waiting.push_back(event),
            // No scaler reports any more.
            None => std::future::pending().await,
        }
    }

    /// Removes what is too old, and the oldest of what is too much.
    pub(super) async fn prune(&self) {
        if let Err(error) = events::prune(&self.store, &self.leadership).await {
            tracing::warn!(%error, "old events were not removed");
        }
    }

    /// A lost leadership is no error: the next leader reports what this one did not.
    async fn commit(&self, fill: impl FnOnce(Change, &echo_proto::keys::Keys) -> Change) -> Result<(), StoreError> {
        let keys = self.store.keys();
        let change = fill(Change::new().fenced(keys, &self.leadership), keys);
        self.store.commit(change).await.map(drop)
    }
}
