//! The processes below `up`: started, watched and reaped here, whoever their parent was.
//!
//! Used by `up` only. `up` is the subreaper: when control dies, its nodes become children of `up`, and go on. Nothing
//! else may wait for a child of this process, or exits would be lost; `tokio::process` is therefore not used.

use std::collections::HashMap;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fmt, io};

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid, getppid};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// By itself.
    Code(i32),
    /// By a signal.
    Signal(Signal),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "ended with exit status {code}"),
            Self::Signal(signal) => write!(f, "was ended by {signal}"),
        }
    }
}

/// Who waits for the end of which child.
type Waiting = Arc<Mutex<HashMap<Pid, oneshot::Sender<Exit>>>>;

/// Starts and reaps.
#[derive(Debug)]
pub(super) struct Children {
    waiting: Waiting,
    reaped: watch::Receiver<u64>,
}

impl Children {
    /// Makes this process the subreaper and begins to reap.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn new() -> io::Result<Self> {
        prctl::set_child_subreaper(true)?;
        let mut ended = signal(SignalKind::child())?;
        let waiting = Waiting::default();
        let (count, reaped) = watch::channel(0);
        let known = Arc::clone(&waiting);
        tokio::spawn(async move {
            while ended.recv().await.is_some() {
                reap(&known);
                count.send_modify(|count| *count += 1);
            }
        });
        Ok(Self { waiting, reaped })
    }

    /// Starts a program in a process group of its own, so that Ctrl-C on the terminal reaches `up` alone.
    ///
    /// # Errors
    /// The program can't be started.
    pub(super) fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        let (sender, exit) = oneshot::channel();
        // Held over the start: the child could end, and be reaped, before it is known.
        let mut waiting = lock(&self.waiting);
        let child = command.process_group(0).spawn()?;
        let pid = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
        waiting.insert(pid, sender);
        Ok(Child { pid, exit, ended: None })
    }

    /// Waits until some process was reaped since the last call.
    pub(super) async fn changed(&mut self) {
        // The reaper ends with the runtime only.
        let _ = self.reaped.changed().await;
    }
}

/// Ends the program with `up`, even when `up` is killed.
///
/// The kernel sends the signal when the *thread* ends that started the program; `up` starts everything from the main
/// thread, which lives as long as the process.
#[allow(unsafe_code)]
pub(super) fn die_with_parent(command: &mut Command) {
    let parent = getpid();
    let before_exec = move || {
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        // Had `up` died before that call, the signal would never come.
        if getppid() == parent { Ok(()) } else { Err(io::Error::from(Errno::ESRCH)) }
    };
    // SAFETY: runs between fork and exec; prctl(2) and getppid(2) are async-signal-safe, and neither the calls nor
    // their errors allocate or take a lock.
    unsafe { command.pre_exec(before_exec) };
}

fn lock(waiting: &Waiting) -> MutexGuard<'_, HashMap<Pid, oneshot::Sender<Exit>>> {
    // A map is whole after any panic of its user.
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reaps all that ended; SIGCHLD tells only that there is at least one.
fn reap(waiting: &Waiting) {
    loop {
        let (pid, exit) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => (pid, Exit::Code(code)),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, Exit::Signal(signal)),
            Err(Errno::EINTR) => continue,
            // Nothing more to reap, or no children at all.
            Ok(_) | Err(_) => return,
        };
        // Nobody waits for the nodes: control watches them, and `up` only counts.
        if let Some(sender) = lock(waiting).remove(&pid) {
            let _ = sender.send(exit);
        }
    }
}

/// A process that `up` started.
#[derive(Debug)]
pub(super) struct Child {
    pid: Pid,
    exit: oneshot::Receiver<Exit>,
    ended: Option<Exit>,
}

impl Child {
    /// Its process id.
    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits for its end; once it ended, answers at once. Can be given up and called again.
    pub(super) async fn exit(&mut self) -> Exit {
        if let Some(exit) = self.ended {
            return exit;
        }
        // The reaper drops no sender without an answer while the runtime lives.
        let exit = (&mut self.exit).await.unwrap_or(Exit::Code(0));
        self.ended = Some(exit);
        exit
    }

    /// Sends a signal, unless it ended: its id may belong to another process by then.
    pub(super) fn signal(&mut self, signal: Signal) {
        if self.ended.is_none() {
            self.ended = self.exit.try_recv().ok();
        }
        if self.ended.is_none() {
            // It may have ended just now, not reaped yet; that is what the signal was to achieve.
            let _ = kill(self.pid, signal);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// One test: a process has one reaper.
    #[tokio::test]
    async fn exits_reach_who_waits() {
        let children = Children::new().unwrap();
        let mut fails = children.spawn(Command::new("/bin/sh").args(["-c", "exit 3"])).unwrap();
        assert_eq!(fails.exit().await, Exit::Code(3));
        assert_eq!(fails.exit().await.to_string(), "ended with exit status 3");
        fails.signal(Signal::SIGTERM);

        let mut command = Command::new("/bin/sleep");
        die_with_parent(&mut command);
        let mut sleeps = children.spawn(command.arg("600")).unwrap();
        sleeps.signal(Signal::SIGTERM);
        assert_eq!(sleeps.exit().await, Exit::Signal(Signal::SIGTERM));
        assert!(children.spawn(&mut Command::new("/nonexistent")).is_err());
    }
}
