//! The node's life with etcd: register, keep the lease, follow the assignment, write the record; and again after a loss.
//!
//! One task, spawned by [`crate::app`]. It ends when it is told to leave, or when another process holds the node's id. It
//! must never touch the doorway: while etcd is gone, traffic goes on and the newest report waits in its cell.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use echo_proto::ids::random_lease;
use echo_proto::keys::Keys;
use echo_proto::v1;
use opentelemetry::metrics::Counter;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{info, warn};

use super::answer::Answers;
use super::endpoints::Endpoints;
use super::etcd::{CALL_TIMEOUT, Etcd, EtcdError};
use super::identity::Identity;
use super::lease::{self, Lease, LeaseError};
use super::link::{Broken, Link};
use super::patience::{Patience, insist_if_refused};
use super::ports::FleetPorts;
use super::register::{HeldByOther, RegisterError, Registration};
use super::report::Report;
use super::state_dir::{Registered, StateDir};
use super::watch::{Assigned, Followable, Watcher};

/// How a session ends.
#[derive(Debug, Default)]
pub struct Farewell {
    /// How long it may take.
    pub limit: Duration,
    /// What the record has to say before it goes: why the node must die.
    pub last_words: Option<v1::Condition>,
}

/// What the session fills and reads.
#[derive(Debug)]
pub struct Cells {
    /// The newest assignment.
    pub assigned: watch::Sender<Assigned>,
    /// What an operator wants of this node.
    pub intents: watch::Sender<Option<v1::Intent>>,
    /// Ports at which the fleet answers datagrams; `None` until they are told.
    pub fleet_ports: watch::Sender<Option<FleetPorts>>,
    /// How the session stands.
    pub link: watch::Sender<Link>,
    /// What the record has to say.
    pub report: watch::Receiver<Report>,
}

/// The session, over all losses.
pub struct Session {
    identity: Arc<Identity>,
    endpoints: Endpoints,
    ttl: Duration,
    registration: Registration,
    state_dir: Option<Arc<StateDir>>,
    watcher: Watcher,
    link: watch::Sender<Link>,
    report: watch::Receiver<Report>,
    lease: Option<Lease>,
    /// Of the lease that is asked for next.
    next_lease: i64,
    /// Since when it is asked for: it may have been granted.
    asked: Option<Instant>,
    /// Since when the node is registered in this session.
    joined: Option<Instant>,
    /// What our predecessor's process left in the state directory.
    before: Option<Registered>,
    expired: Counter<u64>,
}

impl Session {
    /// A session that is not connected yet.
    pub fn new(
        identity: Arc<Identity>,
        endpoints: Endpoints,
        ttl: Duration,
        reread: Duration,
        state_dir: Option<Arc<StateDir>>,
        cells: Cells,
        expired: Counter<u64>,
    ) -> Self {
        let keys = Keys::new(&identity.cluster);
        let (pool, id) = (&identity.pool, &identity.id);
        let registration = Registration { key: keys.node(pool, id), name: format!("{pool}/{id}") };
        let (assignment, intent, ports) = (keys.assignment(pool), keys.intent(pool, id), keys.guard_ports());
        let followable = Followable { assignment, intent, ports };
        let watcher = Watcher::new(followable, reread, cells.assigned, cells.intents, cells.fleet_ports);
        let (link, report) = (cells.link, cells.report);
        let before = state_dir.as_ref().and_then(|dir| dir.registered());
        let (lease, next_lease) = (None, random_lease());
        let endpoints = endpoints.with(Patience::new(ttl));
        Self {
            identity,
            endpoints,
            ttl,
            registration,
            state_dir,
            watcher,
            link,
            report,
            lease,
            next_lease,
            asked: None,
            joined: None,
            before,
            expired,
        }
    }

    /// Lives with etcd until `leave` says how to go.
    ///
    /// # Errors
    /// Another process holds the node's id.
    pub async fn run(mut self, leave: oneshot::Receiver<Farewell>) -> Result<(), HeldByOther> {
        let farewell = tokio::select! {
            biased;
            farewell = leave => farewell.unwrap_or_default(),
            held = self.stay() => return Err(held),
        };
        self.leave(farewell).await;
        Ok(())
    }

    /// One session after the other, until another process holds the node's id.
    async fn stay(&mut self) -> HeldByOther {
        loop {
            self.joined = None;
            let broken = match self.session().await {
                Ok(never) => match never {},
                Err(Broken::Register(RegisterError::Held(held))) => return held,
                Err(broken) => broken,
            };
            broken.note(&self.link, &self.endpoints);
            let registered = self.joined.map_or(Duration::ZERO, |joined| joined.elapsed());
            sleep(self.endpoints.lost(broken.remedy(), registered)).await;
        }
    }

