//! The node's limit of connections, over all shards and listeners.
//!
//! Touched when a connection comes and when it goes, never in between. It must never be waited at: whoever finds it
//! shut is turned away and counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// How many are in, and how many may be. Alone on its cache lines, since all shards write it.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Gate {
    open: AtomicU64,
    limit: AtomicU64,
}

impl Gate {
    /// Sets how many may be in; those over a lowered limit stay.
    pub(crate) fn set_limit(&self, limit: u64) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Whether one more may come in; if so it is counted, and must [`Self::leave`] once.
    pub(crate) fn enter(&self) -> bool {
        let entered = self.open.fetch_add(1, Ordering::Relaxed) < self.limit.load(Ordering::Relaxed);
        if !entered {
            self.leave();
        }
        entered
    }

    /// One has gone.
    pub(crate) fn leave(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many are in.
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_away_the_one_too_many() {
        let gate = Gate::default();
        gate.set_limit(2);
        assert!(gate.enter() && gate.enter());
        assert!(!gate.enter());
        gate.set_limit(1);
        assert_eq!(gate.open(), 2, "a lowered limit cuts nobody");
        gate.leave();
        assert!(!gate.enter());
        gate.leave();
        assert!(gate.enter());
    }
}
