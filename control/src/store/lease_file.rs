//! The lease of the last leader on this state directory, kept in a file.
//!
//! Used by the election only. A process that was killed leaves its leader key behind for a whole TTL; its successor on
//! the same directory, which is locked, gives the lease back at once. It is an aid: a missing or unreadable file costs
//! that time and nothing else.

use std::path::PathBuf;

/// Where the lease is remembered; without a state directory, nowhere.
#[derive(Debug, Clone)]
pub struct LeaseFile(Option<PathBuf>);

impl LeaseFile {
    /// In this file.
    pub fn new(path: Option<PathBuf>) -> Self {
        Self(path)
    }

    pub(super) fn remember(&self, lease: i64) {
        let Some(path) = &self.0 else { return };
        if let Err(error) = std::fs::write(path, format!("{lease:x}\n")) {
            tracing::warn!(%error, path = %path.display(), "the leader's lease is not remembered");
        }
    }

    pub(super) fn recall(&self) -> Option<i64> {
        let text = std::fs::read_to_string(self.0.as_ref()?).ok()?;
        i64::from_str_radix(text.trim(), 16).ok()
    }

    pub(super) fn forget(&self) {
        if let Some(path) = &self.0 {
            // One that stays names a lease that is gone: revoking it again does no harm.
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_over_a_restart() {
        let path = std::env::temp_dir().join(format!("echo-lease-{}", std::process::id()));
        let file = LeaseFile::new(Some(path));
        assert_eq!(file.recall(), None);
        file.remember(0x7d3767b8e6fd7cee);
        assert_eq!(file.recall(), Some(0x7d3767b8e6fd7cee));
        file.forget();
        assert_eq!(file.recall(), None);
    }
}
