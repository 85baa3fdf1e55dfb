//! The channel to control, and what a failed call means in words.
//!
//! Used by every verb that talks to control. No call waits without a deadline, except for the streams that a person
//! asked to follow.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::Duration;

use echo_proto::telemetry::rpc::{ClientLayer, Traced};
use echo_proto::v1::cluster_client::ClusterClient;
use echo_proto::v1::events_client::EventsClient;
use echo_proto::v1::nodes_client::NodesClient;
use echo_proto::v1::pools_client::PoolsClient;
use tonic::transport::{self, Endpoint, Uri};
use tonic::{Code, Status};
use tower::ServiceBuilder;

use crate::args::Global;
use crate::failure::Failure;

/// Longest wait for an answer where `--timeout` names none.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Largest message taken, in bytes: a page of 500 pools with the largest template (64 KiB as JSON) each.
const MAX_MESSAGE_BYTES: usize = 500 * 64 * 1024;
/// A silent connection is asked after so long whether it still lives; a follower must notice a dead control.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// What carries the calls.
pub(crate) type Channel = Traced<transport::Channel>;

/// Address of a control, as `http://host:port`.
#[derive(Debug, Clone)]
pub(crate) struct Server(Endpoint, String);

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = url.trim_end_matches('/');
        let uri: Uri = url.parse().map_err(|e| format!("{e}; expected http://HOST:PORT"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err("https is not supported by this version; use http://HOST:PORT".to_owned()),
            _ => return Err("expected http://HOST:PORT".to_owned()),
        }
        if uri.port_u16().is_none() || uri.path() != "/" {
            return Err("expected http://HOST:PORT".to_owned());
        }
        Ok(Self(Endpoint::from(uri), url.to_owned()))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.1)
    }
}

/// A connected control.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    pub(crate) pools: PoolsClient<Channel>,
    pub(crate) nodes: NodesClient<Channel>,
    pub(crate) events: EventsClient<Channel>,
    pub(crate) cluster: ClusterClient<Channel>,
    server: Server,
    timeout: Duration,
}

impl Control {
    /// Connects to the control of the command line.
    ///
    /// # Errors
    /// Nobody listens there, or not in time.
    pub(crate) async fn connect(global: &Global) -> Result<Self, Failure> {
        let timeout = global.timeout.unwrap_or(ANSWER_TIMEOUT);
        Self::open(&global.server, timeout).await
    }

    /// Connects to `server`; each of its answers may take `timeout`.
    ///
    /// # Errors
    /// Nobody listens there, or not in time.
    pub(crate) async fn open(server: &Server, timeout: Duration) -> Result<Self, Failure> {
        let endpoint = (server.0.clone())
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
            timeout,
        })
    }

    /// Longest wait for one of its answers.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// What the status of a failed call means to a person.
    pub(crate) fn explain(&self, status: Status) -> Failure {
        let server = self.server.to_string();
        match status.code() {
            // Control's own answers carry their next step; a broken connection only has causes.
            _ if status.source().is_some() && status.code() != Code::DeadlineExceeded => {
                Failure::Lost { server, cause: status.source().map_or_else(String::new, root_cause) }
            }
            Code::Cancelled | Code::DeadlineExceeded => Failure::Late { server, timeout: self.timeout },
            Code::Unimplemented => Failure::Unimplemented { server },
            _ => Failure::Refused(Box::new(status)),
        }
    }
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
    fn a_server_is_a_url_with_or_without_its_scheme() {
        let read = |text: &str| text.parse::<Server>().map(|s| s.to_string());
        assert_eq!(read("http://127.0.0.1:7400").unwrap(), "http://127.0.0.1:7400");
        assert_eq!(read("127.0.0.1:7400").unwrap(), "http://127.0.0.1:7400");
        assert_eq!(read("http://[::1]:7400/").unwrap(), "http://[::1]:7400");
        assert!(read("https://control:7400").unwrap_err().contains("not supported by this version"));
        for bad in ["", "http://", "http://control", "ftp://control:1", "http://control:7400/path", "a b:1"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn causes_are_plain_words() {
        let error = io::Error::from_raw_os_error(111);
        assert_eq!(io_cause(&error), "connection refused");
    }
}
