//! One index in use: the node that lives under it, leaves it, or is to be started again.
//!
//! Kept by the supervisor. Times are passed in; it must never start or signal anything by itself.

use std::time::Duration;

use echo_proto::backoff::Backoff;
use echo_proto::ids::PoolName;
use tokio::time::Instant;

use super::child::{Ending, Handle};
use super::notice::Death;

/// Waits before a dead node is started again; the first time there is none.
const RESTART_BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// A node that lived so long may die again without waiting.
const HEALTHY_AFTER: Duration = Duration::from_secs(30);
/// What a node may take beyond its drain: it tells etcd before and after.
const LEAVE_GRACE: Duration = Duration::from_secs(5);

/// What is known of an index.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) pool: PoolName,
    pub(super) zone: String,
    pub(super) state: State,
    pub(super) started: Instant,
    /// `None`: it has not died yet, or not for long.
    pub(super) backoff: Option<Backoff>,
    /// How its last life ended; `None`: it lives its first.
    pub(super) death: Option<Death>,
    /// It ends again and again soon after its start, or can't be started.
    pub(super) loops: bool,
}

/// Where it stands.
#[derive(Debug)]
pub(super) enum State {
    Alive(Handle),
    Leaving(Leaving),
    /// Dead; to be started again then.
    Dead(Instant),
}

/// A node that was told to drain and exit.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) handle: Handle,
    /// When it is too late.
    pub(super) until: Instant,
    next: Push,
}

/// What helps a node that does not leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Push {
    /// A second SIGTERM: it ends its drain at once.
    Terminate,
    /// SIGKILL.
    Kill,
}

impl Leaving {
    /// It was told at `now`, and may drain for so long.
    pub(super) fn new(handle: Handle, now: Instant, drain: Duration) -> Self {
        Self { handle, until: now + drain + LEAVE_GRACE, next: Push::Terminate }
    }

    /// What to do now that it is too late; it gets some more time then.
    pub(super) fn push(&mut self, now: Instant) -> Push {
        self.until = now + LEAVE_GRACE;
        std::mem::replace(&mut self.next, Push::Kill)
    }
}

impl Worker {
    /// One that runs.
    pub(super) fn alive(
        pool: PoolName,
        zone: String,
        handle: Handle,
        started: Instant,
        backoff: Option<Backoff>,
    ) -> Self {
        Self { pool, zone, state: State::Alive(handle), started, backoff, death: None, loops: false }
    }

    /// One that could not be started. The first retry waits as well: what hindered this start hinders the next.
    pub(super) fn failed(pool: PoolName, zone: String, now: Instant, backoff: Option<Backoff>) -> Self {
        let mut backoff = backoff.unwrap_or_else(new_backoff);
        let state = State::Dead(now + backoff.next_wait());
        Self { pool, zone, state, started: now, backoff: Some(backoff), death: None, loops: true }
    }

    /// When to look at it again, if nothing happens before.
    pub(super) fn due(&self) -> Option<Instant> {
        match &self.state {
            State::Dead(at) => Some(*at),
            State::Leaving(leaving) => Some(leaving.until),
            State::Alive(_) => self.loops.then(|| self.started + HEALTHY_AFTER),
        }
    }

    /// One that has lived for long does not loop.
    pub(super) fn settle(&mut self, now: Instant) {
        self.loops &= !self.is_alive() || now.saturating_duration_since(self.started) < HEALTHY_AFTER;
    }

    /// Whether it is to be started again by now.
    pub(super) fn is_to_start(&self, now: Instant) -> bool {
        matches!(self.state, State::Dead(at) if at <= now)
    }

    /// Whether its process runs, and is not on its way out.
    pub(super) fn is_alive(&self) -> bool {
        matches!(self.state, State::Alive(_))
    }

    /// Whether it was told to drain and exit.
    pub(super) fn is_leaving(&self) -> bool {
        matches!(self.state, State::Leaving(_))
    }

    /// Marks it dead; returns how long until it is started again.
    pub(super) fn died(&mut self, now: Instant, death: Death) -> Duration {
        let is_healthy = now.saturating_duration_since(self.started) >= HEALTHY_AFTER;
        if is_healthy {
            self.backoff = None;
        }
        let in_order = death.ending == Ending::InOrder;
        self.death = Some(death);
        let wait = match &mut self.backoff {
            // It was told to go: the next one may die as if it were the first.
            None if is_healthy && in_order => Duration::ZERO,
            Some(backoff) => backoff.next_wait(),
            None => {
                self.backoff = Some(new_backoff());
                Duration::ZERO
            }
        };
        self.loops = !wait.is_zero();
        self.state = State::Dead(now + wait);
        wait
    }
}

fn new_backoff() -> Backoff {
    Backoff::new(RESTART_BACKOFF.0, RESTART_BACKOFF.1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_end_in_order_takes_no_free_restart_but_a_node_that_never_stays_waits() {
        let wait = |ending, lived: Duration| {
            let (pool, now) = ("edge".parse().unwrap(), Instant::now());
            let mut worker = Worker { state: State::Dead(now), ..Worker::failed(pool, String::new(), now, None) };
            worker.backoff = None;
            let death = || Death { pid: 7, how: String::new(), ending, words: None };
            assert_eq!(worker.died(now + lived, death()), Duration::ZERO);
            worker.died(now + Duration::from_secs(1), death())
        };
        assert!(wait(Ending::InOrder, HEALTHY_AFTER).is_zero());
        assert!(!wait(Ending::Other, HEALTHY_AFTER).is_zero());
        assert!(!wait(Ending::InOrder, Duration::from_secs(1)).is_zero());
    }
}
