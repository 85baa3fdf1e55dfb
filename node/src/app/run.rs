//! A node's life after the start: run until something ends it, leave in good order.
//!
//! [`App::run`] is called by `main`, once. Whatever ends the node, its registration is given back if etcd can be reached.

use std::time::Duration;

use echo_proto::v1::{self, IntentKind};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;
use tracing::{info, warn};

use super::critical::panicked;
use super::{App, Bound, RunError};
use crate::agent::register::HeldByOther;
use crate::agent::session::{Farewell, Session};
use crate::{drain, health};

/// Longest wait for etcd to take the registration away at the end.
const LEAVE_LIMIT: Duration = Duration::from_secs(1);
/// The same when a part of the node has ended: etcd must hear why.
const LAST_WORDS_LIMIT: Duration = Duration::from_secs(1);
/// The same after a second signal.
const FORCED_LEAVE_LIMIT: Duration = Duration::from_millis(200);
/// How much longer than that the session may take to end.
const LEAVE_SLACK: Duration = Duration::from_millis(100);

/// Why a node leaves.
enum Reason {
    Signal(&'static str),
    Retired,
    Held(HeldByOther),
}

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

    /// Runs until a signal or a retire intent, then drains.
    ///
    /// # Errors
    /// Why the node had to stop by itself, or that it was ended before it had drained.
    pub async fn run(mut self) -> Result<(), RunError> {
        info!(node = self.name, grpc = %self.bound.grpc, http = %self.bound.http, "started");
        let (listener, service) = self.agent;
        self.critical.spawn("agent service", service.serve(listener));
        let (listener, state) = self.health;
        let (report, link) = (state.report.clone(), state.link.clone());
        self.critical.spawn("health pages", health::serve(listener, state));
        let mut registry = self.session.map(Registry::start);
        let (stop, stopped) = oneshot::channel();
        let mut applying = tokio::spawn(self.applier.run(self.assigned, stopped));

        let reason = tokio::select! {
            error = self.critical.ended() => return Err(leave_after(error, registry).await),
            applied = &mut applying => return Err(leave_after(ended("applier", applied.err()), registry).await),
            signal = self.signals.next() => Reason::Signal(signal),
            () = retired(self.intents) => Reason::Retired,
            held = registry_ended(&mut registry) => Reason::Held(held?),
        };
        match &reason {
            Reason::Signal(signal) => info!(signal, "leaving"),
            Reason::Retired => info!("retired: leaving"),
            Reason::Held(held) => warn!(reason = %held, "leaving"),
        }
        // Not an error if the applier is gone: the next line says so.
        let _ = stop.send(());
        let leave = async {
            let applier = applying.await.map_err(|error| ended("applier", Some(error)))?;
            drain::drain(applier, report, link, self.drain_deadline).await;
            Ok::<_, RunError>(())
        };
        // What ended a node before it left ends one that leaves, too.
        let (ended, limit) = tokio::select! {
            biased;
            ended = leave => (ended, LEAVE_LIMIT),
            signal = self.signals.next() => (Err(RunError::Forced(signal)), FORCED_LEAVE_LIMIT),
            error = self.critical.ended() => (Err(error), LAST_WORDS_LIMIT),
            error = registry_failed(&mut registry) => (Err(error), LAST_WORDS_LIMIT),
        };
        give_back(registry, limit, ended.as_ref().err().and_then(RunError::last_words)).await;
        ended?;
        match reason {
            Reason::Held(held) => Err(held.into()),
            Reason::Signal(_) | Reason::Retired => Ok(()),
        }
    }
}

impl Registry {
    fn start(session: Session) -> Self {
        let (leave, left) = oneshot::channel();
        Self { leave, task: tokio::spawn(session.run(left)) }
    }
}

/// Waits until an operator retires this node. Other intents are not acted on by this version.
async fn retired(mut intents: watch::Receiver<Option<v1::Intent>>) {
    loop {
        if intents.changed().await.is_err() {
            return std::future::pending().await;
        }
        let kind = intents.borrow_and_update().as_ref().map(v1::Intent::kind);
        match kind {
            Some(IntentKind::Retire) => return,
            Some(other) => warn!(intent = other.as_str_name(), "this version acts on no such intent; passing over it"),
            None => {}
        }
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

/// As [`registry_ended`], for a node that leaves: that another process holds the id already is all the same to it.
async fn registry_failed(registry: &mut Option<Registry>) -> RunError {
    loop {
        match registry_ended(registry).await {
            Ok(held) => info!(reason = %held, "somebody waits for this node to leave"),
            Err(error) => return error,
        }
    }
}

fn ended(task: &'static str, error: Option<JoinError>) -> RunError {
    let reason = error.map_or_else(|| "it should not have".to_owned(), |e| panicked(&e));
    RunError::Critical { task, reason }
}

async fn leave_after(error: RunError, registry: Option<Registry>) -> RunError {
    give_back(registry, LAST_WORDS_LIMIT, error.last_words()).await;
    error
}

/// Gives the registration back, within `limit`; the record says the last words before.
async fn give_back(registry: Option<Registry>, limit: Duration, last_words: Option<v1::Condition>) {
    let Some(Registry { leave, task }) = registry else { return };
    if leave.send(Farewell { limit, last_words }).is_err() {
        return;
    }
    if timeout(limit + LEAVE_SLACK, task).await.is_err() {
        warn!(?limit, "the registration could not be given back in time; it has to run out by itself");
    }
}

#[cfg(test)]
mod tests;
