//! Pools that files own: what a file makes of its pool, what becomes of one whose file is gone, and what an operator is
//! told who changes one by a request.
//!
//! Called by the API for the pool files of `--pools-from`. A file that was applied is not applied again over what came
//! by a request since: only another text of it is. One that was applied before another one may come from a mount that is
//! behind, and waits until that can't be. Pure.

use std::time::SystemTime;

use echo_proto::ids::PoolName;
use echo_proto::v1;

use super::change::{self, Beside, Changed, Number, Request};
use crate::event;

/// Digests that are remembered of texts that were applied before the last one.
const EARLIER_KEPT: usize = 8;

/// A pool's file.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Who owns its pool: `files:/etc/echo/pools`.
    pub owner: String,
    /// Of what it says of the pool, as lower-case hex SHA-256.
    pub digest: String,
    /// That it can't be the text of yesterday: it was seen to change, or stayed for longer than a mount may be behind.
    pub settled: bool,
}

/// What is applied from a file over what is stored; `None`: it was applied already, or is [held].
pub fn apply(
    name: &PoolName,
    stored: Option<&v1::PoolRecord>,
    beside: Beside<'_>,
    pool: &v1::Pool,
    source: &Source,
    request: &Request,
    now: SystemTime,
) -> Option<Changed> {
    let Some(stored) = stored else {
        return Some(owned(change::create(name, pool, beside.there, request, now), source, ""));
    };
    let before = owner(stored);
    if (before == source.owner && stored.file_digest == source.digest) || held(stored, source) {
        return None;
    }
    let told = || event::normal("PoolConfigured", event::of_pool(name), "its file says what is stored already");
    let changed = change::apply(name, stored, beside, pool, request, now).unwrap_or_else(|| Changed {
        record: stored.clone(),
        revision: None,
        number: Number::Stays,
        event: v1::Event { actor: request.who().to_owned(), ..told() },
    });
    Some(owned(changed, source, before))
}

/// Whether a file says what was applied before something else was, and may be behind.
pub fn held(stored: &v1::PoolRecord, source: &Source) -> bool {
    let earlier = stored.file_digest != source.digest && stored.earlier_file_digests.contains(&source.digest);
    earlier && !source.settled
}

/// A pool whose file is gone: it stays, and nobody owns it.
pub fn disown(name: &PoolName, stored: &v1::PoolRecord, source: &str) -> Option<Changed> {
    let before = owner(stored);
    if before != source {
        return None;
    }
    let mut record = stored.clone();
    note(&mut record, "");
    record.metadata.get_or_insert_default().owner.clear();
    let message = format!("its file is gone from {before}; the pool stays, and changes by requests alone");
    let event = event::normal("PoolDisowned", event::of_pool(name), message);
    let event = v1::Event { actor: before.to_owned(), from: before.to_owned(), ..event };
    Some(Changed { record, revision: None, number: Number::Stays, event })
}

/// Who owns a pool; empty: nobody.
pub fn owner(record: &v1::PoolRecord) -> &str {
    record.metadata.as_ref().map_or("", |metadata| metadata.owner.as_str())
}

/// What will become of a request's change of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// An apply or an undo.
    Spec,
    /// Another number of nodes.
    Replicas,
    /// It is deleted.
    Deleted,
}

/// What who changes a pool by a request should know; nothing where nobody owns it.
pub fn warnings(name: &PoolName, before: &v1::PoolRecord, change: Change) -> Vec<String> {
    let owner = owner(before);
    if owner.is_empty() {
        return Vec::new();
    }
    let then = match change {
        Change::Spec => "this change holds until its file changes, which then takes its place; change the file as well",
        Change::Replicas => {
            "this number holds until its file changes and names one; change the file as well, or leave replicas out there"
        }
        Change::Deleted => {
            "its file makes it anew when control reads it next: when it starts, when another one leads, or when a file \
             changes; remove the file as well"
        }
    };
    vec![format!("pool/{name} is owned by {owner}: {then}")]
}

fn owned(mut changed: Changed, source: &Source, before: &str) -> Changed {
    changed.record.metadata.get_or_insert_default().owner.clone_from(&source.owner);
    note(&mut changed.record, &source.digest);
    if before != source.owner {
        changed.event.message += &format!("; owned by {} from now on", source.owner);
    }
    changed
}

