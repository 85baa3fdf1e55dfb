//! The channel to control, and what a failed call means in words.
//!
//! Used by every verb that talks to control. No call waits without a deadline, except for the streams that a person
//! asked to follow.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use echo_proto::telemetry::rpc::{ClientLayer, Traced};
use echo_proto::v1;
use echo_proto::v1::cluster_client::ClusterClient;
use echo_proto::v1::events_client::EventsClient;
use echo_proto::v1::nodes_client::NodesClient;
use echo_proto::v1::pools_client::PoolsClient;
use tokio::time::timeout;
use tonic::transport;
use tonic::{Code, Status, TimeoutExpired};
use tower::ServiceBuilder;

use crate::args::Global;
use crate::context::Context;
use crate::failure::Failure;
use crate::server::{Server, Servers};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Largest message taken, in bytes: a page of 500 pools with the largest template (64 KiB as JSON) each.
const MAX_MESSAGE_BYTES: usize = 500 * 64 * 1024;
/// A silent connection is asked after so long whether it still lives; a follower must notice a dead control.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// What carries the calls.
pub(crate) type Channel = Traced<transport::Channel>;

/// A connected control.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    pub(crate) pools: PoolsClient<Channel>,
    pub(crate) nodes: NodesClient<Channel>,
    pub(crate) events: EventsClient<Channel>,
    pub(crate) cluster: ClusterClient<Channel>,
    server: Server,
    /// It, and those that may stand in for it.
    servers: Servers,
    timeout: Duration,
}

impl Control {
    /// Connects to the control that the command line, the environment or the config file names.
    ///
    /// # Errors
    /// The config file is broken, or nobody answers.
    pub(crate) async fn connect(global: &Global) -> Result<Self, Failure> {
        Self::of(&Context::resolve(global)?).await
    }

    /// Connects to the first control of a context that can serve, or where none can, to the first that answers: it tells
    /// why. Nothing but a question is sent to one that is passed over, so that no change is made twice.
    ///
    /// # Errors
    /// None answers, or not in time.
    pub(crate) async fn of(context: &Context) -> Result<Self, Failure> {
        let timeout = context.timeout();
        let mut causes = Vec::new();
        let mut unable = None;
        for server in context.servers.iter() {
            let opened = Self::open(server, timeout).await;
            let answering = match opened {
                Ok(control) if context.servers.are_several() => control.answering().await,
                opened => opened.map(|control| (control, true)),
            };
            match answering {
                Ok((control, true)) => return Ok(Self { servers: context.servers.clone(), ..control }),
                Ok((control, false)) => unable = unable.or(Some(control)),
                Err(Failure::NoControl { cause, .. }) => causes.push(cause),
                Err(failure) => return Err(failure),
            }
        }
        let servers = context.servers.clone();
        let none = || Failure::NoControl { server: servers.to_string(), cause: causes.join("; ") };
        unable.map(|control| Self { servers: servers.clone(), ..control }).ok_or_else(none)
    }

    /// Turns to another server, where there are several and one answers; the one that failed is asked last.
    pub(crate) async fn turn(&mut self) {
        if self.servers.are_several() {
            let (servers, timeout) = (self.servers.after(&self.server), Some(self.timeout));
            if let Ok(control) = Box::pin(Self::of(&Context { servers, timeout, ..Context::default() })).await {
                *self = control;
            }
        }
    }

    /// Whether it can serve, if it answers at all: a stopped process still has its connections accepted, and one that
    /// lost etcd still tells of itself.
    async fn answering(mut self) -> Result<(Self, bool), Failure> {
        let limit = CONNECT_TIMEOUT.min(self.timeout);
        let cause = match timeout(limit, self.cluster.get_info(v1::GetInfoRequest {})).await {
            Ok(Ok(info)) => return Ok((self, info.into_inner().unable.is_empty())),
            Ok(Err(status)) => status.message().to_owned(),
            Err(_) => format!("no answer within {limit:?}"),
        };
        Err(Failure::NoControl { server: self.server.to_string(), cause })
    }

    /// Connects to `server`; each of its answers may take `timeout`.
    ///
    /// # Errors
    /// Nobody listens there, or not in time.
    pub(crate) async fn open(server: &Server, timeout: Duration) -> Result<Self, Failure> {
        let endpoint = server
            .endpoint()
            .connect_timeout(CONNECT_TIMEOUT.min(timeout))
            .timeout(timeout)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE);
        let connection = endpoint
            .connect()
            .await
            .map_err(|e| Failure::NoControl { server: server.to_string(), cause: root_cause(&e) })?;
        let channel = ServiceBuilder::new().layer(ClientLayer).service(connection);
        Ok(Self {
            pools: PoolsClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES),
            nodes: NodesClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES),
            events: EventsClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES),
            cluster: ClusterClient::new(channel),
            server: server.clone(),
            servers: server.clone().into(),
            timeout,
        })
    }

    /// Where it is.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// Longest wait for one of its answers.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// What the status of a failed call means to a person.
    pub(crate) fn explain(&self, status: Status) -> Failure {
        explain(&self.server, self.timeout, status)
    }

    /// What the status of a call means that was to change something; `list` is what to look at when nobody knows whether
    /// it did.
    pub(crate) fn explain_change(&self, status: Status, list: &'static str) -> Failure {
        let cause = match self.explain(status) {
            Failure::Lost { server, cause } => format!("lost control at {server} ({cause})"),
            Failure::Late { server, timeout } => format!("no answer from control at {server} within {timeout:?}"),
            failure => return failure,
        };
        Failure::Unknown { cause, list }
    }
}

fn explain(server: &Server, timeout: Duration, status: Status) -> Failure {
    let server = server.to_string();
    match status.code() {
        _ if is_late(&status) => Failure::Late { server, timeout },
        // Control's own answers carry their next step; a broken connection only has causes.
        _ if status.source().is_some() => {
            Failure::Lost { server, cause: status.source().map_or_else(String::new, root_cause) }
        }
        Code::Unimplemented => Failure::Unimplemented { server },
        _ => Failure::Refused(Box::new(status)),
    }
}

/// Whether the time was up, by our clock or by control's.
fn is_late(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<TimeoutExpired>() {
            return true;
        }
        cause = error.source();
    }
    status.code() == Code::DeadlineExceeded || (status.code() == Code::Cancelled && status.source().is_none())
}

/// The innermost cause of an error, without the number of the operating system.
pub(crate) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    if let Some(error) = cause.downcast_ref::<io::Error>() {
        return io_cause(error);
    }
    cause.to_string()
}

/// The operating system's words for an error, in lower case and without its number.
pub(crate) fn io_cause(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_plain_words() {
        let error = io::Error::from_raw_os_error(111);
        assert_eq!(io_cause(&error), "connection refused");
    }

    #[test]
    fn a_slow_control_is_not_a_lost_one() {
        let server: Server = "a:1".parse().unwrap();
        let means = |status| explain(&server, Duration::from_secs(1), status);
        // As the channel makes it.
        let late = Status::from_error(Box::new(TimeoutExpired(())));
        assert!(matches!(means(late), Failure::Late { .. }));
        let lost = Status::from_error(Box::new(io::Error::other("connection reset")));
        assert!(matches!(means(lost), Failure::Lost { .. }));
        assert!(matches!(means(Status::unavailable("etcd is away")), Failure::Refused(_)));
    }
}
