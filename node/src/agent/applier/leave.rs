//! Who wants this node to serve no more, and the drain that follows.
//!
//! Used by the applier only; [`crate::drain`] knows the steps and when they come. The strongest wish holds: a signal, then
//! an operator's intent, then the deletion of the pool; but an operator can hurry what a signal began. A wish that is taken
//! back reopens what was closed, at any point.

use std::time::Duration;

use echo_proto::v1::{self, DrainStage, IntentKind, NodePhase};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{Applier, Inbox};
use crate::agent::link::Link;
use crate::agent::report::{self, Report};
use crate::drain::{After, Drain, Open, Step, Wish};
use crate::live::Doorway;

/// Who wants what of the sockets, and how far that is.
#[derive(Debug, Default)]
pub(super) struct Doors {
    leaving: Option<Wish>,
    intended: Option<Wish>,
    /// Somebody was seen to delete the pool.
    pub(super) pool_gone: bool,
    /// Empty: nobody.
    cordoned_by: String,
    pub(super) drain: Option<Drain>,
    /// When the drain is to be looked after.
    pub(super) look_at: Option<Instant>,
    /// The drain is over, and the process is to end.
    pub(super) left: bool,
}

impl Doors {
    /// The strongest wish. Where none has a limit, one that ends the process has `exit_limit`, and any other `longest`.
    fn wish(&self, exit_limit: Option<Duration>, longest: Duration) -> Option<Wish> {
        let gone = || Wish { after: After::NoPool, ..Wish::exit("the pool was deleted") };
        let limited = |wish: &Wish| {
            let own = exit_limit.filter(|_| wish.after == After::Exit);
            Wish { limit: wish.limit.or(own), ..wish.clone() }
        };
        match (self.leaving.as_ref().map(limited), self.intended.as_ref().map(limited)) {
            (Some(leaving), Some(intended)) => Some(leaving.and(intended, longest)),
            (leaving, intended) => leaving.or(intended).or_else(|| self.pool_gone.then(gone)),
        }
    }

    /// Adds to a report what a drain or a cordon has to say.
    pub(super) fn say(&self, report: &mut Report) {
        if let Some(drain) = &self.drain {
            report.phase = drain.phase();
        }
        report.drain = self.drain.as_ref().and_then(Drain::status);
        report.cordoned_by.clone_from(&self.cordoned_by);
    }
}

impl<D: Doorway> Applier<D> {
    /// Somebody ends the process.
    pub(super) async fn leave(&mut self, inbox: &mut Inbox) {
        self.doors.leaving.clone_from(&inbox.leave.borrow_and_update());
        // Who ends it may do so by force, later on.
        self.end_trial().await;
        self.rethink();
    }

    /// An operator wants something else of this node, or nothing any more.
    pub(super) async fn heed(&mut self, inbox: &mut Inbox) {
        let intent = inbox.intents.borrow_and_update().clone();
        let ours = |i: &v1::Intent| i.incarnation.is_empty() || i.incarnation == self.own.incarnation.as_str();
        let intent = intent.filter(ours);
        let cordon = intent.as_ref().filter(|intent| intent.kind() == IntentKind::Cordon);
        self.doors.cordoned_by = cordon.map(author).unwrap_or_default();
        let trace = intent.as_ref().and_then(|intent| intent.trace.clone());
        self.doors.intended = intent.and_then(wish);
        self.rethink();
        self.settle(false).await;
        self.say(|report| {
            // What was said on the way here has its trace already.
            let now = (&self.doors.cordoned_by, self.doors.drain.is_some());
            if (&report.cordoned_by, report.drain.is_some()) != now {
                report.trace = trace;
            }
        });
    }

