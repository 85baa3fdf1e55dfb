//! A process that is ours for certain: a pidfd, so that no other process can be meant by its number.
//!
//! Used by the launcher and the supervisor. Own children are waited for (a zombie keeps its number); adopted ones are
//! another's children, and only watched.

use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::sync::Arc;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::unix::AsyncFd;
use tokio::process::Child;

/// Whose doing the end of a process was, as far as can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Somebody told it to go, and it drained first.
    InOrder,
    /// It gave up by itself.
    GaveUp,
    /// It was killed, or is another's child.
    Other,
}

/// A handle on a process.
#[derive(Debug, Clone)]
pub(super) struct Handle {
    pub(super) pid: u32,
    /// Clock ticks from the boot of the host to its start; field 22 of `/proc/<pid>/stat` (proc(5)).
    pub(super) start_time: u64,
    fd: Arc<OwnedFd>,
}

impl Handle {
    /// The process that has this number now; `None` if there is none, or it is a zombie.
    pub(super) fn open(pid: u32) -> Option<Self> {
        let raw = Pid::from_raw(i32::try_from(pid).ok()?)?;
        // In this order: a number that is used again after the pidfd was made shows another start time.
        let fd = pidfd_open(raw, PidfdFlags::empty()).ok()?;
        let start_time = start_time(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
        Some(Self { pid, start_time, fd: Arc::new(fd) })
    }

    /// Asks it to drain and exit. A process that is gone already needs no asking.
    pub(super) fn terminate(&self) {
        let _ = pidfd_send_signal(&self.fd, Signal::TERM);
    }

    /// Ends it, whatever it does.
    pub(super) fn kill(&self) {
        let _ = pidfd_send_signal(&self.fd, Signal::KILL);
    }

    /// Returns, in words, how it ended, once it did.
    pub(super) async fn ended(self, child: Option<Child>) -> (String, Ending) {
        let Some(mut child) = child else { return (self.gone().await, Ending::Other) };
        match child.wait().await {
            Ok(status) => {
                let ending = match status.code() {
                    Some(0) => Ending::InOrder,
                    Some(_) => Ending::GaveUp,
                    None => Ending::Other,
                };
                (told(status), ending)
            }
            Err(e) => (format!("its end is unknown: {e}"), Ending::Other),
        }
    }

    /// Of another's child nobody tells how it ended.
    async fn gone(self) -> String {
        // A pidfd turns readable when its process ends (pidfd_open(2)).
        #[expect(deprecated, reason = "its successor is unsafe; an OwnedFd keeps what that asks for")]
        let registered = AsyncFd::new(self.fd);
        match registered {
            Ok(fd) => match fd.readable().await {
                Ok(_) => "ended".to_owned(),
                Err(e) => format!("its end is unknown: {e}"),
            },
            Err(e) => format!("its end is unknown: {e}"),
        }
    }
}

fn told(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

/// Start time of a living process from its `stat` line; `None` for a zombie. The name, in brackets, may hold anything.
fn start_time(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    // The state is field 3.
    fields.nth(22 - 4)?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_start_time_past_any_name() {
        let tail = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(start_time(&format!("7 (a b) c) {tail}")), Some(4711));
        assert_eq!(start_time(&format!("7 (x) {}", tail.replace('S', "Z"))), None);
        assert_eq!(start_time("garbage"), None);
    }

    #[test]
    fn finds_a_living_process_only() {
        let me = Handle::open(std::process::id()).unwrap();
        assert!(me.start_time > 0);
        assert!(Handle::open(0).is_none());
        assert!(Handle::open(u32::MAX).is_none());
    }
}
