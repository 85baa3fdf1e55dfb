//! Load: many echoes at once for a while, each compared byte by byte, and what became of them.
//!
//! Used by `echo-load`. Closed loop: a new message is sent when an answer has come, so the rate shows what both sides
//! can do together, and a latency here says nothing about an open road.

mod tcp;
mod udp;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Longest latency that is told apart, in nanoseconds: a minute.
const MAX_LATENCY: u64 = 60_000_000_000;
/// Digits of a latency that are kept.
const LATENCY_DIGITS: u8 = 3;
/// How long an answer may take before it counts as lost. Over TCP its connection is given up, after twice that at the
/// latest; over UDP another datagram takes its place.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest message, which is also the longest datagram over IPv4.
pub const MAX_SIZE: usize = 65_507;
/// Shortest datagram: it holds its number.
pub const MIN_DATAGRAM: usize = 8;

/// What to send over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// One message in flight on each connection.
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
    /// Bytes of a message: 1 or, over UDP, [`MIN_DATAGRAM`], to [`MAX_SIZE`].
    pub size: usize,
    /// Datagrams in flight from one socket; TCP has one.
    pub in_flight: usize,
    /// How long.
    pub duration: Duration,
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
        let (echoes, mismatches, lost, strays, errors) = (0, 0, 0, 0, 0);
        Self { echoes, mismatches, lost, strays, errors, first_error: None, elapsed: Duration::ZERO, latency }
    }

    /// Whether there were echoes, and all came back once and right.
    pub fn is_clean(&self) -> bool {
        self.echoes > 0 && [self.mismatches, self.lost, self.strays, self.errors] == [0; 4]
    }

    /// Echoes a second.
    pub fn rate(&self) -> f64 {
        self.echoes as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// The latency that this share of the echoes did not exceed; 0.5 is the median.
    pub fn latency(&self, share: f64) -> Duration {
        Duration::from_nanos(self.latency.value_at_quantile(share))
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
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
        // Same bounds, so that everything fits.
        let _ = self.latency.add(other.latency);
    }
}

/// Runs `load` to its end; fails as a whole only by what its report says.
pub async fn run(load: Load) -> Report {
    let start = Instant::now();
    let end = start + load.duration;
    let mut senders = JoinSet::new();
    for sender in 0..load.connections as u64 {
        match load.transport {
            Transport::Tcp => senders.spawn(tcp::send(load, sender, end)),
            Transport::Udp => senders.spawn(udp::send(load, sender, end)),
        };
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

#[cfg(test)]
mod tests;
