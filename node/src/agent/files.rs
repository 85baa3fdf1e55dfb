//! How many files the process has open, and may have.
//!
//! Asked by the Agent service, for `echoctl doctor`. The kernel lists the files one by one: never on a thread that must not
//! wait, and no more than once in a while, however many ask.

use std::io;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

/// How old a count may be.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// Files of this process; 0 is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Files {
    /// Open at the last count.
    pub open: u32,
    /// The soft limit.
    pub max: u32,
}

/// The last count. One caller counts, the others wait for it.
#[derive(Debug, Default)]
pub struct FileCount(Mutex<Option<(Instant, Files)>>);

impl FileCount {
    /// The files of this process.
    pub async fn get(&self) -> Files {
        let mut last = self.0.lock().await;
        if let Some((at, files)) = *last
            && at.elapsed() < FRESH_FOR
        {
            return files;
        }
        let files = spawn_blocking(count).await.unwrap_or_default();
        *last = Some((Instant::now(), files));
        files
    }
}

fn count() -> Files {
    let max = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| u32::try_from(soft).unwrap_or(u32::MAX));
    // The directory itself is open while it is read.
    let listed = std::fs::read_dir("/proc/self/fd").map(|entries| entries.count().saturating_sub(1));
    Files { open: open(listed, max), max }
}

/// Who can't open the list because there is no file left has them all open.
fn open(listed: io::Result<usize>, max: u32) -> u32 {
    match listed {
        Ok(open) => u32::try_from(open).unwrap_or(u32::MAX),
        Err(error) if error.raw_os_error() == Some(Errno::EMFILE as i32) => max,
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_left_is_told_as_all_of_them() {
        let refused = |errno: Errno| Err(io::Error::from(errno));
        let told = [open(Ok(12), 100), open(refused(Errno::EMFILE), 100), open(refused(Errno::EACCES), 100)];
        assert_eq!(told, [12, 100, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_count_is_good_for_a_while() {
        let known = Files { open: 1, max: 2 };
        let count = FileCount(Mutex::new(Some((Instant::now(), known))));
        assert_eq!(count.get().await, known);
        tokio::time::advance(FRESH_FOR).await;
        let anew = count.get().await;
        assert!(anew.open > 3 && anew.max > anew.open, "{anew:?}");
    }
}