/// Notes the digest of what is applied, and the one before among the earlier ones.
fn note(record: &mut v1::PoolRecord, digest: &str) {
    let before = std::mem::replace(&mut record.file_digest, digest.to_owned());
    let earlier = &mut record.earlier_file_digests;
    earlier.retain(|other| other != digest && *other != before);
    if !before.is_empty() && before != digest {
        earlier.push(before);
    }
    let too_many = earlier.len().saturating_sub(EARLIER_KEPT);
    earlier.drain(..too_many);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::change::tests::{NOW, name, pool};
    use super::*;

    fn from(stored: Option<&v1::PoolRecord>, port: u32, digest: &str) -> Option<Changed> {
        told(stored, port, digest, true)
    }

    fn told(stored: Option<&v1::PoolRecord>, port: u32, digest: &str, settled: bool) -> Option<Changed> {
        let source = Source { owner: "files:/a".into(), digest: digest.into(), settled };
        apply(&name(), stored, Beside::default(), &pool(port, None), &source, &Request::default(), NOW)
    }

    #[test]
    fn a_file_is_applied_once_and_again_when_it_says_something_else() {
        let made = from(None, 7, "one").unwrap().record;
        assert_eq!((owner(&made), made.file_digest.as_str()), ("files:/a", "one"));
        assert_eq!(from(Some(&made), 7, "one"), None);
        // A request since then is left alone ...
        let changed = change::apply(&name(), &made, Beside::default(), &pool(8, Some(5)), &Request::default(), NOW)
            .unwrap()
            .record;
        assert_eq!(owner(&changed), "files:/a", "it still is the file's");
        assert_eq!(from(Some(&changed), 7, "one"), None);
        // ... until the file changes.
        let again = from(Some(&changed), 9, "two").unwrap();
        assert_eq!(again.record.revision.as_ref().unwrap().n, 3);
        assert_eq!(change::replicas(&again.record), 5, "a file without replicas leaves them");
        // The same in other words: noted, and nothing else.
        let noted = from(Some(&again.record), 9, "three").unwrap();
        assert_eq!((noted.revision, noted.record.file_digest.as_str()), (None, "three"));
    }

    #[test]
    fn a_pool_that_was_nobodys_or_anothers_is_taken_over() {
        let mut stored = change::create(&name(), &pool(7, None), 0, &Request::default(), NOW).record;
        let taken = from(Some(&stored), 7, "one").unwrap();
        assert_eq!(owner(&taken.record), "files:/a");
        assert!(taken.event.message.ends_with("owned by files:/a from now on"), "{}", taken.event.message);
        stored.metadata.get_or_insert_default().owner = "files:/b".into();
        stored.file_digest = "one".into();
        assert_eq!(owner(&from(Some(&stored), 7, "one").unwrap().record), "files:/a");
    }

    #[test]
    fn a_pool_without_its_file_stays_and_is_nobodys() {
        let made = from(None, 7, "one").unwrap().record;
        assert_eq!(disown(&name(), &made, "files:/b"), None);
        let free = disown(&name(), &made, "files:/a").unwrap().record;
        assert_eq!((owner(&free), free.file_digest.as_str(), &free.spec), ("", "", &made.spec));
        assert!(from(Some(&free), 7, "one").is_some(), "back again, it is applied");
    }

    #[test]
    fn what_was_applied_before_waits_until_it_can_not_be_of_yesterday() {
        let first = told(None, 7, "one", false).unwrap().record;
        let second = told(Some(&first), 8, "two", false).unwrap().record;
        assert_eq!(second.earlier_file_digests, ["one"]);
        assert_eq!(told(Some(&second), 7, "one", false), None);
        let source = |digest: &str| Source { owner: "files:/a".into(), digest: digest.into(), settled: false };
        assert!(held(&second, &source("one")) && !held(&second, &source("two")) && !held(&second, &source("three")));
        let back = told(Some(&second), 7, "one", true).unwrap().record;
        assert_eq!((back.file_digest.as_str(), back.earlier_file_digests.as_slice()), ("one", &["two".to_owned()][..]));
        // One whose file is gone is not taken back by a mount that still has it.
        let free = disown(&name(), &back, "files:/a").unwrap().record;
        assert!(held(&free, &source("one")) && !held(&free, &source("three")));
        let many = (0..20).fold(free, |record, n| told(Some(&record), 7, &n.to_string(), false).unwrap().record);
        assert_eq!(many.earlier_file_digests, ["11", "12", "13", "14", "15", "16", "17", "18"]);
    }

    #[test]
    fn who_changes_an_owned_pool_is_told_what_will_happen() {
        let made = from(None, 7, "one").unwrap().record;
        let told = |change| warnings(&name(), &made, change).pop().unwrap();
        assert!(told(Change::Spec).starts_with("pool/edge is owned by files:/a: this change holds until"));
        assert!(told(Change::Deleted).contains("makes it anew"));
        assert!(warnings(&name(), &v1::PoolRecord::default(), Change::Spec).is_empty());
    }
}
