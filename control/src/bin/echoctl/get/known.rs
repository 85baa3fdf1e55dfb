//! What a watch has told so far, so that only real changes are shown.
//!
//! Used by `get --watch`. Pure. A list that is sent anew, after a restart of control or a compaction in etcd, is
//! compared with what was known.

use std::collections::{BTreeMap, BTreeSet};

use echo_proto::v1::WatchType;

use crate::object::Object;
use crate::object::source::Change;

/// A real change: one that was not seen before.
#[derive(Debug, PartialEq)]
pub(super) struct Delta<T> {
    pub(super) kind: WatchType,
    pub(super) object: T,
    /// What it was, where it was known.
    pub(super) before: Option<T>,
}

/// What was seen of the list.
#[derive(Debug)]
pub(super) struct Known<T> {
    objects: BTreeMap<String, T>,
    /// Keys of the list that is being sent anew; `None` outside of one.
    resync: Option<BTreeSet<String>>,
    /// Most objects to know, where old ones are removed without a word; beyond, the first by key are forgotten.
    kept: Option<usize>,
    /// The last key that was forgotten: it and those before it are no news any more.
    forgotten: Option<String>,
    /// Version of the list up to which all is known; empty while the list is being sent.
    version: String,
}

impl<T: Object> Known<T> {
    /// Nothing yet; at most `kept` objects, where that is limited.
    pub(super) fn new(kept: Option<usize>) -> Self {
        Self { objects: BTreeMap::new(), resync: None, kept, forgotten: None, version: String::new() }
    }

    /// What a new watch may begin after; empty: it needs the whole list.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// The stream was opened anew: a list that was being sent will not go on.
    pub(super) fn reopened(&mut self) {
        self.resync = None;
    }

    /// The real changes in a message, and whether the list is complete.
    pub(super) fn take(&mut self, change: Change<T>) -> (Vec<Delta<T>>, bool) {
        let listing = change.kind == WatchType::Resync || self.resync.is_some() && change.kind != WatchType::Bookmark;
        self.version = if listing { String::new() } else { change.version };
        match (change.kind, change.object) {
            (WatchType::Resync, _) => self.resync = Some(BTreeSet::new()),
            (WatchType::Bookmark, _) => return (self.complete(), true),
            (WatchType::Added | WatchType::Modified, Some(object)) => {
                return (self.put(object).into_iter().collect(), false);
            }
            (WatchType::Deleted, Some(object)) => {
                // What was known tells more of it than its key, which may be all that control has left.
                let object = self.objects.remove(&object.key()).unwrap_or(object);
                return (vec![Delta { kind: WatchType::Deleted, object, before: None }], false);
            }
            // A newer control's kind of change, or one without its object.
            _ => {}
        }
        (Vec::new(), false)
    }

    /// Takes an object, and tells what is new about it.
    fn put(&mut self, object: T) -> Option<Delta<T>> {
        let key = object.key();
        if self.forgotten.as_ref().is_some_and(|forgotten| key <= *forgotten) {
            return None;
        }
        if let Some(sent) = &mut self.resync {
            sent.insert(key.clone());
        }
        let before = self.objects.insert(key, object.clone());
        if self.kept.is_some_and(|kept| self.objects.len() > kept) {
            self.forgotten = self.objects.pop_first().map(|(key, _)| key);
        }
        match before {
            None => Some(Delta { kind: WatchType::Added, object, before }),
            Some(before) if before == object => None,
            Some(_) => Some(Delta { kind: WatchType::Modified, object, before }),
        }
    }

