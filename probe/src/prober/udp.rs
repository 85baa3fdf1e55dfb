//! One UDP flow: a socket that is connected to one address, and a task that reads it.
//!
//! Used by [`super::run`]. It must never wait to send: what the kernel has no room for is our own miss.

use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::sys::socket::{getsockopt, sockopt};
use rustix::net::sockopt::{Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::book::Receipt;
use super::kernel::{self, Notice};
use super::message::Form;
use super::settings::{Settings, Unfit};
use super::{Note, Notes, system};

/// Longest datagram there is, and one more byte, so that a longer answer than the request shows.
const BUFFER: usize = 65_536;
/// Asked of the kernel for answers that wait; it gives at most `net.core.rmem_max`.
const RECEIVE_BUFFER: usize = 4 << 20;

/// The sending end.
#[derive(Debug)]
pub(super) struct Line {
    flow: u32,
    v6: bool,
    socket: Arc<UdpSocket>,
    /// Sequence of the probe that the kernel's count begins with.
    base: Arc<AtomicU64>,
    /// The reader has something in its hands, of which it has not yet told.
    busy: Arc<AtomicBool>,
}

impl Line {
    /// Opens the socket, and reads it in one of `tasks`.
    pub(super) fn open(
        index: usize,
        address: SocketAddr,
        form: Form,
        settings: &Settings,
        notes: Notes,
        tasks: &mut JoinSet<()>,
    ) -> Result<Self, Unfit> {
        let socket = socket(address, settings).map_err(|source| Unfit::Socket { address, source })?;
        let flow = u32::try_from(index).unwrap_or_default();
        let (socket, base, busy) = (Arc::new(socket), Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let line = Self { flow, v6: address.is_ipv6(), socket, base, busy };
        let (socket, base, busy) = (line.socket.clone(), line.base.clone(), line.busy.clone());
        tasks.spawn(Reader { index, flow, form, socket, base, busy, notes }.run());
        Ok(line)
    }

    /// Whether there may be something that the reader has not yet told.
    pub(super) fn has_unread(&self) -> bool {
        let next = SockRef::from(&*self.socket).peek(&mut [MaybeUninit::uninit()]);
        // In this order: what the socket no longer holds, a reader took that had said so before.
        next.is_ok() || self.busy.load(Ordering::SeqCst)
    }

    /// The flow's number in its probes.
    pub(super) fn flow(&self) -> u32 {
        self.flow
    }

    /// Sends a probe at once, or tells why our host does not.
    pub(super) fn send(&self, message: &[u8], sequence: u64) -> Result<(), String> {
        let socket = SockRef::from(&*self.socket);
        // The error of an earlier probe, which the error queue tells of as well, must not keep this one back.
        let _ = socket.take_error();
        let sent = socket.send(message).or_else(|_| socket.send(message));
        sent.map(|_| ()).map_err(|error| {
            // Whether the kernel has counted it is not known: it counts anew, from the next one on.
            let _ = kernel::arm(&self.socket, self.v6);
            self.base.store(sequence, Ordering::Relaxed);
            self.explain(&error)
        })
    }

    /// Answers that the socket had no room for: also of a burst that nothing came after.
    pub(super) fn overflow(&self) -> u64 {
        // An old kernel does not tell.
        system::drops(&self.socket).unwrap_or_default().into()
    }

    fn explain(&self, error: &io::Error) -> String {
        match error.raw_os_error() {
            Some(libc::EMSGSIZE) => match getsockopt(&self.socket, sockopt::IpMtu) {
                Ok(mtu) if !self.v6 => format!("too large for the path, which takes packets of {mtu} bytes"),
                _ => "too large for the path".to_owned(),
            },
            Some(libc::ENOBUFS | libc::EAGAIN) => "our own send buffer is full".to_owned(),
            _ => error.to_string(),
        }
    }
}

fn socket(address: SocketAddr, settings: &Settings) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    // As much as the kernel gives; a smaller buffer is seen by what it drops.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    let class = settings.dscp.map(|dscp| u32::from(dscp) << 2);
    let any: SocketAddr = if address.is_ipv6() {
        class.map_or(Ok(()), |class| socket.set_tclass_v6(class))?;
        if settings.dont_fragment {
            set_ipv6_mtu_discover(&socket, Ipv6PathMtuDiscovery::DO)?;
        }
        (Ipv6Addr::UNSPECIFIED, 0).into()
    } else {
        class.map_or(Ok(()), |class| socket.set_tos_v4(class))?;
        if settings.dont_fragment {
            set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::DO)?;
        }
        (Ipv4Addr::UNSPECIFIED, 0).into()
    };
    socket.bind(&any.into())?;
    // A connected socket hears only the address that was asked, and of what is refused on the way there.
    socket.connect(&address.into())?;
    // Without the kernel's times ours are told, as such.
    let _ = kernel::arm(&socket, address.is_ipv6());
    UdpSocket::from_std(socket.into())
}

/// The receiving end.
struct Reader {
    index: usize,
    flow: u32,
    form: Form,
    socket: Arc<UdpSocket>,
    base: Arc<AtomicU64>,
    busy: Arc<AtomicBool>,
    notes: Notes,
}

impl Reader {
    async fn run(self) {
        let (mut buffer, mut control) = (vec![0; BUFFER], kernel::control());
        loop {
            if self.socket.ready(Interest::READABLE | Interest::ERROR).await.is_err() {
                return;
            }
            self.busy.store(true, Ordering::SeqCst);
            let read = || kernel::receive(&self.socket, &mut buffer, &mut control);
            let datagram = self.socket.try_io(Interest::READABLE, read);
            let at = Instant::now();
            let mut notes = self.noticed(&mut control);
            match datagram {
                Ok(datagram) => self.take(datagram, buffer.get(..datagram.len).unwrap_or_default(), at, &mut notes),
                // What the error queue tells of, or nothing.
                Err(_) if notes.is_empty() => tokio::task::yield_now().await,
                Err(_) => {}
            }
            for note in notes {
                if self.notes.send((self.index, note)).await.is_err() {
                    return;
                }
            }
            self.busy.store(false, Ordering::SeqCst);
        }
    }

    /// All that the error queue holds: when probes left comes before their answers.
    fn noticed(&self, control: &mut kernel::Control) -> Vec<Note> {
        let mut quote = [0; 1_500];
        let mut notes = Vec::new();
        while let Ok(notice) = kernel::notice(&self.socket, &mut quote, control) {
            match notice {
                Notice::Left { key, time } => {
                    let sequence = self.base.load(Ordering::Relaxed) + u64::from(key);
                    notes.push(Note::Left { sequence, at: time });
                }
                Notice::Refused { cause, quoted } => {
                    let sequence = self.form.quoted(quote.get(..quoted).unwrap_or_default());
                    notes.push(Note::Refused { sequence, cause });
                }
                Notice::Other => {}
            }
        }
        // It is empty: wait until there is more.
        let empty = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        let _ = self.socket.try_io(Interest::ERROR, empty);
        notes
    }

    fn take(&self, datagram: kernel::Datagram, bytes: &[u8], at: Instant, notes: &mut Vec<Note>) {
        notes.push(match self.form.read(self.flow, bytes) {
            Ok(told) => Note::Answer { receipt: Receipt::new(told, datagram.time), at },
            Err(_) => Note::Wrong,
        });
    }
}
