//! What no crate asks the kernel for: the error of its clock, and a count of what a socket dropped.
//!
//! Used by the prober. The only module of this crate with unsafe code.
#![allow(unsafe_code)]

use std::io;
use std::mem::size_of_val;
use std::os::fd::{AsFd, AsRawFd as _};
use std::time::Duration;

/// How far off the clock may be, as the kernel estimates; `None` where nobody keeps it or the kernel does not tell.
pub(super) fn clock_error() -> Option<Duration> {
    // SAFETY: all fields are numbers, for which zero is a value; mode 0 sets nothing.
    let mut kernel: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: `kernel` is writable and of the type that the call fills.
    let state = unsafe { libc::adjtimex(&raw mut kernel) };
    let kept = state >= 0 && state != libc::TIME_ERROR && kernel.status & libc::STA_UNSYNC == 0;
    kept.then(|| Duration::from_micros(u64::try_from(kernel.maxerror).unwrap_or(u64::MAX)))
}

/// Datagrams that a socket had no room for since it was opened; wraps around.
///
/// # Errors
/// The kernel's; Linux before 4.12 does not tell.
pub(super) fn drops(socket: &impl AsFd) -> io::Result<u32> {
    // With room for figures to come.
    let mut figures = [0_u32; 16];
    let (fd, mut len) = (socket.as_fd().as_raw_fd(), size_of_val(&figures) as libc::socklen_t);
    let to = figures.as_mut_ptr().cast();
    // SAFETY: the descriptor is open while it is borrowed, and `figures` is writable and as long as `len` says.
    let result = unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_MEMINFO, to, &raw mut len) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    figures.get(libc::SK_MEMINFO_DROPS as usize).copied().ok_or_else(|| io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Instant;

    use socket2::SockRef;

    use super::*;

    #[test]
    fn what_a_socket_has_no_room_for_is_told_though_nothing_comes_after_it() {
        let (socket, peer) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        SockRef::from(&socket).set_recv_buffer_size(4096).unwrap();
        assert_eq!(drops(&socket).unwrap(), 0);
        (0..1_000).for_each(|_| assert_eq!(peer.send_to(b"burst", socket.local_addr().unwrap()).unwrap(), 5));
        socket.set_nonblocking(true).unwrap();
        let (start, mut read) = (Instant::now(), 0);
        while read + drops(&socket).unwrap() < 1_000 && start.elapsed() < Duration::from_secs(10) {
            read += u32::from(socket.recv(&mut [0; 9]).is_ok());
        }
        let dropped = drops(&socket).unwrap();
        assert!(dropped > 0 && dropped + read == 1_000, "{dropped} and {read}");
    }
}
