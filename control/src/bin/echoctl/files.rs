//! Files that are written whole or not at all.
//!
//! Used by `up`, `config` and `backup`. Whenever the power fails, the old text is there or the new one.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;

use tempfile::NamedTempFile;

/// Replaces a file, or what a symbolic link leads to. It keeps its mode; a new one is its owner's alone. What is no
/// regular file, as a device or a pipe, is written to and stays what it is.
///
/// # Errors
/// It can't be written; the old text is still there then.
pub(crate) fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let old = path.metadata().ok();
    if old.as_ref().is_some_and(|old| !old.is_file()) {
        return OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes());
    }
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    // The parent of a bare name is the empty path.
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Beside the old one: only within a file system is a rename atomic.
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    if let Some(old) = old {
        file.as_file().set_permissions(old.permissions())?;
    }
    file.as_file().sync_all()?;
    file.persist(&target)?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};

    #[test]
    fn a_file_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pool.yaml");
        for text in ["a longer text", "a text"] {
            write_whole(&file, text).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o664)).unwrap();
        let link = dir.path().join("link");
        symlink(&file, &link).unwrap();
        write_whole(&link, "through a link").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "through a link");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o664, "its mode is kept");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left beside them");
        assert!(write_whole(&dir.path().join("none/pool.yaml"), "no").is_err());
    }

    #[test]
    fn a_pipe_is_written_to_and_stays_one() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read_to_string(pipe).unwrap()
        });
        write_whole(&pipe, "a backup").unwrap();
        assert_eq!(reader.join().unwrap(), "a backup");
        assert!(pipe.metadata().unwrap().file_type().is_fifo());
    }
}
