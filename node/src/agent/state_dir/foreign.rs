//! Whether a folder may become a node's state directory: it must hold nothing that is somebody else's.
//!
//! Asked by [`super::StateDir::open`] before anything in the folder is touched. Pure reading.

use std::fs::{self, DirEntry, File};
use std::io::{self, Read as _};
use std::path::Path;

use super::{CONFIG, IDENTITY, LOCK, MAX_BYTES, PORTS, REGISTRATION, StateDirError, TRIAL, refused};
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
    let entries: Vec<DirEntry> = entries.collect::<Result<_, _>>().map_err(|e| refused("read", dir, e))?;
    let kinds: Vec<Kind> = entries.iter().map(kind).collect();
    // In a folder that is a node's, strangers are its operator's, or of a later version: they are not touched.
    let owned = kinds.contains(&Kind::Marked);
    let is_foreign = |kind: &Kind| *kind == Kind::Spoilt || (*kind == Kind::Stranger && !owned);
    match entries.iter().zip(&kinds).find(|(_, kind)| is_foreign(kind)) {
        Some((entry, _)) => Err(StateDirError::Foreign { dir: dir.to_owned(), file: entry.file_name().into() }),
        None => Ok(()),
    }
}

/// What a file in the folder says about whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A node's.
    Marked,
    /// May be anybody's.
    Fresh,
    /// A name that we don't use.
    Stranger,
    /// A name that we use, but no node wrote it.
    Spoilt,
}

fn kind(entry: &DirEntry) -> Kind {
    let name = entry.file_name();
    let name = name.to_string_lossy();
    match name.strip_suffix(UNFINISHED).unwrap_or(&name) {
        LOCK => read(&entry.path(), |head| {
            let pid = head.iter().all(|byte| byte.is_ascii_digit() || *byte == b'\n');
            if pid { Kind::Fresh } else { Kind::Spoilt }
        }),
        IDENTITY | REGISTRATION | CONFIG | PORTS | TRIAL => {
            read(&entry.path(), |head| if head.starts_with(MARK.as_bytes()) { Kind::Marked } else { Kind::Spoilt })
        }
        FRESH => Kind::Fresh,
        other if other.starts_with('.') => Kind::Fresh,
        _ => Kind::Stranger,
    }
}

/// What the file's begin says. One that is empty or begins with a zero is what a crash leaves.
fn read(path: &Path, judge: impl Fn(&[u8]) -> Kind) -> Kind {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => {}
        // What is no file, such as a pipe, could make a reader wait.
        Ok(_) => return Kind::Spoilt,
        // The node that lives here has just renamed it; or opening it for good tells why.
        Err(_) => return Kind::Fresh,
    }
    let mut head = Vec::new();
    match File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut head)) {
        Ok(_) if head.first().is_none_or(|first| *first == 0) => Kind::Fresh,
        Ok(_) => judge(&head),
        Err(_) => Kind::Fresh,
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
    fn a_node_comes_back_to_its_folder_whatever_else_was_put_there() {
        let scratch = Scratch::new();
        open(&scratch).unwrap();
        fs::write(scratch.0.join("core.123"), "a dump").unwrap();
        assert_eq!(open(&scratch), Ok(None));
        fs::write(scratch.0.join("config"), "Host *\n").unwrap();
        assert!(open(&scratch).unwrap_err().contains(r#"holds "config""#), "but its own names are its own");
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
