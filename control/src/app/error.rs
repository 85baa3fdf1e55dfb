//! Why the control plane could not start, or had to stop.
//!
//! Made in the app only; printed by `main`, one line a mistake.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use echo_proto::codec::FieldErrors;

use crate::store::StoreError;

/// Ends the process.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A port that can't be had.
    #[error("cannot bind {address}: {cause}; is another control running? choose another address with --{flag}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// The flag that says so.
        flag: &'static str,
        /// The system's reason.
        cause: io::Error,
    },
    /// The bootstrap pool's file can't be read.
    #[error("cannot read {}: {cause}; check --bootstrap-pool", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
    /// The pool files' folder can't be read.
    #[error("cannot read the folder {}: {cause}; check --pools-from", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
    /// The bootstrap pool is not valid.
    #[error("{}", lines(path, errors))]
    Pool {
        /// The file.
        path: PathBuf,
        /// All that is wrong with it.
        errors: FieldErrors,
    },
    /// The state directory is another's, or can't be used.
    #[error("state directory {}: {cause}", path.display())]
    StateDir {
        /// The directory.
        path: PathBuf,
        /// Who uses it, or the system's reason.
        cause: String,
    },
    /// An etcd URL that is none.
    #[error("{0}; check --etcd")]
    Etcd(StoreError),
    /// Something of the system that should not fail.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A part that must not end has ended.
    #[error("{0} has ended; see the log")]
    TaskEnded(String),
}

fn lines(path: &std::path::Path, errors: &FieldErrors) -> String {
    let lines: Vec<String> = errors.0.iter().map(|e| format!("{}: {e}", path.display())).collect();
    lines.join("\n")
}
