//! A node's life after the start: run until something ends it, leave in good order.
//!
//! [`App::run`] is called by `main`, once. Whatever ends the node, its registration is given back if etcd can be reached.

use std::time::Duration;

use echo_proto::v1;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;
use tracing::{info, warn};

use super::critical::panicked;
use super::{App, Bound, RunError};
use crate::agent::register::HeldByOther;
use crate::agent::session::{Farewell, Session};
use crate::agent::trial::Trials;
use crate::drain::Wish;
use crate::health;

/// Longest wait for etcd to take the registration away at the end, and to hear why.
const LEAVE_LIMIT: Duration = Duration::from_secs(1);
/// The same after a second signal.
const FORCED_LEAVE_LIMIT: Duration = Duration::from_millis(200);
/// How much longer than that the session may take to end.
const LEAVE_SLACK: Duration = Duration::from_millis(100);

/// The session as a task.
struct Registry {
    leave: oneshot::Sender<Farewell>,
    task: JoinHandle<Result<(), HeldByOther>>,
}

impl App {
    /// The addresses of the control side.
    pub fn bound(&self) -> Bound {
        self.bound
    }

    /// Runs until a signal or an intent ends it, and has drained.
    ///
    /// # Errors
    /// Why the node had to stop by itself, or that it was ended before it had drained.
    pub async fn run(mut self) -> Result<(), RunError> {
        info!(node = self.name, grpc = %self.bound.grpc, http = %self.bound.http, "started");
        let (listener, service) = self.agent;
        self.critical.spawn("agent service", service.serve(listener));
        let (listener, state) = self.health;
        self.critical.spawn("health pages", health::serve(listener, state));
        let mut registry = self.session.map(Registry::start);
        let mut applying = tokio::spawn(self.applier.run(self.inbox));
        let leaves = || self.leave.borrow().is_some();
        let leave = |reason| self.leave.send_replace(Some(Wish::exit(reason)));
        let mut told = Told::default();

        let ended = loop {
            tokio::select! {
                biased;
                drained = &mut applying => break drained.map_err(|error| ended("applier", Some(error))),
                signal = self.signals.next() => match told.signal(signal) {
                    Some(forced) => break Err(forced),
                    // What drains already has its reason.
                    None if leaves() => {}
                    None => drop(leave(signal)),
                },
                error = self.critical.ended() => break Err(error),
                ended = registry_ended(&mut registry) => match ended {
                    Ok(holder) if leaves() => info!(reason = %holder, "somebody waits for this node to leave"),
                    Ok(holder) => {
                        warn!(reason = %holder, "leaving");
                        leave("its id is another node's");
                        told.held = Some(holder);
                    }
                    Err(error) => break Err(error),
                },
            }
        };
        let ended = match ended {
            Ok(applier) => {
                applier.end().await;
                told.held.map_or(Ok(()), |holder| Err(holder.into()))
            }
            Err(error) => Err(error),
        };
        let last_words = ended.as_ref().err().and_then(RunError::last_words);
        if let Some(dir) = self.state_dir
            && let Err(error) = Trials::new(dir).end(last_words.as_ref().map(|words| words.message.clone())).await
        {
            warn!(%error, "the next start will not know how this node ended");
        }
        give_back(registry, &ended, last_words).await;
        ended
    }
}

/// What has told the node to leave so far.
#[derive(Debug, Default)]
struct Told {
    signalled: bool,
    held: Option<HeldByOther>,
}

impl Told {
    /// Notes a signal; a second one ends the node at once, for this reason.
    fn signal(&mut self, name: &'static str) -> Option<RunError> {
        if !std::mem::replace(&mut self.signalled, true) {
            return None;
        }
        // Who has the id is the thing to know.
        Some(self.held.take().map_or(RunError::Forced(name), RunError::Held))
    }
}

impl Registry {
    fn start(session: Session) -> Self {
        let (leave, left) = oneshot::channel();
        Self { leave, task: tokio::spawn(session.run(left)) }
    }
}

/// Waits until the session gives up, because another process holds the id; for ever, if there is none.
async fn registry_ended(registry: &mut Option<Registry>) -> Result<HeldByOther, RunError> {
    let Some(Registry { task, .. }) = registry else { return std::future::pending().await };
    let result = task.await;
    // A task that has ended can't be asked again, and has nothing to give back.
    *registry = None;
    match result {
        Ok(Err(held)) => Ok(held),
        Ok(Ok(())) => Err(ended("registration", None)),
        Err(error) => Err(ended("registration", Some(error))),
    }
}

fn ended(task: &'static str, error: Option<JoinError>) -> RunError {
    let reason = error.map_or_else(|| "it should not have".to_owned(), |e| panicked(&e));
    RunError::Critical { task, reason }
}

/// Gives the registration back, in time; the record says the last words before.
async fn give_back(registry: Option<Registry>, ended: &Result<(), RunError>, last_words: Option<v1::Condition>) {
    let Some(Registry { leave, task }) = registry else { return };
    let limit = if matches!(ended, Err(RunError::Forced(_))) { FORCED_LEAVE_LIMIT } else { LEAVE_LIMIT };
    if leave.send(Farewell { limit, last_words }).is_err() {
        return;
    }
    if timeout(limit + LEAVE_SLACK, task).await.is_err() {
        warn!(?limit, "the registration could not be given back in time; it has to run out by itself");
    }
}

#[cfg(test)]
mod tests;
