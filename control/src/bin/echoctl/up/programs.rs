//! Where the programs are: ours beside this one, then in PATH; etcd in PATH; and how this one is called.
//!
//! Used by `up`, for the others before anything is started, so that a missing one is told at once.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use echo_control::programs::{self, in_path};

use crate::failure::Failure;

/// A program of this workspace.
///
/// # Errors
/// It is neither beside this one nor in PATH.
pub(super) fn ours(name: &str) -> Result<PathBuf, Failure> {
    programs::ours(name).ok_or_else(|| {
        let own = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned));
        let folder = own.map_or_else(|| "the folder of echoctl".to_owned(), |folder| folder.display().to_string());
        Failure::Up(format!("no {name} in {folder} or in PATH; build it with `cargo build --bins`"))
    })
}

/// The etcd of this machine.
///
/// # Errors
/// There is none in PATH.
pub(super) fn etcd() -> Result<PathBuf, Failure> {
    in_path("etcd").ok_or_else(|| {
        let advice = "install it (Debian: apt-get install etcd-server) or give --etcd URL";
        Failure::Up(format!("no etcd binary in PATH; {advice}"))
    })
}

/// How to call this program again from where it was called: by its name if that finds it, else as it was called now.
pub(super) fn own_name() -> String {
    let called = std::env::args_os().next().map_or_else(PathBuf::new, PathBuf::from);
    let name = called.file_name().and_then(OsStr::to_str).unwrap_or("echoctl");
    let found = in_path(name).and_then(|path| path.canonicalize().ok());
    let is_found = found.is_some() && found == std::env::current_exe().ok().and_then(|own| own.canonicalize().ok());
    match called.to_str() {
        Some(path) if path.contains('/') && !is_found => quoted(path),
        _ => quoted(name),
    }
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_be_pasted_into_a_shell() {
        assert_eq!(quoted("target/release/echoctl"), "target/release/echoctl");
        assert_eq!(quoted("/my tools/it's"), r"'/my tools/it'\''s'");
        assert!(own_name().contains('/'), "a test binary is in no PATH: {}", own_name());
    }

    #[test]
    fn a_missing_program_is_told_with_what_to_do() {
        let told = ours("echo-nothing").map_err(|e| e.to_string());
        assert!(told.is_err_and(|text| text.contains("no echo-nothing in ") && text.contains("cargo build")));
    }
}
