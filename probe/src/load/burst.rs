//! Datagrams of one connected socket, many in one system call.
//!
//! Used by [`super::udp`], so that the load is never slower than what it loads. It must never wait.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd};

use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, getsockopt, recv, recvmmsg, sendmsg, sockopt};

/// Most datagrams in a burst: as many as every kernel cuts from one message.
pub(super) const MOST: usize = 64;
/// The longest of them: what every path of IPv6 takes as one packet, 1280 bytes with headers.
const LONGEST: usize = 1232;

/// Whether the kernel may cut datagrams of `size` bytes from one message.
pub(super) fn is_possible(socket: &impl AsFd, size: usize) -> bool {
    // A kernel that does not know how would send the whole message as one.
    size <= LONGEST && getsockopt(socket, sockopt::UdpGsoSegment).is_ok()
}

/// Whether an error says that the kernel does not cut for this path.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EIO | libc::EMSGSIZE))
}

/// Sends `messages` of `size` bytes each, all or none; more than one only where that is possible.
///
/// # Errors
/// The kernel's.
pub(super) fn send(socket: &impl AsRawFd, messages: &[u8], size: usize) -> io::Result<()> {
    let socket = socket.as_raw_fd();
    if messages.len() <= size {
        nix::sys::socket::send(socket, messages, MsgFlags::MSG_DONTWAIT)?;
        return Ok(());
    }
    let cut = u16::try_from(size).ok();
    let control: Vec<_> = cut.iter().map(ControlMessage::UdpGsoSegments).collect();
    sendmsg::<()>(socket, &[IoSlice::new(messages)], &control, MsgFlags::MSG_DONTWAIT, None)?;
    Ok(())
}

/// Takes what is there, one datagram to each `room` bytes of `buffer`, and adds their lengths to `lens`; what is longer
/// is cut off.
///
/// # Errors
/// The kernel's; `WouldBlock` when there is nothing.
pub(super) fn receive(socket: &impl AsRawFd, buffer: &mut [u8], room: usize, lens: &mut Vec<usize>) -> io::Result<()> {
    if buffer.len() < 2 * room {
        lens.push(recv(socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)?);
        return Ok(());
    }
    let parts = buffer.chunks_exact_mut(room).map(|part| [IoSliceMut::new(part)]);
    let mut parts: Vec<[IoSliceMut<'_>; 1]> = parts.collect();
    let mut headers = MultiHeaders::<()>::preallocate(parts.len(), None);
    let received = recvmmsg(socket.as_raw_fd(), &mut headers, &mut parts, MsgFlags::MSG_DONTWAIT, None)?;
    lens.extend(received.map(|datagram| datagram.bytes));
    Ok(())
}
