//! Datagrams of one UDP listener on one shard.
//!
//! Run by [`super::shard`]. It takes what is there in batches and answers at once; what the kernel does not take is
//! dropped and counted, and so is what the kernel dropped before we could take it. It must never keep the shard to
//! itself: system calls of ours are not in the runtime's budget, so a busy socket steps back after
//! [`BATCHES_PER_TURN`].

mod endpoint;
mod stamped;

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use echo_proto::stamp::Kind;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval};

use super::flows::Moment;
use super::guard::{Destination, Ports};
use super::listener::{Listener, Served};
use super::mmsg::{BATCH, Batch, CALLS_TO_GROW, Datagram, Received, Sent};
use super::rates::Limiter;
use super::reason::Drop;
use super::service;
use super::shard::Shard;
use super::socket::MAX_QUEUED;
use endpoint::Endpoint;
use stamped::Stamped;

/// Batches that a socket may take before it lets others have their turn.
const BATCHES_PER_TURN: usize = 8;
/// Batches that a closing socket still answers: a full receive buffer.
const LAST_BATCHES: usize = MAX_QUEUED / BATCH + CALLS_TO_GROW;
/// Turns that it takes at most to read a full receive buffer: in each, batches may have to grow again.
pub(super) const TURNS: usize = MAX_QUEUED.div_ceil(BATCH * (BATCHES_PER_TURN - CALLS_TO_GROW));
/// Pause after an error of the kernel that is not about a datagram, such as no memory.
const PAUSE: Duration = Duration::from_millis(10);
/// How long a datagram may be on its way from the kernel's choice of a socket to the socket's queue: microseconds, if
/// nothing holds it up.
const SETTLING: Duration = Duration::from_millis(2);
/// How often the kernel is asked what it dropped.
const DROPS_PERIOD: Duration = Duration::from_secs(1);

/// Answers until `stop` is told or dropped, then answers what is queued and closes.
pub(super) async fn run(socket: UdpSocket, listener: Rc<Listener>, shard: Rc<Shard>, mut stop: oneshot::Receiver<()>) {
    let end = Endpoint::new(socket);
    let mut ask = interval(DROPS_PERIOD);
    ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = &mut stop => break,
            _ = ask.tick() => {
                end.count_lost(&listener.served(), &shard);
                end.rest();
                continue;
            }
            ready = poll_fn(|cx| end.socket.poll_recv_ready(cx)) => if ready.is_err() { return },
        }
        match turn(&end, &listener.served(), &shard) {
            Ok(true) => {}
            Ok(false) => tokio::task::yield_now().await,
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    close_endpoint(&end, &listener.served(), &shard).await;
}

/// Answers what is queued, counts what the queue had no room for, and closes.
pub(super) async fn close(socket: UdpSocket, served: &Served, shard: &Shard) {
    close_endpoint(&Endpoint::new(socket), served, shard).await;
}

async fn close_endpoint(end: &Endpoint, served: &Served, shard: &Shard) {
    answer_queued(end, &mut shard.batch.borrow_mut(), served, shard);
    // Between the last look into the queue and the close one more could slip in, unseen: also one for which the kernel
    // had found this socket before it was deaf.
    if deafen(&end.socket).is_ok() {
        tokio::time::sleep(SETTLING).await;
        answer_queued(end, &mut shard.batch.borrow_mut(), served, shard);
    }
    end.count_lost(served, shard);
}

/// Connects a socket to itself: from now on datagrams go to whoever else is there for them, or are refused in words of
/// ICMP, but do not end in a queue that nobody reads.
fn deafen(socket: &UdpSocket) -> io::Result<()> {
    let own = socket.local_addr()?;
    let host = match own.ip() {
        IpAddr::V4(any) if any.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(any) if any.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        host => host,
    };
    SockRef::from(socket).connect(&SocketAddr::new(host, own.port()).into())
}

/// Answers until the queue is empty. Asks the kernel itself: the runtime may not have heard of the last ones yet.
fn answer_queued(end: &Endpoint, batch: &mut Batch, served: &Served, shard: &Shard) {
    for _ in 0..LAST_BATCHES {
        match batch.receive(end.socket.as_fd()) {
            Ok(Received { datagrams, .. }) => serve(batch, end, datagrams, served, shard),
            Err(_) => return,
        }
    }
}

