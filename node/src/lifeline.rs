//! The lifeline of a node that another process started: standard input, whose write end that process holds.
//!
//! Started by `main` with `--lifeline`. When the other end is gone, so is whoever would have stopped this node.

use std::io;
use std::thread;

/// Exit code when the lifeline is cut.
const CUT: i32 = 1;

/// Watches standard input on a thread of its own; its end ends the process at once.
///
/// # Errors
/// The thread could not be started.
pub fn watch() -> io::Result<()> {
    thread::Builder::new().name("lifeline".to_owned()).spawn(|| {
        // What is written is nothing to us; an error means that there is no lifeline any more.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        std::process::exit(CUT);
    })?;
    Ok(())
}
