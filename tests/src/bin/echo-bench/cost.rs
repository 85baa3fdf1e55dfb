//! What a process has cost so far: CPU time, memory, file descriptors.

use std::fs;
use std::time::Duration;

use nix::time::ClockId;
use nix::unistd::Pid;

use crate::Failure;

/// User and system time of all threads of a process so far, those that have ended included, to the nanosecond.
pub(crate) fn cpu(pid: u32) -> Result<Duration, Failure> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(i32::try_from(pid)?))?;
    Ok(clock.now()?.into())
}

/// Resident memory of a process, in KiB.
pub(crate) fn rss_kib(pid: u32) -> Result<u64, Failure> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path)?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or(format!("{path} tells no VmRSS"))?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// File descriptors that a process has open.
pub(crate) fn files(pid: u32) -> Result<usize, Failure> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}
