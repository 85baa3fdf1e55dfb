//! What no crate asks the kernel for: the error of its clock, and a count of what a socket dropped.
//!
//! Used by the prober. The only module of this crate with unsafe code.
#![allow(unsafe_code)]

use std::io;
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

/// Has each datagram bring the number of those that the socket had no room for.
pub(super) fn count_overflow(socket: &impl AsFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    let (fd, len) = (socket.as_fd().as_raw_fd(), size_of_val(&on) as libc::socklen_t);
    // SAFETY: the descriptor is open while it is borrowed, and the value is an int of the length that is told.
    let result = unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, (&raw const on).cast(), len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
