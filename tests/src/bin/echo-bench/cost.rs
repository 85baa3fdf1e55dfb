//! What a process has cost so far: CPU time and file descriptors.

use std::fs;
use std::time::Duration;

use nix::time::ClockId;
use nix::unistd::Pid;

use crate::Failure;

/// The unit in which Linux tells programs of CPU times, whatever it counts in itself.
const TICKS_PER_SECOND: u64 = 100;
/// Where in `/proc/PID/stat` the CPU time of ended children stands, counted after the name: user and system.
const REAPED: [usize; 2] = [13, 14];

/// User and system time of all threads of a process so far, those that have ended included, to the nanosecond.
pub(crate) fn cpu(pid: u32) -> Result<Duration, Failure> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(i32::try_from(pid)?))?;
    Ok(clock.now()?.into())
}

/// The same of a process and all that it has started: of those that have ended, to the tick, and only what somebody
/// waited for.
pub(crate) fn cpu_with_children(pid: u32) -> Result<Duration, Failure> {
    let mut sum = cpu(pid)? + reaped(pid)?;
    for child in children(pid)? {
        // What has ended since counts for its parent in the next look.
        sum += cpu_with_children(child).unwrap_or_default();
    }
    Ok(sum)
}

fn reaped(pid: u32) -> Result<Duration, Failure> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path)?;
    let (_, fields) = stat.rsplit_once(") ").ok_or(format!("{path} tells no name"))?;
    let mut ticks = 0;
    for place in REAPED {
        ticks += fields.split(' ').nth(place).ok_or(format!("{path} is short"))?.parse::<u64>()?;
    }
    Ok(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
}

fn children(pid: u32) -> Result<Vec<u32>, Failure> {
    let told = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    Ok(told.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
}

/// Processor time of the calling thread.
pub(crate) fn own_cpu() -> Result<Duration, Failure> {
    Ok(ClockId::CLOCK_THREAD_CPUTIME_ID.now()?.into())
}

/// File descriptors that a process has open.
pub(crate) fn files(pid: u32) -> Result<usize, Failure> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Read as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn what_a_child_has_cost_counts_whether_it_lives_or_not() {
        let work = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo; read -r _";
        let script = format!("sh -c '{work}' </dev/null; sh -c '{work}'");
        let mut shell = Command::new("sh");
        let mut child = shell.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // The first one has ended, and the second has worked.
        child.stdout.take().unwrap().read_exact(&mut [0; 2]).unwrap();
        let (own, all) = (cpu(child.id()).unwrap(), cpu_with_children(child.id()).unwrap());
        let ended = reaped(child.id()).unwrap();
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(ended > Duration::ZERO, "{own:?} of {all:?}");
        assert!(all > own + ended, "{own:?} and {ended:?} of {all:?}");
    }
}
