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
    /// What was told lately.
    folding: HashMap<Kind, v1::Event>,
}

/// What repeats have in common.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Kind {
    about: [String; 3],
    r#type: i32,
    /// Who did what; without the ids of processes, which differ each time.
    said: [String; 4],
    nodes: Vec<String>,
}

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
        self.folding = folding(&told, SystemTime::now());
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
    let v1::Event { pool, object, reason, r#type, actor, from, to, message, nodes, .. } = event;
    // Where a process took another's place, these are ids of processes too.
    let is_pid = |text: &str| pids(message).any(|pid| pid == text);
    let side = |text: &str| if is_pid(text) { String::new() } else { text.to_owned() };
    Kind {
        about: [pool, object, reason].map(String::clone),
        r#type: *r#type,
        said: [actor.clone(), side(from), side(to), without_pids(message)],
        nodes: nodes.clone(),
    }
}

/// The ids of processes that a text names.
fn pids(text: &str) -> impl Iterator<Item = &str> {
    let words = || text.split(' ');
    words()
        .zip(words().skip(1))
        .filter(|(before, word)| *before == "pid" && word.parse::<u32>().is_ok())
        .map(|(_, w)| w)
}

/// `pid 7 was ended by signal 9` -> `pid was ended by signal 9`
fn without_pids(text: &str) -> String {
    let mut words = Vec::new();
    for word in text.split(' ') {
        if words.last() != Some(&"pid") || word.parse::<u32>().is_err() {
            words.push(word);
        }
    }
    words.join(" ")
}

/// Those events that repeats can fold into: the newest, of these in the order of their last writing.
fn folding(told: &[Stored<v1::Event>], now: SystemTime) -> HashMap<Kind, v1::Event> {
    let mut folding = HashMap::new();
    let recent = told.iter().rev().map(|stored| &stored.value).filter(|event| folds(event, now));
    for event in recent.take(MAX_FOLDING) {
        folding.entry(kind(event)).or_insert_with(|| event.clone());
    }
    folding
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

    #[test]
    fn only_what_says_the_same_folds() {
        let clock = |to: &str, message: &str| v1::Event {
            to: to.to_owned(),
            ..event::warning("Unsynchronized", "node/n".to_owned(), message)
        };
        let begin = clock("ClockSynchronized=False", "the clock is 7 s off");
        assert_eq!(kind(&begin), kind(&clock("ClockSynchronized=False", "the clock is 7 s off")));
        let end = event::normal("Unsynchronized", "node/n".to_owned(), "no longer so");
        let others = [
            v1::Event { to: "ClockSynchronized=True".to_owned(), ..end },
            clock("ClockSynchronized=False", "the clock is 9 s off"),
            v1::Event { actor: "ann".to_owned(), ..begin.clone() },
            v1::Event { from: "ClockSynchronized=True".to_owned(), ..begin.clone() },
            v1::Event { nodes: vec!["n".to_owned()], ..begin.clone() },
            v1::Event { pool: "edge".to_owned(), ..begin.clone() },
        ];
        for other in others {
            assert_ne!(kind(&begin), kind(&other), "{other:?}");
        }
    }

    #[test]
    fn deaths_of_one_cause_fold_whatever_the_process() {
        let died = |message: &str| kind(&event::warning("NodeDied", "node/n".to_owned(), message));
        assert_eq!(died("pid 7 was ended by signal 9"), died("pid 8123 was ended by signal 9"));
        assert_ne!(died("pid 7 was ended by signal 9"), died("pid 7 was ended by signal 6"));
        let replaced = |from: u32, to: u32| {
            let text = format!("pid {from} was ended by signal 9; pid {to} runs in its place");
            let event = event::normal("NodeReplaced", "node/n".to_owned(), text);
            kind(&v1::Event { from: from.to_string(), to: to.to_string(), ..event })
        };
        assert_eq!(replaced(7, 8), replaced(8123, 8124));
        let scaled =
            |to: &str| kind(&v1::Event { to: to.into(), ..event::normal("PoolScaled", "pool/p".into(), "pid 7") });
        assert_ne!(scaled("8"), scaled("9"), "no id of a process");
    }

    #[test]
    fn the_newest_fold_and_the_last_of_a_kind() {
        let stored = |n: usize, message: String, count| {
            let value = v1::Event { count, ..event::normal("NodeReady", "node/n".to_owned(), message) };
            let at = i64::try_from(n).unwrap_or(0);
            Stored { value, mod_revision: at, create_revision: at }
        };
        let mut told: Vec<_> = (0..=MAX_FOLDING).map(|n| stored(n, n.to_string(), 1)).collect();
        told.push(stored(told.len(), MAX_FOLDING.to_string(), 5));
        let folding = folding(&told, SystemTime::now());
        let count = |n: usize| told.get(n).and_then(|e| folding.get(&kind(&e.value))).map(|event| event.count);
        assert_eq!((count(0), count(1), count(2), count(MAX_FOLDING)), (None, None, Some(1), Some(5)));
    }
}
