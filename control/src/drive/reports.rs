//! Events that belong to no other write: keys that can't be read, and what the scaler tells. Also removes old events.
//!
//! Part of the drive; a fenced transaction each. A bad value is reported once, by its key and mod_revision, whoever
//! leads; what the scaler repeats within a while folds into one event with a count.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use echo_proto::v1;

use super::{Inbox, Pass};
use crate::event;
use crate::store::election::Leadership;
use crate::store::{Change, Store, StoreError, events};
use crate::view::View;

/// Bad values reported in one pass; more follow in the next.
const MAX_PER_PASS: usize = 64;
/// Repeats within this time of the last one fold.
const FOLD_WITHIN: Duration = Duration::from_secs(600);
/// Repeats beyond this time since the first one are an event of their own again: an event stands where it began, among
/// those that are pruned next.
const FOLD_AT_MOST: Duration = Duration::from_secs(3_600);
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
    /// The last event of each object and reason.
    folding: HashMap<(String, String), v1::Event>,
}

impl Reports {
    pub(super) fn new(store: Store, leadership: Leadership) -> Self {
        Self { store, leadership, told: None, folding: HashMap::new() }
    }

    pub(super) async fn pass(&mut self, view: &View, inbox: &mut Inbox) -> Pass {
        inbox.fill();
        match self.report(view, inbox).await {
            Ok(pass) => pass,
            Err(error) => {
                tracing::warn!(%error, "an event was not stored yet");
                Pass::Again
            }
        }
    }

    async fn report(&mut self, view: &View, inbox: &mut Inbox) -> Result<Pass, StoreError> {
        while let Some(event) = inbox.oldest().cloned() {
            if !self.fold(event).await? {
                return Ok(Pass::Again);
            }
            inbox.stored();
        }
        for event in self.invalid(view).await? {
            tracing::warn!(object = event.object, "{}", event.message);
            let (key, at) = (event::key_of(&event).to_owned(), event.to.clone());
            if !self.commit(|change, keys| change.event(keys, event)).await? {
                return Ok(Pass::Again);
            }
            self.told.get_or_insert_default().insert(key, at);
        }
        Ok(Pass::Done(None))
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

    /// Stores an event, or counts it where it repeats a recent one; `false` if it is not stored.
    async fn fold(&mut self, event: v1::Event) -> Result<bool, StoreError> {
        let kind = (event.object.clone(), event.reason.clone());
        let folded = match self.folding.get(&kind).filter(|first| folds(first, SystemTime::now())) {
            Some(first) => {
                let (metadata, first_time) = (first.metadata.clone(), first.first_time);
                v1::Event { metadata, first_time, count: first.count.saturating_add(1), ..event }
            }
            None => event::placed(event, self.store.keys()),
        };
        let stored = folded.clone();
        if !self.commit(|change, keys| change.event_again(keys, folded)).await? {
            return Ok(false);
        }
        if self.folding.len() >= MAX_FOLDING {
            self.folding.clear();
        }
        self.folding.insert(kind, stored);
        Ok(true)
    }

    /// Removes what is too old, and the oldest of what is too much.
    pub(super) async fn prune(&self) {
        if let Err(error) = events::prune(&self.store, &self.leadership).await {
            tracing::warn!(%error, "old events were not removed");
        }
    }

    /// Whether it is stored. A lost leadership is no error: what was not stored is kept for another term.
    async fn commit(&self, fill: impl FnOnce(Change, &echo_proto::keys::Keys) -> Change) -> Result<bool, StoreError> {
        let keys = self.store.keys();
        let change = fill(Change::new().fenced(keys, &self.leadership), keys);
        Ok(self.store.commit(change).await?.is_some())
    }
}

/// Whether a repeat at `now` is counted by the event of the first one.
fn folds(first: &v1::Event, now: SystemTime) -> bool {
    let within = |at: Option<prost_types::Timestamp>, limit: Duration| {
        let at = at.and_then(|at| SystemTime::try_from(at).ok());
        at.and_then(|at| now.duration_since(at).ok()).is_some_and(|age| age < limit)
    };
    within(first.last_time, FOLD_WITHIN) && within(first.first_time, FOLD_AT_MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_fold_for_a_while_only() {
        let now = SystemTime::now();
        let first = |began: u64, repeated: u64| v1::Event {
            first_time: Some((now - Duration::from_secs(began)).into()),
            last_time: Some((now - Duration::from_secs(repeated)).into()),
            ..Default::default()
        };
        assert!(folds(&first(3_000, 10), now));
        assert!(!folds(&first(3_000, 700), now), "long not repeated");
        assert!(!folds(&first(3_700, 10), now), "repeated for long");
        assert!(!folds(&v1::Event::default(), now));
    }
}
