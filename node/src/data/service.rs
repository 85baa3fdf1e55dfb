//! What a listener does with what it gets.
//!
//! One file a service; the choice is made once a connection or a batch of datagrams, here. A service must never answer
//! a datagram with more bytes than came in.

mod discard;
mod echo;
mod greet;

use std::io;

use echo_proto::spec::ServicePlan;

use super::reason::End;
use super::tcp::Connection;

/// Serves a TCP connection to its end.
///
/// # Errors
/// The kernel's, such as a reset.
pub(super) async fn serve(plan: &ServicePlan, connection: &mut Connection) -> io::Result<End> {
    match plan {
        ServicePlan::Echo { max_read, once } => echo::serve(connection, *max_read, *once).await,
        ServicePlan::Discard => discard::serve(connection).await,
        ServicePlan::Greet { banner } => greet::serve(connection, banner).await,
    }
}

/// What to do with a datagram.
pub(super) type Respond = fn(&mut [u8]) -> Option<usize>;

/// The service's way with datagrams: given one, it says how long the answer is, which stands in its place; `None` is no
/// answer, which is not an empty one.
pub(super) fn datagrams(plan: &ServicePlan) -> Respond {
    match plan {
        ServicePlan::Echo { .. } => echo::respond,
        // The validity rule refuses greet over UDP.
        ServicePlan::Discard | ServicePlan::Greet { .. } => discard::respond,
    }
}
