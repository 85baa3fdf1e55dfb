//! Pools that files own: what a file makes of its pool, what becomes of one whose file is gone, and what an operator is
//! told who changes one by a request.
//!
//! Called by the API for the pool files of `--pools-from`. What was applied last is not applied again over what came by a
//! request since, whoever reads it from wherever: only another text is. And that one waits for as long as it may come from
//! a mount that is behind; one that lies where the last one lay does not. Pure.

use std::time::SystemTime;

use echo_proto::ids::PoolName;
use echo_proto::v1;

use super::change::{self, Beside, Changed, Number, Request};
use crate::event;

/// A pool's file.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Who owns its pool: `files:/etc/echo/pools`.
    pub owner: String,
    /// Of what it says of the pool, as lower-case hex SHA-256.
    pub digest: String,
    /// Which folder it lies in, of all hosts'; empty: not known.
    pub folder: String,
    /// That it can't be the text of yesterday: it was seen to change, or stayed for longer than a mount may be behind.
    pub settled: bool,
}

/// What is to be done with a pool's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing: it was applied.
    Nothing,
    /// It was applied, and owns the pool from now on.
    Ownership,
    /// It is to be applied.
    Text,
    /// It may be behind, and is looked at later.
    Later,
}

/// What is to be done with the file of a pool that is stored like this, or not at all.
pub fn due(stored: Option<&v1::PoolRecord>, source: &Source) -> Due {
    let (owner, applied) = stored.map_or(("", ""), |stored| (owner(stored), stored.file_digest.as_str()));
    let settled = source.settled || stored.is_some_and(|stored| is_from(stored, &source.folder));
    match applied == source.digest {
        true if owner == source.owner => Due::Nothing,
        // One that was removed may still lie in a mount that is behind; one that others own does lie somewhere.
        true if settled || !owner.is_empty() => Due::Ownership,
        false if settled => Due::Text,
        _ => Due::Later,
    }
}

/// What is stored for the sake of a file, where something is [`due`].
pub fn apply(
    name: &PoolName,
    stored: Option<&v1::PoolRecord>,
    beside: Beside<'_>,
    pool: &v1::Pool,
    source: &Source,
    request: &Request,
    now: SystemTime,
) -> Option<Changed> {
    let noted = |stored: &v1::PoolRecord, told| {
        let event = event::normal("PoolConfigured", event::of_pool(name), told);
        only_noted(stored.clone(), v1::Event { actor: request.who().to_owned(), ..event })
    };
    let changed = match (due(stored, source), stored) {
        (Due::Nothing | Due::Later, _) => return None,
        (Due::Ownership, stored) => noted(stored?, "its file says what was applied last, so nothing changes"),
        (Due::Text, None) => change::create(name, pool, beside.there, request, now),
        (Due::Text, Some(stored)) => change::apply(name, stored, beside, pool, request, now)
            .unwrap_or_else(|| noted(stored, "its file says what is stored already")),
    };
    Some(owned(changed, source, stored.map_or("", owner)))
}

/// Whether what was applied last lay in this folder: no folder is behind itself.
pub fn is_from(record: &v1::PoolRecord, folder: &str) -> bool {
    !folder.is_empty() && record.file_folder == folder
}

