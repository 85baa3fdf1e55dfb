//! Datagrams in batches: recvmmsg(2) and sendmmsg(2) over one set of buffers.
//!
//! Used by [`super::udp`]; it knows no service and counts nothing. Where a socket has many addresses, an answer leaves
//! from the very one that was hit ([`super::pktinfo`]). Answers of one length that follow each other to one peer may go
//! as one message, which the kernel cuts (UDP_SEGMENT): it then does once what it would do for each of them. It must
//! never keep a pointer from one call to the next: the headers are pointed at the buffers anew each time.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use libc::{
    MSG_DONTWAIT, MSG_TRUNC, c_int, c_uint, iovec, mmsghdr, sockaddr_in, sockaddr_in6, sockaddr_storage, socklen_t,
};

use super::pktinfo::{CONTROL_BYTES, Control, Told};
use super::reason::Drop;

/// Most datagrams in one system call.
pub(super) const BATCH: usize = 32;
/// Least for which room is offered to the kernel: it costs something for each, whether or not one comes.
const LEAST: usize = 4;
/// Calls that it takes from there until [`BATCH`] are offered, the room being doubled each time that it is filled.
pub(super) const CALLS_TO_GROW: usize = (BATCH / LEAST).ilog2() as usize;
/// Room for the longest datagram, 65,507 bytes over IPv4, and for any that a smaller header leaves room for.
const PAYLOAD: usize = 64 * 1024;
/// Distance between payloads: no power of two, so that short datagrams do not all fall into the same cache sets.
const STRIDE: usize = PAYLOAD + 192;

/// The longest answer that goes with others: what every path of IPv6 takes as one packet (1280 bytes with headers), so
/// that hardly any has to be cut again.
const LONGEST_TOGETHER: usize = 1232;
const _: () = assert!(BATCH * LONGEST_TOGETHER <= 65_507 && BATCH <= 64, "what the kernel takes as one message");

/// Buffers for [`BATCH`] datagrams. Pages that no datagram has reached take no memory.
pub(super) struct Batch {
    payload: Box<[u8]>,
    envelopes: Box<[Envelope]>,
    vectors: Box<[iovec]>,
    headers: Box<[mmsghdr]>,
    /// How many datagrams came with the last call, whatever socket it was for: a shard's load is a guess at each one's.
    came: usize,
    /// Headers that hold a received datagram.
    received: usize,
    answers: Vec<Answer>,
    /// How many answers each header holds that is to be sent.
    runs: Vec<usize>,
}

/// What belongs to one datagram besides its payload.
struct Envelope {
    peer: sockaddr_storage,
    control: Control,
}

/// An answer that waits to be sent.
#[derive(Debug, Clone, Copy)]
struct Answer {
    /// Of its request, whose buffers it uses.
    place: usize,
    peer_bytes: socklen_t,
    control_bytes: usize,
    way: Way,
    len: usize,
}

/// From where to where an answer goes.
type Way = (SocketAddr, Option<(IpAddr, u32)>);

/// A received datagram.
#[derive(Debug)]
pub(super) struct Datagram<'a> {
    /// Its data; an answer is written over it.
    pub(super) bytes: &'a mut [u8],
    /// There was more of it than fits.
    pub(super) truncated: bool,
    /// Who sent it.
    pub(super) peer: SocketAddr,
    /// What else the kernel told.
    pub(super) told: Told,
}

/// What came with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) datagrams: usize,
    /// There are no more: the kernel goes on until the room that it was offered is full.
    pub(super) all: bool,
}

/// What became of some answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// The kernel took them.
    Out { datagrams: u64, bytes: u64 },
    /// It did not.
    Lost { datagrams: u64, cause: Drop },
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answers = self.answers.len();
        f.debug_struct("Batch").field("received", &self.received).field("answers", &answers).finish_non_exhaustive()
    }
}

impl Answer {
    /// Whether the kernel could cut both from one message.
    fn goes_with(&self, next: &Self) -> bool {
        (1..=LONGEST_TOGETHER).contains(&self.len) && self.len == next.len && self.way == next.way
    }
}

