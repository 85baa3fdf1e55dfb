//! A shard's open connections, so that those without traffic can be closed.
//!
//! Filled by [`super::accept`]; [`sweep`] runs once a shard. No timer is set, moved or read for a connection or a
//! message: a connection stamps its traffic with the time of the last sweep, which costs one store. So it is closed
//! between `idle timeout` and `idle timeout + 2 periods` after its last byte, never earlier.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::reason::End;
use super::shard::Shard;

/// Sweeps in one idle timeout, within the two bounds below.
const SWEEPS_PER_TIMEOUT: u32 = 16;
/// Shortest time between two sweeps.
const MIN_PERIOD: Duration = Duration::from_millis(5);
/// Longest time between two sweeps.
const MAX_PERIOD: Duration = Duration::from_secs(1);
/// How long a connection that we have ended may go on to send, so that our close does not destroy our answer.
const LINGER: Duration = Duration::from_secs(2);

/// What is known of one connection, shared between its task and the sweep.
#[derive(Debug)]
pub(super) struct Activity {
    last: Cell<Duration>,
    lingering: Cell<bool>,
    end: Cell<End>,
}

impl Activity {
    /// Traffic was seen.
    pub(super) fn touch(&self, shard: &Shard) {
        self.last.set(shard.now.get());
    }

    /// Our side is closed; the peer has [`LINGER`] to close its own.
    pub(super) fn linger(&self) {
        self.lingering.set(true);
    }

    /// How it ended, or would if it were dropped now.
    pub(super) fn end(&self) -> &Cell<End> {
        &self.end
    }
}

/// The connections of a shard by place.
#[derive(Debug, Default)]
pub(super) struct Table(RefCell<Places>);

#[derive(Debug, Default)]
struct Places {
    used: Vec<Option<(Rc<Activity>, Option<AbortHandle>)>>,
    free: Vec<usize>,
}

impl Table {
    /// Gives a new connection its place.
    pub(super) fn enter(&self, now: Duration) -> (usize, Rc<Activity>) {
        let activity =
            Rc::new(Activity { last: Cell::new(now), lingering: Cell::new(false), end: Cell::new(End::Stopped) });
        let places = &mut *self.0.borrow_mut();
        let entry = Some((Rc::clone(&activity), None));
        let place = places.free.pop().unwrap_or(places.used.len());
        match places.used.get_mut(place) {
            Some(free) => *free = entry,
            None => places.used.push(entry),
        }
        (place, activity)
    }

    /// Tells which task serves it.
    pub(super) fn attach(&self, place: usize, task: AbortHandle) {
        if let Some(Some((_, slot))) = self.0.borrow_mut().used.get_mut(place) {
            *slot = Some(task);
        }
    }

    /// Takes the place back.
    pub(super) fn leave(&self, place: usize) {
        let places = &mut *self.0.borrow_mut();
        if places.used.get_mut(place).and_then(Option::take).is_some() {
            places.free.push(place);
        }
        if places.free.len() == places.used.len() {
            // Nobody is left: give a past crowd's memory back.
            *places = Places::default();
        }
    }

    /// Ends what was idle for too long at `now`. The tasks end by themselves, later.
    fn end_idle(&self, now: Duration, limit: Duration, period: Duration) {
        for (activity, task) in self.0.borrow().used.iter().flatten() {
            let limit = if activity.lingering.get() { limit.min(LINGER) } else { limit };
            // A stamp is older than its traffic by up to a period.
            if now.saturating_sub(activity.last.get()) >= limit + period {
                activity.end.set(if activity.lingering.get() { End::Served } else { End::Idle });
                task.iter().for_each(AbortHandle::abort);
            }
        }
    }
}

/// Moves the shard's clock and closes idle connections, for ever.
pub(super) async fn sweep(shard: Rc<Shard>) {
    loop {
        let limit = shard.idle_timeout.get();
        let period = (limit / SWEEPS_PER_TIMEOUT).clamp(MIN_PERIOD, MAX_PERIOD);
        // A shortened timeout is not slept over.
        let _ = timeout(period, shard.limits_changed.notified()).await;
        let now = shard.started.elapsed();
        shard.connections.end_idle(now, shard.idle_timeout.get(), now.saturating_sub(shard.now.get()));
        shard.now.set(now);
    }
}
