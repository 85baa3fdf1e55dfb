//! Datagrams of one UDP listener on one shard.
//!
//! Run by [`super::shard`]. It takes what is there in batches and answers at once; what the kernel does not take is
//! dropped and counted. It must never keep the shard to itself: system calls of ours are not in the runtime's budget,
//! so a busy socket steps back after [`BATCHES_PER_TURN`].

use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;

use super::mmsg::{BATCH, Batch, Datagram, Received, Sent};
use super::reason::Drop;
use super::service;
use super::shard::{Listener, Served, Shard};

/// Full batches that a socket may take before it lets others have their turn.
const BATCHES_PER_TURN: usize = 8;
/// Batches that a closing socket still answers: more than a full receive buffer of small datagrams.
const LAST_BATCHES: usize = 256;
/// Pause after an error of the kernel that is not about a datagram, such as no memory.
const PAUSE: Duration = Duration::from_millis(10);

/// Answers until `stop` is told or dropped, then answers what is queued and closes.
pub(super) async fn run(socket: UdpSocket, listener: Rc<Listener>, shard: Rc<Shard>, mut stop: oneshot::Receiver<()>) {
    let mut lost = Lost::default();
    loop {
        tokio::select! {
            biased;
            _ = &mut stop => break,
            ready = socket.readable() => if ready.is_err() { return },
        }
        match turn(&socket, &listener.served(), &shard, &mut lost) {
            Ok(BATCH) => tokio::task::yield_now().await,
            Ok(_) => {}
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    // Asks the kernel itself: the runtime may not have heard of the last ones yet.
    let served = listener.served();
    let batch = &mut *shard.batch.borrow_mut();
    for _ in 0..LAST_BATCHES {
        match batch.receive(socket.as_fd()) {
            Ok(received) => serve(batch, &socket, received, &served, &mut lost),
            Err(_) => return,
        }
    }
}

/// Takes batches until one is not full, or the turn is over; returns the size of the last one.
fn turn(socket: &UdpSocket, served: &Served, shard: &Shard, lost: &mut Lost) -> io::Result<usize> {
    let batch = &mut *shard.batch.borrow_mut();
    let mut last = 0;
    for _ in 0..BATCHES_PER_TURN {
        let received = receive(socket, batch)?;
        serve(batch, socket, received, served, lost);
        last = received.datagrams;
        if last < BATCH {
            break;
        }
    }
    Ok(last)
}

/// One batch. The kernel fills it until it has no more, so one that is not full means that the socket is empty: the
/// runtime is told so, which saves a system call that would find nothing.
fn receive(socket: &UdpSocket, batch: &mut Batch) -> io::Result<Received> {
    let mut received = Ok(Received::default());
    let tried = socket.try_io(Interest::READABLE, || {
        received = batch.receive(socket.as_fd());
        match &received {
            Ok(r) if r.datagrams < BATCH => Err(io::ErrorKind::WouldBlock.into()),
            Ok(_) => Ok(()),
            Err(e) => Err(e.kind().into()),
        }
    });
    match (received, tried) {
        (Err(e), _) if e.kind() == io::ErrorKind::WouldBlock => Ok(Received::default()),
        (received, _) => received,
    }
}

/// Answers a batch and counts it.
fn serve(batch: &mut Batch, socket: &UdpSocket, received: Received, served: &Served, lost: &mut Lost) {
    if received.datagrams == 0 {
        return;
    }
    let slot = &served.slot;
    if let Some(new) = received.lost.map(|count| lost.since(count)).filter(|new| *new > 0) {
        slot.dropped.add(Drop::ReceiveBuffer, new);
    }
    let respond = service::datagrams(&served.service);
    let (mut bytes, mut refused) = (0, 0);
    batch.answer(|datagram| {
        bytes += datagram.bytes.len() as u64;
        match admit(&datagram) {
            Ok(()) => respond(datagram.bytes),
            Err(reason) => {
                slot.dropped.add(reason, 1);
                refused += 1;
                None
            }
        }
    });
    slot.received_packets.add(received.datagrams as u64);
    slot.received_bytes.add(bytes);
    slot.exchanges.add(received.datagrams as u64 - refused);
    batch.send(socket.as_fd(), |sent| match sent {
        Sent::Out { datagrams, bytes } => {
            slot.transmitted_packets.add(datagrams);
            slot.transmitted_bytes.add(bytes);
        }
        Sent::Lost { datagrams, cause } => slot.dropped.add(cause, datagrams),
    });
}

/// Whether a datagram is for the service. All guards stand here: before anything is answered.
fn admit(datagram: &Datagram<'_>) -> Result<(), Drop> {
    if datagram.truncated { Err(Drop::Truncated) } else { Ok(()) }
}

/// What the kernel has told about datagrams that a socket had no room for.
#[derive(Debug, Default)]
struct Lost(u32);

impl Lost {
    /// How many are new, now that the kernel counts `count`.
    fn since(&mut self, count: u32) -> u64 {
        let new = count.wrapping_sub(self.0);
        self.0 = count;
        new.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_count_of_losses_may_wrap() {
        let mut lost = Lost(u32::MAX - 1);
        assert_eq!(lost.since(u32::MAX), 1);
        assert_eq!(lost.since(2), 3);
        assert_eq!(lost.since(2), 0);
    }
}