    /// Ends a list that was sent anew: what it did not name is gone, which is news unless old objects always go so.
    fn complete(&mut self) -> Vec<Delta<T>> {
        let Some(sent) = self.resync.take() else { return Vec::new() };
        let gone: Vec<String> = self.objects.keys().filter(|key| !sent.contains(*key)).cloned().collect();
        let gone: Vec<T> = gone.iter().filter_map(|key| self.objects.remove(key)).collect();
        let told = gone.into_iter().filter(|_| self.kept.is_none());
        told.map(|object| Delta { kind: WatchType::Deleted, object, before: None }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_proto::v1;

    fn pool(name: &str, generation: u32) -> v1::Pool {
        let metadata = v1::ObjectMeta { name: name.into(), generation, ..Default::default() };
        v1::Pool { metadata: Some(metadata), ..Default::default() }
    }

    fn take(known: &mut Known<v1::Pool>, kind: WatchType, object: Option<v1::Pool>) -> Vec<(WatchType, String)> {
        let (deltas, _) = known.take(Change { kind, object, version: "7".to_owned() });
        deltas.into_iter().map(|d| (d.kind, d.object.name().to_owned())).collect()
    }

    #[test]
    fn a_list_sent_anew_tells_only_what_differs() {
        let mut known = Known::new(None);
        let mut take = |kind, object| take(&mut known, kind, object);
        assert!(take(WatchType::Resync, None).is_empty());
        for name in ["a", "b", "c"] {
            assert_eq!(take(WatchType::Added, Some(pool(name, 1))), [(WatchType::Added, name.into())]);
        }
        assert!(take(WatchType::Bookmark, None).is_empty());

        assert!(take(WatchType::Resync, None).is_empty());
        assert!(take(WatchType::Added, Some(pool("a", 1))).is_empty(), "as before");
        assert_eq!(take(WatchType::Added, Some(pool("b", 2))), [(WatchType::Modified, "b".into())]);
        assert_eq!(take(WatchType::Bookmark, None), [(WatchType::Deleted, "c".into())]);
    }

    #[test]
    fn objects_that_expire_are_forgotten_without_a_word() {
        let mut known = Known::new(Some(2));
        let mut take = |kind, object| take(&mut known, kind, object);
        take(WatchType::Resync, None);
        for name in ["a", "b", "c"] {
            assert_eq!(take(WatchType::Added, Some(pool(name, 1))), [(WatchType::Added, name.into())]);
        }
        take(WatchType::Bookmark, None);
        // The list anew: "b" has expired, and "a" is a row of long ago.
        take(WatchType::Resync, None);
        assert!(take(WatchType::Added, Some(pool("a", 1))).is_empty());
        assert!(take(WatchType::Added, Some(pool("c", 1))).is_empty());
        assert!(take(WatchType::Bookmark, None).is_empty());
        assert_eq!(known.objects.len(), 1);
    }

    #[test]
    fn a_watch_goes_on_after_what_is_known_whole() {
        let mut known = Known::new(None);
        take(&mut known, WatchType::Resync, None);
        take(&mut known, WatchType::Added, Some(pool("a", 1)));
        assert_eq!(known.version(), "", "half a list is no list");
        take(&mut known, WatchType::Bookmark, None);
        assert_eq!(known.version(), "7");
        let at = |kind, version: &str| Change { kind, object: Some(pool("b", 1)), version: version.to_owned() };
        known.take(at(WatchType::Added, "9"));
        assert_eq!(known.version(), "9");
        // The list breaks in its middle; the next watch begins with another, which is compared with all that is known.
        known.take(at(WatchType::Resync, "12"));
        assert_eq!(known.version(), "");
        known.reopened();
        take(&mut known, WatchType::Resync, None);
        assert!(take(&mut known, WatchType::Added, Some(pool("a", 1))).is_empty());
        assert_eq!(take(&mut known, WatchType::Bookmark, None), [(WatchType::Deleted, "b".into())]);
    }

    #[test]
    fn changes_without_an_object_are_passed_over() {
        let mut known = Known::new(None);
        assert!(take(&mut known, WatchType::Added, None).is_empty());
        assert!(take(&mut known, WatchType::Unspecified, Some(pool("a", 1))).is_empty());
    }
}
