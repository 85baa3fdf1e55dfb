//! What a load has done so far, for who watches it: the terminal, and the watchdog over one TCP connection.
//!
//! Written by the senders of [`super`], read by anybody.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::timeout;

use super::{ANSWER_TIMEOUT, Report};

/// Counts of a load that runs.
#[derive(Debug, Default)]
pub struct Live {
    sent: AtomicU64,
    answered: AtomicU64,
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
}

/// The counts of one sender, which also count for all.
#[derive(Debug)]
pub(super) struct Progress {
    own: Live,
    all: Arc<Live>,
}

impl Progress {
    pub(super) fn new(all: Arc<Live>) -> Self {
        Self { own: Live::default(), all }
    }

    pub(super) fn sent(&self) {
        self.own.sent.fetch_add(1, Ordering::Relaxed);
        self.all.sent.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn answered(&self) {
        self.own.answered.fetch_add(1, Ordering::Relaxed);
        self.all.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// Messages that wait for their answer.
    pub(super) fn waiting(&self) -> u64 {
        self.own.sent().saturating_sub(self.own.answered())
    }

    /// Runs `exchange`, but gives it up when one of its messages has waited for too long.
    ///
    /// One timer for many messages: one for each would cost the client more than the message.
    pub(super) async fn guard(&self, exchange: impl Future<Output = io::Result<()>>) -> Option<io::Result<()>> {
        tokio::pin!(exchange);
        loop {
            let (waited, seen) = (self.waiting() > 0, self.own.answered());
            match timeout(ANSWER_TIMEOUT, &mut exchange).await {
                Ok(result) => return Some(result),
                Err(_) if waited && self.own.answered() == seen => return None,
                Err(_) => {}
            }
        }
    }

    /// Tells how a TCP exchange ended.
    pub(super) fn ended(&self, how: Option<io::Result<()>>, report: &mut Report) {
        if let Some(Err(e)) = &how {
            report.failed(e);
        }
        report.lost += self.waiting();
    }
}
