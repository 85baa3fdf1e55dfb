//! The logs of the nodes: one file each, kept small enough.
//!
//! Opened by the launcher, trimmed by the supervisor. A node writes to the file that it was given for as long as it
//! lives, so a log can't be renamed under it: it is copied and emptied, and what is written in between is lost.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// A log that is larger is set aside, so that a node has two such files at most, in bytes.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// The log of a node, to write on where the one before it ended.
pub(super) fn open(directory: &Path, index: u32) -> io::Result<File> {
    fs::create_dir_all(directory)?;
    // Appending is what lets a log be emptied under its writer.
    OpenOptions::new().create(true).append(true).open(path(directory, index))
}

/// Sets the logs aside that have grown too large.
pub(super) fn trim(directory: &Path, indexes: impl IntoIterator<Item = u32>) {
    for index in indexes {
        let path = path(directory, index);
        if let Err(error) = trim_to(&path, MAX_BYTES) {
            tracing::warn!(%error, path = %path.display(), "a log is too large and can't be set aside");
        }
    }
}

fn trim_to(path: &Path, max: u64) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.len() > max => {
            fs::copy(path, path.with_extension("log.1"))?;
            OpenOptions::new().write(true).open(path)?.set_len(0)
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn path(directory: &Path, index: u32) -> PathBuf {
    directory.join(format!("node-{index}.log"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_large_log_is_set_aside_under_its_writer() {
        let directory = std::env::temp_dir().join(format!("echo-logs-{}", std::process::id()));
        let mut log = open(&directory, 7).unwrap();
        let path = path(&directory, 7);
        log.write_all(b"first\n").unwrap();
        trim_to(&path, 6).unwrap();
        assert!(!path.with_extension("log.1").exists(), "not yet too large");
        log.write_all(b"second\n").unwrap();
        trim_to(&path, 6).unwrap();
        log.write_all(b"third\n").unwrap();
        assert_eq!(fs::read(path.with_extension("log.1")).unwrap(), b"first\nsecond\n");
        assert_eq!(fs::read(&path).unwrap(), b"third\n");
        trim(&directory, [7, 8]);
        fs::remove_dir_all(&directory).unwrap();
    }
}
