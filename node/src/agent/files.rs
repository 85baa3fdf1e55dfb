//! How many files the process has open, and may have.
//!
//! Asked by the Agent service, for `echoctl doctor`. It reads a directory of the kernel's: never from a thread that must
//! not wait.

use nix::sys::resource::{Resource, getrlimit};

/// Files of this process; 0 is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Files {
    /// Open now.
    pub open: u32,
    /// The soft limit.
    pub max: u32,
}

/// The files of this process now.
pub fn figures() -> Files {
    // The directory itself is open while it is read.
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count().saturating_sub(1));
    let max = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
    Files { open: u32::try_from(open).unwrap_or(u32::MAX), max: u32::try_from(max).unwrap_or(u32::MAX) }
}
