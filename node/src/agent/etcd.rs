//! The connection to etcd: how it is made, how long a call may take, and what its errors mean to an operator.
//!
//! Used by the session and its parts. No call waits without a limit, and none is repeated here: [`super::patience`] does.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, ConnectOptions};
use tokio::time::{Instant, timeout};

use super::patience::Patience;

/// Longest wait for a connection to one endpoint.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest wait for an answer, of an etcd that was never late.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(3);
/// How often an idle connection is checked; etcd cuts clients that do so more often than every 5 s.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// Longest wait for the answer to such a check.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// First wait before etcd is asked again, and the longest. Half of each wait is random, and an etcd that was gone finds
/// every node at another point of its last wait: after its return a fleet comes back spread over one to two seconds; one
/// that is too large for that comes apart further ([`super::patience`]).
pub const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));

/// What etcd answers to a write when its database is full. The code alone does not tell: it is the same for all refusals.
const SPACE_EXCEEDED: &str = "database space exceeded";
/// What it begins with to tell that it could not do within its own limit what it had taken on. Lost connections have the
/// same code.
const TOOK_TOO_LONG: &str = "etcdserver: request timed out";

/// Why etcd, which is there and answers, takes no writes at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Its database is full.
    NoSpace,
    /// It is overloaded, and has not begun.
    Busy,
    /// It is overloaded: what was asked may yet be done, or be done already.
    Slow,
}

/// Why etcd did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// No answer in time.
    #[error("etcd at {endpoint}: {call}: no answer within {:.1} s", .after.as_secs_f32())]
    Timeout {
        /// Where.
        endpoint: String,
        /// What was asked.
        call: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// An answer that is an error, or no connection.
    #[error("etcd at {endpoint}: {call}: {}", reason(.source))]
    Call {
        /// Where.
        endpoint: String,
        /// What was asked.
        call: &'static str,
        /// What came back.
        source: Box<etcd_client::Error>,
    },
    /// A stream ended that should not have.
    #[error("etcd at {endpoint}: {call} ended: {reason}")]
    Ended {
        /// Where.
        endpoint: String,
        /// Which stream.
        call: &'static str,
        /// What etcd said, if anything.
        reason: String,
    },
}

impl EtcdError {
    /// Whether etcd is well but for that it takes no writes: the connection and the lease are good.
    pub fn refusal(&self) -> Option<Refusal> {
        let Self::Call { source, .. } = self else { return None };
        match &**source {
            etcd_client::Error::GRpcStatus(status) if status.code() == tonic::Code::ResourceExhausted => {
                let full = status.message().contains(SPACE_EXCEEDED);
                Some(if full { Refusal::NoSpace } else { Refusal::Busy })
            }
            etcd_client::Error::GRpcStatus(status) if status.message().starts_with(TOOK_TOO_LONG) => {
                Some(Refusal::Slow)
            }
            _ => None,
        }
    }

    /// Whether the member is there, and behind with its work; or may be: it does not answer.
    pub fn is_late(&self) -> bool {
        matches!(self, Self::Timeout { .. }) || matches!(self.refusal(), Some(Refusal::Busy | Refusal::Slow))
    }

    /// Whether what was asked may have been done, or may be yet.
    pub fn is_unclear(&self) -> bool {
        !matches!(self.refusal(), Some(Refusal::NoSpace | Refusal::Busy))
    }

    /// Whether etcd does not know what was asked for; of all that nodes ask for, that is a lease only.
    pub fn is_not_found(&self) -> bool {
        self.has(tonic::Code::NotFound)
    }

    /// Whether etcd has done it before.
    pub fn is_done_before(&self) -> bool {
        self.has(tonic::Code::FailedPrecondition)
    }

    fn has(&self, code: tonic::Code) -> bool {
        let Self::Call { source, .. } = self else { return false };
        matches!(&**source, etcd_client::Error::GRpcStatus(status) if status.code() == code)
    }

    /// The same as the condition `Registered` tells it.
    pub fn reason(&self) -> &'static str {
        match self.refusal() {
            Some(Refusal::NoSpace) => "NoSpace",
            Some(Refusal::Busy | Refusal::Slow) => "EtcdBusy",
            None => "EtcdLost",
        }
    }
}

/// A client and where it goes.
#[derive(Clone)]
pub struct Etcd {
    client: Client,
    endpoint: String,
    patience: Arc<Patience>,
}

impl Etcd {
    /// A client of this one member; the connection is made when the first call needs it.
    ///
    /// # Errors
    /// The endpoint is no URL.
    pub async fn connect(endpoint: &str) -> Result<Self, EtcdError> {
        let options = ConnectOptions::new()
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_keep_alive(PING_INTERVAL, PING_TIMEOUT)
            .with_keep_alive_while_idle(true)
            .with_require_leader(true);
        let endpoint = endpoint.to_owned();
        match Client::connect([endpoint.as_str()], Some(options)).await {
            Ok(client) => Ok(Self { client, endpoint, patience: Arc::default() }),
            Err(source) => Err(EtcdError::Call { endpoint, call: "connect", source: Box::new(source) }),
        }
    }

    /// The same connection, for who is so patient.
    pub fn with(self, patience: Arc<Patience>) -> Self {
        Self { patience, ..self }
    }

    /// How patient its user is.
    pub fn patience(&self) -> &Patience {
        &self.patience
    }

    /// Where it goes.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// A handle for one call.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Waits for the answer to `call`: [`CALL_TIMEOUT`], or longer once answers were late.
    ///
    /// # Errors
    /// No answer in time, or an error as the answer.
    pub async fn answer<T>(
        &self,
        call: &'static str,
        future: impl Future<Output = Result<T, etcd_client::Error>>,
    ) -> Result<T, EtcdError> {
        let (asked, limit) = (Instant::now(), self.patience.limit());
        let answer = self.answer_within(limit, call, future).await;
        match &answer {
            Err(EtcdError::Timeout { .. }) => self.patience.missed(limit),
            _ => self.patience.answered(asked.elapsed()),
        }
        answer
    }

    /// Waits for the answer to `call`, for `after` at most.
    ///
    /// # Errors
    /// No answer in time, or an error as the answer.
    pub async fn answer_within<T>(
        &self,
        after: Duration,
        call: &'static str,
        future: impl Future<Output = Result<T, etcd_client::Error>>,
    ) -> Result<T, EtcdError> {
        match timeout(after, future).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(source)) => Err(EtcdError::Call { endpoint: self.endpoint.clone(), call, source: Box::new(source) }),
            Err(_) => Err(EtcdError::Timeout { endpoint: self.endpoint.clone(), call, after }),
        }
    }

    /// A stream that ended by itself.
    pub fn ended(&self, call: &'static str, reason: impl Into<String>) -> EtcdError {
        EtcdError::Ended { endpoint: self.endpoint.clone(), call, reason: reason.into() }
    }
}

/// The innermost cause, which is the one that tells an operator something: `Connection refused`.
fn reason(error: &etcd_client::Error) -> String {
    let status = match error {
        etcd_client::Error::GRpcStatus(status) => status,
        other => return other.to_string(),
    };
    let mut cause = status.source();
    while let Some(deeper) = cause.and_then(|e| e.source()) {
        cause = Some(deeper);
    }
    cause.map_or_else(|| status.message().to_owned(), ToString::to_string)
}
