//! What this process knows of the cluster: a mirror of its keys, kept by one watch.
//!
//! Read by the API and the drive; written by [`View::run`], and by the roll call where etcd can't tell. Readers copy what
//! they need out of a short lock that is never held over an await. The mirror is behind etcd by one watch message; whoever
//! must not act on old knowledge compares revisions when it writes.

mod history;
mod outage;
mod pool;
mod read;
mod state;

use std::sync::{Arc, PoisonError, RwLock};

use echo_proto::keys::Keys;
use tokio::sync::watch;
use tokio::time::Instant;

pub(crate) use self::history::is_changed;
pub use self::outage::Outage;
pub use self::pool::PoolState;
pub(crate) use self::read::check_record;
pub(crate) use self::state::Verdict;
pub use self::state::{AssignmentEntry, Invalid, PoolEntry, Slot, State};
use crate::stop::Stop;
use crate::store::{Follow, Store, Update};

/// A handle on the mirror; cheap to clone.
#[derive(Clone)]
pub struct View {
    shared: Arc<Shared>,
}

struct Shared {
    state: RwLock<State>,
    /// Counts updates.
    version: watch::Sender<u64>,
}

impl View {
    /// Knows nothing yet.
    pub fn new(keys: Keys) -> Self {
        let state = RwLock::new(State::new(keys));
        Self { shared: Arc::new(Shared { state, version: watch::Sender::new(0) }) }
    }

    /// Follows etcd until `stop`.
    pub async fn run(self, store: Store, mut stop: Stop) {
        let keys = store.keys();
        // Of events only the new ones are looked at, to find those that can't be read: there may be very many.
        let mut follow = Follow::new(store.clone(), keys.root().to_owned(), Some(keys.events()));
        loop {
            let update = tokio::select! {
                update = follow.next() => update,
                () = stop.wait() => return,
            };
            self.apply(update, follow.revision());
        }
    }

    /// Looks at the state as it is now; must be brief.
    pub fn read<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&self.shared.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells of every update.
    pub fn updates(&self) -> watch::Receiver<u64> {
        self.shared.version.subscribe()
    }

    /// Returns once the state is as `wanted` says.
    pub async fn until(&self, wanted: impl Fn(&State) -> bool) {
        let mut updates = self.updates();
        while !self.read(&wanted) {
            if updates.changed().await.is_err() {
                // The sender lives in `self`: this can't be reached, and must not spin if it were.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Puts down what the roll call found out.
    pub(crate) fn judge(&self, verdicts: Vec<Verdict>) {
        self.change(|state| state.judge(verdicts));
    }

    /// Puts down that the roll call has asked all that it had to, once.
    pub(crate) fn called(&self) {
        self.change(|state| !std::mem::replace(&mut state.called, true));
    }

    /// Forgets nodes that are gone for long.
    pub(crate) fn sweep(&self, now: Instant) {
        self.change(|state| state.sweep(now));
    }

    /// Tells of an update only where there was one.
    fn change(&self, change: impl FnOnce(&mut State) -> bool) {
        let changed = change(&mut self.shared.state.write().unwrap_or_else(PoisonError::into_inner));
        if changed {
            self.shared.version.send_modify(|version| *version += 1);
        }
    }

    pub(crate) fn apply(&self, update: Update, revision: i64) {
        {
            let mut state = self.shared.state.write().unwrap_or_else(PoisonError::into_inner);
            report(&state, &update);
            let resumed = matches!(update, Update::Resumed);
            match update {
                Update::Reset(entries) => state.reset(&entries, revision),
                Update::Changes(deltas) => state.apply(&deltas, revision),
                Update::Resumed => state.away = None,
                Update::Away { error, since } => {
                    state.away = Some(error);
                    // Before the first list nothing is known that could grow old.
                    if state.synced {
                        state.outages.begin(since);
                    }
                }
            }
            let now = Instant::now();
            if state.away.is_none() {
                let revision = state.revision;
                state.outages.end(resumed, revision, now);
            }
            let follows = state.synced && state.away.is_none();
            state.followed_since = follows.then(|| state.followed_since.unwrap_or(now));
        }
        self.shared.version.send_modify(|version| *version += 1);
    }
}

/// One line where the connection changes, none for every attempt.
fn report(before: &State, update: &Update) {
    match (update, &before.away) {
        (Update::Away { error, .. }, None) => tracing::warn!("{error}; trying again"),
        (Update::Away { .. }, Some(_)) => {}
        (_, Some(_)) => tracing::info!("etcd answers again"),
        (Update::Reset(entries), None) => tracing::info!(keys = entries.len(), "the cluster's state is read"),
        (Update::Changes(_) | Update::Resumed, None) => {}
    }
}

#[cfg(test)]
mod tests;
