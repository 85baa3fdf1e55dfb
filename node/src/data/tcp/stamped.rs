//! A TCP connection that carries stamped messages.
//!
//! Started by echo ([`super::super::service`]) once the first read of a connection began with the magic, and boxed, so
//! that plain connections do not carry its state. What has come of a message that is not whole yet is kept, less than
//! 64 KiB; an idle connection between two messages keeps nothing.

use std::future::poll_fn;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use echo_proto::spec::Protocol;
use echo_proto::stamp::{self, Arrival, Broken, HEAD_BYTES, Identity, Kind, Request, Time};
use nix::cmsg_space;
use nix::sys::socket::sockopt::ReceiveTimestampns;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt};
use nix::sys::time::TimeSpec;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::super::reason::End;
use super::super::sessions::{Key, Sessions};
use super::super::stamped;
use super::Connection;

/// What one read brought.
#[derive(Debug, PartialEq, Eq)]
enum Taken {
    /// So many bytes of whole messages, which are answered.
    Answered(usize),
    /// Nothing, since the connection is above its rates.
    Over,
    /// The peer has closed its side, between two messages.
    Closed,
    /// The connection is out of step and must end.
    Broken,
}

/// Serves a stamped connection to its end; `first` is what was read of it. With `once`, only the first message is
/// answered.
///
/// # Errors
/// The kernel's, such as a reset.
pub(in super::super) async fn serve(
    connection: &mut Connection,
    max_read: usize,
    once: bool,
    mut first: Vec<u8>,
) -> io::Result<End> {
    // Where the kernel does not tell, our own time stands.
    let _ = setsockopt(&connection.stream, ReceiveTimestampns, &true);
    let mut messages = Messages {
        hit: canonical(connection.stream.local_addr()?),
        client: connection.peer(),
        most: if once { 1 } else { usize::MAX },
        space: cmsg_space!(TimeSpec),
        kept: Vec::new(),
    };
    let read = time(None);
    let mut taken = messages.take(connection, read, &mut first)?;
    drop(first);
    loop {
        taken = match taken {
            Taken::Closed => return Ok(End::Peer),
            Taken::Broken => return connection.finish(End::Broken).await,
            Taken::Answered(bytes) if once && bytes > 0 => return connection.finish(End::Served).await,
            Taken::Over => {
                connection.wait().await?;
                Taken::Answered(0)
            }
            Taken::Answered(_) => poll_fn(|cx| messages.poll_read(connection, cx, max_read)).await?,
        };
    }
}

/// How a connection's messages are answered.
struct Messages {
    hit: SocketAddr,
    client: SocketAddr,
    /// Messages that are answered of one read.
    most: usize,
    /// Room for the kernel's word on when a read's last byte came.
    space: Vec<u8>,
    /// What has come of a message that is not whole yet.
    kept: Vec<u8>,
}

impl Messages {
    /// Reads, and answers what is whole.
    fn poll_read(
        &mut self,
        connection: &mut Connection,
        cx: &mut Context<'_>,
        max_read: usize,
    ) -> Poll<io::Result<Taken>> {
        ready!(connection.poll_flush(cx))?;
        let shard = Rc::clone(&connection.ticket.shard);
        let buffer = &mut *shard.read_buffer.borrow_mut();
        let room = buffer.len().min(max_read).min(self.missing().unwrap_or(usize::MAX));
        let room = buffer.get_mut(..room).unwrap_or_default();
        let mut came = time(None);
        let space = &mut self.space;
        let read = |stream: &TcpStream| {
            let (read, time) = stream.try_io(Interest::READABLE, || receive(stream, room, space))?;
            came = time;
            Ok(read)
        };
        let Some(read) = ready!(connection.poll_take(cx, read))? else { return Poll::Ready(Ok(Taken::Over)) };
        if read == 0 {
            return Poll::Ready(Ok(self.closed()));
        }
        connection.ticket.served.slot.exchanges.add(1);
        connection.ticket.activity.touch();
        shard.spin.stir();
        let bytes = room.get_mut(..read).unwrap_or_default();
        if self.kept.is_empty() {
            return Poll::Ready(self.take(connection, came, bytes));
        }
        self.kept.extend_from_slice(bytes);
        // What is wrong in a head is told at once.
        if self.kept.len() > HEAD_BYTES && self.missing().is_some_and(|missing| missing > 0) {
            return Poll::Ready(Ok(Taken::Answered(0)));
        }
        let mut whole = std::mem::take(&mut self.kept);
        Poll::Ready(self.take(connection, came, &mut whole))
    }

