//! What one node saw of a flow, for as long as it remembers it.
//!
//! Used by [`super`] alone. Pure.

use echo_proto::stamp::Seen;

/// A node's memory of the flow, from when it began to when it was lost.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) node: String,
    pub(super) seen: Seen,
    /// Probes that did not arrive, and may be among those that its receive queue had no room for.
    pub(super) unread: u64,
    /// Datagrams that the queue had no room for, for which no gap was found yet ...
    overflows: u64,
    /// ... and can be found before this sequence: what is sent later came to a queue that had been read.
    until: u64,
}

impl Life {
    /// One that was heard of for the first time, with so many gaps, when `next` was the sequence to be sent next.
    pub(super) fn new(node: &str, seen: Seen, gaps: u64, next: u64) -> Self {
        let mut life = Self { node: node.to_owned(), seen, unread: 0, overflows: seen.overflowed.into(), until: next };
        life.take(gaps, next);
        life
    }

    /// Whether `seen` was told of this very life.
    pub(super) fn is(&self, node: &str, seen: &Seen) -> bool {
        self.node == node && self.seen.memory == seen.memory
    }

    /// Something newer was told of it, with so many more gaps than before.
    pub(super) fn step(&mut self, seen: Seen, gaps: u64, next: u64) {
        let overflows = u64::from(seen.overflowed.saturating_sub(self.seen.overflowed));
        let within = self.until.saturating_sub(self.seen.highest.saturating_add(1));
        if overflows > 0 {
            (self.overflows, self.until) = (self.overflows.saturating_add(overflows), next);
            self.take(gaps, next);
        } else {
            self.take(gaps, within);
        }
        self.seen = seen;
        if seen.highest.saturating_add(1) >= self.until {
            self.overflows = 0;
        }
    }

    /// Of these gaps, `most` at most may be the queue's doing.
    fn take(&mut self, gaps: u64, most: u64) {
        let taken = self.overflows.min(gaps).min(most);
        self.overflows -= taken;
        self.unread = self.unread.saturating_add(taken);
    }
}

/// Sequences between the lowest and the highest that have not arrived; what is told may be anything.
pub(super) fn gaps(seen: &Seen) -> u64 {
    let arrived = seen.count.saturating_sub(seen.duplicates);
    seen.highest.saturating_sub(seen.lowest).saturating_add(1).saturating_sub(arrived)
}