/// Who sent a datagram; an IPv4 address in IPv6's clothes without them. Unspecified if the kernel does not say.
fn peer(storage: &sockaddr_storage, told: socklen_t) -> SocketAddr {
    // Without a length, what stands there is an earlier one's.
    let family = if told == 0 { libc::AF_UNSPEC } else { c_int::from(storage.ss_family) };
    match family {
        libc::AF_INET => {
            // SAFETY: the storage is as large and as aligned as any address; the kernel says which one it is.
            let peer = unsafe { &*(&raw const *storage).cast::<sockaddr_in>() };
            SocketAddr::new(Ipv4Addr::from(u32::from_be(peer.sin_addr.s_addr)).into(), u16::from_be(peer.sin_port))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let peer = unsafe { &*(&raw const *storage).cast::<sockaddr_in6>() };
            let (address, port) = (Ipv6Addr::from(peer.sin6_addr.s6_addr), u16::from_be(peer.sin6_port));
            match address.to_canonical() {
                // Two links may each have a host of the same link-local address.
                IpAddr::V6(v6) => SocketAddrV6::new(v6, port, 0, peer.sin6_scope_id).into(),
                v4 => SocketAddr::new(v4, port),
            }
        }
        _ => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
    }
}

fn blank() -> mmsghdr {
    // SAFETY: numbers and raw pointers, for which zero is a value; its padding differs between C libraries.
    unsafe { zeroed() }
}

impl Batch {
    pub(super) fn new() -> Self {
        // SAFETY: these C structures are numbers and raw pointers, for which zero is a value.
        let (peer, vector) = unsafe { (zeroed(), zeroed()) };
        Self {
            payload: vec![0; BATCH * STRIDE].into(),
            envelopes: (0..BATCH).map(|_| Envelope { peer, control: Control::default() }).collect(),
            vectors: vec![vector; BATCH].into(),
            headers: (0..BATCH).map(|_| blank()).collect(),
            came: 0,
            received: 0,
            answers: Vec::with_capacity(BATCH),
            runs: Vec::with_capacity(BATCH),
        }
    }

