//! The node's life with etcd: register, keep the lease, follow the assignment, write the record; and again after a loss.
//!
//! One task, spawned by [`crate::app`]. It ends when it is told to leave, or when another process holds the node's id. It
//! must never touch the doorway: while etcd is gone, traffic goes on and the newest report waits in its cell.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use echo_proto::keys::Keys;
use echo_proto::telemetry::context;
use echo_proto::v1;
use opentelemetry::metrics::Counter;
use tokio::sync::{oneshot, watch};
use tracing::{Instrument as _, Span, info, info_span, warn};

use super::backoff::Backoff;
use super::etcd::{Etcd, EtcdError};
use super::identity::Identity;
use super::lease::{self, Lease, LeaseError};
use super::register::{HeldByOther, RegisterError, Registration};
use super::report::Report;
use super::state_dir::{StateDir, StateDirError};
use super::watch::{Assigned, Watcher};

/// First wait before etcd is tried again, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How the node stands with etcd.
#[derive(Debug, Clone, PartialEq)]
pub enum Link {
    /// Not registered yet.
    Joining,
    /// The record is there; this is what it says.
    Registered(Box<Report>),
    /// etcd does not answer, or the registration is gone.
    Lost {
        /// When it was noticed.
        since: SystemTime,
        /// Why, and what to try.
        cause: String,
    },
}

/// What the session fills and reads.
#[derive(Debug)]
pub struct Cells {
    /// The newest assignment.
    pub assigned: watch::Sender<Assigned>,
    /// What an operator wants of this node.
    pub intents: watch::Sender<Option<v1::Intent>>,
    /// How the session stands.
    pub link: watch::Sender<Link>,
    /// What the record has to say.
    pub report: watch::Receiver<Report>,
}

/// The session, over all losses.
pub struct Session {
    identity: Arc<Identity>,
    endpoints: Vec<String>,
    ttl: Duration,
    registration: Registration,
    state_dir: Option<Arc<StateDir>>,
    watcher: Watcher,
    link: watch::Sender<Link>,
    report: watch::Receiver<Report>,
    lease: Option<Lease>,
    expired: Counter<u64>,
}

