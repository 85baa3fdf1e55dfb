//! One try to apply one offer, and what is said of its outcome.
//!
//! Used by the applier only. Each try is a span of its own, and each outcome an ack or a nack in the report.

use std::sync::Once;
use std::time::SystemTime;

use echo_proto::spec::Plan;
use echo_proto::telemetry::context;
use echo_proto::v1::{self, NodePhase};
use tracing::{Instrument as _, Span, field, info, info_span, warn};

use super::Applier;
use crate::agent::assignment::{Assignment, Offer, cut};
use crate::agent::decide::Role;
use crate::agent::report;
use crate::live::{ApplyError, Bound, Doorway};

/// Why an offer was refused.
#[derive(Default)]
struct Cause {
    /// At fault; empty when it is none.
    listener: String,
    /// That could not be bound; empty when it is not that.
    address: String,
    text: String,
    /// For spans.
    label: &'static str,
    /// For the record.
    reason: &'static str,
}

impl<D: Doorway> Applier<D> {
    /// Applies one offer, in a span of its own: every attempt is answered.
    pub(super) async fn attempt(
        &mut self,
        role: Role,
        offer: &Offer,
        assignment: &Assignment,
        trace: Option<&v1::TraceContext>,
    ) -> bool {
        let span = info_span!(
            "apply",
            echo.pool = %self.own.pool,
            echo.node = %self.own.node,
            echo.revision = offer.revision.n,
            outcome = field::Empty,
            error.r#type = field::Empty,
        );
        context::set_parent(&span, trace);
        async {
            let outcome = match &offer.plan {
                Ok(plan) => self.try_out(plan, offer, assignment.rollout).await.map(|bound| (plan, bound)),
                Err(cause) => {
                    Err(Cause { text: cause.clone(), label: "config", reason: "Invalid", ..Cause::default() })
                }
            };
            match outcome {
                Ok((plan, bound)) => {
                    Span::current().record("outcome", "applied");
                    self.served(offer.revision.clone(), plan, &bound, Some(assignment));
                    true
                }
                Err(cause) => {
                    Span::current().record("outcome", "rejected").record("error.type", cause.label);
                    self.refused(role, offer, assignment, cause);
                    false
                }
            }
        }
        .instrument(span)
        .await
    }

    /// Applies the plan of an offer; should the process die of it, the next one will know.
    async fn try_out(&mut self, plan: &Plan, offer: &Offer, rollout: u32) -> Result<Vec<Bound>, Cause> {
        let before = self.begin_trial(&offer.revision, rollout).await;
        let applied = self.live.apply(plan, &offer.revision).await;
        match &applied {
            Ok(_) => self.switched_to(&offer.revision).await,
            // The process ends by this, and not in good order.
            Err(ApplyError::Timeout { .. }) => {}
            Err(_) => self.drop_trial(before).await,
        }
        applied.map_err(|error| Cause::of(&error))
    }

    pub(super) fn served(
        &mut self,
        revision: v1::RevisionRef,
        plan: &Plan,
        bound: &[Bound],
        assignment: Option<&Assignment>,
    ) {
        (self.drain_plan, self.stands) = (plan.drain, NodePhase::Ready);
        self.keep_later();
        let listeners: Vec<_> = bound.iter().map(report::bound).collect();
        let told: Vec<_> = bound.iter().map(|b| format!("{} {}/{}", b.name, b.address, b.protocol.label())).collect();
        info!(revision = revision.n, listeners = told.join(", "), "serving");
        if let Some(shortage) = bound.iter().find_map(|bound| bound.buffers?.shortage()) {
            static ONCE: Once = Once::new();
            ONCE.call_once(|| warn!("{shortage}"));
        }
        self.held.acked(revision, assignment);
        let held = self.held.clone();
        let clamped = self.live.clamped();
        self.say(|report| {
            match clamped {
                Some((asked, room)) => report.warn(report::CLAMPED, "FileLimit", too_few_files(asked, room)),
                None => report.clear(&[report::CLAMPED]),
            }
            (report.applied, report.rejection) = (held.applied, held.rejection);
            report.listeners = listeners;
            report.trace = context::current();
        });
    }

    fn refused(&mut self, role: Role, offer: &Offer, assignment: &Assignment, cause: Cause) {
        let rejection = v1::Rejection {
            revision: Some(offer.revision.clone()),
            rollout: assignment.rollout,
            listener: cause.listener,
            cause: cut(cause.text),
            time: Some(SystemTime::now().into()),
            reason: cause.reason.to_owned(),
            address: cause.address,
        };
        let serving = self.held.applied.as_ref().map(|r| r.n);
        warn!(revision = offer.revision.n, serving, reason = report::told(&rejection), "config refused");
        self.held.nacked(role, assignment, rejection);
        let held = self.held.clone();
        if held.applied.is_none() {
            self.stands = NodePhase::Rejected;
        }
        self.say(|report| {
            // A retry that fails for the same reason is no news.
            if report.rejection != held.rejection {
                report.trace = context::current();
            }
            (report.applied, report.rejection) = (held.applied, held.rejection);
        });
    }
}

fn too_few_files(asked: u32, room: u64) -> String {
    format!(
        "limits.maxConnections is {asked}, but this process may open {room}; raise `ulimit -Hn` (systemd: LimitNOFILE)"
    )
}

impl Cause {
    fn of(error: &ApplyError) -> Self {
        Self {
            listener: error.listener().map(ToString::to_string).unwrap_or_default(),
            address: error.address().map(|address| address.to_string()).unwrap_or_default(),
            text: error.cause(),
            label: error.label(),
            reason: error.reason(),
        }
    }
}
