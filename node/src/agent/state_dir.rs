//! What survives a restart of a node: whose directory it is, which lease its record had, the last good config and the
//! fleet's ports ([`super::saved`]), and what is on trial ([`super::trial`]).
//!
//! Opened by [`crate::app`], used by the session and the applier. The directory belongs to one process at a time (flock),
//! and to one node for ever: each file but the lock begins with the node's name, and a directory of another node, or of
//! anything else, is not touched. Writes are whole or not at all: a new file is synced, then renamed over the old one. A
//! damaged file is as good as none.

mod error;
mod foreign;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use echo_proto::ids::Incarnation;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::owner::Owner;
pub use error::StateDirError;
use foreign::UNFINISHED;

/// Locked as long as the process lives; holds its pid, for people.
const LOCK: &str = "lock";
/// The last registration.
const REGISTRATION: &str = "registration";
/// Nothing but the owner: it is there from the first start on.
const IDENTITY: &str = "identity";
/// The last good config.
pub const CONFIG: &str = "config";
/// Where the fleet answers datagrams.
pub const PORTS: &str = "ports";
/// What is tried at the moment, or killed the process before.
pub const TRIAL: &str = "trial";
/// Largest registration or lock file, and longest name of an owner, that is read, in bytes.
const MAX_BYTES: u64 = 4096;
/// Longest wait for the disk. A stalled volume must not make the node deaf.
const DISK_LIMIT: Duration = Duration::from_secs(2);

/// A registration that was made under a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Lease that holds it.
    pub lease: i64,
    /// The life of the process that made it.
    pub incarnation: String,
}

/// The directory, ours until it is dropped.
#[derive(Debug)]
pub struct StateDir {
    dir: PathBuf,
    owner: Owner,
    _lock: File,
    /// Who waits for the disk: one at a time, however long it hangs.
    turn: Arc<Mutex<()>>,
}

impl StateDir {
    /// Makes the directory if need be, locks it, and marks it as the owner's.
    ///
    /// # Errors
    /// It holds what is no node's, another process has it, it is another node's, or the file system refuses.
    pub fn open(dir: &Path, owner: Owner) -> Result<Self, StateDirError> {
        foreign::refuse(dir)?;
        fs::create_dir_all(dir).map_err(|e| refused("create", dir, e))?;
        let dir = Self { dir: dir.to_owned(), owner, _lock: lock(dir)?, turn: Arc::default() };
        let owners = [IDENTITY, REGISTRATION, CONFIG, PORTS, TRIAL].map(|name| dir.owner_of(name));
        if let Some(owner) = owners.iter().flatten().find(|owner| **owner != dir.owner) {
            return Err(StateDirError::BelongsTo { dir: dir.dir, owner: owner.clone() });
        }
        if let [None, ..] = owners {
            dir.replace(IDENTITY, "")?;
        }
        Ok(dir)
    }

    /// Waits for `work` on a thread that may wait, but never for long. What hangs goes on alone, and comes before any
    /// later work.
    ///
    /// # Errors
    /// The disk did not answer in time.
    pub async fn wait<T: Send + 'static>(
        dir: Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, StateDirError> {
        let (path, turn) = (dir.dir.clone(), Arc::clone(&dir.turn));
        let done = async {
            let turn = turn.lock_owned().await;
            let work = move || {
                let done = work(&dir);
                drop(turn);
                done
            };
            spawn_blocking(work).await.ok()
        };
        timeout(DISK_LIMIT, done).await.ok().flatten().ok_or(StateDirError::Stalled { dir: path })
    }

    /// The registration of the process before this one, if it can be read.
    pub fn registered(&self) -> Option<Registered> {
        let text = self.read(REGISTRATION, MAX_BYTES)?;
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let lease = i64::from_str_radix(field("lease")?, 16).ok()?;
        Some(Registered { lease, incarnation: field("incarnation")?.to_owned() })
    }

    /// Keeps a registration. The lease is written as etcdctl shows it.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn keep(&self, lease: i64, incarnation: &Incarnation) -> Result<(), StateDirError> {
        self.replace(REGISTRATION, &format!("lease {lease:x}\nincarnation {}\n", incarnation.as_str()))
    }

    /// What a file of this node holds, if it is there, is text, and has at most `max` bytes.
    pub fn read(&self, name: &str, max: u64) -> Option<String> {
        let mut text = String::new();
        let max = max + MAX_BYTES;
        let read = File::open(self.dir.join(name)).ok()?.take(max + 1).read_to_string(&mut text).ok()?;
        let (owner, rest) = text.split_once('\n')?;
        (read as u64 <= max && Owner::read(owner)? == self.owner).then(|| rest.to_owned())
    }

    /// Whose file it is, if that can be read.
    fn owner_of(&self, name: &str) -> Option<Owner> {
        let mut head = Vec::new();
        File::open(self.dir.join(name)).ok()?.take(MAX_BYTES).read_to_end(&mut head).ok()?;
        Owner::read(std::str::from_utf8(head.split(|byte| *byte == b'\n').next()?).ok()?)
    }

    /// Puts a file of this node into the directory, in place of the one of this name.
    ///
    /// # Errors
    /// The file system refuses; the old file is still there.
    pub fn replace(&self, name: &str, content: &str) -> Result<(), StateDirError> {
        let (path, new) = (self.dir.join(name), self.dir.join(format!("{name}{UNFINISHED}")));
        let text = format!("{}\n{content}", self.owner.written());
        let written =
            File::create(&new).and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
        written.map_err(|e| refused("write", &new, e))?;
        fs::rename(&new, &path).map_err(|e| refused("rename", &new, e))?;
        // The rename itself lasts only once the directory is synced.
        self.sync()
    }

    /// Removes a file from the directory; one that is not there is no error.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn remove(&self, name: &str) -> Result<(), StateDirError> {
        let path = self.dir.join(name);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(refused("remove", &path, e)),
            _ => self.sync(),
        }
    }

    fn sync(&self) -> Result<(), StateDirError> {
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(|e| refused("sync", &self.dir, e))
    }
}

/// Locks the directory for this process.
fn lock(dir: &Path) -> Result<File, StateDirError> {
    let path = dir.join(LOCK);
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut lock = open.map_err(|e| refused("open", &path, e))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // Only for the message: without it the process is unknown.
            let _ = lock.take(MAX_BYTES).read_to_string(&mut pid);
            let pid = if pid.trim().is_empty() { "?".to_owned() } else { pid.trim().to_owned() };
            return Err(StateDirError::InUse { dir: dir.to_owned(), pid });
        }
        Err(TryLockError::Error(e)) => return Err(refused("lock", &path, e)),
    }
    lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id())).map_err(|e| refused("write", &path, e))?;
    Ok(lock)
}

fn refused(action: &'static str, path: &Path, source: io::Error) -> StateDirError {
    StateDirError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
pub(crate) mod tests;
