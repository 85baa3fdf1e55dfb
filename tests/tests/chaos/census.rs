//! How much of the machine the processes hold, so that a leak shows.
//!
//! Used by the chaos run, before and after, of the processes that the schedule spares: they have lived through all of it,
//! or half of it, and are no fresh ones.

use std::fmt;
use std::path::Path;

use echo_tests::Cluster;
use echo_tests::process::rss_kib;

use super::schedule::SPARED;

/// More open files than before that are no leak: connections that end, telemetry that is being read.
const FILES: usize = 16;
/// More memory than before that is no leak, in KiB: allocators keep what a busy time needed.
const MEMORY: u64 = 32 * 1024;

/// What they hold.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Census {
    node: u32,
    node_files: usize,
    node_memory: u64,
    control_files: usize,
    control_memory: u64,
}

impl Census {
    /// Looks at control and the spared node.
    pub(super) fn take(cluster: &Cluster) -> Self {
        let (control, node) = (cluster.control.pid(), cluster.node_pid(&format!("node-{SPARED}")));
        Self {
            node,
            node_files: files(node),
            node_memory: rss_kib(node).unwrap_or_default(),
            control_files: files(control),
            control_memory: rss_kib(control).unwrap_or_default(),
        }
    }

    /// That nothing holds more than before.
    #[track_caller]
    pub(super) fn assert_not_grown(&self, before: &Self) {
        assert_eq!(self.node, before.node, "the process of the spared node is another one");
        let files = self.node_files <= before.node_files + FILES && self.control_files <= before.control_files + FILES;
        let memory =
            self.node_memory <= before.node_memory + MEMORY && self.control_memory <= before.control_memory + MEMORY;
        assert!(files && memory, "{before} before, {self} after");
    }
}

impl fmt::Display for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node_files, node_memory, control_files, control_memory, .. } = self;
        let (node, control) = (node_memory / 1024, control_memory / 1024);
        write!(f, "a node {node_files} files, {node} MiB, control {control_files} files, {control} MiB")
    }
}

/// That no log below the folder tells of a panic.
pub(super) fn assert_no_panic(dir: &Path) {
    for entry in std::fs::read_dir(dir).expect("a folder can be read").flatten() {
        let path = entry.path();
        if path.is_dir() {
            assert_no_panic(&path);
        } else if path.extension().is_some_and(|extension| extension == "log") {
            let text = std::fs::read(&path).expect("a log can be read");
            let text = String::from_utf8_lossy(&text);
            let panic = text.lines().find(|line| line.contains("panicked at"));
            assert_eq!(panic, None, "{}", path.display());
        }
    }
}

fn files(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}
