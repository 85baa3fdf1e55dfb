//! The lifeline: standard input, whose other end `echoctl up` alone holds. When it ends, so does this process, at once.
//!
//! Watched by a thread of its own, since a busy runtime must not delay it. Nothing is drained: `up` was killed, and
//! nothing of what it started may be left behind.

use std::io::{self, Read as _};

/// Exit code when the lifeline ends.
const LOST: i32 = 1;

/// Ends the process when standard input does.
///
/// # Errors
/// No thread could be made.
pub fn watch() -> io::Result<()> {
    let wait = || {
        let mut byte = [0];
        loop {
            match io::stdin().lock().read(&mut byte) {
                Ok(0) => std::process::exit(LOST),
                // Nobody writes to it; whoever does is not heard.
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => std::process::exit(LOST),
            }
        }
    };
    std::thread::Builder::new().name("lifeline".to_owned()).spawn(wait).map(drop)
}
