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
    let mut taken = poll_fn(|cx| Poll::Ready(messages.take(connection, cx, read, &mut first))).await?;
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
        let receive = |stream: &mut TcpStream, cx: &mut Context<'_>| {
            let (read, time) = ready!(self.poll_receive(stream, cx, room))?;
            came = time;
            Poll::Ready(Ok(read))
        };
        let Some(read) = ready!(connection.poll_take(cx, receive))? else { return Poll::Ready(Ok(Taken::Over)) };
        if read == 0 {
            return Poll::Ready(Ok(self.closed()));
        }
        connection.ticket.served.slot.exchanges.add(1);
        connection.ticket.activity.touch();
        shard.spin.stir();
        let bytes = room.get_mut(..read).unwrap_or_default();
        if self.kept.is_empty() {
            return Poll::Ready(self.take(connection, cx, came, bytes));
        }
        self.kept.extend_from_slice(bytes);
        // What is wrong in a head is told at once.
        if self.kept.len() > HEAD_BYTES && self.missing().is_some_and(|missing| missing > 0) {
            return Poll::Ready(Ok(Taken::Answered(0)));
        }
        let mut whole = std::mem::take(&mut self.kept);
        Poll::Ready(self.take(connection, cx, came, &mut whole))
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

    /// Reads into `room`; returns how much, and when the last of it came.
    fn poll_receive(
        &mut self,
        stream: &TcpStream,
        cx: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<io::Result<(usize, Time)>> {
        loop {
            ready!(stream.poll_read_ready(cx))?;
            match stream.try_io(Interest::READABLE, || receive(stream, room, &mut self.space)) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                received => return Poll::Ready(received),
            }
        }
    }

    /// Answers the whole messages at the start of `bytes` and keeps the rest.
    fn take(
        &mut self,
        connection: &mut Connection,
        cx: &mut Context<'_>,
        time: Time,
        bytes: &mut [u8],
    ) -> io::Result<Taken> {
        let shard = Rc::clone(&connection.ticket.shard);
        let (answered, broken) = self.answer(bytes, time, &shard.stamp(), &mut shard.sessions.borrow_mut());
        let (answers, rest) = bytes.split_at_checked(answered).unwrap_or_default();
        self.kept = rest.to_vec();
        connection.poll_send(cx, answers)?;
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
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use echo_proto::stamp::{Answer, MAX_MESSAGE, STAMP_BYTES};
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn messages() -> Messages {
        let (hit, client) = ("127.0.0.1:7".parse().unwrap(), "127.0.0.1:50000".parse().unwrap());
        Messages { hit, client, most: usize::MAX, space: Vec::new(), kept: Vec::new() }
    }

    fn request(sequence: u64, len: usize) -> Vec<u8> {
        let mut message = vec![sequence as u8; len];
        assert!(Request { session: 1, sequence, ..Request::default() }.write(&mut message));
        message
    }

    /// Answers a stream in reads of these lengths, as a connection does.
    fn answers(stream: &[u8], reads: &[usize]) -> (Vec<u8>, bool) {
        let (mut sessions, mut out, mut kept) = (Sessions::default(), Vec::new(), Vec::new());
        let mut rest = stream;
        for read in reads.iter().copied().chain([usize::MAX]) {
            let (now, later) = rest.split_at(read.min(rest.len()));
            kept.extend_from_slice(now);
            rest = later;
            let (answered, broken) = messages().answer(&mut kept, time(None), &Identity::default(), &mut sessions);
            out.extend(kept.drain(..answered));
            if broken {
                return (out, true);
            }
            assert!(kept.len() < MAX_MESSAGE);
        }
        (out, false)
    }

    proptest! {
        #[test]
        fn every_split_into_reads_gives_the_same_answers(
            lengths in vec(STAMP_BYTES..STAMP_BYTES + 50, 1..6),
            reads in vec(0..400_usize, 0..12),
        ) {
            let stream: Vec<u8> = lengths.iter().enumerate().flat_map(|(n, len)| request(n as u64, *len)).collect();
            let (out, broken) = answers(&stream, &reads);
            prop_assert!(!broken);
            prop_assert_eq!(out.len(), stream.len());
            let mut rest = &out[..];
            for (n, len) in lengths.iter().enumerate() {
                let (message, later) = rest.split_at(*len);
                let answer = Answer::read(message).unwrap();
                prop_assert_eq!((answer.request.sequence, answer.seen.count), (n as u64, n as u64 + 1));
                rest = later;
            }
        }

        #[test]
        fn any_bytes_after_the_magic_are_answered_or_end_it(bytes in vec(any::<u8>(), 0..100), reads in vec(0..50_usize, 0..9)) {
            let stream = [&stamp::MAGIC[..], &bytes].concat();
            let (out, _) = answers(&stream, &reads);
            prop_assert!(out.len() <= stream.len());
        }
    }

    #[test]
    fn what_is_out_of_step_ends_it_after_what_was_good() {
        let good = request(0, STAMP_BYTES);
        let (out, broken) = answers(&[&good[..], b"GET / HTTP/1.1"].concat(), &[]);
        assert_eq!((out.len(), broken), (STAMP_BYTES, true), "no magic");
        let mut long = request(1, STAMP_BYTES);
        long[20..24].copy_from_slice(&65_537_u32.to_be_bytes());
        assert_eq!(answers(&long, &[]), (Vec::new(), true), "above 64 KiB");
        let (answer, _) = answers(&good, &[]);
        assert_eq!(answers(&answer, &[]), (Vec::new(), true), "an answer is never answered");
        assert_eq!(answers(&good[..100], &[]), (Vec::new(), false), "not whole yet");
    }

    #[test]
    fn what_is_not_understood_comes_back_as_it_was() {
        let mut other = request(0, STAMP_BYTES);
        other[16] = 9;
        let short = [&other[..20], &24_u32.to_be_bytes()].concat();
        let stream = [&other[..], &short, &request(1, 65_536)].concat();
        let (out, broken) = answers(&stream, &[]);
        assert!(!broken);
        assert_eq!(out[..STAMP_BYTES + 24], stream[..STAMP_BYTES + 24]);
        assert_eq!(Answer::read(&out[STAMP_BYTES + 24..]).unwrap().seen.count, 1);
    }
}
