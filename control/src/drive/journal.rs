//! Writes events: fenced, repeats folded into a count, old ones removed.
//!
//! Part of the drive; used by all of its passes that report what belongs to no other write. Repeats fold also over a
//! change of leader. It must never count an event as told that etcd has not stored.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use echo_proto::keys::Keys;
use echo_proto::v1;

use crate::event;
use crate::store::election::Leadership;
use crate::store::{Change, Store, StoreError, Stored, events};

/// Repeats within this time of the last one fold.
const FOLD_WITHIN: Duration = Duration::from_secs(600);
/// Repeats beyond this time since the first one are an event of their own again: an event stands where it began, among
/// those that are pruned next.
const FOLD_AT_MOST: Duration = Duration::from_secs(3_600);
/// Most events that repeats can fold into; beyond, all are forgotten, and repeats are events of their own again.
const MAX_FOLDING: usize = 1_024;

/// One leader's pen.
pub(super) struct Journal {
    store: Store,
    leadership: Leadership,
    /// The last event of each pool, object and reason.
    folding: HashMap<Kind, v1::Event>,
}

/// What repeats have in common: pool, object and reason.
type Kind = (String, String, String);

impl Journal {
    pub(super) fn new(store: Store, leadership: Leadership) -> Self {
        Self { store, leadership, folding: HashMap::new() }
    }

    pub(super) fn keys(&self) -> &Keys {
        self.store.keys()
    }

    /// What earlier leaders told, in the order of the last writing.
    pub(super) async fn recall(&mut self) -> Result<Vec<Stored<v1::Event>>, StoreError> {
        let mut told = events::all(&self.store).await?;
        told.sort_by_key(|event| event.mod_revision);
        let now = SystemTime::now();
        let recent = told.iter().map(|stored| &stored.value).filter(|event| folds(event, now));
        self.folding = recent.map(|event| (kind(event), event.clone())).take(MAX_FOLDING).collect();
        Ok(told)
    }

    /// Stores an event, or counts it where it repeats a recent one; `false` if it is not stored.
    pub(super) async fn tell(&mut self, event: v1::Event) -> Result<bool, StoreError> {
        self.tell_with(event, |change, _| change).await
    }

    /// As [`Self::tell`], in one transaction with what `fill` adds.
    pub(super) async fn tell_with(
        &mut self,
        event: v1::Event,
        fill: impl FnOnce(Change, &Keys) -> Change,
    ) -> Result<bool, StoreError> {
        let kind = kind(&event);
        let folded = match self.folding.get(&kind).filter(|first| folds(first, SystemTime::now())) {
            Some(first) => {
                let (metadata, first_time) = (first.metadata.clone(), first.first_time);
                v1::Event { metadata, first_time, count: first.count.saturating_add(event.count), ..event }
            }
            None => event::placed(event, self.store.keys()),
        };
        let keys = self.store.keys();
        let change = Change::new().fenced(keys, &self.leadership).event_again(keys, folded.clone());
        // A lost leadership is no error: what was not stored is kept for another term.
        if self.store.commit(fill(change, keys)).await?.is_none() {
            return Ok(false);
        }
        if self.folding.len() >= MAX_FOLDING {
            self.folding.clear();
        }
        self.folding.insert(kind, folded);
        Ok(true)
    }

    /// Removes what is too old, and the oldest of what is too much.
    pub(super) async fn prune(&self) {
        if let Err(error) = events::prune(&self.store, &self.leadership).await {
            tracing::warn!(%error, "old events were not removed");
        }
    }
}

fn kind(event: &v1::Event) -> Kind {
    (event.pool.clone(), event.object.clone(), event.reason.clone())
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
