//! A shard's open connections, so that those without traffic, and those that are too old, can be closed.
//!
//! Filled by [`super::accept`]; [`sweep`] runs once a shard. No timer is set, moved or read for a connection or a
//! message: traffic leaves a mark, which costs one store, and the next sweep turns it into a time. So a connection is
//! closed between `idle timeout` and `idle timeout + 2 periods` after its last byte, never earlier; time in which the
//! shard itself did not run is nobody's idleness. A lifetime is counted from the moment it came, to the next sweep.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use super::reason::End;
use super::shard::Shard;

/// Sweeps in the shorter of both times, within the two bounds below.
const SWEEPS_PER_TIMEOUT: u32 = 16;
/// Shortest time between two sweeps.
const MIN_PERIOD: Duration = Duration::from_millis(5);
/// Longest time between two sweeps.
const MAX_PERIOD: Duration = Duration::from_secs(1);
/// Periods that count for a sweep that comes late.
const MAX_LATE: u32 = 2;
/// How long a connection that we have ended may go on to send, so that our close does not destroy our answer.
const LINGER: Duration = Duration::from_secs(2);
/// Places whose memory is kept when nobody is left, for those who come and go a few at a time.
const KEPT_PLACES: usize = 64;

/// How long connections may last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ages {
    /// Without traffic.
    pub(crate) idle: Duration,
    /// In all; `None`: for ever.
    pub(crate) life: Option<Duration>,
}

impl Ages {
    fn shortest(self) -> Duration {
        self.life.map_or(self.idle, |life| self.idle.min(life))
    }
}

/// What is known of one connection, shared between its task and the sweep.
#[derive(Debug)]
pub(super) struct Activity {
    /// Traffic was seen since the last sweep.
    touched: Cell<bool>,
    /// The sweep that last found traffic, on the table's clock; not before the traffic itself.
    last: Cell<Duration>,
    /// When it came.
    since: Instant,
    /// It is not read, for its rate: its silence is our doing.
    held: Cell<bool>,
    /// Our side is closed, for this.
    lingering: Cell<Option<End>>,
    end: Cell<End>,
}

impl Activity {
    /// Traffic was seen.
    pub(super) fn touch(&self) {
        self.touched.set(true);
    }

    /// From now on the peer is not read, or is again; unless our side is closed, which it has no long time to answer.
    pub(super) fn hold(&self, held: bool) {
        if self.lingering.get().is_none() && self.held.replace(held) != held {
            self.touch();
        }
    }

    /// Our side is closed, for `end`; the peer has [`LINGER`] to close its own.
    pub(super) fn linger(&self, end: End) {
        self.lingering.set(Some(end));
    }

    /// How long it has been there.
    pub(super) fn age(&self) -> Duration {
        self.since.elapsed()
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
    /// Time that the shard has run, as of the last sweep.
    now: Duration,
    used: Vec<Option<(Rc<Activity>, Option<AbortHandle>)>>,
    free: Vec<u32>,
}

impl Table {
    /// Gives a new connection its place.
    pub(super) fn enter(&self) -> (u32, Rc<Activity>) {
        let places = &mut *self.0.borrow_mut();
        let activity = Rc::new(Activity {
            touched: Cell::new(true),
            last: Cell::new(places.now),
            since: Instant::now(),
            held: Cell::new(false),
            lingering: Cell::new(None),
            end: Cell::new(End::Stopped),
        });
        let entry = Some((Rc::clone(&activity), None));
        // There are never more than the limit of connections, which is far less.
        let place = places.free.pop().unwrap_or(places.used.len() as u32);
        match places.used.get_mut(place as usize) {
            Some(free) => *free = entry,
            None => places.used.push(entry),
        }
        (place, activity)
    }

    /// Tells which task serves it.
    pub(super) fn attach(&self, place: u32, task: AbortHandle) {
        if let Some(Some((_, slot))) = self.0.borrow_mut().used.get_mut(place as usize) {
            *slot = Some(task);
        }
    }

    /// Takes the place back.
    pub(super) fn leave(&self, place: u32) {
        let places = &mut *self.0.borrow_mut();
        if places.used.get_mut(place as usize).and_then(Option::take).is_some() {
            places.free.push(place);
        }
        if places.free.len() == places.used.len() {
            // Nobody is left: give a past crowd's memory back.
            places.free.clear();
            places.free.shrink_to(KEPT_PLACES);
            places.used.clear();
            places.used.shrink_to(KEPT_PLACES);
        }
    }

    /// Ends all; the tasks end by themselves, later.
    pub(super) fn end_all(&self) {
        self.0.borrow().used.iter().flatten().for_each(|(_, task)| task.iter().for_each(AbortHandle::abort));
    }

    /// Whether no connection is open.
    pub(super) fn is_empty(&self) -> bool {
        // The last one that leaves takes all places with it.
        self.0.borrow().used.is_empty()
    }

