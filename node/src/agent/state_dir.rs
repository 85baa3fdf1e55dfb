//! What survives a restart of a node: which lease its record had, and the last good config ([`super::saved`]).
//!
//! Opened by [`crate::app`], used by the session and the applier. The directory belongs to one process at a time (flock). Writes are whole
//! or not at all: a new file is synced, then renamed over the old one. A damaged file is as good as none.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use echo_proto::ids::Incarnation;

/// Locked as long as the process lives; holds its pid, for people.
const LOCK: &str = "lock";
/// The last registration.
const REGISTRATION: &str = "registration";
/// Largest registration or lock file that is read, in bytes.
const MAX_BYTES: u64 = 4096;

/// Why the directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// Another process has it.
    #[error("state directory {} is in use by process {pid}; stop it, or choose another --state-dir", .dir.display())]
    InUse {
        /// Which directory.
        dir: PathBuf,
        /// Who has it, as far as is known.
        pid: String,
    },
    /// The file system refuses.
    #[error("state directory: {action} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A registration that was made under a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Key of the record.
    pub key: String,
    /// Lease that holds it.
    pub lease: i64,
    /// The life of the process that made it.
    pub incarnation: String,
}

/// The directory, ours until it is dropped.
#[derive(Debug)]
pub struct StateDir {
    dir: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Makes the directory if need be, and locks it.
    ///
    /// # Errors
    /// Another process has it, or the file system refuses.
    pub fn open(dir: &Path) -> Result<Self, StateDirError> {
        fs::create_dir_all(dir).map_err(|e| refused("create", dir, e))?;
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
        lock.set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(|e| refused("write", &path, e))?;
        Ok(Self { dir: dir.to_owned(), _lock: lock })
    }

    /// The registration of the process before this one, if it can be read.
    pub fn registered(&self) -> Option<Registered> {
        let text = self.read(REGISTRATION, MAX_BYTES)?;
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let lease = i64::from_str_radix(field("lease")?, 16).ok()?;
        Some(Registered { key: field("key")?.to_owned(), lease, incarnation: field("incarnation")?.to_owned() })
    }

    /// Keeps a registration. The lease is written as etcdctl shows it.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn keep(&self, key: &str, lease: i64, incarnation: &Incarnation) -> Result<(), StateDirError> {
        let text = format!("key {key}\nlease {lease:x}\nincarnation {}\n", incarnation.as_str());
        self.replace(REGISTRATION, text.as_bytes())
    }

    /// A file of the directory, if it is there, is text, and has at most `max` bytes.
    pub fn read(&self, name: &str, max: u64) -> Option<String> {
        let mut text = String::new();
        let read = File::open(self.dir.join(name)).ok()?.take(max + 1).read_to_string(&mut text).ok()?;
        (read as u64 <= max).then_some(text)
    }

    /// Puts a file into the directory, in place of the one of this name.
    ///
    /// # Errors
    /// The file system refuses; the old file is still there.
    pub fn replace(&self, name: &str, content: &[u8]) -> Result<(), StateDirError> {
        let (path, new) = (self.dir.join(name), self.dir.join(format!("{name}.new")));
        let written = File::create(&new).and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()));
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

fn refused(action: &'static str, path: &Path, source: io::Error) -> StateDirError {
    StateDirError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;

    /// A directory of its own, gone with the test.
    pub(crate) struct Scratch(pub(crate) PathBuf);

    impl Scratch {
        pub(crate) fn new() -> Self {
            Self(std::env::temp_dir().join(format!("echo-node-{}", echo_proto::ids::random_hex::<8>())))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn one_process_at_a_time() {
        let scratch = Scratch::new();
        let first = StateDir::open(&scratch.0).unwrap();
        let error = StateDir::open(&scratch.0).unwrap_err().to_string();
        assert!(error.contains(&format!("in use by process {}", std::process::id())), "{error}");
        drop(first);
        assert!(StateDir::open(&scratch.0).is_ok());
    }

    #[test]
    fn a_registration_is_kept_and_damage_is_none() {
        let scratch = Scratch::new();
        let dir = StateDir::open(&scratch.0).unwrap();
        assert_eq!(dir.registered(), None);
        let incarnation = Incarnation::random();
        dir.keep("/echo/v1/c/nodes/p/n", 0x326c_11aa, &incarnation).unwrap();
        let kept = dir.registered().unwrap();
        assert_eq!((kept.key.as_str(), kept.lease), ("/echo/v1/c/nodes/p/n", 0x326c_11aa));
        assert_eq!(kept.incarnation, incarnation.as_str());
        for garbage in ["", "lease x\nkey a\nincarnation b\n", "\u{0}\u{1}", "lease 1\n"] {
            fs::write(scratch.0.join(REGISTRATION), garbage).unwrap();
            assert_eq!(dir.registered(), None, "{garbage:?}");
        }
    }
}
