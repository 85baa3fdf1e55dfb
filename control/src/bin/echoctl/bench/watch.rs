//! A load that runs, seen from the terminal: until it begins, as it goes, and Ctrl-C at any time.
//!
//! Used by `bench`. It must never wait for connections, or answers, that do not come: a first Ctrl-C ends a load that
//! has not begun, and a limit does the same; a second one ends the waiting for the last answers.

use std::time::Duration;

use echo_control::words::count;
use echo_probe::load::{Live, Load, Report, Transport};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep};

use super::client::Client;
use super::text;
use crate::failure::Failure;
use crate::output::console::Console;

/// How often a terminal is told how far it got.
const TICK: Duration = Duration::from_secs(1);
/// How often it is looked whether all connections are made. It tells when the threads' times begin to count: a
/// thousandth of a second is little of any load.
const LOOK: Duration = Duration::from_millis(1);
/// How long making all connections may take, besides the time that any one of them may.
const CONNECT_LIMIT: Duration = Duration::from_secs(60);

/// A load that was started.
pub(super) struct Running<'a> {
    pub(super) load: &'a Load,
    pub(super) live: &'a Live,
    /// Where it runs.
    pub(super) client: &'a mut Client,
    /// Where each Ctrl-C arrives.
    pub(super) stopped: mpsc::Receiver<()>,
    pub(super) ended: JoinHandle<Vec<Report>>,
}

impl Running<'_> {
    /// Waits until it has ended; on a terminal, if `shown`, tells how far it got.
    ///
    /// # Errors
    /// It did not begin, broke off, or was ended without a result.
    pub(super) async fn end(mut self, shown: bool) -> Result<Vec<Report>, Failure> {
        match self.begin().await? {
            Some(reports) => Ok(reports),
            None => self.follow(shown).await,
        }
    }

    /// Waits until its connections are made; returns what became of it if it has ended by then.
    async fn begin(&mut self) -> Result<Option<Vec<Report>>, Failure> {
        let limit = CONNECT_LIMIT + self.load.timeout;
        let (late, mut look) = (sleep(limit), ticks(LOOK));
        tokio::pin!(late);
        // The first message goes when all of them are made. UDP has none to make, and all that it sends may be refused.
        while self.load.transport == Transport::Tcp && self.live.sent() == 0 {
            tokio::select! {
                biased;
                reports = &mut self.ended => return whole(reports).map(Some),
                // It may have begun since the last look.
                Some(()) = self.stopped.recv() => match self.live.sent() {
                    0 => {
                        let cause = "Ctrl-C ended it before its connections were made; nothing was sent";
                        return Err(Failure::Bench(cause.to_owned()));
                    }
                    _ => self.live.stop(),
                },
                () = &mut late => {
                    let connections = count(self.load.connections, "connection");
                    return Err(Failure::Bench(format!(
                        "{connections} were not made within {limit:?}, and nothing was sent; is anybody there? \
                         `echoctl probe` tells"
                    )));
                }
                _ = look.tick() => {}
            }
        }
        self.client.begins();
        Ok(None)
    }

    /// Shows how far it got, and hands on a first Ctrl-C, until it has ended.
    async fn follow(self, shown: bool) -> Result<Vec<Report>, Failure> {
        let Self { load, live, mut stopped, mut ended, .. } = self;
        let (console, start) = (Console::new(), Instant::now());
        let (mut tick, mut answered) = (ticks(TICK), 0);
        let shown = shown && console.rewrites();
        let reports = loop {
            tokio::select! {
                biased;
                reports = &mut ended => break reports,
                Some(()) = stopped.recv() => {
                    if live.is_stopped() {
                        let cause = "the second Ctrl-C ended it before its last answers were there; there is no result";
                        return Err(Failure::Bench(cause.to_owned()));
                    }
                    live.stop();
                }
                _ = tick.tick(), if shown => {
                    let now = live.answered();
                    console.progress(&text::progress(load, start.elapsed(), live, now.saturating_sub(answered)));
                    answered = now;
                }
            }
        };
        if shown {
            console.progress("");
        }
        whole(reports)
    }
}

fn whole(reports: Result<Vec<Report>, tokio::task::JoinError>) -> Result<Vec<Report>, Failure> {
    reports.map_err(|error| Failure::Bench(format!("the load broke off: {error}")))
}

/// The first after one `period`.
fn ticks(period: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn load(transport: Transport) -> Load {
        Load {
            transport,
            connections: 4,
            reconnect: false,
            size: 64,
            in_flight: 1,
            duration: Duration::from_secs(1),
            timeout: Duration::from_secs(5),
            rate: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn connections_that_are_not_made_are_waited_for_up_to_a_limit() {
        let load = load(Transport::Tcp);
        let (mut client, live) = (Client::start(&load).unwrap(), Live::default());
        let (_stop, stopped) = mpsc::channel(1);
        let (start, ended) = (Instant::now(), tokio::spawn(std::future::pending()));
        let running = Running { load: &load, live: &live, client: &mut client, stopped, ended };
        let told = running.end(false).await.unwrap_err().to_string();
        assert!(told.contains("not made within 65s"), "{told}");
        assert_eq!(start.elapsed().as_secs(), 65);
    }

    #[tokio::test(start_paused = true)]
    async fn datagrams_of_which_none_could_be_sent_go_on_to_their_end() {
        let load = load(Transport::Udp);
        let (mut client, live) = (Client::start(&load).unwrap(), Live::default());
        let (_stop, stopped) = mpsc::channel(1);
        let ended = tokio::spawn(async {
            sleep(2 * CONNECT_LIMIT).await;
            Vec::new()
        });
        let running = Running { load: &load, live: &live, client: &mut client, stopped, ended };
        running.end(false).await.unwrap();
    }
}
