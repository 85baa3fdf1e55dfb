//! What neither tokio nor socket2 asks the kernel about a UDP socket.
//!
//! Used by [`super::udp`]. It must never block.

use std::io;
use std::mem::size_of_val;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{SK_MEMINFO_DROPS, SO_MEMINFO, SOL_SOCKET, socklen_t};

/// Figures that the kernel tells of a socket's memory (sock_diag(7)), with room for later ones.
const FIGURES: usize = 16;

/// Datagrams that came for this socket and were lost before anybody read them, mostly for want of room, since it was
/// opened; wraps around.
///
/// Unlike `SO_RXQ_OVFL`, which comes with the next datagram, this also tells of the end of a burst.
///
/// # Errors
/// The kernel's; Linux before 4.12 does not tell.
pub(super) fn drops(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut figures = [0_u32; FIGURES];
    let mut len = size_of_val(&figures) as socklen_t;
    // SAFETY: `figures` is writable and as long as `len` says.
    let result = unsafe {
        let to = figures.as_mut_ptr().cast();
        libc::getsockopt(socket.as_raw_fd(), SOL_SOCKET, SO_MEMINFO, to, &raw mut len)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    figures.get(SK_MEMINFO_DROPS as usize).copied().ok_or_else(|| io::ErrorKind::Unsupported.into())
}
