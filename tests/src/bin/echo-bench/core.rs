//! Which core a process runs on: servers on the first, the load on the last, so that neither takes the other's time.
//!
//! On a machine with one core both share it, and latencies mean little.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::Failure;

/// A part of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Core {
    /// For the server.
    First,
    /// For the load.
    Last,
}

/// Moves this thread, and what it starts from now on, to one core.
pub(crate) fn stay_on(core: Core) -> Result<(), Failure> {
    let own = Pid::from_raw(0);
    let all = CORES.get_or_init(|| sched_getaffinity(own));
    let all = all.as_ref().map_err(|e| format!("the cores of this process: {e}"))?;
    let mut usable = (0..CpuSet::count()).filter(|cpu| all.is_set(*cpu).unwrap_or(false));
    let cpu = if core == Core::First { usable.next() } else { usable.next_back() };
    let mut only = CpuSet::new();
    only.set(cpu.ok_or("no core may be used")?)?;
    sched_setaffinity(own, &only)?;
    Ok(())
}

/// The cores that were there at the start, before this program narrowed them down.
static CORES: std::sync::OnceLock<nix::Result<CpuSet>> = std::sync::OnceLock::new();
