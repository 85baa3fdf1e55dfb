//! Waiting for a condition, with a deadline; the only place of the tests that sleeps.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// Between two looks at a condition.
const INTERVAL: Duration = Duration::from_millis(20);

/// Looks until `check` is `Ok` and returns its value.
///
/// # Panics
/// When the deadline passes, with the last error.
#[track_caller]
pub fn eventually<T, E: Display>(what: &str, deadline: Duration, mut check: impl FnMut() -> Result<T, E>) -> T {
    let end = Instant::now() + deadline;
    loop {
        match check() {
            Ok(value) => return value,
            Err(error) if Instant::now() >= end => panic!("not within {deadline:?}: {what}: {error}"),
            Err(_) => pause(),
        }
    }
}

/// Looks for this long that `check` stays `Ok`.
///
/// # Panics
/// When it once is not, with the error.
#[track_caller]
pub fn throughout<E: Display>(duration: Duration, mut check: impl FnMut() -> Result<(), E>) {
    let start = Instant::now();
    while start.elapsed() < duration {
        if let Err(error) = check() {
            panic!("not for {duration:?}, after {:?}: {error}", start.elapsed());
        }
        pause();
    }
}

/// `Ok` if `holds`, else `message`: for use in [`eventually`].
///
/// # Errors
/// The message, when it does not hold.
pub fn ensure(holds: bool, message: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(message()) }
}

/// Between two looks at what a test waits for.
#[allow(clippy::disallowed_methods)] // What is waited for is the condition.
pub fn pause() {
    std::thread::sleep(INTERVAL);
}
