//! The lifeline of a node that another process started: standard input, whose write end that process holds.
//!
//! Started by [`crate::app`] with `--lifeline`. When the other end is gone, so is whoever would have stopped this node.

use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Exit code when the lifeline is cut.
const CUT: i32 = 1;

/// Longest time for what is to be done before.
const LAST_WORK: Duration = Duration::from_millis(200);

/// Watches standard input on a thread of its own; its end ends the process at once, `last` being done.
///
/// # Errors
/// The thread could not be started.
pub fn watch(last: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name("lifeline".to_owned()).spawn(|| {
        // What is written is nothing to us; an error means that there is no lifeline any more.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        // A disk that hangs must not keep the process.
        let (done, ended) = mpsc::channel::<()>();
        let working = thread::Builder::new().spawn(move || {
            last();
            drop(done);
        });
        if working.is_ok() {
            let _ = ended.recv_timeout(LAST_WORK);
        }
        std::process::exit(CUT);
    })?;
    Ok(())
}
