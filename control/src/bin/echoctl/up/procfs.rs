//! Which processes are below `up`, from /proc.
//!
//! Used at shutdown: after control's end the nodes are children of `up`, which never started them. Linux only, as `up`
//! is.

use nix::unistd::{Pid, getpid};

/// A process of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: Pid,
    /// The node's id, or its pid where the command line names none.
    pub(super) name: String,
}

/// The living children of this process.
///
/// None of them can be mistaken for another: a pid stays taken until this process reaps it.
pub(super) fn children() -> Vec<Process> {
    let own = getpid();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let mut found: Vec<_> = pids.filter(|pid| is_living_child(*pid, own)).map(describe).collect();
    found.sort_by_key(|process| process.pid);
    found
}

fn is_living_child(pid: i32, parent: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    read_stat(&stat).is_some_and(|(state, ppid)| ppid == parent.as_raw() && !matches!(state, 'Z' | 'X'))
}

/// State and parent of `pid (comm) S ppid ...`; comm may hold blanks and parentheses (proc_pid_stat(5)).
fn read_stat(stat: &str) -> Option<(char, i32)> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((state, fields.next()?.parse().ok()?))
}

fn describe(pid: i32) -> Process {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&bytes);
    let name = node_id(&line).map_or_else(|| format!("pid {pid}"), str::to_owned);
    Process { pid: Pid::from_raw(pid), name }
}

/// The value of `--id` in a command line of words that end in NUL.
fn node_id(line: &str) -> Option<&str> {
    let mut words = line.split('\0');
    words
        .find_map(|word| match word.strip_prefix("--id") {
            Some("") => Some(None),
            Some(value) => value.strip_prefix('=').map(Some),
            None => None,
        })?
        .or_else(|| words.next())
        .filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_cannot_confuse_the_fields() {
        assert_eq!(read_stat("7 (a) S 1 (b) c) R 42 7 7 0"), Some(('R', 42)));
        assert_eq!(read_stat(""), None);
        assert_eq!(read_stat("7 (a"), None);
    }

    #[test]
    fn a_node_is_known_by_its_id() {
        assert_eq!(node_id("echo-node\0--pool\0p\0--id\0node-3\0"), Some("node-3"));
        assert_eq!(node_id("echo-node\0--id=node-3\0"), Some("node-3"));
        assert_eq!(node_id("echo-node\0--id\0"), None);
        assert_eq!(node_id(""), None);
    }
}
