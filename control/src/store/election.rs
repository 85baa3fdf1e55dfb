//! Who drives: the `leader` key, held by a lease of its own.
//!
//! Run by the app as a task. The key is made by a create-if-absent transaction and goes with its lease; every write of
//! the leader compares its create_revision, so that a leader that does not know yet that it lost cannot write. It must
//! give up by its own clock before etcd gives the key to another: the scaler's doings are not fenced by etcd.

use std::time::Duration;

use echo_proto::v1;
use etcd_client::{LeaseKeepAliveStream, LeaseKeeper};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::{Change, Store, StoreError};
use crate::stop::Stop;
use crate::view::View;
use echo_proto::backoff::{Backoff, jittered};

/// Waits after a failed attempt.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Longest wait at the end for the lease to be given back.
const REVOKE_DEADLINE: Duration = Duration::from_millis(300);
/// Part of the TTL after which, unrenewed, the leader stops: the rest is for clocks and calls in flight.
const TRUSTED_PART: f64 = 0.8;

/// The right to drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leadership {
    /// Of the leader key: what fenced writes compare.
    pub create_revision: i64,
    /// Holds the key.
    pub lease: i64,
}

/// A candidate.
pub struct Election {
    /// Where the key lives.
    pub store: Store,
    /// Tells when the key is free.
    pub view: View,
    /// What the key will hold; `since` is set when it is won.
    pub record: v1::LeaderRecord,
    /// Of the lease; whole seconds.
    pub ttl: Duration,
    /// Told at every change.
    pub leadership: watch::Sender<Option<Leadership>>,
    /// Keeps the lease for the next process on this state directory, so that it need not wait for the TTL.
    pub memory: super::LeaseFile,
}

impl Election {
    /// Runs for office until `stop`; then gives the key back.
    pub async fn run(self, mut stop: Stop) {
        let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        // A lease of this process, or of the one before it on the same state directory, that may still hold the key.
        let mut left = self.memory.recall();
        while !stop.is_set() {
            tokio::select! {
                () = self.vacancy(left.is_some()) => {}
                () = stop.wait() => return,
            }
            if let Some(lease) = left.take_if(|_| self.view.read(|state| state.away.is_none())) {
                self.revoke(lease).await;
            }
            match self.campaign().await {
                Ok(Some((leadership, granted))) => {
                    backoff.reset();
                    tracing::info!(lease = format!("{:x}", leadership.lease), "this process is the leader");
                    let _ = self.leadership.send(Some(leadership));
                    self.hold(leadership, granted, &mut stop).await;
                    let _ = self.leadership.send(None);
                    match self.revoke(leadership.lease).await {
                        true => self.memory.forget(),
                        false => left = Some(leadership.lease),
                    }
                }
                // Another was faster; the view will show it.
                Ok(None) => pause(&mut backoff, &mut stop).await,
                Err(error) => {
                    tracing::debug!(%error, "no election");
                    pause(&mut backoff, &mut stop).await;
                }
            }
        }
    }

    /// Ends once etcd answers and nobody else holds the key; or after some TTLs in any case, should the view be wrong.
    async fn vacancy(&self, may_be_own: bool) {
        let taken =
            self.view.until(|state| state.synced && state.away.is_none() && (may_be_own || state.leader.is_none()));
        let _ = timeout(jittered(self.ttl * 4), taken).await;
    }

    /// Tries to win; also tells when the lease was asked for, from which its time counts.
    async fn campaign(&self) -> Result<Option<(Leadership, Instant)>, StoreError> {
        // Before the call: etcd may have granted the lease long before its answer arrives.
        let asked = Instant::now();
        let mut leases = self.store.client().lease_client();
        let ttl = self.ttl.as_secs().max(1) as i64;
        let granted = self.store.call("grant a lease", async move { leases.grant(ttl, None).await }).await?;
        let lease = granted.id();
        self.memory.remember(lease);
        let mut record = self.record.clone();
        record.since = Some(std::time::SystemTime::now().into());
        let key = self.store.keys().leader();
        let won = self.store.commit(Change::new().require(&key, 0).put_leased(&key, &record, lease)).await;
        let won = won.map(|won| won.filter(|_| Instant::now() < self.end(asked)));
        if !matches!(won, Ok(Some(_))) {
            self.revoke(lease).await;
        }
        Ok(won?.map(|create_revision| (Leadership { create_revision, lease }, asked)))
    }

