//! Following a server stream across restarts of control.
//!
//! Used by `get --watch`, `rollout status` and `up`. Every watch of the contract begins with the whole state, or with a
//! BOOKMARK after what the caller knew, so that its first message is an answer, which must come in time. It must give up
//! in the end, and at once on an answer that will not change. Where there are several servers, it goes on with the
//! first that answers.

use std::ops::ControlFlow;
use std::time::Duration;

use tokio::time::Instant;
use tonic::{Code, Status, Streaming};

use crate::connect::Control;
use crate::failure::Failure;
use crate::output::tell;
use echo_proto::backoff::Backoff;

/// A control that is away for longer has not just been restarted.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// First and longest wait between two tries.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Opens a stream and hands every message to `take`, until that breaks or the stream is beyond hope.
///
/// # Errors
/// What `take` fails with, or why the stream can't go on.
pub(crate) async fn follow<M, R>(
    control: &mut Control,
    mut open: impl AsyncFnMut(&mut Control) -> Result<Streaming<M>, Status>,
    mut take: impl FnMut(M) -> Result<ControlFlow<R>, Failure>,
) -> Result<R, Failure> {
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    // When it broke, since the last message.
    let mut broken: Option<Instant> = None;
    let mut told = false;
    loop {
        let mut answer = Some(control.timeout());
        let status = match open(control).await {
            Err(status) => status,
            Ok(mut stream) => loop {
                match next(&mut stream, answer.take()).await {
                    Ok(Some(message)) => {
                        backoff.reset();
                        broken = None;
                        if std::mem::take(&mut told) {
                            tell("control is back");
                        }
                        if let ControlFlow::Break(result) = take(message)? {
                            return Ok(result);
                        }
                    }
                    Ok(None) => break Status::unavailable("control ended the stream"),
                    Err(status) => break status,
                }
            },
        };
        let again = broken.is_some();
        let since = *broken.get_or_insert_with(Instant::now);
        if !passes(&status) || since.elapsed() > PATIENCE {
            return Err(control.explain(status));
        }
        // Not when it first breaks: where that is the end of `up` too, `up` tells it better in a moment.
        if again && !std::mem::replace(&mut told, true) {
            tell(&format!("lost control; trying again for {} s", PATIENCE.as_secs()));
        }
        tokio::time::sleep(backoff.next_wait()).await;
        control.turn().await;
    }
}

/// The next message; only the first one, which is the answer to the call, has a limit.
async fn next<M>(stream: &mut Streaming<M>, limit: Option<Duration>) -> Result<Option<M>, Status> {
    match limit {
        None => stream.message().await,
        Some(limit) => {
            let late = |_| Err(Status::deadline_exceeded("the stream began with nothing"));
            tokio::time::timeout(limit, stream.message()).await.unwrap_or_else(late)
        }
    }
}

/// Whether the same call may succeed later: control was restarted, or cut us for being slow.
pub(crate) fn passes(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::Aborted | Code::ResourceExhausted | Code::Cancelled)
        || std::error::Error::source(status).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for code in [Code::Unavailable, Code::Aborted, Code::ResourceExhausted, Code::Cancelled] {
            assert!(passes(&Status::new(code, "")), "{code:?}");
        }
        for code in [Code::NotFound, Code::InvalidArgument, Code::Unimplemented, Code::Internal, Code::PermissionDenied]
        {
            assert!(!passes(&Status::new(code, "")), "{code:?}");
        }
        let broken = Status::from_error(Box::new(std::io::Error::other("connection reset")));
        assert!(passes(&broken), "a broken connection, whatever its code: {broken:?}");
    }
}
