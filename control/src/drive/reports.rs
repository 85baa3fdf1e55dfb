//! Events that belong to no other write: keys that can't be read, and what the scaler tells. Also removes old events.
//!
//! Part of the drive. Each bad value is reported once, by its key and mod_revision; a fenced transaction each.

use std::collections::{HashMap, VecDeque};

use echo_proto::v1;
use tokio::sync::mpsc;

use super::Pass;
use crate::event;
use crate::store::election::Leadership;
use crate::store::{Change, Store, events};
use crate::view::View;

/// Events of one pass; more follow in the next.
const MAX_PER_PASS: usize = 64;

/// One leader's reports.
pub(super) struct Reports {
    store: Store,
    leadership: Leadership,
    /// Bad values that were reported: key -> mod_revision.
    told: HashMap<String, i64>,
    /// Taken from the scaler, not stored yet; at most [`MAX_PER_PASS`].
    waiting: VecDeque<v1::Event>,
}

impl Reports {
    pub(super) fn new(store: Store, leadership: Leadership) -> Self {
        Self { store, leadership, told: HashMap::new(), waiting: VecDeque::new() }
    }

    pub(super) async fn pass(&mut self, view: &View, notices: &mut mpsc::Receiver<v1::Event>) -> Pass {
        while self.waiting.len() < MAX_PER_PASS
            && let Ok(event) = notices.try_recv()
        {
            self.waiting.push_back(event);
        }
        while let Some(event) = self.waiting.front() {
            if !self.store_event(event.clone()).await {
                return Pass::Again;
            }
            self.waiting.pop_front();
        }
        let invalid: Vec<_> = view.read(|state| {
            self.told.retain(|key, _| state.invalid.contains_key(key));
            let untold = state.invalid.iter().filter(|(key, found)| self.told.get(*key) != Some(&found.mod_revision));
            untold.take(MAX_PER_PASS).map(|(key, found)| (key.clone(), found.clone())).collect()
        });
        for (key, found) in invalid {
            let message = format!("{}; it is passed over until it is repaired or deleted", found.cause);
            let event = event::warning("InvalidRecord", event::of_key(&key), message);
            let event = v1::Event { to: found.mod_revision.to_string(), ..event };
            tracing::warn!(key, "{}", event.message);
            if !self.store_event(event).await {
                return Pass::Again;
            }
            self.told.insert(key, found.mod_revision);
        }
        Pass::Done(None)
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

    async fn store_event(&self, event: v1::Event) -> bool {
        let keys = self.store.keys();
        let change = Change::new().fenced(keys, &self.leadership).event(keys, event);
        match self.store.commit(change).await {
            Ok(stored) => stored.is_some(),
            Err(error) => {
                tracing::warn!(%error, "an event was not stored");
                false
            }
        }
    }
}
