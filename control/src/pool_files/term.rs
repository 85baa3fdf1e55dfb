//! What one term has seen of the pool files, and so what of them can't be of yesterday.
//!
//! Used by the pool files' task. The kubelet brings a changed ConfigMap to each replica at another time: a new leader may
//! see for a while what the one before it has seen replaced. So what it finds when its term begins counts as settled once
//! that stayed for longer than a mount is behind; what it saw change counts at once. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use echo_proto::ids::PoolName;
use tokio::time::Instant;

use super::wanted::Wanted;

/// Longest time that a mount is behind: the kubelet looks every minute, and its cache is as old at most.
const BEHIND: Duration = Duration::from_secs(3 * 60);

/// What a term has seen.
#[derive(Debug)]
pub(super) struct Term {
    /// When what it found at first is settled.
    settles: Instant,
    /// The pools and their digests as it found them at first.
    first: Option<BTreeMap<PoolName, String>>,
    changed: BTreeSet<PoolName>,
}

impl Term {
    /// One that begins.
    pub(super) fn new(now: Instant) -> Self {
        Self { settles: now + BEHIND, first: None, changed: BTreeSet::new() }
    }

    /// Takes in what the files want.
    pub(super) fn see(&mut self, wanted: &Wanted) {
        let pools: BTreeMap<PoolName, String> =
            wanted.pools.iter().map(|(name, pool)| (name.clone(), pool.digest.clone())).collect();
        let first = self.first.get_or_insert_with(|| pools.clone());
        let names = first.keys().chain(pools.keys());
        self.changed.extend(names.filter(|name| first.get(*name) != pools.get(*name)).cloned());
    }

    /// Whether what is found of the pool, or that nothing is, can't be of yesterday.
    pub(super) fn is_settled(&self, name: &PoolName, now: Instant) -> bool {
        now >= self.settles || self.changed.contains(name)
    }

    /// When all of it is settled.
    pub(super) fn settles(&self) -> Instant {
        self.settles
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

    #[test]
    fn what_a_term_found_at_first_settles_late_and_what_it_saw_change_at_once() {
        let began = Instant::now();
        let settled = |term: &Term, name: &str, now| term.is_settled(&name.parse().unwrap(), now);
        let mut term = Term::new(began);
        term.see(&wanted(&[("stays", 1), ("changes", 1), ("goes", 1)]));
        let all = ["stays", "changes", "goes", "comes", "missing"];
        assert!(all.iter().all(|name| !settled(&term, name, began)));
        term.see(&wanted(&[("stays", 1), ("changes", 2), ("comes", 1)]));
        let now: Vec<&str> = all.into_iter().filter(|name| settled(&term, name, began)).collect();
        assert_eq!(now, ["changes", "goes", "comes"]);
        // As it was at first again: that was seen as well.
        term.see(&wanted(&[("stays", 1), ("changes", 1)]));
        assert!(settled(&term, "changes", began) && !settled(&term, "stays", began));
        let late = term.settles();
        assert!(all.iter().all(|name| settled(&term, name, late)));
    }
}
