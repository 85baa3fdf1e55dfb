//! Stamped sessions as the Agent tells them.
//!
//! Called by [`super::service`]; what it tells comes from the shards ([`crate::live::Sessions`]).

use std::time::{Duration, SystemTime};

use echo_proto::v1;
use tonic::Status;

use crate::data::sessions::{Flow, Listing};
use crate::live::Sessions;

/// Flows in an answer that asks for no number.
const DEFAULT_LIMIT: usize = 1_000;
/// Most flows in an answer: some 150 bytes each, and gRPC takes 4 MiB.
const MAX_LIMIT: usize = 16_384;

/// Answers a request.
pub(super) async fn list(
    sessions: &Sessions,
    incarnation: &str,
    request: &v1::ListSessionsRequest,
) -> Result<v1::ListSessionsResponse, Status> {
    let session = parse(&request.session)?;
    let limit = if request.limit == 0 { DEFAULT_LIMIT } else { (request.limit as usize).min(MAX_LIMIT) };
    let Listing { flows, total, evicted, overflowed } =
        sessions.list(session, limit).await.map_err(|silent| Status::unavailable(silent.to_string()))?;
    let total = u32::try_from(total).unwrap_or(u32::MAX);
    let (flows, incarnation) = (flows.iter().map(told).collect(), incarnation.to_owned());
    Ok(v1::ListSessionsResponse { flows, total, evicted, overflowed, incarnation })
}

/// A session's id; empty text names none.
fn parse(text: &str) -> Result<Option<u64>, Status> {
    let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match u64::from_str_radix(text, 16) {
        _ if text.is_empty() => Ok(None),
        Ok(session) if digits => Ok(Some(session)),
        _ => {
            Err(Status::invalid_argument(format!("session: expected 16 hex digits, or nothing for all, got {text:?}")))
        }
    }
}

fn told(flow: &Flow) -> v1::SessionFlow {
    let time = |nanos| Some((SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos)).into());
    v1::SessionFlow {
        session: format!("{:016x}", flow.key.session),
        flow: flow.key.flow,
        protocol: v1::Protocol::from(flow.key.protocol).into(),
        port: flow.key.at.port().into(),
        address: flow.key.at.ip().to_string(),
        received: flow.seen.count,
        dropped: flow.dropped().map(|(reason, count)| (reason.to_owned(), count)).collect(),
        duplicates: flow.seen.duplicates,
        lowest: flow.seen.lowest,
        highest: flow.seen.highest,
        window: flow.seen.window,
        first_time: time(flow.first),
        last_time: time(flow.last),
        overflowed: flow.seen.overflowed.into(),
        memory: flow.seen.memory.into(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_named_by_16_hex_digits() {
        assert_eq!(parse("").unwrap(), None);
        assert_eq!(parse("00000000DeadBeef").unwrap(), Some(0xdead_beef));
        for bad in ["1", "+0000000deadbeef", "000000000deadbeef", "g000000000000000", "é00000000000000"] {
            assert!(parse(bad).unwrap_err().message().contains("16 hex digits"), "{bad}");
        }
    }
}
