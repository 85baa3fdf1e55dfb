//! Where the programs are that the tests run: ours beside the test binary, foreign ones in PATH or `target/tools`.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A binary of this workspace.
///
/// # Panics
/// When it was not built.
pub fn ours(name: &str) -> PathBuf {
    let path = target_dir().join(name);
    assert!(path.exists(), "{} is missing; build it first: cargo build --workspace --bins", path.display());
    path
}

/// A foreign program in PATH.
///
/// # Panics
/// When it is missing; the message says how to install it.
pub fn foreign(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{name} is not in PATH; install it: .ci/setup test"))
}

/// A program that `.ci/setup test` builds into `target/tools/bin`.
///
/// # Panics
/// When it is missing; the message says how to install it.
pub fn built(name: &str) -> PathBuf {
    let path = workspace().join("target/tools/bin").join(name);
    assert!(path.exists(), "{} is missing; install it: .ci/setup test", path.display());
    path
}

/// A file of the Python environment that `.ci/setup test` makes, such as `bin/python`; `*` stands for one name.
///
/// # Panics
/// When it is missing; the message says how to install it.
pub fn venv(pattern: &str) -> PathBuf {
    let mut path = workspace().join("target/tools/venv");
    for part in pattern.split('/') {
        path = match part.strip_suffix('*') {
            None => path.join(part),
            Some(prefix) => first_with_prefix(&path, prefix).unwrap_or_else(|| path.join(part)),
        };
    }
    assert!(path.exists(), "{} is missing; install it: .ci/setup test", path.display());
    path
}

/// The root of the checkout.
pub fn workspace() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the tests crate lies in the workspace").to_owned()
}

/// A fresh folder for one test, inside the target folder; kept when the test fails, for a look at its logs.
pub fn scratch(name: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let dir = target_dir().join("scratch").join(format!("{name}-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("can make a folder in target/");
    dir
}

/// A [`scratch`] folder that goes with whoever owns it: as its last field, after all that writes there has ended. Kept when
/// the test fails.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// A fresh one.
    pub fn new(name: &str) -> Self {
        Self(scratch(name))
    }
}

impl Deref for Scratch {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

fn first_with_prefix(dir: &Path, prefix: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(dir).ok()?;
    let mut found: Vec<_> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    found.retain(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(prefix)));
    found.into_iter().min()
}

/// `target/<profile>`: the test binary lies in its `deps`.
fn target_dir() -> PathBuf {
    let exe = std::env::current_exe().expect("a running test has a path");
    let profile = exe.ancestors().nth(2).expect("target/<profile>/deps/<test>");
    profile.to_owned()
}
