//! What the scaler has told and nobody has stored yet.
//!
//! Kept by the drive over all its terms: an event that could not be stored in one is stored in the next of this
//! process, since no other knows it. It must never drop one that it has taken.

use std::collections::VecDeque;

use echo_proto::ids::{NodeId, PoolName};
use tokio::sync::mpsc;

use super::Pass;
use super::journal::Journal;
use crate::scaler::{Notice, RETIRED};
use crate::store::StoreError;
use crate::view::{State, View};

/// Events taken from the scaler; more wait there.
const MAX_TAKEN: usize = 64;

/// The drive's end of [`crate::scaler::Notices`].
#[derive(Debug)]
pub struct Inbox {
    notices: mpsc::Receiver<Notice>,
    /// At most [`MAX_TAKEN`].
    taken: VecDeque<Notice>,
}

impl Inbox {
    /// Empty.
    pub fn new(notices: mpsc::Receiver<Notice>) -> Self {
        Self { notices, taken: VecDeque::new() }
    }

    /// Takes what has arrived.
    pub(super) fn fill(&mut self) {
        while self.taken.len() < MAX_TAKEN
            && let Ok(notice) = self.notices.try_recv()
        {
            self.taken.push_back(notice);
        }
    }

    /// The oldest one; it stays until it is [`Self::stored`].
    pub(super) fn oldest(&self) -> Option<&Notice> {
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
            Some(notice) => self.taken.push_back(notice),
            // No scaler reports any more.
            None => std::future::pending().await,
        }
    }
}

/// Stores what the scaler has told. A node that it retired needs its intent no more: the next one of that name must not
/// find it. An intent that came later is for that next one, and stays.
pub(super) async fn pass(inbox: &mut Inbox, view: &View, journal: &mut Journal) -> Result<Pass, StoreError> {
    inbox.fill();
    while let Some(notice) = inbox.oldest().cloned() {
        let over = view.read(|state| over(state, &notice));
        let stored = journal.tell_with(notice.event, |change, keys| match over {
            Some((pool, node, mod_revision)) => {
                let key = keys.intent(&pool, &node);
                change.require(&key, mod_revision).delete(&key)
            }
            None => change,
        });
        if !stored.await? {
            return Ok(Pass::Again);
        }
        inbox.stored();
    }
    Ok(Pass::Done(None))
}

/// The intent, as it is seen, that is over with what is told: it was known before that came about. Clocks of other
/// hosts say nothing of it, nor do revisions of an etcd that went back since.
fn over(state: &State, Notice { event, revision }: &Notice) -> Option<(PoolName, NodeId, i64)> {
    let node = event.object.strip_prefix("node/").filter(|_| event.reason == RETIRED)?;
    let (pool, node) = (event.pool.parse().ok()?, node.parse().ok()?);
    let intent = state.pools.get(&pool)?.intents.get(&node)?;
    let is_older = intent.mod_revision <= *revision && *revision <= state.revision;
    is_older.then(|| (pool, node, intent.mod_revision))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::event;
    use crate::store::{Entry, Update};

    #[test]
    fn only_a_wish_from_before_a_retirement_ends_with_it() {
        let view = View::new(echo_proto::keys::Keys::new(&"test".parse().unwrap()));
        // Clocks that are behind and ahead.
        let entry = |node: &str, created: &str, mod_revision| Entry {
            key: format!("/echo/v1/test/intents/edge/{node}").into_bytes(),
            value: format!(r#"{{"kind":"INTENT_KIND_DRAIN","createTime":"{created}-01-01T00:00:00Z"}}"#).into_bytes(),
            mod_revision,
            ..Entry::default()
        };
        view.apply(Update::Reset(vec![entry("before", "2999", 7), entry("after", "2001", 8)]), 9);
        let told = |reason, node: &str, revision| {
            let event = event::normal(reason, format!("node/{node}"), "");
            let notice = Notice { event: event::in_pool(&"edge".parse().unwrap(), event), revision };
            view.read(|state| over(state, &notice)).map(|(_, node, at)| (node.to_string(), at))
        };
        assert_eq!(told(RETIRED, "before", 7), Some(("before".to_owned(), 7)));
        assert_eq!(told("NodeDied", "before", 7), None);
        assert_eq!(["after", "none"].map(|node| told(RETIRED, node, 7)), [None, None]);
        assert_eq!(told(RETIRED, "after", 100), None, "of an etcd that is no more");
    }

    #[tokio::test]
    async fn keeps_what_is_not_stored_and_takes_no_more_than_it_may() {
        let (sender, receiver) = mpsc::channel(2 * MAX_TAKEN);
        let mut inbox = Inbox::new(receiver);
        for n in 0..=MAX_TAKEN {
            let event = event::normal("NodeDied", format!("node/{n}"), "");
            sender.try_send(Notice { event, revision: 0 }).unwrap();
        }
        inbox.arrival().await;
        inbox.fill();
        assert_eq!((inbox.taken.len(), inbox.notices.len()), (MAX_TAKEN, 1));
        assert_eq!(inbox.oldest().unwrap().event.object, "node/0");
        inbox.fill();
        assert_eq!(inbox.oldest().unwrap().event.object, "node/0", "nobody has stored it");
        inbox.stored();
        inbox.fill();
        assert_eq!((inbox.oldest().unwrap().event.object.as_str(), inbox.notices.len()), ("node/1", 0));
    }
}
