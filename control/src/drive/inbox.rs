//! What the scaler has told and nobody has stored yet.
//!
//! Kept by the drive over all its terms: an event that could not be stored in one is stored in the next of this
//! process, since no other knows it. It must never drop one that it has taken.

use std::collections::VecDeque;

use echo_proto::ids::{NodeId, PoolName};
use echo_proto::v1;
use tokio::sync::mpsc;

use super::Pass;
use super::journal::Journal;
use crate::scaler::RETIRED;
use crate::store::StoreError;

/// Events taken from the scaler; more wait there.
const MAX_TAKEN: usize = 64;

/// The drive's end of [`crate::scaler::Notices`].
#[derive(Debug)]
pub struct Inbox {
    notices: mpsc::Receiver<v1::Event>,
    /// At most [`MAX_TAKEN`].
    taken: VecDeque<v1::Event>,
}

impl Inbox {
    /// Empty.
    pub fn new(notices: mpsc::Receiver<v1::Event>) -> Self {
        Self { notices, taken: VecDeque::new() }
    }

    /// Takes what has arrived.
    pub(super) fn fill(&mut self) {
        while self.taken.len() < MAX_TAKEN
            && let Ok(event) = self.notices.try_recv()
        {
            self.taken.push_back(event);
        }
    }

    /// The oldest one; it stays until it is [`Self::stored`].
    pub(super) fn oldest(&self) -> Option<&v1::Event> {
        self.taken.front()
    }

    /// The oldest one needs no keeping any more.
    pub(super) fn stored(&mut self) {
        self.taken.pop_front();
    }

    /// Returns when the scaler has told something. Dropping the future loses nothing.
    pub(super) async fn arrival(&mut self) {
        if self.taken.len() >= MAX_TAKEN {
            // Those first: a timer calls for the next attempt.
            return std::future::pending().await;
        }
        match self.notices.recv().await {
            Some(event) => self.taken.push_back(event),
            // No scaler reports any more.
            None => std::future::pending().await,
        }
    }
}

/// Stores what the scaler has told. A node that it retired needs no intent any more: the next one of that name must not
/// find it.
pub(super) async fn pass(inbox: &mut Inbox, journal: &mut Journal) -> Result<Pass, StoreError> {
    inbox.fill();
    while let Some(event) = inbox.oldest().cloned() {
        let retired = retired(&event).map(|(pool, node)| journal.keys().intent(&pool, &node));
        let stored = journal.tell_with(event, |change, _| match retired {
            Some(key) => change.delete(&key),
            None => change,
        });
        if !stored.await? {
            return Ok(Pass::Again);
        }
        inbox.stored();
    }
    Ok(Pass::Done(None))
}

fn retired(event: &v1::Event) -> Option<(PoolName, NodeId)> {
    let node = event.object.strip_prefix("node/").filter(|_| event.reason == RETIRED)?;
    Some((event.pool.parse().ok()?, node.parse().ok()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::event;

    #[tokio::test]
    async fn keeps_what_is_not_stored_and_takes_no_more_than_it_may() {
        let (sender, receiver) = mpsc::channel(2 * MAX_TAKEN);
        let mut inbox = Inbox::new(receiver);
        for n in 0..=MAX_TAKEN {
            sender.try_send(event::normal("NodeDied", format!("node/{n}"), "")).unwrap();
        }
        inbox.arrival().await;
        inbox.fill();
        assert_eq!((inbox.taken.len(), inbox.notices.len()), (MAX_TAKEN, 1));
        assert_eq!(inbox.oldest().unwrap().object, "node/0");
        inbox.fill();
        assert_eq!(inbox.oldest().unwrap().object, "node/0", "nobody has stored it");
        inbox.stored();
        inbox.fill();
        assert_eq!((inbox.oldest().unwrap().object.as_str(), inbox.notices.len()), ("node/1", 0));
    }
}
