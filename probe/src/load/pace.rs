//! When each message is meant to go: at once in a closed loop, at its own moment in an open one.
//!
//! Used by the senders of [`super`]. The moments depend on nothing that the far end does: that is what makes a loop open.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::{Duration, Instant, sleep_until, timeout};

use super::watch::Live;
use super::{CATCH_UP, LATE, Load, Report};

/// The last stretch before a message is meant to go is spent looking at the clock: tokio's timers are a millisecond
/// coarse, which would be told as the far end's latency.
const SPIN: Duration = Duration::from_millis(2);
/// Longest wait for a moment, after which it is seen whether the load was stopped.
const LOOK: Duration = Duration::from_millis(100);

/// The moments of one sender's messages.
#[derive(Debug)]
pub(super) struct Pace {
    start: Instant,
    end: Instant,
    /// `None` is a closed loop.
    steps: Option<Steps>,
    /// The sender has room for a message whose moment it waits for.
    idle: bool,
    /// When it last came back from that: what was due by then and is late is its own doing.
    woken: Instant,
    live: Arc<Live>,
}

/// The even steps of an open loop, in nanoseconds.
#[derive(Debug, Clone, Copy)]
struct Steps {
    first: f64,
    step: f64,
}

impl Pace {
    /// Of `sender`, whose messages lie evenly between those of the others.
    pub(super) fn new(load: &Load, sender: u64, start: Instant, live: Arc<Live>) -> Self {
        let steps = load.rate.map(|rate| {
            let between = 1e9 / f64::from(rate.get());
            Steps { first: between * sender as f64, step: between * load.connections as f64 }
        });
        Self { start, end: start + load.duration, steps, idle: true, woken: start, live }
    }

    /// When message `number` is meant to go; `None` if there is no such message, or no time left to send it.
    pub(super) fn intended(&mut self, number: u64, now: Instant) -> Option<Instant> {
        if self.live.stopped().is_some() || now >= self.end + CATCH_UP {
            return None;
        }
        let intended = self.moment(number).unwrap_or(now);
        self.idle |= intended > now;
        (intended < self.end).then_some(intended)
    }

    /// Counts a message that goes later than it was meant to.
    pub(super) fn sent(&mut self, intended: Instant, now: Instant, report: &mut Report) {
        if self.steps.is_none() {
            return;
        }
        if std::mem::take(&mut self.idle) {
            self.woken = now;
        }
        if now.saturating_duration_since(intended) > LATE {
            let counter = if intended <= self.woken { &mut report.late_sends } else { &mut report.held };
            *counter += 1;
        }
    }

    /// Tells how long the sender sent, and what of an open loop it did not send.
    pub(super) fn ended(&self, report: &mut Report) {
        report.begin = Some(self.start);
        report.unsent = self.unsent(report.sent + report.refused);
        let whole = self.steps.is_some() && report.unsent == 0;
        report.end = Some(if whole { self.end() } else { self.end().min(Instant::now()) });
    }

    fn end(&self) -> Instant {
        self.live.stopped().map_or(self.end, |stopped| stopped.min(self.end))
    }

    /// How many messages were meant to go and did not, where `sent` did.
    fn unsent(&self, sent: u64) -> u64 {
        let (end, Some(Steps { first, step })) = (self.end(), self.steps) else { return 0 };
        let mut due = ((end.saturating_duration_since(self.start).as_nanos() as f64 - first) / step) as u64;
        // The moments themselves are rounded.
        while self.moment(due).is_some_and(|moment| moment < end) {
            due += 1;
        }
        due.saturating_sub(sent)
    }

    fn moment(&self, number: u64) -> Option<Instant> {
        let nanos = |steps: Steps| (steps.first + steps.step * number as f64).round() as u64;
        self.steps.map(|steps| self.start + Duration::from_nanos(nanos(steps)))
    }
}

