//! The limits of connections, of the node and of each source, over all shards and listeners.
//!
//! Touched when a connection comes and when it goes, never in between. It must never be waited at: whoever finds it
//! shut is turned away and counted.

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::source::{PLACES, Place};

/// How many are in, and how many may be. Alone on its cache lines, since all shards write it.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Gate {
    open: AtomicU64,
    limit: AtomicU64,
    sources: Sources,
}

/// How many each source has.
struct Sources {
    limit: AtomicU32,
    /// By place: 256 KiB.
    open: Box<[AtomicU32]>,
}

/// A connection's place among its source's; must [`Gate::leave_source`] once.
#[derive(Debug)]
pub(super) struct Seat(Place);

impl Seat {
    /// Where it is.
    pub(super) fn place(&self) -> Place {
        self.0
    }
}

impl Default for Gate {
    fn default() -> Self {
        let open = (0..PLACES).map(|_| AtomicU32::new(0)).collect();
        let sources = Sources { limit: AtomicU32::new(u32::MAX), open };
        Self { open: AtomicU64::new(0), limit: AtomicU64::new(0), sources }
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl Gate {
    /// Sets how many may be in, and of each source; those over a lowered limit stay.
    pub(crate) fn set_limits(&self, all: u64, per_source: Option<u32>) {
        self.limit.store(all, Ordering::Relaxed);
        self.sources.limit.store(per_source.unwrap_or(u32::MAX), Ordering::Relaxed);
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

    /// A seat for one more of the sources at `place`, if they may have one. Counted with and without a limit, so that one
    /// that is set later finds all that there are.
    pub(super) fn enter_source(&self, place: Place) -> Option<Seat> {
        let seat = Seat(place);
        let open = self.sources.open.get(place.index())?;
        if open.fetch_add(1, Ordering::Relaxed) < self.sources.limit.load(Ordering::Relaxed) {
            return Some(seat);
        }
        self.leave_source(seat);
        None
    }

    /// One of a source has gone.
    pub(super) fn leave_source(&self, seat: Seat) {
        if let Some(open) = self.sources.open.get(seat.0.index()) {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// How many are in.
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn turns_away_the_one_too_many() {
        let gate = Gate::default();
        gate.set_limits(2, None);
        assert!(gate.enter() && gate.enter());
        assert!(!gate.enter());
        gate.set_limits(1, None);
        assert_eq!(gate.open(), 2, "a lowered limit cuts nobody");
        gate.leave();
        assert!(!gate.enter());
        gate.leave();
        assert!(gate.enter());
    }

    #[test]
    fn a_source_has_its_own_limit() {
        let gate = Gate::default();
        let enter = |source: &str| gate.enter_source(Place::of(source.parse().unwrap()));
        let before = enter("10.0.0.1").unwrap();
        gate.set_limits(0, Some(1));
        assert!(enter("10.0.0.1").is_none(), "those from before the limit count");
        // One of a few others has a place of its own, whatever the hash.
        assert!((2..9).any(|n| enter(&format!("10.0.0.{n}")).is_some()));
        gate.leave_source(before);
        assert!(enter("10.0.0.1").is_some());
        assert!(enter("10.0.0.1").is_none());
    }
}
