//! What the scaler has told and nobody has stored yet.
//!
//! Kept by the drive over all its terms: an event that could not be stored in one is stored in the next of this
//! process, since no other knows it. It must never drop one that it has taken.

use std::collections::VecDeque;

use std::time::SystemTime;

use echo_proto::ids::{NodeId, PoolName};
use echo_proto::v1;
use tokio::sync::mpsc;

use super::Pass;
use super::journal::Journal;
use crate::scaler::RETIRED;
use crate::store::StoreError;
use crate::view::{State, View};

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

/// Stores what the scaler has told. A node that it retired needs its intent no more: the next one of that name must not
/// find it. An intent that came later is for that next one, and stays.
pub(super) async fn pass(inbox: &mut Inbox, view: &View, journal: &mut Journal) -> Result<Pass, StoreError> {
    inbox.fill();
    while let Some(event) = inbox.oldest().cloned() {
        let over = view.read(|state| over(state, &event));
        let stored = journal.tell_with(event, |change, keys| match over {
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

/// The intent, as it is seen, that is over with what the event tells.
fn over(state: &State, event: &v1::Event) -> Option<(PoolName, NodeId, i64)> {
    let node = event.object.strip_prefix("node/").filter(|_| event.reason == RETIRED)?;
    let (pool, node) = (event.pool.parse().ok()?, node.parse().ok()?);
    let intent = state.pools.get(&pool)?.intents.get(&node)?;
    let time = |at: Option<prost_types::Timestamp>| SystemTime::try_from(at?).ok();
    let is_older = time(intent.value.create_time)? < time(event.first_time)?;
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
        let entry = |node: &str, created: &str| Entry {
            key: format!("/echo/v1/test/intents/edge/{node}").into_bytes(),
            value: format!(r#"{{"kind":"INTENT_KIND_DRAIN"{created}}}"#).into_bytes(),
            mod_revision: 7,
            ..Entry::default()
        };
        let before = entry("before", r#","createTime":"2001-01-01T00:00:00Z""#);
        let after = entry("after", r#","createTime":"2999-01-01T00:00:00Z""#);
        view.apply(Update::Reset(vec![before, after, entry("unknown", "")]), 9);
        let told = |reason, node: &str| {
            let event = event::normal(reason, format!("node/{node}"), "");
            let event = event::in_pool(&"edge".parse().unwrap(), event);
            view.read(|state| over(state, &event)).map(|(_, node, at)| (node.to_string(), at))
        };
        assert_eq!(told(RETIRED, "before"), Some(("before".to_owned(), 7)));
        assert_eq!(told("NodeDied", "before"), None);
        assert_eq!(["after", "unknown", "none"].map(|node| told(RETIRED, node)), [None, None, None]);
    }

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
