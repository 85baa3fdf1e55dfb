//! Datagrams in batches: recvmmsg(2) and sendmmsg(2) over one set of buffers.
//!
//! Used by [`super::udp`]; it knows no service and counts nothing. Where a socket has many addresses, an answer leaves
//! from the very one that was hit ([`super::pktinfo`]). It must never keep a pointer from one call to the next: the
//! headers are pointed at the buffers anew each time.

use std::fmt;
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use libc::{
    MSG_DONTWAIT, MSG_TRUNC, c_int, c_uint, iovec, mmsghdr, sockaddr_in, sockaddr_in6, sockaddr_storage, socklen_t,
};

use super::pktinfo::{CONTROL_BYTES, Control, Told};
use super::reason::Drop;

/// Datagrams in one system call.
pub(super) const BATCH: usize = 32;
/// Room for the longest datagram, 65,507 bytes over IPv4, and for any that a smaller header leaves room for.
const PAYLOAD: usize = 64 * 1024;
/// Distance between payloads: no power of two, so that short datagrams do not all fall into the same cache sets.
const STRIDE: usize = PAYLOAD + 192;

/// Buffers for [`BATCH`] datagrams. Pages that no datagram has reached take no memory.
pub(super) struct Batch {
    payload: Box<[u8]>,
    envelopes: Box<[Envelope]>,
    headers: Box<[mmsghdr]>,
    /// Headers that hold a received datagram.
    received: usize,
    /// Headers that hold an answer, once they are given out anew.
    queued: usize,
}

/// What belongs to one datagram besides its payload.
struct Envelope {
    peer: sockaddr_storage,
    control: Control,
    vector: iovec,
}

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
        f.debug_struct("Batch").field("received", &self.received).field("queued", &self.queued).finish_non_exhaustive()
    }
}

impl Envelope {
    fn new() -> Self {
        // SAFETY: these C structures are numbers and a raw pointer, for which zero is a value.
        let (peer, vector) = unsafe { (zeroed(), zeroed()) };
        Self { peer, control: Control::default(), vector }
    }

    /// A header that points to this envelope and to `payload`.
    fn header(&mut self, payload: &mut [u8], peer_bytes: socklen_t, control_bytes: usize) -> mmsghdr {
        self.vector = iovec { iov_base: payload.as_mut_ptr().cast(), iov_len: payload.len() };
        let mut header = blank();
        header.msg_hdr.msg_name = (&raw mut self.peer).cast();
        header.msg_hdr.msg_namelen = peer_bytes;
        header.msg_hdr.msg_iov = &raw mut self.vector;
        header.msg_hdr.msg_iovlen = 1;
        if control_bytes > 0 {
            header.msg_hdr.msg_control = self.control.as_mut_ptr();
            header.msg_hdr.msg_controllen = control_bytes as _;
        }
        header
    }
}

