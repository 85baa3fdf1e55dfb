//! What this control has seen of the pool files, and so what of them can't be of yesterday.
//!
//! Used by the pool files' task, from the start of the process on: also while another control leads. The kubelet brings a
//! changed ConfigMap to each replica at another time: this folder may have what the leader has seen replaced already. So
//! what it has of a pool is settled once it had what was applied, and stays so when it changes: that is newer. What
//! another control applies, and this folder has not, ends that. Who leads takes what it sees change, and all that stayed
//! once it led for longer than a mount is behind. A folder without any file is one that is mounted or checked out anew,
//! until it has stayed so for long. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use echo_proto::ids::PoolName;
use tokio::time::Instant;

use super::wanted::Wanted;
use crate::api::FilesApplied;

/// How long a folder has no file before they count as removed.
pub(super) const EMPTY: Duration = Duration::from_secs(3 * 60);

/// The digest of what a file says, by its pool.
type Digests = BTreeMap<PoolName, String>;

/// What was seen.
#[derive(Debug)]
pub(super) struct Sight {
    /// How far this folder may be behind another control's.
    behind: Duration,
    /// What the folder had when it had any file last.
    found: Option<Digests>,
    /// What was applied.
    applied: FilesApplied,
    /// The pools of which the folder has nothing older than what was applied.
    settled: BTreeSet<PoolName>,
    /// When the folder can't have anything older any more, of pools that are in doubt.
    level: BTreeMap<PoolName, Instant>,
    /// Since when the folder has no file.
    empty: Option<Instant>,
    /// While this control leads.
    term: Option<Term>,
}

#[derive(Debug)]
struct Term {
    /// When all that stayed is settled.
    settles: Instant,
    /// Whether a file was found in it.
    begun: bool,
}

impl Sight {
    /// Of a control that starts; its folder may be `behind` others by so much.
    pub(super) fn new(behind: Duration) -> Self {
        Self {
            behind,
            found: None,
            applied: FilesApplied::default(),
            settled: BTreeSet::new(),
            level: BTreeMap::new(),
            empty: None,
            term: None,
        }
    }

    /// This control leads from now on. All that others applied was taken in before.
    pub(super) fn lead(&mut self, now: Instant) {
        self.empty = None;
        self.term = Some(Term { settles: now + self.behind, begun: false });
    }

    /// It leads no more.
    pub(super) fn follow(&mut self, now: Instant) {
        if self.term.take().is_some() {
            // A pool that is not there may have been deleted meanwhile.
            let found = self.found.iter().flat_map(Digests::keys);
            let gone: Vec<_> = found.filter(|name| !self.applied.owned.contains_key(*name)).cloned().collect();
            self.doubt(gone, now);
        }
    }

    /// Takes in what is applied by now; in a term that is this control's own doing.
    pub(super) fn applied(&mut self, applied: FilesApplied, now: Instant) {
        let before = std::mem::replace(&mut self.applied, applied);
        if let (None, Some(found)) = (&self.term, &self.found) {
            let mut changed = changed(&before.owned, &self.applied.owned);
            // One in doubt may have the same by chance: what was applied first of what went and came back.
            changed.retain(|name| found.get(name) != self.applied.owned.get(name) || !self.settled.contains(name));
            self.doubt(changed, now);
        }
    }

    /// Takes in what the files want. Where no file was ever applied, none can be of yesterday.
    pub(super) fn see(&mut self, wanted: &Wanted, now: Instant) {
        if wanted.is_empty() {
            self.empty.get_or_insert(now);
            return;
        }
        self.empty = None;
        // What changed before the term does not count as seen in it.
        let leads = self.term.as_ref().is_some_and(|term| term.begun);
        if let Some(term) = self.term.as_mut().filter(|term| !term.begun) {
            term.begun = true;
            if !self.applied.any {
                term.settles = now;
            }
        }
        let found: Digests = wanted.pools.iter().map(|(name, pool)| (name.clone(), pool.digest.clone())).collect();
        self.level.retain(|_, level| now < *level);
        match self.found.replace(found.clone()) {
            Some(before) => {
                let mut changed = changed(&before, &found);
                let caught_up = |name: &PoolName| self.applied.owned.get(name) == found.get(name);
                changed.retain(|name| leads || !self.level.contains_key(name) || caught_up(name));
                self.settled.extend(changed);
            }
            None => {
                self.settled.extend(found.keys().cloned());
                let doubtful = if self.applied.any { changed(&self.applied.owned, &found) } else { Vec::new() };
                self.doubt(doubtful, now);
            }
        }
        // Of what is nowhere nothing need be known.
        self.settled.retain(|name| found.contains_key(name) || self.applied.owned.contains_key(name));
    }

    /// The pool's file says what was applied last.
    pub(super) fn confirm(&mut self, name: &PoolName) {
        self.settled.insert(name.clone());
    }

    /// Whether what is found of the pool can't be of yesterday.
    pub(super) fn is_settled(&self, name: &PoolName, now: Instant) -> bool {
        self.settled.contains(name) || self.term.as_ref().is_some_and(|term| now >= term.settles)
    }

    /// Whether the file of a pool that has none was removed; `here`: what was applied lay in this folder.
    pub(super) fn is_gone(&self, name: &PoolName, here: bool, now: Instant) -> bool {
        match self.empty {
            Some(_) => self.settles().is_some_and(|settles| now >= settles),
            None => here || self.is_settled(name, now),
        }
    }

    /// When all of it is settled; only while this control leads.
    pub(super) fn settles(&self) -> Option<Instant> {
        let settles = self.term.as_ref()?.settles;
        Some(self.empty.map_or(settles, |since| settles.max(since + EMPTY)))
    }

    /// What the folder has of these pools may be older than what was applied.
    fn doubt(&mut self, names: Vec<PoolName>, now: Instant) {
        for name in names {
            self.settled.remove(&name);
            self.level.insert(name, now + self.behind);
        }
    }
}

/// The pools of which the two say something else.
fn changed(before: &Digests, now: &Digests) -> Vec<PoolName> {
    let names: BTreeSet<_> = before.keys().chain(now.keys()).collect();
    names.into_iter().filter(|name| before.get(*name) != now.get(*name)).cloned().collect()
}

#[cfg(test)]
mod tests;
