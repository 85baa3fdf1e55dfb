//! One UDP socket: where it is bound, what the kernel was asked about its datagrams, and what it dropped before we could
//! take them.
//!
//! Used by [`super`], and by [`super::stamped`] for what stamps tell. It must never ask for what nobody uses.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;

use nix::sys::socket::{getsockopt, sockopt};
use tokio::net::UdpSocket;

use super::super::listener::Served;
use super::super::reason::Drop;
use super::super::shard::Shard;
use super::super::socket::ask_for_envelope;
use super::super::syscall;

/// Such periods after the last stamped request in which the next one is expected.
pub(super) const ASKED_PERIODS: u8 = 60;

/// A socket, and where it is bound to.
pub(super) struct Endpoint {
    pub(super) socket: UdpSocket,
    pub(super) address: SocketAddr,
    /// For how many more periods the kernel tells how each datagram came.
    asked: Cell<u8>,
    /// Whether the kernel knows how to cut datagrams from one message ...
    cuts: bool,
    /// ... and has not refused to since it was asked what it dropped.
    pub(super) together: Cell<bool>,
    pub(super) lost: Lost,
}

impl Endpoint {
    pub(super) fn new(socket: UdpSocket) -> Self {
        // The kernel knows the address of every socket that is bound; of any other, nothing is let through as local.
        let address = socket.local_addr().unwrap_or_else(|_| (Ipv4Addr::UNSPECIFIED, 0).into());
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        // A kernel that does not know would send the whole message as one datagram.
        let cuts = getsockopt(&socket, sockopt::UdpGsoSegment).is_ok();
        Self { socket, address, asked: Cell::new(0), cuts, together: Cell::new(cuts), lost: Lost::default() }
    }

    /// From now on the kernel tells how each datagram came.
    pub(super) fn ask(&self) {
        if self.asked.replace(ASKED_PERIODS) == 0 {
            // A kernel that does not tell leaves us our own time.
            let _ = ask_for_envelope(&self.socket, self.address.ip(), true);
        }
    }

    /// A period is over: what nobody uses any more costs nothing any more.
    pub(super) fn rest(&self) {
        self.together.set(self.cuts);
        let asked = self.asked.get();
        self.asked.set(asked.saturating_sub(1));
        if asked == 1 {
            let _ = ask_for_envelope(&self.socket, self.address.ip(), false);
        }
    }

    /// Counts what the kernel dropped since it was asked last.
    pub(super) fn count_lost(&self, served: &Served, shard: &Shard) {
        // An old kernel does not tell.
        let Ok(count) = syscall::drops(self.socket.as_fd()) else { return };
        match self.lost.since(count) {
            0 => {}
            new => {
                served.slot.dropped.add(Drop::ReceiveBuffer, new);
                shard.sessions.borrow_mut().overflowed(self.address, new);
            }
        }
    }
}

/// What the kernel has told about datagrams that it dropped before we could take them.
#[derive(Debug, Default)]
pub(super) struct Lost {
    /// Its count, which wraps.
    pub(super) told: Cell<u32>,
    /// Those that may be younger than what is queued.
    pub(super) fresh: Cell<u64>,
}

impl Lost {
    /// How many are new, now that the kernel counts `count`.
    pub(super) fn since(&self, count: u32) -> u64 {
        let new = u64::from(count.wrapping_sub(self.told.replace(count)));
        self.fresh.set(self.fresh.get() + new);
        new
    }

    /// The queue is empty: what is told so far is older than all that comes.
    pub(super) fn settle(&self) {
        self.fresh.set(0);
    }

    pub(super) fn fresh(&self) -> u64 {
        self.fresh.get()
    }
}