/// Who sent a datagram; an IPv4 address in IPv6's clothes without them. Unspecified if the kernel does not say.
fn peer(storage: &sockaddr_storage) -> SocketAddr {
    match c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the storage is as large and as aligned as any address; the kernel says which one it is.
            let peer = unsafe { &*(&raw const *storage).cast::<sockaddr_in>() };
            SocketAddr::new(Ipv4Addr::from(u32::from_be(peer.sin_addr.s_addr)).into(), u16::from_be(peer.sin_port))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let peer = unsafe { &*(&raw const *storage).cast::<sockaddr_in6>() };
            let address = Ipv6Addr::from(peer.sin6_addr.s6_addr).to_canonical();
            SocketAddr::new(address, u16::from_be(peer.sin6_port))
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
        Self {
            payload: vec![0; BATCH * STRIDE].into(),
            envelopes: (0..BATCH).map(|_| Envelope::new()).collect(),
            headers: (0..BATCH).map(|_| blank()).collect(),
            received: 0,
            queued: 0,
        }
    }

    /// Takes what the socket holds, [`BATCH`] at most, without waiting; returns how many came.
    ///
    /// # Errors
    /// The kernel's; `WouldBlock` when there is nothing.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        (self.received, self.queued) = (0, 0);
        let buffers = self.envelopes.iter_mut().zip(self.payload.chunks_exact_mut(STRIDE));
        for (header, (envelope, payload)) in self.headers.iter_mut().zip(buffers) {
            let payload = payload.get_mut(..PAYLOAD).unwrap_or_default();
            *header = envelope.header(payload, size_of::<sockaddr_storage>() as socklen_t, CONTROL_BYTES);
        }
        let (headers, len) = (self.headers.as_mut_ptr(), self.headers.len() as c_uint);
        // SAFETY: `len` headers, each pointing to buffers of `self` that are as long as it says and that nothing else
        // touches during the call.
        let count = unsafe { libc::recvmmsg(socket.as_raw_fd(), headers, len, MSG_DONTWAIT, ptr::null_mut()) };
        self.received = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        Ok(self.received)
    }

    /// Shows each received datagram to `respond`, which may write an answer over it and returns its length; `None` is
    /// no answer. The answers are queued; none is longer than its request.
    pub(super) fn answer(&mut self, mut respond: impl FnMut(Datagram<'_>) -> Option<usize>) {
        let buffers = self.envelopes.iter_mut().zip(self.payload.chunks_exact_mut(STRIDE));
        for (index, (envelope, payload)) in buffers.enumerate().take(self.received) {
            let Some(header) = self.headers.get(index).copied() else { return };
            let Some(bytes) = payload.get_mut(..header.msg_len as usize) else { continue };
            let truncated = header.msg_hdr.msg_flags & MSG_TRUNC != 0;
            let peer = peer(&envelope.peer);
            let told = envelope.control.read(header.msg_hdr.msg_controllen);
            let Some(len) = respond(Datagram { bytes, truncated, peer, told }) else { continue };
            let control = told.hit.map_or(0, |hit| envelope.control.write(hit));
            let answer = bytes.get_mut(..len.min(header.msg_len as usize)).unwrap_or_default();
            if let Some(out) = self.headers.get_mut(self.queued) {
                *out = envelope.header(answer, header.msg_hdr.msg_namelen, control);
                self.queued += 1;
            }
        }
        self.received = 0;
    }

    /// Sends the queued answers without waiting, and tells what became of them.
    pub(super) fn send(&mut self, socket: BorrowedFd<'_>, mut tell: impl FnMut(Sent)) {
        let mut rest = self.headers.get_mut(..self.queued).unwrap_or_default();
        self.queued = 0;
        while !rest.is_empty() {
            // SAFETY: these headers point to buffers of `self` that `answer` has filled and nothing has touched since.
            let count =
                unsafe { libc::sendmmsg(socket.as_raw_fd(), rest.as_mut_ptr(), rest.len() as c_uint, MSG_DONTWAIT) };
            let gone = match usize::try_from(count) {
                Ok(count) => {
                    let bytes = rest.iter().take(count).map(|header| u64::from(header.msg_len)).sum();
                    tell(Sent::Out { datagrams: count as u64, bytes });
                    count
                }
                Err(_) => {
                    let (gone, cause) = match io::Error::last_os_error().raw_os_error() {
                        Some(libc::EINTR) => continue,
                        Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => (rest.len(), Drop::SendBuffer),
                        Some(libc::EMSGSIZE) => (1, Drop::Oversize),
                        _ => (1, Drop::Unsendable),
                    };
                    tell(Sent::Lost { datagrams: gone as u64, cause });
                    gone
                }
            };
            rest = rest.get_mut(gone..).unwrap_or_default();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd as _;
    use std::time::{Duration, SystemTime};

    use echo_proto::spec::Protocol;
    use socket2::SockRef;

    use super::super::order::NewSocket;
    use super::super::socket::{Claim, Group, ask_for_envelope};
    use super::*;

    /// What the kernel tells of a datagram that `client` sends to `host`, at a socket of ours on `bound`.
    fn told(bound: &str, client: &UdpSocket, host: &str) -> Option<(Told, SocketAddr)> {
        // A host without IPv6 has nothing to tell here.
        let group = Group::bind(Protocol::Udp, bound.parse().unwrap(), 1, Claim::Free).ok()?;
        let address = group.address();
        let Some(NewSocket::Udp(socket)) = group.into_sockets().next() else { return None };
        ask_for_envelope(&socket, address.ip()).unwrap();
        client.send_to(b"what is seen", (host, address.port())).unwrap();
        let (mut batch, mut seen) = (Batch::new(), None);
        while batch.receive(socket.as_fd()).is_err() {}
        batch.answer(|datagram| {
            seen = Some((datagram.told, datagram.peer));
            None
        });
        seen
    }

    #[test]
    fn the_kernel_tells_what_a_socket_asks_for_on_every_kind_of_address() {
        for (bound, own, host, many) in [
            ("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1", false),
            ("0.0.0.0:0", "127.0.0.1:0", "127.0.0.9", true),
            ("[::]:0", "127.0.0.1:0", "127.0.0.9", true),
            ("[::]:0", "[::1]:0", "::1", true),
            ("[::1]:0", "[::1]:0", "::1", false),
        ] {
            let Ok(client) = UdpSocket::bind(own) else { continue };
            if host.contains(':') {
                SockRef::from(&client).set_unicast_hops_v6(42).unwrap();
                SockRef::from(&client).set_tclass_v6(0xb8).unwrap();
            } else {
                client.set_ttl(42).unwrap();
                SockRef::from(&client).set_tos_v4(0xb8).unwrap();
            }
            let Some((told, peer)) = told(bound, &client, host) else { continue };
            assert_eq!((told.ttl, told.traffic_class), (Some(42), Some(0xb8)), "{bound} {host}");
            assert_eq!(peer, client.local_addr().unwrap());
            assert_eq!(told.hit.map(|hit| hit.address().to_string()), many.then(|| host.to_owned()));
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            let age = now.saturating_sub(told.received.unwrap());
            assert!(age < Duration::from_secs(60), "{age:?}");
        }
    }
}
