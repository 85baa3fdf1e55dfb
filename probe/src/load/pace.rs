//! When each message is meant to go: at once in a closed loop, at its own moment in an open one.
//!
//! Used by the senders of [`super`]. The moments depend on nothing that the far end does: that is what makes a loop open.

use std::io;

use tokio::time::{Duration, Instant, sleep_until, timeout};

use super::{ANSWER_TIMEOUT, LATE, Load, Report};

/// The last stretch before a message is meant to go is spent looking at the clock: tokio's timers are a millisecond
/// coarse, which would be told as the far end's latency.
const SPIN: Duration = Duration::from_millis(2);

/// The moments of one sender's messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    first: Instant,
    end: Instant,
    /// Between two messages; `None` is a closed loop.
    step: Option<Duration>,
}

impl Pace {
    /// Of `sender`, whose messages lie evenly between those of the others.
    pub(super) fn new(load: &Load, sender: u64, start: Instant) -> Self {
        let end = start + load.duration;
        let Some(rate) = load.rate else { return Self { first: start, end, step: None } };
        let between = Duration::from_secs(1) / rate.get();
        let first = start + between.mul_f64(sender as f64);
        Self { first, end, step: Some(between.mul_f64(load.connections as f64)) }
    }

    /// When message `number` is meant to go; `None` if that is past the end.
    pub(super) fn intended(&self, number: u64, now: Instant) -> Option<Instant> {
        let intended = self.step.map_or(now, |step| self.first + step.mul_f64(number as f64));
        (intended < self.end).then_some(intended)
    }

    /// Counts a message that goes later than it was meant to.
    pub(super) fn sent(&self, intended: Instant, now: Instant, report: &mut Report) {
        if self.step.is_some() && now.saturating_duration_since(intended) > LATE {
            report.late_sends += 1;
        }
    }
}

/// Waits for a socket, at most until `next` is due. Whether it is ready is for the socket's next call to say.
pub(super) async fn wait<T>(ready: impl Future<Output = io::Result<T>>, next: Option<Instant>) -> io::Result<()> {
    let due = async {
        match next {
            None => std::future::pending().await,
            Some(next) => {
                sleep_until(next.checked_sub(SPIN).unwrap_or(next)).await;
                while Instant::now() < next {
                    tokio::task::yield_now().await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        ready = ready => ready.map(drop),
        () = due => Ok(()),
    }
}

/// Gives the peer as long as an answer may take.
pub(super) async fn in_time<T>(what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(ANSWER_TIMEOUT, what).await.map_err(|_| io::ErrorKind::TimedOut)?
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::load::Transport;

    fn load(rate: Option<u32>) -> Load {
        Load {
            address: ([127, 0, 0, 1], 1).into(),
            transport: Transport::Tcp,
            connections: 4,
            reconnect: false,
            size: 64,
            in_flight: 1,
            duration: Duration::from_secs(1),
            rate: rate.and_then(NonZeroU32::new),
        }
    }

    #[tokio::test]
    async fn all_senders_together_keep_the_rate() {
        let start = Instant::now();
        let mut moments = Vec::new();
        for sender in 0..4 {
            let pace = Pace::new(&load(Some(1_000)), sender, start);
            moments.extend((0..).map_while(|number| pace.intended(number, start)));
        }
        moments.sort();
        let millis: Vec<u128> = moments.iter().map(|moment| (*moment - start).as_millis()).collect();
        assert_eq!(millis, (0..1_000).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_closed_loop_sends_now_until_the_end() {
        let start = Instant::now();
        let pace = Pace::new(&load(None), 3, start);
        let last = start + Duration::from_millis(999);
        assert_eq!(pace.intended(70_000, last), Some(last));
        assert_eq!(pace.intended(0, start + Duration::from_secs(1)), None);
    }
}
