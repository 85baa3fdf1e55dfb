//! Greet: a banner on connect, then close; TCP only.
//!
//! Called by [`super`].

use std::io;

use super::super::reason::End;
use super::super::tcp::Connection;

/// Sends `banner` and closes, also when the peer spoke first.
pub(super) async fn serve(connection: &mut Connection, banner: &[u8]) -> io::Result<End> {
    connection.say(banner.to_vec()).await
}