    /// Until when a leader may trust in a lease that was granted or renewed at `since`, by its own clock.
    fn end(&self, since: Instant) -> Instant {
        since + self.ttl.mul_f64(TRUSTED_PART)
    }

    /// Ends when the leadership is lost or given up.
    async fn hold(&self, leadership: Leadership, granted: Instant, stop: &mut Stop) {
        let mut renewed = granted;
        let mut keeper = None;
        // The key may also be deleted by hand, or be another's after a restored backup.
        let lost = self.view.until(|state| {
            state.revision >= leadership.create_revision
                && state.leader.as_ref().is_none_or(|l| l.create_revision != leadership.create_revision)
        });
        tokio::pin!(lost);
        loop {
            let end = self.end(renewed);
            let sent = Instant::now();
            tokio::select! {
                result = timeout_at(end, self.renew(leadership.lease, &mut keeper)) => match result {
                    Ok(Ok(true)) => renewed = sent,
                    Ok(Ok(false)) => return tracing::warn!("the leader's lease expired"),
                    Ok(Err(error)) => {
                        keeper = None;
                        tracing::warn!(%error, "the leader's lease was not renewed");
                    }
                    Err(_) => {}
                },
                () = &mut lost => return tracing::warn!("the leader key is gone or another's"),
                () = stop.wait() => return,
            }
            let end = self.end(renewed);
            if Instant::now() >= end {
                return tracing::warn!("no longer the leader: etcd did not renew the lease in time");
            }
            tokio::select! {
                () = sleep_until((sent + jittered(self.ttl / 3)).min(end)) => {}
                () = &mut lost => return tracing::warn!("the leader key is gone or another's"),
                () = stop.wait() => return,
            }
        }
    }

    /// Renews once; `false`: there is no such lease any more.
    async fn renew(&self, lease: i64, keeper: &mut Option<Keeper>) -> Result<bool, StoreError> {
        let renew = async {
            let (sender, answers) = match keeper {
                Some(open) => open,
                None => match self.store.client().lease_client().keep_alive(lease).await {
                    // Opening it has renewed once already.
                    Ok(open) => {
                        *keeper = Some(open);
                        return Ok(Renewal::Done);
                    }
                    // So the client tells a lease that is gone.
                    Err(etcd_client::Error::LeaseKeepAliveError(_)) => return Ok(Renewal::Gone),
                    Err(error) => return Err(error),
                },
            };
            sender.keep_alive().await?;
            let answer = answers.message().await?;
            Ok(answer.map_or(Renewal::Cut, |a| if a.ttl() > 0 { Renewal::Done } else { Renewal::Gone }))
        };
        match self.store.call("renew the lease", renew).await? {
            Renewal::Done => Ok(true),
            Renewal::Gone => Ok(false),
            // Of the connection, not of the lease: etcd restarts.
            Renewal::Cut => {
                let (endpoints, cause) = (self.store.endpoints.clone(), "the stream has ended".to_owned());
                Err(StoreError::Unavailable { endpoints, cause })
            }
        }
    }

    /// Gives a lease back; `false` if etcd did not answer. One that is gone already is as good.
    async fn revoke(&self, lease: i64) -> bool {
        let revoke = async move { self.store.client().lease_client().revoke(lease).await };
        match timeout(REVOKE_DEADLINE, self.store.call("revoke a lease", revoke)).await {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => !error.is_unavailable(),
            Err(_) => false,
        }
    }
}

type Keeper = (LeaseKeeper, LeaseKeepAliveStream);

/// What became of one renewal.
enum Renewal {
    /// The lease has its whole TTL again.
    Done,
    /// There is no such lease.
    Gone,
    /// Not known: etcd ended the stream.
    Cut,
}

async fn pause(backoff: &mut Backoff, stop: &mut Stop) {
    tokio::select! {
        () = tokio::time::sleep(backoff.next_wait()) => {}
        () = stop.wait() => {}
    }
}
