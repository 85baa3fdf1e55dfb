//! Where programs are found: beside the running one, or in PATH.
//!
//! Used by the settings for `echo-node`, and by `echoctl up` for all that it starts. It must never run one.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// A program of this workspace: beside the running one, else in PATH.
pub fn ours(name: &str) -> Option<PathBuf> {
    let own = std::env::current_exe().ok();
    let beside = own.and_then(|own| Some(own.parent()?.join(name))).filter(|path| is_program(path));
    beside.or_else(|| in_path(name))
}

/// The first program of this name in PATH.
pub fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| is_program(path))
}

/// Whether a file can be run at all.
pub fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_run_is_a_program() {
        assert!(is_program(Path::new("/bin/sh")) && !is_program(Path::new("/etc/passwd")));
        assert!(!is_program(Path::new("/bin")), "a folder is none");
        assert!(in_path("sh").is_some() && ours("sh").is_some());
        assert_eq!(ours("echo-nothing"), None);
    }
}
