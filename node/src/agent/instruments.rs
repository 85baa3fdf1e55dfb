//! The agent's own metrics: which revision is served, how often the registration ran out.
//!
//! Registered once by [`crate::app`]. The names are those of [`echo_proto::telemetry::names`].

use echo_proto::ids::PoolName;
use echo_proto::telemetry::names;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter};
use tokio::sync::watch;

use super::report::Report;

/// Observes the number of the revision that is served; nothing while there is none.
pub fn observe_revision(meter: &Meter, pool: &PoolName, report: watch::Receiver<Report>) {
    let attributes = [KeyValue::new(names::POOL, pool.to_string())];
    meter
        .u64_observable_gauge(names::CONFIG_REVISION)
        .with_description("Number of the revision that the node serves")
        .with_callback(move |gauge| {
            if let Some(applied) = &report.borrow().applied {
                gauge.observe(applied.n.into(), &attributes);
            }
        })
        .build();
}

/// Counts registrations that ran out.
pub fn lease_expired(meter: &Meter) -> Counter<u64> {
    let counter = meter.u64_counter(names::LEASE_EXPIRED).with_description("Leases that the node lost").build();
    // Shown from the start: an absent series is no zero.
    counter.add(0, &[]);
    counter
}
