//! What a listener does with what it gets.
//!
//! One file a service; the choice is made once a connection or a batch of datagrams, here. A service must never answer
//! a datagram with more bytes than came in. A new one is a file here, a field of `Service` in the contract, and the line
//! that the compiler then asks for wherever a choice is made: its rule in `echo_proto::spec`, and its place below.

// As in `tcp`: so that idle connections stay small.
#![allow(clippy::manual_async_fn)]

mod chargen;
mod daytime;
mod discard;
mod echo;
mod greet;
mod time;
mod whoami;

use std::io;

use echo_proto::spec::ServicePlan;

use super::reason::End;
use super::tcp::Connection;

/// Serves a TCP connection to its end.
///
/// # Errors
/// The kernel's, such as a reset.
pub(super) fn serve(plan: &ServicePlan, connection: &mut Connection) -> impl Future<Output = io::Result<End>> {
    async move {
        match plan {
            ServicePlan::Echo { max_read, once } => echo::serve(connection, *max_read, *once).await,
            ServicePlan::Discard => discard::serve(connection).await,
            ServicePlan::Chargen => chargen::serve(connection).await,
            ServicePlan::Daytime => daytime::serve(connection).await,
            ServicePlan::Time => time::serve(connection).await,
            ServicePlan::Greet { banner } => greet::serve(connection, banner).await,
            ServicePlan::Whoami => whoami::serve(connection).await,
        }
    }
}

/// What to do with a datagram.
pub(super) type Respond = fn(&mut [u8]) -> Option<usize>;

/// The service's way with datagrams: given one, it says how long the answer is, which stands in its place; `None` is no
/// answer, which is not an empty one.
pub(super) fn datagrams(plan: &ServicePlan) -> Respond {
    match plan {
        ServicePlan::Echo { .. } => echo::respond,
        ServicePlan::Chargen => chargen::respond,
        ServicePlan::Discard => discard::respond,
        // Refused over UDP by the validity rule.
        ServicePlan::Daytime | ServicePlan::Time | ServicePlan::Greet { .. } | ServicePlan::Whoami => discard::respond,
    }
}
