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
}

/// What was seen of the list.
#[derive(Debug)]
pub(super) struct Known<T> {
    objects: BTreeMap<String, T>,
    /// Keys of the list that is being sent anew; `None` outside of one.
    resync: Option<BTreeSet<String>>,
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), resync: None }
    }
}

impl<T: Object> Known<T> {
    /// The real changes in a message, and whether the list is complete.
    pub(super) fn take(&mut self, change: Change<T>) -> (Vec<Delta<T>>, bool) {
        match (change.kind, change.object) {
            (WatchType::Resync, _) => self.resync = Some(BTreeSet::new()),
            (WatchType::Bookmark, _) => return (self.complete(), true),
            (WatchType::Added | WatchType::Modified, Some(object)) => {
                let key = object.key();
                if let Some(sent) = &mut self.resync {
                    sent.insert(key.clone());
                }
                let kind = match self.objects.insert(key, object.clone()) {
                    None => WatchType::Added,
                    Some(before) if before == object => return (Vec::new(), false),
                    Some(_) => WatchType::Modified,
                };
                return (vec![Delta { kind, object }], false);
            }
            (WatchType::Deleted, Some(object)) => {
                // What was known tells more of it than its key, which may be all that control has left.
                let object = self.objects.remove(&object.key()).unwrap_or(object);
                return (vec![Delta { kind: WatchType::Deleted, object }], false);
            }
            // A newer control's kind of change, or one without its object.
            _ => {}
        }
        (Vec::new(), false)
    }

    /// Ends a list that was sent anew: what it did not name is gone.
    fn complete(&mut self) -> Vec<Delta<T>> {
        let Some(sent) = self.resync.take() else { return Vec::new() };
        let gone: Vec<String> = self.objects.keys().filter(|key| !sent.contains(*key)).cloned().collect();
        let gone = gone.iter().filter_map(|key| self.objects.remove(key));
        gone.map(|object| Delta { kind: WatchType::Deleted, object }).collect()
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
        let (deltas, _) = known.take(Change { kind, object });
        deltas.into_iter().map(|d| (d.kind, d.object.name().to_owned())).collect()
    }

    #[test]
    fn a_list_sent_anew_tells_only_what_differs() {
        let mut known = Known::default();
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
    fn changes_without_an_object_are_passed_over() {
        let mut known = Known::default();
        assert!(take(&mut known, WatchType::Added, None).is_empty());
        assert!(take(&mut known, WatchType::Unspecified, Some(pool("a", 1))).is_empty());
    }
}