    /// One connection to etcd, from registration to loss.
    async fn session(&mut self) -> Result<Infallible, Broken> {
        let etcd = self.endpoints.connect().await?;
        self.revoke_predecessor(&etcd).await?;
        loop {
            // The one from before a loss may live; its first heartbeat tells.
            let lease = match self.lease.clone() {
                Some(lease) => lease,
                None => self.new_lease(&etcd).await?,
            };
            match self.live(&etcd, &lease).await {
                Err(Broken::Register(RegisterError::Held(held))) => self.wait_for(&etcd, &lease, held).await?,
                Err(broken) if broken.is_lease_gone() => {
                    self.lease = None;
                    self.expired.add(1, &[]);
                    return Err(LeaseError::Gone.into());
                }
                other => return other,
            }
        }
    }

    /// Registers and stays so, until something breaks.
    async fn live(&mut self, etcd: &Etcd, lease: &Lease) -> Result<Infallible, Broken> {
        let (registration, identity, link, endpoints) =
            (&self.registration, &*self.identity, &self.link, &self.endpoints);
        let answers = Answers { etcd, lease, registration, identity, link, endpoints };
        let (report, watcher, joined) = (&mut self.report, &mut self.watcher, &mut self.joined);
        let lease_kept = async { lease::keep_alive(etcd, lease).await.map_err(Broken::from) };
        let registered = async {
            // Who has the id serves at its addresses: nothing is looked for before it is ours.
            let said = answers.claim(report).await?;
            *joined = Some(Instant::now());
            let watched = async { watcher.run(etcd).await.map_err(Broken::from) };
            let answered = async { answers.write(said, report).await.map_err(Broken::from) };
            tokio::try_join!(watched, answered)
        };
        tokio::try_join!(lease_kept, registered).map(|(never, _)| never)
    }

    async fn new_lease(&mut self, etcd: &Etcd) -> Result<Lease, Broken> {
        let late = |error: &EtcdError| Link::lose_etcd(&self.link, error, &self.endpoints);
        etcd.patience().come_apart().await;
        let (id, ttl, before) = (self.next_lease, self.ttl, self.asked.is_some());
        let since = *self.asked.get_or_insert_with(Instant::now);
        let grant = |unclear| async move {
            match unclear || before {
                true => lease::find_or_grant(etcd, id, ttl, since).await,
                false => lease::grant(etcd, id, ttl).await,
            }
        };
        let lease = insist_if_refused(etcd, grant, late).await?;
        (self.next_lease, self.asked) = (random_lease(), None);
        self.lease = Some(lease.clone());
        if let Some(dir) = self.state_dir.clone() {
            let (id, incarnation) = (lease.id, self.identity.incarnation.clone());
            let kept = StateDir::wait(dir, move |dir| dir.keep(id, &incarnation)).await;
            if let Err(error) = kept.and_then(|kept| kept) {
                warn!(%error, "after a crash, this node's next start will wait for its registration to run out");
            }
        }
        Ok(lease)
    }

    /// The id is held by a process that may be dead: its lease tells within its TTL.
    async fn wait_for(&mut self, etcd: &Etcd, lease: &Lease, held: HeldByOther) -> Result<(), Broken> {
        info!("the node's id is held; waiting for that registration to run out");
        Broken::Register(held.into()).note(&self.link, &self.endpoints);
        self.watcher.withhold();
        // Our own would run out meanwhile.
        self.lease = None;
        lease::revoke(etcd, lease.id, CALL_TIMEOUT).await?;
        Ok(self.registration.wait_until_free(etcd, lease.ttl).await?)
    }

    /// The state directory is ours, so the process before us is dead: nobody need wait for its lease.
    async fn revoke_predecessor(&mut self, etcd: &Etcd) -> Result<(), EtcdError> {
        if let Some(before) = &self.before {
            if lease::revoke(etcd, before.lease, CALL_TIMEOUT).await? {
                info!(incarnation = before.incarnation, "ended the registration of our predecessor");
            }
            self.before = None;
        }
        Ok(())
    }

    /// Takes the record away, so that nobody waits for the lease to run out.
    async fn leave(&mut self, farewell: Farewell) {
        let etcd = self.endpoints.connect().await;
        let (Some(lease), Ok(etcd)) = (self.lease.take(), etcd) else {
            if farewell.last_words.is_some() {
                warn!("etcd was not told why the node ends");
            }
            return;
        };
        let until = Instant::now() + farewell.limit;
        if let Some(last_words) = farewell.last_words
            // The other half is for taking the record away.
            && !self.say(&etcd, &lease, last_words, until - farewell.limit / 2).await
        {
            warn!("etcd was not told why the node ends");
        }
        match lease::revoke(&etcd, lease.id, until.duration_since(Instant::now())).await {
            Ok(_) => info!(node = self.registration.name, "left the registry"),
            Err(error) => warn!(%error, ttl = ?lease.ttl, "the registration has to run out by itself"),
        }
    }

    /// Writes the record once more, with this condition; whether etcd took it.
    async fn say(&self, etcd: &Etcd, lease: &Lease, condition: v1::Condition, until: Instant) -> bool {
        let report = self.report.borrow().clone().dying(condition);
        let record = self.identity.record(&report, None);
        matches!(timeout_at(until, self.registration.rewrite(etcd, lease, &record)).await, Ok(Ok(_)))
    }
}
