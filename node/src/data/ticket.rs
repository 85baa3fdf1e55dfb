//! A connection's place in the books: given back when it is dropped, however that comes.
//!
//! Made by [`super::accept`], held by [`super::tcp`]. It must never outlive its connection's socket by more than a drop.

use std::cell::Ref;
use std::net::SocketAddr;
use std::rc::Rc;

use super::flows::Moment;
use super::gate::Seat;
use super::listener::{Listener, Served};
use super::rates::{Limiter, Turn, Waiting};
use super::reason::{End, Refusal};
use super::shard::Shard;
use super::source::Place;
use super::table::Activity;

/// One connection that the gate has let in.
#[derive(Debug)]
pub(super) struct Ticket {
    /// Where it came in; tells the limits that hold by now.
    pub(super) listener: Rc<Listener>,
    /// What it gets.
    pub(super) served: Rc<Served>,
    pub(super) shard: Rc<Shard>,
    pub(super) activity: Rc<Activity>,
    /// Whose it is: the kernel's word for the other end, or a load balancer's.
    pub(super) peer: SocketAddr,
    /// Taken once it is known whose it is.
    seat: Option<Seat>,
    place: u32,
}

impl Ticket {
    /// For a connection that has just come; if it is not let in, it is counted as refused.
    pub(super) fn new(peer: SocketAddr, listener: &Rc<Listener>, shard: &Rc<Shard>) -> Option<Self> {
        let served = listener.served();
        let refused = |reason| {
            served.slot.refused.add(reason, 1);
            None
        };
        let peer = plain(peer);
        if served.balancers.as_ref().is_some_and(|balancers| !balancers.contain(peer.ip())) {
            return refused(Refusal::ProxySource);
        }
        if !shard.gate.enter() {
            return refused(Refusal::Limit);
        }
        let known = served.balancers.is_none();
        let seat = if known { shard.gate.enter_source(Place::of(peer.ip())) } else { None };
        if known && seat.is_none() {
            shard.gate.leave();
            return refused(Refusal::Source);
        }
        served.slot.accepted.add(1);
        let (place, activity) = shard.connections.enter();
        let (listener, shard) = (Rc::clone(listener), Rc::clone(shard));
        Some(Self { listener, served, shard, activity, peer, seat, place })
    }

    /// Its place in the shard's table.
    pub(super) fn place(&self) -> u32 {
        self.place
    }

    /// Says whose it really is.
    ///
    /// # Errors
    /// That one has as many as it may.
    pub(super) fn belongs_to(&mut self, peer: SocketAddr) -> Result<(), Refusal> {
        self.peer = plain(peer);
        self.seat = self.shard.gate.enter_source(Place::of(self.peer.ip()));
        if self.seat.is_some() { Ok(()) } else { Err(Refusal::Source) }
    }

    /// The rates that hold by now where it came in, if any.
    pub(super) fn limiter(&self) -> Option<Ref<'_, Limiter>> {
        Ref::filter_map(self.listener.0.borrow(), |served| served.limiter.as_ref()).ok()
    }

    /// What `limiter` means for it at this moment; `None` before it is known whose it is.
    pub(super) fn turn<'a>(&self, limiter: &'a Limiter) -> Option<Turn<'a>> {
        Some(limiter.turn(self.peer.ip(), self.seat.as_ref()?.place(), Moment::now()))
    }

    /// Counts it among those that wait for `limiter`; `None` before it is known whose it is.
    pub(super) fn queue(&self, limiter: &Limiter) -> Option<Waiting> {
        Some(limiter.queue(self.peer.ip(), self.seat.as_ref()?.place()))
    }

    /// Counts bytes towards the rates that hold by now.
    pub(super) fn charge(&self, bytes: usize) {
        if let Some(limiter) = self.limiter() {
            self.turn(&limiter).inspect(|turn| turn.charge(bytes));
        }
    }

    /// Counts what was sent, and gives it back.
    pub(super) fn sent(&self, bytes: usize) -> usize {
        self.served.slot.transmitted_bytes.add(bytes as u64);
        self.activity.touch();
        bytes
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut end = self.activity.end().get();
        if std::thread::panicking() {
            end = End::Panicked;
            tracing::error!("what served a connection panicked, see above; the connection is closed, the others go on");
        }
        self.served.slot.end(end, self.activity.age());
        self.shard.connections.leave(self.place);
        self.seat.take().into_iter().for_each(|seat| self.shard.gate.leave_source(seat));
        self.shard.gate.leave();
    }
}

/// An IPv4 address as such, also where a socket of both families writes it as one of IPv6.
pub(super) fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::cell::RefCell;
    use std::sync::Arc;

    use echo_proto::spec::ServicePlan;
    use tokio::runtime::{Builder, LocalOptions};

    use super::super::slot::Slot;
    use super::*;

    #[test]
    fn a_connection_that_panics_is_counted_and_leaves_the_shard_to_the_others() {
        let shard = Rc::new(Shard::new(Arc::default(), Arc::default()));
        shard.gate.set_limits(1, Some(1));
        let slot = Arc::<Slot>::default();
        let served = Served::of(ServicePlan::Discard, Arc::clone(&slot));
        let listener = Rc::new(Listener(RefCell::new(served)));
        let peer = "10.0.0.1:9".parse().unwrap();
        let ticket = Ticket::new(peer, &listener, &shard).unwrap();
        let runtime = Builder::new_current_thread().build_local(LocalOptions::default()).unwrap();
        let task = runtime.spawn_local(async move {
            let _held = (ticket.shard.read_buffer.borrow_mut(), &ticket);
            panic!("a bug, for the test");
        });
        assert!(runtime.block_on(task).unwrap_err().is_panic());
        assert_eq!(slot.ended.each().collect::<Vec<_>>(), [("panic", 1)]);
        assert_eq!(shard.gate.open(), 0);
        assert!(shard.read_buffer.try_borrow_mut().is_ok());
        assert!(Ticket::new(peer, &listener, &shard).is_some(), "its source has its place again");
    }
}
