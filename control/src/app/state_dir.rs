//! The state directory: what outlives the process, for one control at a time.
//!
//! Locked by the app before anything else. `control/` is this process's own; `nodes/` and `logs/` are the scaler's. It
//! belongs to the cluster that it was first used for.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use echo_proto::ids::ClusterName;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::AppError;

/// A directory that no other control uses.
#[derive(Debug)]
pub(super) struct StateDir {
    own: PathBuf,
    _lock: Flock<File>,
}

impl StateDir {
    pub(super) fn lock(path: &Path, cluster: &ClusterName) -> Result<Self, AppError> {
        let refuse = |cause: String| AppError::StateDir { path: path.to_owned(), cause };
        let failed = |e: io::Error| refuse(e.to_string());
        let own = path.join("control");
        for directory in [&own, &path.join("nodes"), &path.join("logs")] {
            fs::create_dir_all(directory).map_err(failed)?;
        }
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(own.join("lock"));
        let mut lock = Flock::lock(file.map_err(failed)?, FlockArg::LockExclusiveNonblock)
            .map_err(|(file, errno)| refuse(refusal(file, errno)))?;
        lock.set_len(0).map_err(failed)?;
        writeln!(lock, "{}", std::process::id()).map_err(failed)?;
        let owner = own.join("cluster");
        match fs::read_to_string(&owner) {
            Ok(other) if other.trim() != cluster.as_str() => {
                let other = other.trim();
                return Err(refuse(format!(
                    "belongs to cluster {other}, not {cluster}; choose another with --state-dir"
                )));
            }
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                fs::write(&owner, format!("{cluster}\n")).map_err(failed)?
            }
            Err(e) => return Err(failed(e)),
        }
        Ok(Self { own, _lock: lock })
    }

    pub(super) fn lease_file(&self) -> PathBuf {
        self.own.join("lease")
    }
}

/// Why the lock can't be had: another holds it, or the file system has no locks.
fn refusal(mut file: File, errno: Errno) -> String {
    if errno != Errno::EWOULDBLOCK {
        return format!("cannot lock it: {}; choose another with --state-dir", errno.desc());
    }
    let mut pid = String::new();
    // Only for the message.
    let _ = file.read_to_string(&mut pid);
    format!("used by another control, pid {}", pid.trim())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_in_use_or_of_another_cluster_is_refused_with_its_owner() {
        let path = std::env::temp_dir().join(format!("echo-state-{}", std::process::id()));
        let lock = |cluster: &str| StateDir::lock(&path, &cluster.parse().unwrap());
        let held = lock("a").unwrap();
        let pid = format!("pid {}", std::process::id());
        assert!(lock("a").unwrap_err().to_string().contains(&pid));
        drop(held);
        assert!(lock("b").unwrap_err().to_string().contains("belongs to cluster a, not b"));
        drop(lock("a").unwrap());
        fs::remove_dir_all(&path).unwrap();
    }
}
