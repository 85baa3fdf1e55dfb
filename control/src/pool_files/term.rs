//! What one term has seen of the pool files, and so what of them can't be of yesterday.
//!
//! Used by the pool files' task. The kubelet brings a changed ConfigMap to each replica at another time: a new leader may
//! see for a while what the one before it has seen replaced, or what that one never saw. So what it finds when its term
//! begins counts as settled once that stayed for longer than a mount is behind, or at once where it is what was applied
//! last; what it saw change counts at once. A folder without any file is one that is mounted or checked out anew, until
//! it has stayed so for long. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use echo_proto::ids::PoolName;
use tokio::time::Instant;

use super::wanted::Wanted;

/// How long a folder has no file before they count as removed.
pub(super) const EMPTY: Duration = Duration::from_secs(3 * 60);

/// What a term has seen.
#[derive(Debug)]
pub(super) struct Term {
    /// When what it found at first is settled.
    settles: Instant,
    /// The pools and their digests as it found them at first.
    first: Option<BTreeMap<PoolName, String>>,
    /// Those that are settled before.
    settled: BTreeSet<PoolName>,
    /// Since when the folder has no file.
    empty: Option<Instant>,
}

impl Term {
    /// One that begins; other mounts may be `behind` by so much.
    pub(super) fn new(now: Instant, behind: Duration) -> Self {
        Self { settles: now + behind, first: None, settled: BTreeSet::new(), empty: None }
    }

    /// Takes in what the files want. Where no file is `known` yet that was applied, none can be of yesterday.
    pub(super) fn see(&mut self, wanted: &Wanted, known: bool, now: Instant) {
        if wanted.is_empty() {
            self.empty.get_or_insert(now);
            return;
        }
        self.empty = None;
        if self.first.is_none() && !known {
            self.settles = now;
        }
        let pools: BTreeMap<PoolName, String> =
            wanted.pools.iter().map(|(name, pool)| (name.clone(), pool.digest.clone())).collect();
        let first = self.first.get_or_insert_with(|| pools.clone());
        let names = first.keys().chain(pools.keys());
        self.settled.extend(names.filter(|name| first.get(*name) != pools.get(*name)).cloned());
    }

    /// The pool's file says what was applied last.
    pub(super) fn confirm(&mut self, name: &PoolName) {
        self.settled.insert(name.clone());
    }

    /// Whether what is found of the pool can't be of yesterday.
    pub(super) fn is_settled(&self, name: &PoolName, now: Instant) -> bool {
        now >= self.settles || self.settled.contains(name)
    }

    /// Whether the file of a pool that has none was removed.
    pub(super) fn is_gone(&self, name: &PoolName, now: Instant) -> bool {
        match self.empty {
            Some(_) => now >= self.settles(),
            None => self.is_settled(name, now),
        }
    }

    /// When all of it is settled.
    pub(super) fn settles(&self) -> Instant {
        self.empty.map_or(self.settles, |since| self.settles.max(since + EMPTY))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::folder::Texts;
    use super::*;

    fn wanted(pools: &[(&str, u32)]) -> Wanted {
        let text = |(name, port): &(&str, u32)| {
            let text = format!(
                "apiVersion: echo/v1\nkind: Pool\nmetadata: {{name: {name}}}\nspec: {{template: {{listeners: \
                 [{{name: a, protocol: TCP, port: {port}, service: {{echo: {{}}}}}}]}}}}\n"
            );
            (format!("{name}.yaml"), Ok(text))
        };
        let wanted = Wanted::of(&pools.iter().map(text).collect::<Texts>());
        assert_eq!(wanted.pools.len(), pools.len(), "{wanted:?}");
        wanted
    }

    const BEHIND: Duration = Duration::from_secs(60);

    fn settled(term: &Term, name: &str, now: Instant) -> bool {
        term.is_settled(&name.parse().unwrap(), now)
    }

    #[test]
    fn what_a_term_found_at_first_settles_late_and_what_it_saw_change_at_once() {
        let began = Instant::now();
        let mut term = Term::new(began, BEHIND);
        term.see(&wanted(&[("stays", 1), ("changes", 1), ("goes", 1)]), true, began);
        let all = ["stays", "changes", "goes", "comes", "missing"];
        assert!(all.iter().all(|name| !settled(&term, name, began)));
        term.see(&wanted(&[("stays", 1), ("changes", 2), ("comes", 1)]), true, began);
        let now: Vec<&str> = all.into_iter().filter(|name| settled(&term, name, began)).collect();
        assert_eq!(now, ["changes", "goes", "comes"]);
        // As it was at first again: that was seen as well.
        term.see(&wanted(&[("stays", 1), ("changes", 1)]), true, began);
        assert!(settled(&term, "changes", began) && !settled(&term, "stays", began));
        assert_eq!(term.settles(), began + BEHIND);
        assert!(all.iter().all(|name| settled(&term, name, began + BEHIND)));
    }

    #[test]
    fn what_was_applied_last_and_the_first_files_of_a_cluster_are_settled() {
        let began = Instant::now();
        let mut term = Term::new(began, BEHIND);
        term.see(&wanted(&[("same", 1), ("other", 1)]), true, began);
        term.confirm(&"same".parse().unwrap());
        assert!(settled(&term, "same", began) && !settled(&term, "other", began));

        let mut first = Term::new(began, BEHIND);
        first.see(&wanted(&[]), false, began);
        assert!(!settled(&first, "new", began));
        first.see(&wanted(&[("new", 1)]), false, began);
        first.see(&wanted(&[("new", 1)]), true, began);
        assert!(settled(&first, "new", began), "also when it is tried again and some of it was applied");
    }

    #[test]
    fn a_folder_that_is_empty_for_a_while_has_lost_nothing() {
        let began = Instant::now();
        let late = began + BEHIND;
        let gone = |term: &Term, now| term.is_gone(&"edge".parse().unwrap(), now);
        let mut term = Term::new(began, BEHIND);
        term.see(&wanted(&[("edge", 1)]), true, began);
        for _ in 0..2 {
            term.see(&wanted(&[]), true, late);
        }
        assert!(!gone(&term, late) && term.settles() == late + EMPTY && gone(&term, late + EMPTY));
        term.see(&wanted(&[("edge", 1)]), true, late);
        assert_eq!(term.settles(), began + BEHIND);
        // One of several files is gone when it is seen to go.
        let mut term = Term::new(began, BEHIND);
        term.see(&wanted(&[("edge", 1), ("core", 1)]), true, began);
        term.see(&wanted(&[("core", 1)]), true, began);
        assert!(gone(&term, began));
    }
}
