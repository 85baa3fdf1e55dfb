//! Daytime, RFC 867: one line with the time, then close; TCP only.
//!
//! Called by [`super`]. The RFC leaves the form open; this is RFC 3339 in UTC, which programs can read, too.

use std::io;
use std::time::SystemTime;

use prost_types::Timestamp;

use super::super::reason::End;
use super::super::tcp::Connection;

/// Says the time and closes.
pub(super) async fn serve(connection: &mut Connection) -> io::Result<End> {
    connection.say(line(SystemTime::now()).into_bytes()).await
}

/// The time to the second.
fn line(now: SystemTime) -> String {
    let Timestamp { seconds, .. } = now.into();
    format!("{}\r\n", Timestamp { seconds, nanos: 0 })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_line_is_ascii_and_ends_in_crlf() {
        assert_eq!(line(UNIX_EPOCH + Duration::from_millis(1_709_251_199_999)), "2024-02-29T23:59:59Z\r\n");
        assert_eq!(line(UNIX_EPOCH), "1970-01-01T00:00:00Z\r\n");
    }
}