    /// Moves the clock on by `ran` and ends what was idle, or has lived by `now`, for too long. The tasks end by
    /// themselves, later.
    fn sweep(&self, ran: Duration, now: Instant, ages: Ages) {
        let places = &mut *self.0.borrow_mut();
        places.now += ran;
        for (activity, task) in places.used.iter().flatten() {
            if activity.touched.take() || activity.held.get() {
                activity.last.set(places.now);
            }
            let lingering = activity.lingering.get();
            let idle = if lingering.is_some() { ages.idle.min(LINGER) } else { ages.idle };
            let end = if places.now.saturating_sub(activity.last.get()) >= idle {
                lingering.unwrap_or(End::Idle)
            } else if ages.life.is_some_and(|life| now.saturating_duration_since(activity.since) >= life) {
                End::Lifetime
            } else {
                continue;
            };
            activity.end.set(end);
            task.iter().for_each(AbortHandle::abort);
        }
    }
}

/// Closes idle connections, for ever.
pub(super) async fn sweep(shard: Rc<Shard>) {
    let mut swept = Instant::now();
    loop {
        let period = (shard.ages.get().shortest() / SWEEPS_PER_TIMEOUT).clamp(MIN_PERIOD, MAX_PERIOD);
        // A shortened timeout is not slept over.
        let _ = timeout(period, shard.limits_changed.notified()).await;
        let now = Instant::now();
        // Beyond that the shard did not run, and what its peers sent meanwhile is still unread.
        let ran = now.duration_since(swept).min(period * MAX_LATE);
        swept = now;
        shard.connections.sweep(ran, now, shard.ages.get());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn idle_for(ms: u64) -> Ages {
        Ages { idle: MS(ms), life: None }
    }

    impl Table {
        fn after(&self, ran: Duration, ages: Ages) {
            self.sweep(ran, Instant::now(), ages);
        }
    }

    fn idle(activity: &Activity) -> bool {
        activity.end().get() == End::Idle
    }

    #[test]
    fn a_limit_counts_from_the_sweep_that_saw_the_last_traffic() {
        let table = Table::default();
        let (_, activity) = table.enter();
        table.after(MS(1_000), idle_for(60_000));
        // Its traffic is as old as can be: just after a sweep. Then the limit shrinks below a period.
        activity.touch();
        table.after(MS(1), idle_for(500));
        assert!(!idle(&activity), "a new limit is no older than the traffic");
        table.after(MS(499), idle_for(500));
        assert!(!idle(&activity));
        table.after(MS(1), idle_for(500));
        assert!(idle(&activity));
    }

    #[test]
    fn a_late_sweep_closes_nobody_who_was_busy() {
        let table = Table::default();
        let (_, busy) = table.enter();
        let (_, quiet) = table.enter();
        table.after(MS(1), idle_for(40));
        busy.touch();
        table.after(MS(100), idle_for(40));
        assert!(!idle(&busy) && idle(&quiet));
    }

    #[test]
    fn a_lifetime_ends_the_busy_too_and_never_early() {
        let table = Table::default();
        let (_, activity) = table.enter();
        let ages = Ages { idle: MS(60_000), life: Some(MS(100)) };
        for (age, end) in [(99, End::Stopped), (100, End::Lifetime)] {
            activity.touch();
            table.sweep(MS(1), activity.since + MS(age), ages);
            assert_eq!(activity.end().get(), end);
        }
    }

    #[test]
    fn who_is_not_read_is_not_idle() {
        let table = Table::default();
        let (_, activity) = table.enter();
        activity.hold(true);
        (0..3).for_each(|_| table.after(MS(100), idle_for(50)));
        assert!(!idle(&activity));
        activity.hold(false);
        table.after(MS(100), idle_for(50));
        assert!(!idle(&activity));
        table.after(MS(50), idle_for(50));
        assert!(idle(&activity));
    }

    #[test]
    fn the_memory_of_a_past_crowd_is_given_back() {
        let table = Table::default();
        let places: Vec<u32> = (0..1_000).map(|_| table.enter().0).collect();
        places.into_iter().for_each(|place| table.leave(place));
        assert!(table.is_empty());
        let places = table.0.borrow();
        assert!(places.used.capacity() <= KEPT_PLACES && places.free.capacity() <= KEPT_PLACES, "{places:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn time_that_the_shard_slept_is_nobodys_idleness() {
        let shard = Rc::new(Shard::new(Arc::default(), Arc::default()));
        shard.ages.set(idle_for(1_600));
        let (_, activity) = shard.connections.enter();
        let sweeping = sweep(Rc::clone(&shard));
        tokio::pin!(sweeping);
        // Stopped for a minute, with the peer's bytes unread: the first sweep after that sees no traffic.
        assert!(timeout(MS(250), &mut sweeping).await.is_err());
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(timeout(MS(10), &mut sweeping).await.is_err());
        assert!(!idle(&activity));
        assert!(timeout(MS(2_000), &mut sweeping).await.is_err());
        assert!(idle(&activity));
    }
}
