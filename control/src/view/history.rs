//! What is gone, for a while: so that a watcher that comes back can be told what it missed.
//!
//! Part of the mirror. What changed since a revision shows in the records themselves; what was deleted does not. Bounded:
//! who was away for longer than this remembers gets the whole list again. Pure.

use std::collections::VecDeque;

use echo_proto::ids::PoolName;
use echo_proto::keys::Key;

use super::pool::PoolState;
use super::state::State;
use crate::fleet::Presence;

/// Deleted keys that are remembered: a pool of 2,000 nodes that goes twice.
const MAX_GONE: usize = 4_096;

/// Since when everything is known, and what went since.
#[derive(Debug, Default)]
pub(crate) struct History {
    from: i64,
    /// Versions up to this one may be those of another history: etcd was read anew, perhaps from a backup.
    void: i64,
    gone: VecDeque<(i64, Key)>,
}

impl History {
    /// What happened before `revision` is not known, or can't be told by revisions.
    pub(super) fn begin(&mut self, revision: i64) {
        self.from = self.from.max(revision);
    }

    /// Everything is read anew as of `revision`, after `before`, which may be ahead of it: what callers know up to there is
    /// not believed, though this history comes so far in time.
    pub(super) fn renew(before: i64, revision: i64) -> Self {
        Self { from: revision, void: before, gone: VecDeque::new() }
    }

    pub(super) fn note(&mut self, revision: i64, key: Key) {
        if self.gone.len() >= MAX_GONE
            && let Some((oldest, _)) = self.gone.pop_front()
        {
            self.begin(oldest);
        }
        self.gone.push_back((revision, key));
    }
}

impl State {
    /// Whether all that happened after `revision` can be told; not so of one that is yet to come.
    pub(crate) fn remembers(&self, revision: i64) -> bool {
        (self.history.from..=self.revision).contains(&revision) && self.is_of_this_history(revision)
    }

    /// Whether a version that a caller knows is one of what is followed now, as far as this process can tell.
    pub(crate) fn is_of_this_history(&self, revision: i64) -> bool {
        revision > self.history.void
    }

    /// Keys that went after `revision`, and may have been made again.
    pub(crate) fn gone_since(&self, revision: i64) -> impl Iterator<Item = &Key> {
        self.history.gone.iter().filter(move |(at, _)| *at > revision).map(|(_, key)| key)
    }

    /// Whether what a pool's nodes should run may have changed after `revision`.
    pub(crate) fn is_reassigned(&self, name: &PoolName, pool: &PoolState, revision: i64) -> bool {
        let gone = |key: &Key| matches!(key, Key::Pool(pool) | Key::Assignment(pool) if pool == name);
        pool.pool.mod_revision().max(pool.assignment.mod_revision()) > revision || self.gone_since(revision).any(gone)
    }

    /// Whether anything of a pool may have changed after `revision`.
    pub(crate) fn is_touched(&self, name: &PoolName, pool: &PoolState, revision: i64) -> bool {
        let gone =
            |key: &Key| matches!(key, Key::Rollout(pool) | Key::Scale(pool) | Key::Node(pool, _) if pool == name);
        self.is_reassigned(name, pool, revision)
            || pool.rollout.mod_revision().max(pool.scale.mod_revision()) > revision
            || pool.fleet.iter().any(|node| is_changed(node, revision))
            || self.gone_since(revision).any(gone)
    }
}

/// Whether a node may have changed after `revision`; of one in doubt that can't be told.
pub(crate) fn is_changed(node: &crate::fleet::Node, revision: i64) -> bool {
    node.record.mod_revision > revision || node.presence != Presence::Sure
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::Update;

    #[test]
    fn a_version_of_before_a_restored_backup_is_not_believed_later() {
        let view = crate::view::View::new(echo_proto::keys::Keys::new(&"test".parse().unwrap()));
        let remembers = |revision| view.read(|state| state.remembers(revision));
        view.apply(Update::Reset(Vec::new()), 990);
        view.apply(Update::Changes(Vec::new()), 1_000);
        assert!(remembers(990) && remembers(1_000));
        view.apply(Update::Reset(Vec::new()), 995);
        view.apply(Update::Changes(Vec::new()), 1_005);
        assert!(!remembers(995) && !remembers(1_000), "they may be of the other history");
        assert!(remembers(1_001) && remembers(1_005));
    }

    #[test]
    fn what_is_forgotten_is_not_remembered() {
        let mut state = State::new(echo_proto::keys::Keys::new(&"test".parse().unwrap()));
        let key = || Key::Pool("edge".parse().unwrap());
        state.revision = 9;
        state.history.begin(3);
        state.history.note(5, key());
        assert!(!state.remembers(2) && state.remembers(3) && state.remembers(9) && !state.remembers(10));
        assert_eq!((state.gone_since(4).count(), state.gone_since(5).count()), (1, 0));
        (0..MAX_GONE).for_each(|_| state.history.note(7, key()));
        assert!(!state.remembers(4) && state.remembers(5), "the one of 5 is forgotten");
    }
}
