//! The state dir of a cluster on this machine: its lock, its ports, its pool file and its logs.
//!
//! Used by `up`, which alone may hold it; everything of one cluster lives below it.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::connect::io_cause;
use crate::failure::Failure;
use crate::output::human::shorten;
use crate::output::table::plain;

/// A log that is larger when a process starts is set aside, so that two such files are kept at most.
const MAX_LOG_BYTES: u64 = 16 << 20;
/// Bytes of a log's end that are looked at for its last lines.
const TAIL_BYTES: u64 = 16 << 10;
/// Characters of a log's line that are shown.
const TAIL_COLUMNS: usize = 240;
/// Folders below the state dir.
const FOLDERS: [&str; 4] = ["etcd", "logs", "nodes", "control"];

/// A state dir that no other `up` uses, until this is dropped.
#[derive(Debug)]
pub(super) struct StateDir {
    root: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Makes and locks the state dir.
    ///
    /// # Errors
    /// Another `up` holds it, or it can't be written.
    pub(super) fn open(root: &Path) -> Result<Self, Failure> {
        let failed = |path: &Path, e: &io::Error| {
            let cause = io_cause(e);
            Failure::Up(format!("cannot use {}: {cause}; name another with --state-dir", path.display()))
        };
        for folder in FOLDERS {
            let path = root.join(folder);
            DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(|e| failed(&path, &e))?;
        }
        let root = root.canonicalize().map_err(|e| failed(root, &e))?;
        let path = root.join("lock");
        let opened = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
        let mut lock = opened.map_err(|e| failed(&path, &e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(&root, &mut lock)),
            Err(TryLockError::Error(e)) => return Err(failed(&path, &e)),
        }
        let noted = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        noted.map_err(|e| failed(&path, &e))?;
        Ok(Self { root, _lock: lock })
    }

    /// Where it is.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The data of the private etcd.
    pub(super) fn etcd_data(&self) -> PathBuf {
        self.root.join("etcd")
    }

    /// The ports that were chosen once.
    pub(super) fn ports_file(&self) -> PathBuf {
        self.root.join("ports.json")
    }

    /// The pool that the cluster began with.
    pub(super) fn pool_file(&self) -> PathBuf {
        self.root.join("pool.yaml")
    }

    /// The folder of all logs.
    pub(super) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// The log of `process`.
    pub(super) fn log(&self, process: &str) -> PathBuf {
        self.logs().join(format!("{process}.log"))
    }
}

fn in_use(root: &Path, lock: &mut File) -> Failure {
    let mut pid = String::new();
    // Without a pid to name, the rest still holds.
    let _ = lock.take(32).read_to_string(&mut pid);
    let pid = pid.trim();
    Failure::Up(format!(
        "state dir {} is in use by pid {pid}; stop that one with `kill {pid}`, or name another with --state-dir",
        root.display()
    ))
}

/// The state dir where none is named: `$XDG_STATE_HOME/echo`, else `~/.local/state/echo`.
///
/// # Errors
/// Neither variable is set.
pub(super) fn default_root() -> Result<PathBuf, Failure> {
    let var = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = var("XDG_STATE_HOME").filter(|path| path.is_absolute());
    let base = base.or_else(|| var("HOME").map(|home| home.join(".local/state")));
    let unknown = || Failure::Up("there is no HOME to keep state in; name a folder with --state-dir".to_owned());
    base.map(|base| base.join("echo")).ok_or_else(unknown)
}

/// Opens a log to append to, and sets a large one aside.
///
/// # Errors
/// It can't be written.
pub(super) fn open_log(path: &Path) -> io::Result<File> {
    if path.metadata().is_ok_and(|m| m.len() > MAX_LOG_BYTES) {
        std::fs::rename(path, path.with_extension("log.1"))?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

/// The last `lines` of what a log holds from byte `from` on, indented; empty if there is none.
pub(super) fn tail(path: &Path, from: u64, lines: usize) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(from.max(end.saturating_sub(TAIL_BYTES))))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = all.iter().skip(all.len().saturating_sub(lines));
    last.map(|line| format!("\n    {}", shorten(&plain(line), TAIL_COLUMNS))).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("echoctl-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn a_state_dir_has_one_holder() {
        let root = scratch("held");
        let held = StateDir::open(&root).unwrap();
        let told = StateDir::open(&root).unwrap_err().to_string();
        assert!(told.contains(&format!("in use by pid {}", std::process::id())), "{told}");
        drop(held);
        StateDir::open(&root).unwrap();
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn a_tail_begins_where_it_is_told() {
        let root = scratch("tail");
        std::fs::create_dir_all(&root).unwrap();
        let log = root.join("a.log");
        std::fs::write(&log, "old\none\n\ntwo\nthree\n").unwrap();
        assert_eq!(tail(&log, 4, 2), "\n    two\n    three");
        assert_eq!(tail(&log, 4, 9), "\n    one\n    two\n    three");
        assert_eq!(tail(&root.join("none"), 0, 9), "");
        std::fs::remove_dir_all(&root).unwrap();
    }
}
