//! The ends of nodes while the cluster runs: control starts them, so that only its events tell.
//!
//! Used by the cluster. Only informs: without control there is nothing to tell, and `up` tells that itself.

use std::time::{Duration, SystemTime};

use echo_proto::backoff::Backoff;
use echo_proto::v1;
use tokio::time::sleep;

use super::nodes::this_run;
use crate::connect::Control;
use crate::object::source::{Filter, Watched as _};
use crate::output::console::Console;
use crate::output::table::plain;

/// First and longest wait until control is asked again.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Tells every end of a node from now on, for ever.
pub(super) async fn tell(mut control: Control, console: &Console) {
    let mut told = SystemTime::now();
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    loop {
        if let Ok(mut stream) = v1::Event::watch(&mut control, &Filter::default(), "").await {
            while let Ok(Some(message)) = stream.message().await {
                backoff.reset();
                let Some(event) = v1::Event::change(message).object else { continue };
                if let Some(line) = line(&event, &mut told) {
                    console.line(&line);
                }
            }
        }
        sleep(backoff.next_wait()).await;
    }
}

/// What an event tells of a node's end, if it is newer than what was `told`: a stream that is opened again begins with
/// everything.
fn line(event: &v1::Event, told: &mut SystemTime) -> Option<String> {
    let name = event.object.strip_prefix("node/").filter(|_| is_end(event))?;
    if !this_run(*told).saw(event) {
        return None;
    }
    // The same moment is not told again.
    let last = SystemTime::try_from(event.last_time?).ok()?;
    *told = last.checked_add(Duration::from_nanos(1))?;
    Some(format!("{name}: {}", plain(&event.message)))
}

/// Whether the event is the end of a node's process, or a start that failed.
pub(super) fn is_end(event: &v1::Event) -> bool {
    matches!(event.reason.as_str(), "NodeDied" | "NodeStartFailed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_is_told_once() {
        let at = |s| SystemTime::UNIX_EPOCH + Duration::from_secs(s);
        let event = |reason: &str, s| v1::Event {
            reason: reason.into(),
            object: "node/node-1".into(),
            message: "pid 7 was ended by signal 9".into(),
            last_time: Some(at(s).into()),
            ..Default::default()
        };
        let mut told = at(10);
        assert_eq!(line(&event("NodeDied", 9), &mut told), None, "before");
        assert_eq!(line(&event("NodeReady", 12), &mut told), None, "no end");
        assert_eq!(line(&event("NodeDied", 12), &mut told).as_deref(), Some("node-1: pid 7 was ended by signal 9"));
        assert_eq!(line(&event("NodeDied", 12), &mut told), None, "again, on a new stream");
        assert!(line(&event("NodeDied", 13), &mut told).is_some());
    }
}
