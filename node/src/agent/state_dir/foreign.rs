//! Whether a folder may become a node's state directory: it must hold nothing that is somebody else's.
//!
//! Asked by [`super::StateDir::open`] before anything in the folder is touched. Pure reading.

use std::fs::{self, DirEntry, File};
use std::io::{self, Read as _};
use std::path::Path;

use super::{CONFIG, IDENTITY, LOCK, MAX_BYTES, REGISTRATION, StateDirError, refused};
use crate::agent::owner::MARK;

/// What a volume that was mounted there may hold, beside names that begin with a dot.
const FRESH: &str = "lost+found";
/// Ends the name of a file that is being written.
pub(super) const UNFINISHED: &str = ".new";

/// Refuses a folder that holds what is not ours.
///
/// # Errors
/// Which file that is; or the file system refuses.
pub(super) fn refuse(dir: &Path) -> Result<(), StateDirError> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|e| refused("read", dir, e))?,
    };
    match entries.flatten().find(|entry| !is_ours(entry)) {
        Some(entry) => Err(StateDirError::Foreign { dir: dir.to_owned(), file: entry.file_name().into() }),
        None => Ok(()),
    }
}

fn is_ours(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let name = name.to_string_lossy();
    match name.strip_suffix(UNFINISHED).unwrap_or(&name) {
        LOCK => begins(&entry.path(), |head| head.iter().all(|byte| byte.is_ascii_digit() || *byte == b'\n')),
        IDENTITY | REGISTRATION | CONFIG => begins(&entry.path(), |head| head.starts_with(MARK.as_bytes())),
        FRESH => true,
        other => other.starts_with('.'),
    }
}

/// Whether the file is one, and begins so. One that is empty or begins with a zero is what a crash leaves.
fn begins(path: &Path, so: impl Fn(&[u8]) -> bool) -> bool {
    // What is no file, such as a pipe, could make a reader wait.
    if !fs::symlink_metadata(path).is_ok_and(|found| found.is_file()) {
        return false;
    }
    let mut head = Vec::new();
    match File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut head)) {
        Ok(_) => head.first().is_none_or(|first| *first == 0) || so(&head),
        // Opening it for good tells why.
        Err(_) => true,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::tests::{Scratch, owner};
    use super::super::{Registered, StateDir};
    use super::*;

    fn open(scratch: &Scratch) -> Result<Option<Registered>, String> {
        StateDir::open(&scratch.0, owner("n")).map(|dir| dir.registered()).map_err(|e| e.to_string())
    }

    #[test]
    fn a_folder_that_holds_what_is_not_ours_is_refused_untouched() {
        for (name, content) in [
            ("identity", "SECRET-KEY"),
            ("config", "Host *\n"),
            ("lock", "nobody's business"),
            ("known_hosts", "a"),
            ("config.new", "Host *\n"),
            ("\u{7}", ""),
        ] {
            let scratch = Scratch::new();
            fs::create_dir(&scratch.0).unwrap();
            fs::write(scratch.0.join(name), content).unwrap();
            let told = format!("state directory {} holds {name:?}, which is no node's", scratch.0.display());
            assert!(open(&scratch).unwrap_err().starts_with(&told), "{name}");
            assert_eq!(fs::read_to_string(scratch.0.join(name)).unwrap(), content);
            assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 1, "{name}: nothing was made beside it");
        }
    }

    #[test]
    fn a_fresh_volume_and_what_a_crash_leaves_are_taken() {
        let scratch = Scratch::new();
        fs::create_dir_all(scratch.0.join("lost+found")).unwrap();
        for (name, content) in
            [(".snapshot", "x"), ("identity", ""), ("lock", "12345\n"), ("registration", "\0\0"), ("config.new", "")]
        {
            fs::write(scratch.0.join(name), content).unwrap();
        }
        assert_eq!(open(&scratch), Ok(None));
        assert_eq!(open(&scratch), Ok(None), "nor is what it holds by now anybody else's");
    }
}
