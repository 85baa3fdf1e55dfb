//! Load: many echoes at once for a while, each compared byte by byte, and what became of them.
//!
//! Used by `echoctl bench`, and by `echo-bench` of tests/, which is `make bench`. In a closed loop a new message is sent
//! when an answer has come: the rate shows what both sides can do together, and a latency says nothing about an open
//! road. In an open loop messages go at their own moments, and latency counts from those.

mod burst;
mod connect;
mod gate;
mod pace;
mod queue;
mod report;
mod tcp;
mod udp;
mod watch;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use gate::Gate;
use pace::Pace;
use watch::Progress;

pub use report::Report;
pub use watch::Live;

/// How long an answer may take where nobody says it.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// A message of an open loop that goes so much later than it was meant to is told.
pub const LATE: Duration = Duration::from_millis(1);
/// How long after its end an open loop still sends what was due before.
pub const CATCH_UP: Duration = Duration::from_secs(1);
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

impl Transport {
    /// As people type it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// What to do.
#[derive(Debug, Clone, Copy)]
pub struct Load {
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
    /// How long messages are sent.
    pub duration: Duration,
    /// How long an answer may take. Over TCP its connection is given up, after twice that at the latest; over UDP
    /// another datagram takes its place.
    pub timeout: Duration,
    /// Messages a second over all connections, whatever the answers do; `None` is a closed loop.
    pub rate: Option<NonZeroU32>,
}

/// Puts `load` on the addresses, whose senders take them in turn, and tells what became of it on each; counted in `live`
/// as it goes, and fails as a whole only by what its reports say.
pub async fn run(load: Load, addresses: &[SocketAddr], live: &Arc<Live>) -> Vec<Report> {
    let gate = Arc::new(Gate::new(load.connections));
    let mut senders = JoinSet::new();
    let mut reports: Vec<_> = addresses.iter().map(|_| Report::default()).collect();
    let targets = addresses.iter().copied().zip(&reports).enumerate().cycle();
    for ((index, (address, report)), sender) in targets.zip(0..load.connections as u64) {
        let (gate, live, part) = (Arc::clone(&gate), Arc::clone(live), report.part());
        senders.spawn(async move { (index, send(&load, address, sender, &gate, live, part).await) });
    }
    while let Some(ended) = senders.join_next().await {
        match ended {
            Ok((index, part)) => reports.iter_mut().skip(index).take(1).for_each(|report| report.add(&part)),
            Err(e) => reports.iter_mut().take(1).for_each(|report| report.failed(&e)),
        }
    }
    reports
}

async fn send(
    load: &Load,
    address: SocketAddr,
    sender: u64,
    gate: &Gate,
    live: Arc<Live>,
    mut report: Report,
) -> Report {
    let keeps = load.transport == Transport::Tcp && !load.reconnect;
    let stream = if keeps { Some(gate.connect(load, address).await) } else { None };
    let start = gate.pass().await;
    let mut pace = Pace::new(load, sender, start, Arc::clone(&live));
    let progress = Progress::new(live, load.timeout);
    let (pace, told) = (&mut pace, &mut report);
    let end = match (stream, load.transport) {
        (Some(Err(e)), _) => Err(e),
        (Some(Ok(stream)), _) => progress.guard(tcp::exchange(load, stream, sender, pace, &progress, told)).await,
        (None, Transport::Tcp) => connect::exchange(load, address, sender, pace, &progress, told).await,
        (None, Transport::Udp) => udp::exchange(load, address, sender, pace, &progress, told).await,
    };
    progress.ended(end, address, told);
    pace.ended(told);
    report.settle();
    report
}

#[cfg(test)]
mod tests;
