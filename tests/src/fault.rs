//! Breaks one thread of a process that runs, as a fault of the kernel or of our own would: no seam in the product is
//! needed for it. It writes the registers of x86_64; elsewhere there is no such module.
#![cfg(target_arch = "x86_64")]

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::eventually;

/// Until a thread is met in a wait for events: it wakes for a moment at every timer of its own.
const MET: Duration = Duration::from_secs(10);

/// Makes the wait for events of the thread `name` of process `pid` fail with "bad file descriptor". Its runtime can't go
/// on after that.
///
/// # Panics
/// When there is no such thread, or it is never met waiting for events.
pub fn fail_wait_for_events(pid: u32, name: &str) {
    let thread = thread(pid, name);
    ptrace::seize(thread, ptrace::Options::empty()).expect("may trace what the test started");
    eventually(&format!("{name} waits for events"), MET, || {
        ptrace::interrupt(thread).expect("a traced thread can be stopped");
        let stopped = waitpid(thread, Some(WaitPidFlag::__WALL)).expect("a traced thread stops");
        assert!(matches!(stopped, WaitStatus::PtraceEvent(..)), "{stopped:?}");
        let mut registers = ptrace::getregs(thread).expect("a stopped thread has registers");
        let call = i64::try_from(registers.orig_rax).unwrap_or(-1);
        if ![nix::libc::SYS_epoll_wait, nix::libc::SYS_epoll_pwait].contains(&call) {
            ptrace::cont(thread, None).expect("a stopped thread can go on");
            return Err(format!("it is in system call {call}"));
        }
        // What the call returns; it has been interrupted, and is not started again.
        registers.rax = (-i64::from(Errno::EBADF as i32)).cast_unsigned();
        ptrace::setregs(thread, registers).expect("a stopped thread takes registers");
        Ok(())
    });
    ptrace::detach(thread, None).expect("a stopped thread can be let go");
}

fn thread(pid: u32, name: &str) -> Pid {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs").flatten();
    let named =
        |path: &std::path::Path| std::fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim_end() == name);
    let found = threads.map(|entry| entry.path()).find(|path| named(path));
    let path = found.unwrap_or_else(|| panic!("process {pid} has no thread {name}"));
    let id = path.file_name().and_then(|id| id.to_str()?.parse().ok());
    Pid::from_raw(id.expect("a thread's folder is its number"))
}
