//! Files that are written whole or not at all.
//!
//! Used by `up` and `config`. Whenever the power fails, the old text is there or the new one.

use std::io::{self, Write as _};
use std::path::Path;

use tempfile::NamedTempFile;

/// Replaces a file, or what a symbolic link leads to. It is its owner's alone.
///
/// # Errors
/// It can't be written; the old text is still there then.
pub(crate) fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    // The parent of a bare name is the empty path.
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Beside the old one: only within a file system is a rename atomic.
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(&target)?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn a_file_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pool.yaml");
        for text in ["a longer text", "a text"] {
            write_whole(&file, text).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let link = dir.path().join("link");
        symlink(&file, &link).unwrap();
        write_whole(&link, "through a link").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "through a link");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left beside them");
        assert!(write_whole(&dir.path().join("none/pool.yaml"), "no").is_err());
    }
}