    /// Takes what the socket holds, without waiting: twice as many as came last at most, from [`LEAST`] to [`BATCH`].
    ///
    /// # Errors
    /// The kernel's; `WouldBlock` when there is nothing.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<Received> {
        let offered = (2 * self.came).clamp(LEAST, BATCH);
        (self.came, self.received) = (0, 0);
        self.answers.clear();
        let buffers = self.envelopes.iter_mut().zip(self.payload.chunks_exact_mut(STRIDE)).zip(&mut self.vectors);
        for (header, ((envelope, payload), vector)) in self.headers.iter_mut().zip(buffers).take(offered) {
            *vector = iovec { iov_base: payload.as_mut_ptr().cast(), iov_len: PAYLOAD };
            *header = blank();
            header.msg_hdr.msg_name = (&raw mut envelope.peer).cast();
            header.msg_hdr.msg_namelen = size_of::<sockaddr_storage>() as socklen_t;
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = envelope.control.as_mut_ptr();
            header.msg_hdr.msg_controllen = CONTROL_BYTES as _;
        }
        let (headers, len) = (self.headers.as_mut_ptr(), offered as c_uint);
        // SAFETY: `len` headers, no more than there are, each pointing to buffers of `self` that are as long as it says
        // and that nothing else touches during the call.
        let count = unsafe { libc::recvmmsg(socket.as_raw_fd(), headers, len, MSG_DONTWAIT, ptr::null_mut()) };
        self.came = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        self.received = self.came;
        Ok(Received { datagrams: self.came, all: self.came < offered })
    }

    /// Shows each received datagram to `respond`, which may write an answer over it and returns its length; `None` is
    /// no answer. The answers are queued; none is longer than its request.
    pub(super) fn answer(&mut self, mut respond: impl FnMut(Datagram<'_>) -> Option<usize>) {
        let buffers = self.envelopes.iter_mut().zip(self.payload.chunks_exact_mut(STRIDE));
        for (place, (header, (envelope, payload))) in self.headers.iter().zip(buffers).enumerate().take(self.received) {
            let Some(bytes) = payload.get_mut(..header.msg_len as usize) else { continue };
            let truncated = header.msg_hdr.msg_flags & MSG_TRUNC != 0;
            let peer = peer(&envelope.peer, header.msg_hdr.msg_namelen);
            let told = envelope.control.read(header.msg_hdr.msg_controllen);
            let Some(len) = respond(Datagram { bytes, truncated, peer, told }) else { continue };
            self.answers.push(Answer {
                place,
                peer_bytes: header.msg_hdr.msg_namelen,
                control_bytes: told.hit.map_or(0, |hit| envelope.control.write(hit)),
                way: (peer, told.hit.map(|hit| (hit.address(), hit.interface()))),
                len: len.min(header.msg_len as usize),
            });
        }
        self.received = 0;
    }

    /// Sends the queued answers without waiting, and tells what became of them. Where `together` is set, those that can
    /// go as one message do; it is unset when the kernel does not take that, and then each goes alone.
    pub(super) fn send(&mut self, socket: BorrowedFd<'_>, together: &Cell<bool>, mut tell: impl FnMut(Sent)) {
        let mut done = 0;
        while done < self.answers.len() {
            self.point(done, together.get());
            let (headers, len) = (self.headers.as_mut_ptr(), self.runs.len() as c_uint);
            // SAFETY: `point` has just pointed so many headers to buffers of `self`, which the kernel only reads.
            let count = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers, len, MSG_DONTWAIT) };
            done += match usize::try_from(count) {
                Ok(count) => {
                    let datagrams = self.runs.iter().take(count).sum();
                    let bytes = self.headers.iter().take(count).map(|header| u64::from(header.msg_len)).sum();
                    tell(Sent::Out { datagrams: datagrams as u64, bytes });
                    datagrams
                }
                Err(_) => {
                    let first = self.runs.first().copied().unwrap_or(1);
                    let (gone, cause) = match io::Error::last_os_error().raw_os_error() {
                        Some(libc::EINTR) => continue,
                        Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => {
                            (self.answers.len() - done, Drop::SendBuffer)
                        }
                        // The path takes only less, or its device or its encryption can't cut.
                        Some(libc::EMSGSIZE | libc::EINVAL | libc::EIO) if first > 1 => {
                            together.set(false);
                            continue;
                        }
                        Some(libc::EMSGSIZE) => (1, Drop::Oversize),
                        _ => (first, Drop::Unsendable),
                    };
                    tell(Sent::Lost { datagrams: gone as u64, cause });
                    gone
                }
            };
        }
        self.answers.clear();
    }

    /// Points headers to the answers from the one with number `first` on, a run of those that may go `together` to each.
    fn point(&mut self, first: usize, together: bool) {
        let answers = self.answers.get(first..).unwrap_or_default();
        self.runs.clear();
        if together {
            self.runs.extend(answers.chunk_by(Answer::goes_with).map(<[_]>::len));
        } else {
            self.runs.resize(answers.len(), 1);
        }
        for (vector, answer) in self.vectors.iter_mut().zip(answers) {
            let payload = self.payload.get(answer.place * STRIDE..).unwrap_or_default();
            *vector = iovec { iov_base: payload.as_ptr().cast_mut().cast(), iov_len: answer.len };
        }
        let (mut answers, mut vectors) = (answers, &mut *self.vectors);
        let mut envelopes = self.envelopes.iter_mut().enumerate();
        for (header, run) in self.headers.iter_mut().zip(self.runs.iter().copied()) {
            let Some((answer, _)) = answers.split_first() else { return };
            // Answers are in the order of their requests.
            let Some((_, envelope)) = envelopes.find(|(place, _)| *place == answer.place) else { return };
            let Some((parts, rest)) = std::mem::take(&mut vectors).split_at_mut_checked(run) else { return };
            *header = blank();
            header.msg_hdr.msg_name = (&raw mut envelope.peer).cast();
            header.msg_hdr.msg_namelen = answer.peer_bytes;
            header.msg_hdr.msg_iov = parts.as_mut_ptr();
            header.msg_hdr.msg_iovlen = run as _;
            let cut = if run > 1 { envelope.control.cut(answer.control_bytes, answer.len as u16) } else { 0 };
            header.msg_hdr.msg_controllen = (answer.control_bytes + cut) as _;
            if header.msg_hdr.msg_controllen > 0 {
                header.msg_hdr.msg_control = envelope.control.as_mut_ptr();
            }
            (answers, vectors) = (answers.get(run..).unwrap_or_default(), rest);
        }
    }
}

#[cfg(test)]
mod tests;