/// A pool whose file is gone from its folder: it stays, and nobody owns it.
pub fn disown(name: &PoolName, stored: &v1::PoolRecord, source: &str, folder: &str) -> Option<Changed> {
    let before = owner(stored);
    if before != source {
        return None;
    }
    let mut record = stored.clone();
    // What it said stays noted: the same file does not come back over what came by requests meanwhile.
    record.metadata.get_or_insert_default().owner.clear();
    folder.clone_into(&mut record.file_folder);
    let message = format!("its file is gone from {before}; the pool stays, and changes by requests alone");
    let event = event::normal("PoolDisowned", event::of_pool(name), message);
    let event = v1::Event { actor: before.to_owned(), from: before.to_owned(), ..event };
    Some(only_noted(record, event))
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

fn only_noted(record: v1::PoolRecord, event: v1::Event) -> Changed {
    Changed { record, revision: None, number: Number::Stays, event }
}

fn owned(mut changed: Changed, source: &Source, before: &str) -> Changed {
    changed.record.metadata.get_or_insert_default().owner.clone_from(&source.owner);
    changed.record.file_digest.clone_from(&source.digest);
    changed.record.file_folder.clone_from(&source.folder);
    if before != source.owner {
        changed.event.message += &format!("; owned by {} from now on", source.owner);
        if !before.is_empty() {
            changed.event.message += &format!(
                ", and by {before} until now: where controls read two folders, the one that leads has the word; give \
                 them one"
            );
            changed.event.set_type(v1::EventType::Warning);
        }
    }
    changed
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::change::tests::{NOW, name, pool};
    use super::*;

    fn from(stored: Option<&v1::PoolRecord>, port: u32, digest: &str) -> Option<Changed> {
        told(stored, port, &source("files:/a", digest, true))
    }

    fn source(owner: &str, digest: &str, settled: bool) -> Source {
        Source { owner: owner.into(), digest: digest.into(), folder: String::new(), settled }
    }

    fn told(stored: Option<&v1::PoolRecord>, port: u32, source: &Source) -> Option<Changed> {
        apply(&name(), stored, Beside::default(), &pool(port, None), source, &Request::default(), NOW)
    }

    fn by_request(stored: &v1::PoolRecord, port: u32, replicas: u32) -> v1::PoolRecord {
        let pool = pool(port, Some(replicas));
        change::apply(&name(), stored, Beside::default(), &pool, &Request::default(), NOW).unwrap().record
    }

    #[test]
    fn a_file_is_applied_once_and_again_when_it_says_something_else() {
        let made = from(None, 7, "one").unwrap().record;
        assert_eq!((owner(&made), made.file_digest.as_str()), ("files:/a", "one"));
        assert_eq!(from(Some(&made), 7, "one"), None);
        // A request since then is left alone ...
        let changed = by_request(&made, 8, 5);
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
        let stored = change::create(&name(), &pool(7, None), 0, &Request::default(), NOW).record;
        let taken = from(Some(&stored), 8, "one").unwrap();
        assert_eq!((owner(&taken.record), taken.event.r#type()), ("files:/a", v1::EventType::Normal));
        assert!(taken.event.message.ends_with("owned by files:/a from now on"), "{}", taken.event.message);
        let another = told(Some(&taken.record), 9, &source("files:/b", "two", true)).unwrap();
        assert_eq!((owner(&another.record), another.event.r#type()), ("files:/b", v1::EventType::Warning));
        assert!(another.event.message.contains("by files:/a until now"), "{}", another.event.message);
    }

    #[test]
    fn the_same_text_in_another_folder_takes_the_pool_and_nothing_that_was_done_since() {
        let made = by_request(&from(None, 7, "one").unwrap().record, 8, 5);
        for settled in [true, false] {
            let taken = told(Some(&made), 7, &source("files:/b", "one", settled)).unwrap();
            assert_eq!((taken.revision, owner(&taken.record)), (None, "files:/b"));
            assert_eq!(taken.record.spec, made.spec);
            assert_eq!(taken.event.r#type(), v1::EventType::Warning, "two folders claim it");
        }
        // Nor does it try again what the fleet took back.
        let mut rollout = v1::Rollout { to: made.revision.clone(), ..Default::default() };
        rollout.set_phase(v1::RolloutPhase::Reverted);
        let beside = Beside { rollout: Some(&rollout), ..Beside::default() };
        let other = source("files:/b", "one", true);
        let taken = apply(&name(), Some(&made), beside, &pool(8, None), &other, &Request::default(), NOW).unwrap();
        assert_eq!((taken.revision, taken.record.revision), (None, made.revision));
    }

    #[test]
    fn a_file_that_goes_and_comes_back_takes_nothing_back() {
        let made = by_request(&from(None, 7, "one").unwrap().record, 8, 5);
        assert_eq!(disown(&name(), &made, "files:/b", ""), None);
        let free = disown(&name(), &made, "files:/a", "").unwrap().record;
        assert_eq!((owner(&free), &free.spec), ("", &made.spec));
        let back = from(Some(&free), 7, "one").unwrap();
        assert_eq!((back.revision, owner(&back.record)), (None, "files:/a"));
        assert_eq!(back.record, made);
        assert_eq!(from(Some(&free), 9, "two").unwrap().record.revision.unwrap().n, 3, "another text is applied");
    }

    #[test]
    fn what_may_be_of_yesterday_waits() {
        let unsettled = |digest: &str| source("files:/a", digest, false);
        assert_eq!(told(None, 7, &unsettled("one")), None, "its pool may have been deleted");
        let made = from(None, 7, "one").unwrap().record;
        assert_eq!(due(Some(&made), &unsettled("one")), Due::Nothing);
        // Applied before, or never, as what came between two looks of the one that led.
        let second = from(Some(&made), 8, "two").unwrap().record;
        for digest in ["one", "never seen"] {
            assert_eq!(due(Some(&second), &unsettled(digest)), Due::Later);
            assert_eq!(told(Some(&second), 7, &unsettled(digest)), None);
            assert_eq!(due(Some(&second), &source("files:/a", digest, true)), Due::Text);
        }
        // One whose file is gone is not taken back by a mount that still has it.
        let free = disown(&name(), &second, "files:/a", "").unwrap().record;
        assert_eq!(due(Some(&free), &unsettled("two")), Due::Later);
        assert_eq!(due(Some(&free), &source("files:/a", "two", true)), Due::Ownership);
    }

    #[test]
    fn no_folder_is_behind_itself() {
        let from = |folder: &str, digest: &str| Source { folder: folder.into(), ..source("files:/a", digest, false) };
        let first = Source { settled: true, ..from("here", "one") };
        let made = told(None, 7, &first).unwrap().record;
        assert_eq!(due(Some(&made), &from("here", "two")), Due::Text);
        assert_eq!(due(Some(&made), &from("there", "two")), Due::Later);
        assert_eq!(due(None, &from("here", "one")), Due::Later, "its pool may have been deleted");
        // What is not known is not the same.
        let unknown = told(None, 7, &source("files:/a", "one", true)).unwrap().record;
        assert_eq!(due(Some(&unknown), &from("", "two")), Due::Later);
        // The one that saw the file go knows when it comes back.
        let free = disown(&name(), &made, "files:/a", "there").unwrap().record;
        assert_eq!(due(Some(&free), &from("here", "one")), Due::Later);
        assert_eq!(due(Some(&free), &from("there", "one")), Due::Ownership);
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
