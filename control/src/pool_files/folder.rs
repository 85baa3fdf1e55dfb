//! The files of a folder, as they are at one moment.
//!
//! Used by the pool files' task. It reads, and decides nothing; what is too much or can't be read is told by its name.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::SystemTime;

use echo_proto::ids::Digest;

/// Most files that are read.
const MAX_FILES: usize = 1_000;
/// Longest file.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// Most bytes of all files together; a ConfigMap holds 1 MiB.
const MAX_BYTES: u64 = 64 << 20;
/// Another one at each start of each host, whatever it is called.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";
/// How the names of pool files end.
const ENDINGS: [&str; 3] = [".yaml", ".yml", ".json"];

/// Each file's text by its name, or why it can't be read.
pub(super) type Texts = BTreeMap<String, Result<String, String>>;

/// A folder at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folder {
    /// Which one it is, of all hosts': another one at the same path has another. Empty: not known.
    pub(super) identity: String,
    pub(super) texts: Texts,
}

/// Reads all pool files of a folder: those whose names end like one. What begins with a dot is none, as the folders that
/// a mounted ConfigMap switches between; links are followed.
///
/// # Errors
/// Why the folder can't be read.
pub(super) fn read(folder: &Path) -> Result<Folder, String> {
    let identity = identity(folder).unwrap_or_default();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| e.to_string())? {
        let name = entry.map_err(|e| e.to_string())?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && ENDINGS.iter().any(|ending| name.ends_with(ending)) {
            names.push(name);
        }
    }
    if names.len() > MAX_FILES {
        return Err(format!("{} pool files; at most {MAX_FILES}", names.len()));
    }
    let mut left = MAX_BYTES;
    let text = |name: String| {
        let text = text(&folder.join(&name), left.min(MAX_FILE_BYTES));
        left = left.saturating_sub(text.as_ref().map_or(0, |text| text.len() as u64));
        (name, text)
    };
    // In their order, so that the same ones are left out each time.
    names.sort();
    Ok(Folder { identity, texts: names.into_iter().map(text).collect() })
}

/// Its place on its file system, and when it was made: numbers are given again. The boot stands for the host.
fn identity(folder: &Path) -> Option<String> {
    let boot = std::fs::read_to_string(BOOT).ok()?;
    let found = folder.metadata().ok()?;
    let made = found.created().ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_nanos();
    Some(Digest::of_text(&format!("{} {} {} {made}", boot.trim(), found.dev(), found.ino())).to_string())
}

fn text(file: &Path, most: u64) -> Result<String, String> {
    // Looked at first: to open a pipe is to wait for who writes to it.
    if !file.metadata().map_err(|e| e.to_string())?.is_file() {
        return Err("is no regular file".to_owned());
    }
    let open = File::open(file).map_err(|e| e.to_string())?;
    let mut bytes = Vec::new();
    // One byte more than is taken, so that what is too long is seen without all of it being read.
    open.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() as u64 > most {
        return Err(format!(
            "is too long: a file may have {} MiB, and all together {} MiB",
            MAX_FILE_BYTES >> 20,
            MAX_BYTES >> 20
        ));
    }
    String::from_utf8(bytes).map_err(|e| format!("not UTF-8 text at byte {}", e.utf8_error().valid_up_to()))
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_mounted_config_map_is_read_through_its_links() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("..one")).unwrap();
        fs::write(path("..one/edge.yaml"), "one").unwrap();
        symlink("..one", path("..data")).unwrap();
        symlink("..data/edge.yaml", path("edge.yaml")).unwrap();
        fs::write(path("notes.txt"), "no pool").unwrap();
        fs::write(path("bytes.json"), [0xff]).unwrap();
        fs::create_dir(path("folder.yml")).unwrap();
        nix::unistd::mkfifo(&path("pipe.yml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let texts = read(dir.path()).unwrap().texts;
        assert_eq!(texts.keys().collect::<Vec<_>>(), ["bytes.json", "edge.yaml", "folder.yml", "pipe.yml"]);
        assert_eq!(texts["edge.yaml"], Ok("one".to_owned()));
        assert!(texts["bytes.json"].as_ref().unwrap_err().contains("not UTF-8"));
        for other in ["folder.yml", "pipe.yml"] {
            assert!(texts[other].as_ref().unwrap_err().contains("no regular file"));
        }
        assert!(read(&path("none")).unwrap_err().contains("No such file"));
    }

    #[test]
    fn another_folder_at_the_same_path_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let (path, identity) = (dir.path().join("pools"), |path: &Path| read(path).unwrap().identity);
        fs::create_dir(&path).unwrap();
        let first = identity(&path);
        fs::write(path.join("edge.yaml"), "one").unwrap();
        symlink(&path, dir.path().join("link")).unwrap();
        assert_eq!([identity(&path), identity(&dir.path().join("link"))], [first.clone(), first.clone()]);
        fs::remove_dir_all(&path).unwrap();
        fs::create_dir(&path).unwrap();
        // Not every file system tells when a folder was made.
        assert!(first.is_empty() || identity(&path) != first);
    }

    #[test]
    fn what_is_too_long_is_not_read_whole() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("long.yaml");
        fs::write(&file, "x".repeat(11)).unwrap();
        assert!(text(&file, 10).unwrap_err().starts_with("is too long"));
        assert_eq!(text(&file, 11).unwrap().len(), 11);
    }
}
