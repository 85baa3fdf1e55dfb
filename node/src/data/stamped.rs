//! Answers a stamped request: what TCP and UDP have in common.
//!
//! Called by [`super::udp`] and [`super::tcp`] for what is a request by [`echo_proto::stamp::kind`]; nothing here is
//! touched by plain echo.

use std::time::SystemTime;

use echo_proto::stamp::{self, Arrival, Identity, Request, Time};

use super::sessions::{Key, Sessions};

/// This moment in nanoseconds since 1970.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Counts `request`, which `message` holds, for the flow `key`, and makes the answer in its place. For `fresh`, see
/// [`Sessions::arrived`].
pub(super) fn answer(
    message: &mut [u8],
    request: &Request,
    arrival: &Arrival,
    key: Key,
    by: &Identity,
    sessions: &mut Sessions,
    fresh: u64,
) {
    let transmitted = Time { nanos: now(), kernel: false };
    let now = arrival.time.map_or(transmitted.nanos, |time| time.nanos);
    let seen = sessions.arrived(key, request.sequence, now, fresh);
    stamp::answer(message, by, arrival, &seen, Some(transmitted));
}
