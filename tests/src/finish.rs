//! Programs that a test calls and waits for: no longer than a limit, so that a hang is a failure with what was printed.
//!
//! Used for every call that is no [`crate::Process`], among them all of `echoctl`'s.

use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::process::kill_pid;

/// Of one call; the longest that a test makes take half a minute, on purpose.
const LIMIT: Duration = Duration::from_secs(120);
/// Until the pipes of a killed program have ended.
const PIPES: Duration = Duration::from_secs(2);

/// Runs a program to its end.
///
/// # Panics
/// When it can't be started, or has not ended after two minutes.
#[track_caller]
pub fn finish(command: &mut Command) -> Output {
    finish_within(LIMIT, command)
}

#[track_caller]
fn finish_within(limit: Duration, command: &mut Command) -> Output {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Here, and not in the thread: the caller's may have a network namespace of its own.
    let child = command.spawn().unwrap_or_else(|e| panic!("can't start {command:?}: {e}"));
    let (pid, ended) = (child.id(), wait_aside(child));
    if let Ok(output) = ended.recv_timeout(limit) {
        return output.unwrap_or_else(|e| panic!("can't wait for {command:?}: {e}"));
    }
    kill_pid(pid, Signal::SIGKILL);
    let printed = match ended.recv_timeout(PIPES) {
        Ok(Ok(Output { stdout, stderr, .. })) => String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned(),
        _ => "what it printed is held by a child of its own".to_owned(),
    };
    panic!("still running after {limit:?}: {command:?}\n{printed}");
}

fn wait_aside(child: Child) -> mpsc::Receiver<std::io::Result<Output>> {
    let (sender, ended) = mpsc::channel();
    // Nobody listens any more if the test has failed meanwhile.
    std::thread::spawn(move || drop(sender.send(child.wait_with_output())));
    ended
}

#[test]
fn a_call_is_waited_for_and_its_output_kept() {
    let output = finish(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]));
    assert_eq!((output.status.code(), &*output.stdout, &*output.stderr), (Some(3), &b"out\n"[..], &b"err\n"[..]));
}

#[test]
#[should_panic(expected = "still running after 10ms")]
fn a_call_that_hangs_fails_its_test() {
    finish_within(Duration::from_millis(10), Command::new("sleep").arg("3600"));
}
