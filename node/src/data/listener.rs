//! A listener as a shard serves it, and what that is by now.
//!
//! Made by [`super::shard`], which replaces it as a whole when a change comes; read by whoever serves. It must never be
//! held over a wait: what it does may be another thing then.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use echo_proto::spec::ServicePlan;
#[cfg(test)]
use echo_proto::spec::{GuardPlan, MAX_DATAGRAM};

use super::guard::Guard;
use super::ranges::Ranges;
use super::rates::Limiter;
use super::reason::Refusal;
use super::slot::Slot;

/// What a listener's new connections and datagrams get. Replaced as a whole by a change; connections keep theirs.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) service: ServicePlan,
    pub(super) limiter: Option<Limiter>,
    pub(super) guard: Arc<Guard>,
    pub(super) max_datagram: usize,
    /// Where connections come from, with a PROXY protocol header each; `None`: they have none.
    pub(super) balancers: Option<Arc<Ranges>>,
    pub(super) slot: Arc<Slot>,
}

#[cfg(test)]
impl Served {
    /// As by default.
    pub(super) fn of(service: ServicePlan, slot: Arc<Slot>) -> Rc<Self> {
        let guard = Arc::new(Guard::new(&GuardPlan::default()));
        Rc::new(Self { service, limiter: None, guard, max_datagram: MAX_DATAGRAM as usize, balancers: None, slot })
    }
}

/// A listener: its socket lives in the task that serves it.
#[derive(Debug)]
pub(super) struct Listener(pub(super) RefCell<Rc<Served>>);

impl Listener {
    /// What it does now.
    pub(super) fn served(&self) -> Rc<Served> {
        Rc::clone(&self.0.borrow())
    }

    /// Counts a connection that was not served, and gives the reason back.
    pub(super) fn refused(&self, reason: Refusal) -> Refusal {
        self.0.borrow().slot.refused.add(reason, 1);
        reason
    }
}
