//! Load: many echoes at once for a while, each compared byte by byte, and what became of them.
//!
//! Used by `echo-bench` of tests/, which is `make bench`. In a closed loop a new message is sent when an
//! answer has come: the rate shows what both sides can do together, and a latency says nothing about an open road. In
//! an open loop messages go at their own moments, and latency counts from those.

mod connect;
mod pace;
mod tcp;
mod udp;
mod watch;

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::Instant;

use pace::Pace;
use watch::Progress;

pub use watch::Live;

/// Longest latency that is told apart, in nanoseconds: a minute.
const MAX_LATENCY: u64 = 60_000_000_000;
/// Digits of a latency that are kept.
const LATENCY_DIGITS: u8 = 3;
/// How long an answer may take before it counts as lost. Over TCP its connection is given up, after twice that at the
/// latest; over UDP another datagram takes its place.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// A message of an open loop that goes so much later than it was meant to is told as a miss of the load's own.
pub const LATE: Duration = Duration::from_millis(1);
/// Longest message, which is also the longest datagram over IPv4.
pub const MAX_SIZE: usize = 65_507;
/// Shortest datagram: it holds its number.
pub const MIN_DATAGRAM: usize = 8;

/// What to send over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Several messages in flight on each connection.
    Tcp,
    /// Several datagrams in flight from each socket.
    Udp,
}

/// What to do.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Whom to ask.
    pub address: SocketAddr,
    /// How.
    pub transport: Transport,
    /// TCP connections, or UDP sockets.
    pub connections: usize,
    /// TCP: a connection for each message, one after the other, in place of each that stays.
    pub reconnect: bool,
    /// Bytes of a message: 1 or, over UDP, [`MIN_DATAGRAM`], to [`MAX_SIZE`].
    pub size: usize,
    /// Most messages without an answer on one connection or socket; a closed loop keeps it at that.
    pub in_flight: usize,
    /// How long.
    pub duration: Duration,
    /// Messages a second over all connections, whatever the answers do; `None` is a closed loop.
    pub rate: Option<NonZeroU32>,
}

/// What became of it.
#[derive(Debug)]
pub struct Report {
    /// Echoes that came back right.
    pub echoes: u64,
    /// Answers that were not what was sent.
    pub mismatches: u64,
    /// Messages without an answer.
    pub lost: u64,
    /// Datagrams that nobody waited for: late, or doubled.
    pub strays: u64,
    /// Messages of an open loop that went later than [`LATE`]: what was measured is then also this program.
    pub late_sends: u64,
    /// Datagrams that this host's kernel did not take (ENOBUFS).
    pub refused: u64,
    /// Connections and sockets that failed.
    pub errors: u64,
    /// The first of those, in words.
    pub first_error: Option<String>,
    /// From the start to the last answer.
    pub elapsed: Duration,
    /// In nanoseconds.
    latency: Histogram<u64>,
}

impl Report {
    #[allow(clippy::expect_used)] // Its only error is bounds that make no sense, and these are constants.
    fn new() -> Self {
        let latency = Histogram::new_with_max(MAX_LATENCY, LATENCY_DIGITS).expect("a minute in three digits");
        let (echoes, mismatches, lost, strays, late_sends, refused, errors) = (0, 0, 0, 0, 0, 0, 0);
        let (first_error, elapsed) = (None, Duration::ZERO);
        Self { echoes, mismatches, lost, strays, late_sends, refused, errors, first_error, elapsed, latency }
    }

    /// Whether there were echoes, and all came back once and right.
    pub fn is_clean(&self) -> bool {
        self.echoes > 0 && [self.mismatches, self.lost, self.strays, self.refused, self.errors] == [0; 5]
    }

    /// Echoes a second.
    pub fn rate(&self) -> f64 {
        self.echoes as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// The latency that this share of the echoes did not exceed; 0.5 is the median.
    pub fn latency(&self, share: f64) -> Duration {
        Duration::from_nanos(self.latency.value_at_quantile(share))
    }

    /// All latencies as (up to and with so many nanoseconds, echoes), shortest first, without empty steps.
    pub fn latencies(&self) -> impl Iterator<Item = (u64, u64)> {
        self.latency.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value()))
    }

    fn judged(&mut self, right: bool, latency: Duration) {
        if right {
            self.echoed(latency);
        } else {
            self.mismatches += 1;
        }
    }

    fn echoed(&mut self, latency: Duration) {
        self.echoes += 1;
        self.latency.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    fn failed(&mut self, error: impl fmt::Display) {
        self.errors += 1;
        self.first_error.get_or_insert_with(|| error.to_string());
    }

    fn add(&mut self, other: Self) {
        self.echoes += other.echoes;
        self.mismatches += other.mismatches;
        self.lost += other.lost;
        self.strays += other.strays;
        self.late_sends += other.late_sends;
        self.refused += other.refused;
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
        // Same bounds, so that everything fits.
        let _ = self.latency.add(other.latency);
    }
}

/// Runs `load` to its end, counted in `live` as it goes; fails as a whole only by what its report says.
pub async fn run(load: Load, live: &Arc<Live>) -> Report {
    let start = Instant::now();
    let mut senders = JoinSet::new();
    for sender in 0..load.connections as u64 {
        let progress = Progress::new(Arc::clone(live));
        senders.spawn(async move { send(&load, sender, Pace::new(&load, sender, start), progress).await });
    }
    let mut report = Report::new();
    while let Some(part) = senders.join_next().await {
        match part {
            Ok(part) => report.add(part),
            Err(e) => report.failed(e),
        }
    }
    report.elapsed = start.elapsed();
    report
}

async fn send(load: &Load, sender: u64, pace: Pace, progress: Progress) -> Report {
    let mut report = Report::new();
    match load.transport {
        Transport::Tcp if !load.reconnect => {
            let end = progress.guard(tcp::exchange(load, sender, pace, &progress, &mut report)).await;
            progress.ended(end, &mut report);
        }
        Transport::Tcp => {
            let end = progress.guard(connect::exchange(load, sender, pace, &progress, &mut report)).await;
            progress.ended(end, &mut report);
        }
        Transport::Udp => {
            if let Err(e) = udp::exchange(load, sender, pace, &progress, &mut report).await {
                report.failed(e);
            }
        }
    }
    report
}

#[cfg(test)]
mod tests;
