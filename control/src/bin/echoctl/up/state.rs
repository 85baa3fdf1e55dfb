//! The state dir of a cluster on this machine: its lock, its ports, its pool file and its logs.
//!
//! Used by `up`, which alone may hold it; everything of one cluster lives below it.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::connect::io_cause;
use crate::failure::Failure;
use crate::files::write_whole;
use crate::output::human::shorten;
use crate::output::table::plain;

/// Of the state dir's layout.
const VERSION: u32 = 1;
/// A log that is larger when a process starts is set aside, so that two such files are kept at most.
const MAX_LOG_BYTES: u64 = 16 << 20;
/// Bytes of a log's end that are looked at for its last lines.
const TAIL_BYTES: u64 = 16 << 10;
/// Characters of a log's line that are shown.
const TAIL_COLUMNS: usize = 240;
/// What a new file system holds.
const FRESH: &str = "lost+found";
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
    /// Another `up` holds it, it is something else or another cluster's, or it can't be written.
    pub(super) fn open(root: &Path, cluster: &str) -> Result<Self, Failure> {
        let failed = |path: &Path, e: &io::Error| {
            let cause = io_cause(e);
            Failure::Up(format!("cannot use {}: {cause}; name another with --state-dir", path.display()))
        };
        refuse_foreign(root)?;
        let make =
            |path: &Path| DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|e| failed(path, &e));
        make(root)?;
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
        // Only now: a dir without a lock and with anything else in it is somebody else's.
        FOLDERS.iter().try_for_each(|folder| make(&root.join(folder)))?;
        own(&root, cluster)?;
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

/// A folder that holds something, but was never an `up`'s, is somebody else's.
fn refuse_foreign(root: &Path) -> Result<(), Failure> {
    let Ok(entries) = std::fs::read_dir(root) else { return Ok(()) };
    let Some(first) = entries.flatten().find(|entry| entry.file_name() != FRESH) else { return Ok(()) };
    if root.join("lock").exists() {
        return Ok(());
    }
    let (dir, first) = (root.display(), first.file_name());
    Err(Failure::Up(format!(
        "{dir} is no state dir of `up`: it holds {}; name an empty folder or a new one with --state-dir",
        plain(&first.to_string_lossy())
    )))
}

/// Notes whose state this is, or refuses that of another cluster or of another kind of `up`.
fn own(root: &Path, cluster: &str) -> Result<(), Failure> {
    let file = root.join("up.json");
    let (mine, next) = (json!({"version": VERSION, "cluster": cluster}), "name another with --state-dir");
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let text = format!("{mine}\n");
            return write_whole(&file, &text).map_err(|e| Failure::unwritable(&file, &e));
        }
        Err(e) => return Err(Failure::File { name: file.display().to_string(), cause: io_cause(&e) }),
    };
    let dir = root.display();
    match serde_json::from_str::<Value>(&text) {
        Ok(found) if found == mine => Ok(()),
        Ok(found) if found.get("version") == mine.get("version") => {
            let other = found.get("cluster").and_then(Value::as_str).unwrap_or_default();
            let other = plain(other);
            Err(Failure::Up(format!("state dir {dir} is of cluster {other}; give --cluster {other}, or {next}")))
        }
        _ => {
            Err(Failure::Up(format!("state dir {dir} is of another version of `up`, says {}; {next}", file.display())))
        }
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
        let held = StateDir::open(&root, "lab").unwrap();
        let told = StateDir::open(&root, "lab").unwrap_err().to_string();
        assert!(told.contains(&format!("in use by pid {}", std::process::id())), "{told}");
        drop(held);
        StateDir::open(&root, "lab").unwrap();
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn a_fresh_volume_and_one_that_was_only_locked_are_taken() {
        for entry in ["lost+found/", "lock"] {
            let root = scratch("fresh");
            std::fs::create_dir_all(&root).unwrap();
            let path = root.join(entry);
            if entry.ends_with('/') {
                std::fs::create_dir(path).unwrap()
            } else {
                std::fs::write(path, "").unwrap()
            };
            StateDir::open(&root, "lab").unwrap();
            std::fs::remove_dir_all(&root).unwrap();
        }
    }

    #[test]
    fn what_belongs_to_others_is_refused_by_name() {
        let root = scratch("foreign");
        drop(StateDir::open(&root, "lab").unwrap());
        let told = StateDir::open(&root, "prod").unwrap_err().to_string();
        assert!(told.contains("is of cluster lab; give --cluster lab"), "{told}");
        std::fs::write(root.join("up.json"), "{\"version\": 2}").unwrap();
        assert!(StateDir::open(&root, "lab").unwrap_err().to_string().contains("another version of `up`"));
        std::fs::remove_dir_all(&root).unwrap();
        std::fs::create_dir_all(root.join("photos")).unwrap();
        let told = StateDir::open(&root, "lab").unwrap_err().to_string();
        assert!(told.contains("no state dir of `up`: it holds photos"), "{told}");
        assert!(!root.join("etcd").exists(), "nothing was made in it");
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
