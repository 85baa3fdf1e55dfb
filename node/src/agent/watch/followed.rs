//! One key of etcd, and up to where its history is known: whether what is found there goes on from that.
//!
//! Used by [`super::Watcher`]. Pure.

use std::sync::Arc;

use etcd_client::KeyValue;

/// One key, and up to where its history is known.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) key: String,
    /// Everything that happened to the key up to this revision of etcd is known.
    pub(super) seen: i64,
    /// Revision of its last change; 0 where there is no value.
    pub(super) changed: i64,
    /// Its value then: another history may have changed the key at the same revision.
    pub(super) value: Option<Arc<[u8]>>,
    /// Up to where its history was known when it was last found to differ.
    pub(super) differed: Option<i64>,
}

/// How what is there compares with what is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Compared {
    /// Nothing was missed.
    Same,
    /// There is a change that the watch has still to tell.
    Newer,
    /// It is not the history that is known.
    Foreign,
}

/// The revision of a key's last change, and its value since.
pub(super) type Change<'a> = (i64, &'a [u8]);

impl Followed {
    /// A key of which nothing is known yet.
    pub(super) fn new(key: String) -> Self {
        Self { key, seen: 0, changed: 0, value: None, differed: None }
    }

    /// Compares the key's value, as found at etcd's `revision`, with what is known.
    pub(super) fn compare(&mut self, revision: i64, found: Option<Change<'_>>) -> Compared {
        let changed = found.map_or(0, |(changed, _)| changed);
        let known = changed == self.changed && found.map(|(_, value)| value) == self.value.as_deref();
        // In one history nothing goes back, and no change up to `seen` is unknown.
        if revision < self.seen || (!known && (1..=self.seen).contains(&changed)) {
            return Compared::Foreign;
        }
        if known {
            (self.seen, self.differed) = (revision, None);
            return Compared::Same;
        }
        // The second time with nothing told in between: history does not have it.
        let told_nothing = self.differed.replace(self.seen) == Some(self.seen);
        if told_nothing { Compared::Foreign } else { Compared::Newer }
    }

    /// Notes the key's value; `None`: there is none.
    pub(super) fn hold(&mut self, found: Option<Change<'_>>) {
        self.changed = found.map_or(0, |(changed, _)| changed);
        self.value = found.map(|(_, value)| value.into());
    }

    /// Whether `kv` is a change of this key that was not seen before; notes it and the value `found` in it.
    pub(super) fn news(&mut self, kv: &KeyValue, found: Option<&KeyValue>) -> bool {
        if kv.key() != self.key.as_bytes() || kv.mod_revision() <= self.seen {
            return false;
        }
        self.seen = kv.mod_revision();
        self.hold(found.map(change));
        true
    }
}

/// The last change of a key that is there.
pub(super) fn change(kv: &KeyValue) -> Change<'_> {
    (kv.mod_revision(), kv.value())
}