/// Waits for what `ready` looks at, at most until `next` is due, and perhaps less.
pub(super) async fn wait(
    ready: impl FnMut(&mut Context<'_>) -> Poll<io::Result<()>>,
    next: Option<Instant>,
) -> io::Result<()> {
    let Some(next) = next else { return poll_fn(ready).await };
    let due = async {
        let look = Instant::now() + LOOK;
        sleep_until(look.min(next.checked_sub(SPIN).unwrap_or(next))).await;
        while Instant::now() < look.min(next) {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        ready = poll_fn(ready) => ready,
        () = due => Ok(()),
    }
}

/// Gives the peer as long as an answer may take.
pub(super) async fn in_time<T>(load: &Load, what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(load.timeout, what).await.map_err(|_| io::ErrorKind::TimedOut)?
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::load::Transport;

    fn load(rate: Option<u32>) -> Load {
        Load {
            transport: Transport::Tcp,
            connections: 4,
            reconnect: false,
            size: 64,
            in_flight: 1,
            duration: Duration::from_secs(1),
            timeout: Duration::from_secs(2),
            rate: rate.and_then(NonZeroU32::new),
        }
    }

    fn pace(rate: Option<u32>, sender: u64, start: Instant) -> Pace {
        Pace::new(&load(rate), sender, start, Arc::default())
    }

    #[tokio::test]
    async fn all_senders_together_keep_the_rate() {
        let start = Instant::now();
        for rate in [1_000, 999, 7] {
            let mut moments = Vec::new();
            for sender in 0..4 {
                let mut pace = pace(Some(rate), sender, start);
                let own: Vec<_> = (0..).map_while(|number| pace.intended(number, start)).collect();
                assert_eq!((pace.unsent(0), pace.unsent(own.len() as u64)), (own.len() as u64, 0));
                moments.extend(own);
            }
            moments.sort();
            let nanos: Vec<_> = moments.iter().map(|moment| (*moment - start).as_nanos() as f64).collect();
            assert_eq!(nanos.len(), rate as usize);
            let step = 1e9 / f64::from(rate);
            let even = nanos.iter().zip(0..).all(|(nanos, number)| (nanos - step * f64::from(number)).abs() < 3.0);
            assert!(even, "{rate}/s: {nanos:?}");
        }
    }

    #[tokio::test]
    async fn a_closed_loop_sends_now_until_the_end() {
        let start = Instant::now();
        let mut pace = pace(None, 3, start);
        let last = start + Duration::from_millis(999);
        assert_eq!(pace.intended(70_000, last), Some(last));
        assert_eq!(pace.intended(0, start + Duration::from_secs(1)), None);
        assert_eq!(pace.unsent(0), 0, "nothing was meant to go");
    }

    #[tokio::test]
    async fn what_is_late_for_lack_of_room_is_not_the_senders_own_doing() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let (mut pace, mut report) = (pace(Some(1_000), 0, start), Report::default());
        let mut send = |number, now| {
            let intended = pace.intended(number, now).filter(|intended| *intended <= now);
            intended.is_some_and(|intended| {
                pace.sent(intended, now, &mut report);
                true
            })
        };
        // At 0, 4, 8 ms and so on. The first goes in time; the second is waited for, and overslept together with the third.
        assert!(send(0, at(0)) && !send(1, at(0)) && send(1, at(9)) && send(2, at(9)));
        // The fourth is due at 12 ms, when there is no room until 20 ms; the fifth has to wait for it.
        assert!(send(3, at(20)) && send(4, at(20)) && send(5, at(20)));
        assert_eq!((report.late_sends, report.held), (1, 2));
    }

    #[tokio::test]
    async fn an_end_is_an_end_whatever_is_left() {
        let start = Instant::now();
        let mut slow = pace(Some(1_000), 0, start);
        assert!(slow.intended(249, start + Duration::from_secs(1) + CATCH_UP / 2).is_some(), "it catches up");
        assert_eq!(slow.intended(249, start + Duration::from_secs(1) + CATCH_UP), None);
        assert_eq!(slow.unsent(100), 150);
        let live = Arc::<Live>::default();
        let mut stopped = Pace::new(&load(Some(1_000)), 0, start - Duration::from_millis(500), Arc::clone(&live));
        assert!(stopped.intended(0, start).is_some());
        live.stop();
        assert_eq!(stopped.intended(0, start), None);
        assert!((1..=200).contains(&stopped.unsent(50)), "{}: up to the stop", stopped.unsent(50));
    }
}
