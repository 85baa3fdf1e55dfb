//! Time, RFC 868: seconds since 1900 in four bytes, then close; TCP only.
//!
//! Called by [`super`].

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use super::super::reason::End;
use super::super::tcp::Connection;

/// Seconds from 1900-01-01 to 1970-01-01.
const UNIX_EPOCH_SINCE_1900: u32 = 2_208_988_800;

/// Says the time and closes.
pub(super) async fn serve(connection: &mut Connection) -> io::Result<End> {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    connection.say(answer(since_1970.as_secs()).to_vec()).await
}

/// The number has 32 bits, so it begins again at 0 on 2036-02-07.
fn answer(since_1970: u64) -> [u8; 4] {
    UNIX_EPOCH_SINCE_1900.wrapping_add(since_1970 as u32).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_those_of_the_rfc_and_wrap_in_2036() {
        assert_eq!(answer(0), 2_208_988_800_u32.to_be_bytes());
        // The RFC's own example: midnight of 1 May 1983.
        assert_eq!(answer(420_595_200), 2_629_584_000_u32.to_be_bytes());
        assert_eq!(answer(2_085_978_495), u32::MAX.to_be_bytes());
        assert_eq!(answer(2_085_978_496), [0; 4], "2036-02-07 06:28:16 UTC");
        assert_eq!(answer(2_085_978_497), 1_u32.to_be_bytes());
    }
}