    /// How much is missing of the message that has begun to come, or of its head; `None` if none has.
    fn missing(&self) -> Option<usize> {
        let begun = self.kept.len();
        let len = stamp::message_len(&self.kept).ok().flatten().unwrap_or(HEAD_BYTES);
        (begun > 0).then(|| len.saturating_sub(begun))
    }

    /// What it means that the peer has closed its side: a part of a message will never be answered.
    fn closed(&self) -> Taken {
        if self.kept.is_empty() { Taken::Closed } else { Taken::Broken }
    }

    /// Answers the whole messages at the start of `bytes` and keeps the rest.
    fn take(&mut self, connection: &mut Connection, time: Time, bytes: &mut [u8]) -> io::Result<Taken> {
        let shard = Rc::clone(&connection.ticket.shard);
        let (answered, broken) = self.answer(bytes, time, &shard.stamp(), &mut shard.sessions.borrow_mut());
        let (answers, rest) = bytes.split_at_checked(answered).unwrap_or_default();
        self.kept = rest.to_vec();
        connection.send(answers)?;
        Ok(if broken { Taken::Broken } else { Taken::Answered(answered) })
    }

    /// Answers in place; returns how many bytes of `bytes` are answers, and whether what follows them is no message.
    fn answer(&self, bytes: &mut [u8], time: Time, by: &Identity, sessions: &mut Sessions) -> (usize, bool) {
        let arrival = Arrival { time: Some(time), hit: self.hit, client: self.client, ttl: None, traffic_class: None };
        let mut at = 0;
        for _ in 0..self.most {
            let rest = bytes.get_mut(at..).unwrap_or_default();
            let len = match stamp::message_len(rest) {
                Ok(Some(len)) => len,
                Ok(None) => break,
                Err(Broken::NoMagic | Broken::Length(_)) => return (at, true),
            };
            let Some(message) = rest.get_mut(..len) else { break };
            match stamp::kind(message) {
                Kind::Request => {
                    let Some(request) = Request::read(message) else { break };
                    let key = Key::of(&request, Protocol::Tcp, self.hit);
                    stamped::answer(message, &request, &arrival, key, by, sessions, 0);
                }
                Kind::Plain => {}
                // Whoever answers us takes us for a client, and we would go on for ever.
                Kind::Answer => return (at, true),
            }
            at += len;
        }
        (at, false)
    }
}

/// One read, and when the last of it came: by the kernel, where it tells.
fn receive(stream: &TcpStream, room: &mut [u8], space: &mut [u8]) -> io::Result<(usize, Time)> {
    let mut room = [IoSliceMut::new(room)];
    let received = recvmsg::<()>(stream.as_raw_fd(), &mut room, Some(space), MsgFlags::MSG_DONTWAIT)?;
    let told = received.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::ScmTimestampns(time) => Some(time),
        _ => None,
    });
    Ok((received.bytes, time(told)))
}

/// The kernel's time, or else ours.
fn time(kernel: Option<TimeSpec>) -> Time {
    let nanos = kernel.and_then(|time| u64::try_from(Duration::from(time).as_nanos()).ok());
    Time { nanos: nanos.unwrap_or_else(stamped::now), kernel: nanos.is_some() }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests;