/// Takes batches until there is nothing left, or the turn is over; whether it is nothing.
fn turn(end: &Endpoint, served: &Served, shard: &Shard) -> io::Result<bool> {
    let batch = &mut *shard.batch.borrow_mut();
    for _ in 0..BATCHES_PER_TURN {
        let Received { datagrams, all } = receive(&end.socket, batch)?;
        serve(batch, end, datagrams, served, shard);
        if all {
            end.lost.settle();
            return Ok(true);
        }
    }
    Ok(false)
}

/// One batch. Where it has all that there was, the runtime is told so, which saves a system call that would find
/// nothing.
fn receive(socket: &UdpSocket, batch: &mut Batch) -> io::Result<Received> {
    let mut received = Received { datagrams: 0, all: true };
    let tried = socket.try_io(Interest::READABLE, || {
        received = batch.receive(socket.as_fd())?;
        if received.all { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    match tried {
        Err(e) if e.kind() != io::ErrorKind::WouldBlock => Err(e),
        _ => Ok(received),
    }
}

/// Answers a batch of `received` datagrams and counts it.
fn serve(batch: &mut Batch, end: &Endpoint, received: usize, served: &Served, shard: &Shard) {
    if received == 0 {
        return;
    }
    shard.spin.stir();
    let (slot, flows, ports) = (&served.slot, &shard.flows, &*shard.ports.borrow());
    let respond = service::datagrams(&served.service);
    let now = Moment::now();
    let (mut bytes, mut refused, mut queued) = (0, 0, 0);
    let mut stamped = Stamped::new(end, served, shard);
    batch.answer(|mut datagram| {
        bytes += datagram.bytes.len() as u64;
        let to = Destination::new(end.address.ip(), datagram.told.hit);
        let kind = stamped.kind(&datagram);
        let answer = match admit(&datagram, kind, to, served, ports, now) {
            Ok(()) => {
                flows.source(datagram.peer, now);
                if kind == Kind::Request { stamped.answer(&mut datagram, to, queued) } else { respond(datagram.bytes) }
            }
            Err(reason) => {
                stamped.refuse(&datagram, kind, reason);
                slot.dropped.add(reason, 1);
                refused += 1;
                None
            }
        };
        queued += usize::from(answer.is_some());
        answer
    });
    slot.received_packets.add(received as u64);
    slot.received_bytes.add(bytes);
    slot.exchanges.add(received as u64 - refused);
    if received as u64 > refused {
        flows.datagrams(now);
    }
    let mut told = 0;
    // What probes measure goes by itself.
    let alone = Cell::new(false);
    let together = if stamped.any() { &alone } else { &end.together };
    batch.send(end.socket.as_fd(), together, |sent| match sent {
        Sent::Out { datagrams, bytes } => {
            slot.transmitted_packets.add(datagrams);
            slot.transmitted_bytes.add(bytes);
            told += datagrams as usize;
        }
        Sent::Lost { datagrams, cause } => {
            slot.dropped.add(cause, datagrams);
            let before = told;
            told += datagrams as usize;
            stamped.lost(before..told, cause);
        }
    });
}

/// Whether a datagram is for the service. All guards stand here: before anything is answered.
fn admit(
    datagram: &Datagram<'_>,
    kind: Kind,
    to: Destination,
    served: &Served,
    ports: &Ports,
    now: Moment,
) -> Result<(), Drop> {
    if kind == Kind::Answer {
        return Err(Drop::LoopGuard);
    }
    served.guard.verdict(ports, datagram.peer, to, || kind == Kind::Request)?;
    if datagram.truncated {
        return Err(Drop::Truncated);
    }
    if datagram.bytes.len() > served.max_datagram {
        return Err(Drop::Oversize);
    }
    let within = |limiter: &Limiter| limiter.admit(datagram.peer.ip(), datagram.bytes.len(), now);
    if served.limiter.as_ref().is_none_or(within) { Ok(()) } else { Err(Drop::RateLimit) }
}

#[cfg(test)]
mod tests;