    /// Begins, changes or ends the drain, as the strongest wish has it.
    pub(super) fn rethink(&mut self) {
        let wish = self.doors.wish(self.own.drain_deadline, self.drain_plan.longest());
        match (&mut self.doors.drain, wish) {
            (None, None) => return,
            (Some(drain), Some(wish)) if *drain.wish() == wish => return,
            (Some(drain), Some(wish)) => drain.revise(wish, self.drain_plan, Instant::now()),
            (None, Some(wish)) => self.doors.drain = Some(Drain::begin(wish, self.drain_plan, Instant::now())),
            (Some(_), None) => return self.reopen(),
        }
        if let Some(drain) = &self.doors.drain {
            let (reason, connections) = (drain.wish().reason.as_str(), self.live.connections());
            info!(reason, connections, within = ?drain.end().duration_since(Instant::now()), "draining");
            self.say(|report| report.trace.clone_from(&drain.wish().trace));
        }
    }

    /// The next [`Self::settle`] opens the sockets again.
    fn reopen(&mut self) {
        info!("the drain was taken back");
        if self.doors.drain.take().is_some_and(|drain| drain.stage() != DrainStage::LameDuck) {
            self.held.applied = None;
            if self.current.is_some() {
                self.stands = NodePhase::Starting;
            }
        }
    }

    /// Does what the drain has to do by now.
    pub(super) async fn look(&mut self, link: &watch::Receiver<Link>) {
        self.doors.look_at = None;
        while let Some(drain) = &self.doors.drain {
            let open = Open {
                listeners: self.live.serves(),
                connections: self.live.connections(),
                udp_idle: self.live.udp_idle(),
                told: told(&link.borrow(), drain),
            };
            match drain.step(open, Instant::now()) {
                Step::Wait(until) => {
                    self.doors.look_at = Some(until);
                    return;
                }
                Step::CloseTcp => self.close_tcp().await,
                Step::Finish => self.finish().await,
                Step::Stay => return,
                Step::Exit => {
                    self.doors.left = true;
                    return;
                }
            }
        }
    }

    async fn close_tcp(&mut self) {
        self.live.close_tcp().await;
        let left: Vec<_> = self.live.bound().iter().map(report::bound).collect();
        if let Some(drain) = &mut self.doors.drain {
            drain.closing();
        }
        self.say(|report| report.listeners = left);
    }

    async fn finish(&mut self) {
        self.live.close_listeners().await;
        let cut = self.live.cut().await;
        if cut > 0 {
            warn!(connections = cut, "closed connections that were still open");
        }
        info!("drained");
        let Some(drain) = &mut self.doors.drain else { return };
        drain.drained(cut, Instant::now());
        let after = drain.wish().after;
        self.end_trial().await;
        match after {
            After::Exit => {}
            // A start without etcd must not serve what an operator drained.
            After::Wait => self.forget().await,
            After::NoPool => return self.no_pool(),
        }
        self.held.applied = None;
        self.say(|report| {
            report.listeners.clear();
            report.applied = None;
        });
    }
}

/// Whether there is nothing left to tell: the record says it, or etcd is gone.
fn told(link: &Link, drain: &Drain) -> bool {
    match link {
        Link::Registered(told) => drain.is_told_by(told.drain.as_ref()),
        Link::Joining | Link::Lost { .. } => true,
    }
}

fn author(intent: &v1::Intent) -> String {
    if intent.author.is_empty() { "an operator".to_owned() } else { intent.author.clone() }
}

/// What an intent means for the sockets.
fn wish(intent: v1::Intent) -> Option<Wish> {
    let (verb, after) = match intent.kind() {
        IntentKind::Drain => ("drained", After::Wait),
        IntentKind::Retire => ("retired", After::Exit),
        IntentKind::Cordon | IntentKind::Serve | IntentKind::Unspecified => return None,
    };
    Some(Wish {
        reason: format!("{verb} by {}", author(&intent)),
        after,
        // Not a duration at all: as the config says.
        limit: intent.deadline.and_then(|deadline| deadline.try_into().ok()),
        force: intent.force,
        trace: intent.trace,
    })
}

#[cfg(test)]
mod tests;