/// Why a session broke off.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Etcd(#[from] EtcdError),
    #[error(transparent)]
    Lease(#[from] LeaseError),
    #[error(transparent)]
    Register(#[from] RegisterError),
    #[error(transparent)]
    State(#[from] StateDirError),
}

impl Session {
    /// A session that is not connected yet.
    pub fn new(
        identity: Arc<Identity>,
        endpoints: Vec<String>,
        ttl: Duration,
        state_dir: Option<Arc<StateDir>>,
        cells: Cells,
        expired: Counter<u64>,
    ) -> Self {
        let keys = Keys::new(&identity.cluster);
        let (pool, id) = (&identity.pool, &identity.id);
        let registration = Registration { key: keys.node(pool, id), name: format!("{pool}/{id}") };
        let watcher = Watcher::new(keys.assignment(pool), keys.intent(pool, id), cells.assigned, cells.intents);
        let (link, report) = (cells.link, cells.report);
        Self { identity, endpoints, ttl, registration, state_dir, watcher, link, report, lease: None, expired }
    }

    /// Lives with etcd until `leave` says within which time to go.
    ///
    /// # Errors
    /// Another process holds the node's id.
    pub async fn run(mut self, mut leave: oneshot::Receiver<Duration>) -> Result<(), HeldByOther> {
        let mut backoff = Backoff::new(RETRY.0, RETRY.1);
        self.revoke_predecessor().await;
        loop {
            let ended = tokio::select! {
                biased;
                limit = &mut leave => {
                    self.leave(limit.unwrap_or_default()).await;
                    return Ok(());
                }
                ended = self.session(&mut backoff) => ended,
            };
            match ended {
                Ok(never) => match never {},
                Err(Broken::Register(RegisterError::Held(held))) => return Err(held),
                Err(broken) => self.lost(&broken),
            }
            tokio::select! {
                limit = &mut leave => {
                    self.leave(limit.unwrap_or_default()).await;
                    return Ok(());
                }
                () = tokio::time::sleep(backoff.wait()) => {}
            }
        }
    }

    /// One connection to etcd, from registration to loss.
    async fn session(&mut self, backoff: &mut Backoff) -> Result<Infallible, Broken> {
        let etcd = Etcd::connect(&self.endpoints).await?;
        let (lease, said) = self.register(&etcd).await?;
        self.link.send_replace(Link::Registered(Box::new(said.clone())));
        backoff.reset();
        let (expired, registration, identity) = (&self.expired, &self.registration, &self.identity);
        let (link, report) = (&self.link, &mut self.report);
        let lease_kept = async {
            let ended = lease::keep_alive(&etcd, &lease).await;
            if matches!(ended, Err(LeaseError::Gone)) {
                expired.add(1, &[]);
            }
            ended.map_err(Broken::from)
        };
        let watched = async { self.watcher.run(&etcd).await.map_err(Broken::from) };
        let written = write_reports(&etcd, &lease, registration, identity, said, report, link);
        tokio::try_join!(lease_kept, watched, written).map(|(never, _, _)| never)
    }

    /// Claims the record, under the lease from before the loss if that still lives.
    async fn register(&mut self, etcd: &Etcd) -> Result<(Lease, Report), Broken> {
        loop {
            let lease = match self.lease.clone() {
                Some(lease) if lease::lives(etcd, &lease).await? => lease,
                Some(_) => {
                    self.lease = None;
                    self.expired.add(1, &[]);
                    continue;
                }
                None => self.new_lease(etcd).await?,
            };
            let said = self.report.borrow_and_update().clone();
            let record = self.identity.record(&said, said.trace.clone());
            match self.registration.claim(etcd, &lease, &record).await {
                Ok(()) => {
                    info!(node = self.registration.name, lease = format!("{:x}", lease.id), "registered");
                    return Ok((lease, said));
                }
                Err(RegisterError::Held(held)) => self.wait_for(etcd, &lease, &held).await?,
                Err(other) => return Err(other.into()),
            }
        }
    }

    async fn new_lease(&mut self, etcd: &Etcd) -> Result<Lease, Broken> {
        let lease = lease::grant(etcd, self.ttl).await?;
        self.lease = Some(lease.clone());
        if let Some(dir) = self.state_dir.clone() {
            let (key, id, incarnation) = (self.registration.key.clone(), lease.id, self.identity.incarnation.clone());
            let kept = tokio::task::spawn_blocking(move || dir.keep(&key, id, &incarnation)).await;
            // The task is not aborted; were the runtime to end, this one would end too.
            kept.unwrap_or(Ok(()))?;
        }
        Ok(lease)
    }

    /// The id is held by a process that may be dead: its lease tells within a TTL.
    async fn wait_for(&mut self, etcd: &Etcd, lease: &Lease, held: &HeldByOther) -> Result<(), Broken> {
        warn!(%held, ttl = ?lease.ttl, "waiting for the registration of another process to run out");
        // Our own would run out meanwhile.
        self.lease = None;
        lease::revoke(etcd, lease.id, super::etcd::CALL_TIMEOUT).await?;
        Ok(self.registration.wait_until_free(etcd, lease.ttl).await?)
    }

    /// The state directory is ours, so the process before us is dead: its record need not wait for its lease.
    async fn revoke_predecessor(&self) {
        let Some(before) = self.state_dir.as_ref().and_then(|dir| dir.registered()) else { return };
        if before.key != self.registration.key {
            return;
        }
        if let Ok(etcd) = Etcd::connect(&self.endpoints).await {
            match lease::revoke(&etcd, before.lease, super::etcd::CALL_TIMEOUT).await {
                Ok(()) => info!(incarnation = before.incarnation, "ended the registration of our predecessor"),
                Err(error) => info!(%error, "our predecessor's registration has to run out by itself"),
            }
        }
    }

    fn lost(&self, broken: &Broken) {
        let cause = match broken {
            Broken::Etcd(_) | Broken::Lease(LeaseError::Etcd(_)) | Broken::Register(RegisterError::Etcd(_)) => {
                format!("{broken}; {}", Etcd::hint(&self.endpoints))
            }
            _ => broken.to_string(),
        };
        // Said once for each loss, not for each try.
        if !matches!(*self.link.borrow(), Link::Lost { .. }) {
            warn!(reason = cause, "not registered; serving on, trying again");
        }
        self.link.send_if_modified(|link| {
            let since = if let Link::Lost { since, .. } = link { *since } else { SystemTime::now() };
            *link = Link::Lost { since, cause };
            true
        });
    }

    /// Takes the record away, so that nobody waits for the lease to run out.
    async fn leave(&mut self, limit: Duration) {
        let Some(lease) = self.lease.take() else { return };
        let Ok(etcd) = Etcd::connect(&self.endpoints).await else { return };
        match lease::revoke(&etcd, lease.id, limit).await {
            Ok(()) => info!(node = self.registration.name, "left the registry"),
            Err(error) => warn!(%error, ttl = ?lease.ttl, "the registration has to run out by itself"),
        }
    }
}

/// Writes each report that differs from the last one written.
async fn write_reports(
    etcd: &Etcd,
    lease: &Lease,
    registration: &Registration,
    identity: &Identity,
    mut said: Report,
    report: &mut watch::Receiver<Report>,
    link: &watch::Sender<Link>,
) -> Result<Infallible, Broken> {
    loop {
        let newest = report.borrow_and_update().clone();
        if newest != said {
            let span = answer_span(&newest, identity);
            let record = identity.record(&newest, context::of(&span).or_else(|| newest.trace.clone()));
            registration.rewrite(etcd, lease, &record).instrument(span).await?;
            said = newest;
            link.send_replace(Link::Registered(Box::new(said.clone())));
        }
        if report.changed().await.is_err() {
            // The applier is gone: the process is about to end, and has nothing more to say.
            std::future::pending::<()>().await;
        }
    }
}

/// The span of a write that answers a change; none for other writes.
fn answer_span(report: &Report, identity: &Identity) -> Span {
    if report.trace.is_none() {
        return Span::none();
    }
    let span = info_span!("answer", echo.node = %identity.id, echo.pool = %identity.pool);
    context::set_parent(&span, report.trace.as_ref());
    span
}
