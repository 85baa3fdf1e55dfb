//! A look at the folder that does not wait for ever: a network file system may never answer.
//!
//! Used by the pool files' task. There is one look at a time; one that hangs is waited for again, and has a thread of its
//! own, so that it keeps nothing else from ending.

use std::path::Path;
use std::time::Duration;

use tokio::sync::oneshot::{Receiver, channel};

use super::Found;

/// How long a look may take until that is told.
const DEADLINE: Duration = Duration::from_secs(10);

/// Looks at a folder, again and again.
#[derive(Debug, Default)]
pub(super) struct Looker {
    /// The look that is under way.
    running: Option<Receiver<Found>>,
}

impl Looker {
    /// What `read` finds in the folder; may be dropped while it waits.
    pub(super) async fn look(&mut self, folder: &Path, read: fn(&Path) -> Found) -> Found {
        let running = match &mut self.running {
            Some(running) => running,
            none => none.insert(begin(folder, read)?),
        };
        let Ok(found) = tokio::time::timeout(DEADLINE, running).await else {
            return Err(format!("did not answer within {}s", DEADLINE.as_secs()));
        };
        self.running = None;
        found.unwrap_or_else(|_| Err("was not read to its end".to_owned()))
    }
}

fn begin(folder: &Path, read: fn(&Path) -> Found) -> Result<Receiver<Found>, String> {
    let (told, running) = channel();
    let folder = folder.to_owned();
    let look = move || {
        // Nobody waits any more once this process ends.
        let _ = told.send(read(&folder));
    };
    std::thread::Builder::new().name("pool files".to_owned()).spawn(look).map_err(|e| e.to_string())?;
    Ok(running)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::super::folder::{Folder, Texts};
    use super::*;

    /// Held while the folder does not answer.
    static HANGS: Mutex<()> = Mutex::new(());
    static LOOKS: AtomicU32 = AtomicU32::new(0);

    fn hanging(_: &Path) -> Found {
        LOOKS.fetch_add(1, Ordering::SeqCst);
        drop(HANGS.lock().unwrap());
        Ok(Folder { identity: String::new(), texts: Texts::new() })
    }

    #[tokio::test(start_paused = true)]
    #[allow(clippy::await_holding_lock)]
    async fn a_folder_that_hangs_is_told_and_waited_for_by_one_look() {
        let mut looker = Looker::default();
        let held = HANGS.lock().unwrap();
        for _ in 0..3 {
            let told = looker.look(Path::new("/pools"), hanging).await.unwrap_err();
            assert_eq!(told, "did not answer within 10s");
        }
        // Nor by another once it was dropped while it waits.
        let short = DEADLINE / 2;
        assert!(tokio::time::timeout(short, looker.look(Path::new("/pools"), hanging)).await.is_err());
        drop(held);
        while looker.look(Path::new("/pools"), hanging).await.is_err() {
            std::thread::yield_now();
        }
        assert_eq!(LOOKS.load(Ordering::SeqCst), 1);
    }
}
