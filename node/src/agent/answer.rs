//! Writes the node's answers: each new report goes into its record.
//!
//! Driven by the session. A report is written inside the trace of the change that it answers, so that one change is one
//! trace to the last node. What did not change is not written again, but it is looked whether it still stands there: a
//! record that somebody deletes or overwrites must not stay so until the node has something new to say.

use std::convert::Infallible;

use echo_proto::telemetry::context;
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{Instrument as _, Span, info_span};

use super::etcd::Etcd;
use super::identity::Identity;
use super::lease::Lease;
use super::register::{RegisterError, Registration, Written};
use super::report::Report;
use super::session::Link;
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
}

impl Answers<'_> {
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
                written = self.registration.rewrite(self.etcd, self.lease, &record).instrument(span).await?;
                self.link.send_replace(Link::Registered(Box::new(newest.clone())));
                said = newest;
            }
            tokio::select! {
                changed = report.changed() => if changed.is_err() {
                    // The applier is gone: the process is about to end, and has nothing more to say.
                    return std::future::pending().await;
                },
                () = sleep(jittered(self.lease.ttl)) => self.registration.check(self.etcd, written).await?,
            }
        }
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
