//! Why a node's state directory can't be used; each message says what to do.
//!
//! Made by [`super`], told by whoever opened the directory or has it write.

use std::io;
use std::path::PathBuf;

use super::DISK_LIMIT;
use crate::agent::owner::Owner;

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
    /// It is another node's.
    #[error("state directory {} belongs to {owner}; choose another --state-dir, or remove it if that node is gone for good", .dir.display())]
    BelongsTo {
        /// Which directory.
        dir: PathBuf,
        /// Whose it is.
        owner: Owner,
    },
    /// It is somebody's folder, and no node's.
    #[error("state directory {} holds {file:?}, which is no node's; name an empty or a new folder with --state-dir", .dir.display())]
    Foreign {
        /// Which directory.
        dir: PathBuf,
        /// The first of its files that is not ours.
        file: PathBuf,
    },
    /// The disk does not answer.
    #[error("state directory {}: no answer from the disk within {:.1} s", .dir.display(), DISK_LIMIT.as_secs_f32())]
    Stalled {
        /// Which directory.
        dir: PathBuf,
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
