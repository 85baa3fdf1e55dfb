//! A load that runs: what it has done so far, for the terminal and for the watchdog over one TCP connection, and the way
//! to end it.
//!
//! Counted by the senders of [`super`], read and stopped by anybody.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::time::{Duration, Instant, timeout};

use super::Report;
use crate::error::explain;

/// A load that runs.
#[derive(Debug, Default)]
pub struct Live {
    sent: AtomicU64,
    answered: AtomicU64,
    stopped: OnceLock<Instant>,
}

impl Live {
    /// Messages sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Answers so far, right or wrong.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Sends no more; what is out is waited for.
    pub fn stop(&self) {
        self.stopped.get_or_init(Instant::now);
    }

    /// Whether it was stopped.
    pub fn is_stopped(&self) -> bool {
        self.stopped.get().is_some()
    }

    /// When it was stopped, if it was.
    pub(super) fn stopped(&self) -> Option<Instant> {
        self.stopped.get().copied()
    }
}

/// The counts of one sender, which also count for all.
#[derive(Debug)]
pub(super) struct Progress {
    own: Live,
    all: Arc<Live>,
    timeout: Duration,
}

impl Progress {
    /// Of a sender whose answers may take as long as `timeout`.
    pub(super) fn new(all: Arc<Live>, timeout: Duration) -> Self {
        Self { own: Live::default(), all, timeout }
    }

    /// So many more.
    pub(super) fn sent(&self, count: u64) {
        self.own.sent.fetch_add(count, Ordering::Relaxed);
        self.all.sent.fetch_add(count, Ordering::Relaxed);
    }

    /// So many more.
    pub(super) fn answered(&self, count: u64) {
        self.own.answered.fetch_add(count, Ordering::Relaxed);
        self.all.answered.fetch_add(count, Ordering::Relaxed);
    }

    /// Runs `exchange`, but gives it up when one of its messages has waited for too long: that is its failure, besides
    /// what it loses, since it sends nothing more.
    ///
    /// One timer for many messages: one for each would cost the client more than the message.
    pub(super) async fn guard(&self, exchange: impl Future<Output = io::Result<()>>) -> io::Result<()> {
        tokio::pin!(exchange);
        loop {
            let (waited, seen) = (self.waiting() > 0, self.own.answered());
            match timeout(self.timeout, &mut exchange).await {
                Ok(result) => return result,
                Err(_) if waited && self.own.answered() == seen => {
                    return Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        format!("no answer within {:?}", self.timeout),
                    ));
                }
                Err(_) => {}
            }
        }
    }

    /// Tells why a connection to `address`, or a socket, failed.
    pub(super) fn failed(&self, error: &io::Error, address: SocketAddr, report: &mut Report) {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                report.failed(format_args!("{address}: the far end closed the connection"));
            }
            _ => report.failed(format_args!("{address}: {}", explain(error))),
        }
    }

    /// Tells how an exchange with `address` ended, after which no answer is waited for.
    pub(super) fn ended(&self, how: io::Result<()>, address: SocketAddr, report: &mut Report) {
        if let Err(error) = how {
            self.failed(&error, address, report);
        }
        report.sent = self.own.sent();
        report.lost = self.waiting();
    }

    /// Messages without an answer.
    fn waiting(&self) -> u64 {
        self.own.sent().saturating_sub(self.own.answered())
    }
}
