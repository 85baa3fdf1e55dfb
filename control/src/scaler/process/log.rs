//! The logs of the nodes: one file each, kept small enough.
//!
//! Opened by the launcher, trimmed by the supervisor, which also looks up what a node said last. A node writes to the
//! file that it was given for as long as it lives, so a log can't be renamed under it: it is copied and emptied, and what
//! is written in between is lost.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

/// A log that is larger is set aside, so that a node has two such files at most, in bytes.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Where a last line is looked for, from the end.
const TAIL_BYTES: u64 = 4 * 1024;
/// Longest line that is repeated.
const MAX_LINE_CHARS: usize = 512;

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

/// The last line that a node wrote, if there is one.
pub(super) fn last_line(directory: &Path, index: u32) -> Option<String> {
    let mut log = File::open(path(directory, index)).ok()?;
    let length = log.metadata().ok()?.len();
    log.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES))).ok()?;
    let mut tail = Vec::new();
    log.take(TAIL_BYTES).read_to_end(&mut tail).ok()?;
    let text = String::from_utf8_lossy(&tail);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    Some(line.chars().filter(|c| !c.is_control()).take(MAX_LINE_CHARS).collect())
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
        log.write_all(b"why it ended\n\n").unwrap();
        assert_eq!(last_line(&directory, 7).as_deref(), Some("why it ended"));
        assert_eq!(last_line(&directory, 8), None);
        trim(&directory, [7, 8]);
        fs::remove_dir_all(&directory).unwrap();
    }
}
