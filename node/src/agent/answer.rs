//! Writes the node's answers: its record is claimed, and each new report goes into it.
//!
//! Driven by the session. A report is written inside the trace of the change that it answers, so that one change is one
//! trace to the last node. What did not change is not written again, but it is looked whether it still stands there: a
//! record that somebody deletes or overwrites must not stay so until the node has something new to say. While etcd takes no
//! writes, or is late, it is asked again; the lease and the watch live on meanwhile.

use std::convert::Infallible;

use echo_proto::telemetry::context;
use echo_proto::v1;
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{Instrument as _, Span, debug, info, info_span};

use super::endpoints::Endpoints;
use super::etcd::{Etcd, EtcdError};
use super::identity::Identity;
use super::lease::Lease;
use super::link::Link;
use super::patience::insist;
use super::register::{RegisterError, Registration, Written};
use super::report::Report;
use echo_proto::backoff::jittered;

/// Where the answers go.
pub struct Answers<'a> {
    /// The connection of this session.
    pub etcd: &'a Etcd,
    /// The lease of the record.
    pub lease: &'a Lease,
    /// The record.
    pub registration: &'a Registration,
    /// What it says at all times.
    pub identity: &'a Identity,
    /// Told of each write.
    pub link: &'a watch::Sender<Link>,
    /// For the hint what to try.
    pub endpoints: &'a Endpoints,
}

/// How a record is written.
#[derive(Debug, Clone, Copy)]
enum Write {
    /// It may not be ours yet.
    Claim,
    /// It is ours.
    Rewrite,
}

impl Answers<'_> {
    /// Makes the record ours, with the newest report in it.
    ///
    /// # Errors
    /// Another process holds it; or etcd is lost.
    pub async fn claim(&self, report: &mut watch::Receiver<Report>) -> Result<(Report, Written), RegisterError> {
        self.etcd.patience().come_apart().await;
        let said = report.borrow_and_update().clone();
        let record = self.identity.record(&said, said.trace.clone());
        let written = self.insist(Write::Claim, &record).await?;
        self.link.send_replace(Link::Registered(Box::new(said.clone())));
        info!(node = self.registration.name, lease = format!("{:x}", self.lease.id), "registered");
        Ok((said, written))
    }

    /// Writes each report that differs from the last one, which is `said`, and looks for the record once in a lease's
    /// life; returns only when it can't.
    ///
    /// # Errors
    /// Always: why it ended.
    pub async fn write(
        &self,
        (mut said, mut written): (Report, Written),
        report: &mut watch::Receiver<Report>,
    ) -> Result<Infallible, RegisterError> {
        loop {
            let newest = report.borrow_and_update().clone();
            if newest != said {
                let span = self.span(&newest);
                let record = self.identity.record(&newest, context::of(&span));
                written = self.insist(Write::Rewrite, &record).instrument(span).await?;
                self.link.send_replace(Link::Registered(Box::new(newest.clone())));
                said = newest;
            }
            tokio::select! {
                changed = report.changed() => if changed.is_err() {
                    // The applier is gone: the process is about to end, and has nothing more to say.
                    return std::future::pending().await;
                },
                () = sleep(jittered(self.lease.ttl)) => self.look(written).await?,
            }
        }
    }

    /// Writes it, again and again if etcd refuses or is late: nothing else is lost by that.
    async fn insist(&self, write: Write, record: &v1::NodeRecord) -> Result<Written, RegisterError> {
        let (etcd, lease) = (self.etcd, self.lease);
        let put = |unclear| async move {
            if unclear && let Some(written) = self.registration.find(etcd, lease, record).await? {
                return Ok(written);
            }
            match write {
                Write::Claim => self.registration.claim(etcd, lease, record).await,
                Write::Rewrite => self.registration.rewrite(etcd, lease, record).await,
            }
        };
        insist(etcd, put, |error| Link::lose_etcd(self.link, error, self.endpoints)).await
    }

    /// Looks whether the record still is what was written.
    async fn look(&self, written: Written) -> Result<(), RegisterError> {
        let late = |error: &EtcdError| debug!(%error, "looking for our record again");
        insist(self.etcd, |_| self.registration.check(self.etcd, written), late).await
    }

    /// The span of a write that answers a change; none for other writes.
    fn span(&self, report: &Report) -> Span {
        if report.trace.is_none() {
            return Span::none();
        }
        let span = info_span!("answer", echo.node = %self.identity.id, echo.pool = %self.identity.pool);
        context::set_parent(&span, report.trace.as_ref());
        span
    }
}
