//! What can be asked of the prober, and what it refuses.
//!
//! Made by `echoctl probe`.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::book::KEPT;
use super::message::MIN_BYTES;
use crate::load::{MAX_SIZE, Transport};

/// Shortest time between two probes: what goes faster is load.
pub const MIN_INTERVAL: Duration = Duration::from_millis(1);
/// Most of an interval that a probe may be late, in percent.
pub const MAX_JITTER: u8 = 99;
/// Longest datagram.
pub const MAX_DATAGRAM: usize = MAX_SIZE;
/// Most addresses times source ports: each is a socket.
pub const MAX_FLOWS: usize = 1_024;
/// Most connections at the same time where each probe has its own.
const MAX_CONNECTIONS: u128 = 1_024;

/// What to do.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How.
    pub transport: Transport,
    /// How many probes in all; `None`: until it is stopped.
    pub count: Option<u64>,
    /// Between two probes, over all flows.
    pub interval: Duration,
    /// A probe is late by a random part of up to this percentage of the interval.
    pub jitter: u8,
    /// Bytes of a probe.
    pub size: usize,
    /// With a stamp, where it has room for one.
    pub stamped: bool,
    /// How long an answer may take.
    pub timeout: Duration,
    /// What the probes are marked with, if anything.
    pub dscp: Option<u8>,
    /// Nobody may cut a datagram into pieces.
    pub dont_fragment: bool,
    /// Source ports for each address.
    pub source_ports: usize,
    /// A connection for each probe.
    pub reconnect: bool,
    /// How far off this host's clock may be; `None`: what the kernel tells.
    pub clock_error: Option<Duration>,
}

/// Why nothing was probed.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// Settings are out of their bounds.
    #[error("{}", .0.join("; "))]
    Settings(Vec<String>),
    /// The kernel does not make a socket as wanted.
    #[error("cannot open a socket to {address}: {source}")]
    Socket {
        /// To whom.
        address: SocketAddr,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
}

impl Settings {
    /// All that is out of its bounds, with so many flows.
    pub fn mistakes(&self, flows: usize) -> Vec<String> {
        let mut mistakes = Vec::new();
        if self.interval < MIN_INTERVAL {
            mistakes.push(format!("an interval of {:?} is too short; at least {MIN_INTERVAL:?}", self.interval));
        }
        if !(MIN_BYTES..=MAX_SIZE).contains(&self.size) {
            mistakes.push(format!("{} bytes are not possible; {MIN_BYTES} to {MAX_SIZE} are", self.size));
        }
        if self.jitter > MAX_JITTER {
            mistakes.push(format!("a jitter of {} % is too large; at most {MAX_JITTER} %", self.jitter));
        }
        if flows == 0 || flows > MAX_FLOWS {
            mistakes.push(format!("{flows} addresses times source ports; 1 to {MAX_FLOWS} are possible"));
        }
        let waiting = self.timeout.as_nanos() / self.interval.max(MIN_INTERVAL).as_nanos() + 1;
        let most = if self.reconnect { MAX_CONNECTIONS } else { KEPT as u128 };
        if waiting > most {
            mistakes
                .push(format!("{waiting} probes would wait at the same time, at most {most} can: shorten the timeout"));
        }
        mistakes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(change: impl Fn(&mut Settings), flows: usize) -> String {
        let mut settings = Settings {
            transport: Transport::Udp,
            count: None,
            interval: Duration::from_millis(1),
            jitter: 10,
            size: 328,
            stamped: true,
            timeout: Duration::from_secs(1),
            dscp: None,
            dont_fragment: false,
            source_ports: 1,
            reconnect: false,
            clock_error: None,
        };
        change(&mut settings);
        settings.mistakes(flows).join("; ")
    }

    #[test]
    fn what_is_out_of_bounds_is_told_with_the_bounds() {
        assert_eq!(told(|_| {}, 1), "");
        assert!(told(|s| s.interval = Duration::ZERO, 1).contains("at least 1ms"));
        assert!(told(|s| s.size = 7, 1).contains("8 to 65507"));
        assert!(told(|s| s.size = 65_508, 1).contains("8 to 65507"));
        assert!(told(|s| s.jitter = 100, 1).contains("at most 99 %"));
        assert!(told(|_| {}, 0).contains("1 to 1024"));
        assert!(told(|_| {}, 1_025).contains("1 to 1024"));
        let several = told(|s| (s.interval, s.size) = (Duration::ZERO, 7), 1);
        assert_eq!(several, "an interval of 0ns is too short; at least 1ms; 7 bytes are not possible; 8 to 65507 are");
        assert!(told(|s| s.timeout = Duration::from_secs(100), 1).contains("at most 65536"));
        assert!(told(|s| (s.timeout, s.reconnect) = (Duration::from_secs(2), true), 1).contains("at most 1024"));
    }
}
