//! What the shards received of stamped sessions, put together for the Agent.
//!
//! Handed out by [`super::Live::sessions`]. A question is an order like others: each shard answers it between two
//! packets with a bounded copy. One is asked at a time, so that questions never fill the shards' inboxes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::WeakSender;
use tokio::sync::{Mutex, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::data::order::{Order, Question};
use crate::data::sessions::Listing;

/// How long all shards together may take; they answer within microseconds, unless a change is going on.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks the shards.
#[derive(Debug, Clone)]
pub struct Sessions {
    shards: Arc<[WeakSender<Order>]>,
    turn: Arc<Mutex<()>>,
}

/// A shard did not answer.
#[derive(Debug, thiserror::Error)]
#[error(
    "shard {shard} did not tell its sessions within {PATIENCE:?}: it is busy with a change, or has ended; ask again"
)]
pub struct Silent {
    shard: usize,
}

impl Sessions {
    /// Of no shard at all, which has received nothing.
    pub fn none() -> Self {
        Self::new(Vec::new())
    }

    pub(super) fn new(shards: Vec<WeakSender<Order>>) -> Self {
        Self { shards: shards.into(), turn: Arc::default() }
    }

    /// What has come of `session`, or of all, with `limit` flows at most.
    ///
    /// # Errors
    /// A shard did not answer: what the others know would pass for all there is.
    pub(crate) async fn list(&self, session: Option<u64>, limit: usize) -> Result<Listing, Silent> {
        let deadline = Instant::now() + PATIENCE;
        let silent = |shard| Silent { shard };
        let _turn = timeout_at(deadline, self.turn.lock()).await.map_err(|_| silent(0))?;
        let mut answers = Vec::with_capacity(self.shards.len());
        for (shard, inbox) in self.shards.iter().enumerate() {
            let (answer, told) = oneshot::channel();
            let inbox = inbox.upgrade().ok_or(silent(shard))?;
            let asked = inbox.send(Order::Sessions(Question { session, limit, answer }));
            timeout_at(deadline, asked).await.ok().and_then(Result::ok).ok_or(silent(shard))?;
            answers.push(told);
        }
        let mut parts = Vec::with_capacity(answers.len());
        for (shard, told) in answers.into_iter().enumerate() {
            parts.push(timeout_at(deadline, told).await.ok().and_then(Result::ok).ok_or(silent(shard))?);
        }
        Ok(Listing::merge(parts, limit))
    }
}
