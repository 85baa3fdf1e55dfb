//! Telemetry as a process starts it: in a test binary of its own, since it is installed for the whole process.
#![allow(clippy::unwrap_used)]

use echo_proto::telemetry::{self, Identity, Logs, context};
use tracing::info_span;

#[tokio::test]
async fn a_record_carries_one_trace_from_writer_to_reader() {
    let identity =
        Identity { service: "echo-node", cluster: "test".into(), instance: "node-1".into(), attributes: Vec::new() };
    let telemetry = telemetry::start(identity.clone(), Logs::Off).unwrap();

    assert!(context::current().is_none(), "outside of a span there is nothing to carry");
    let written = info_span!(target: "echo_test", "write").in_scope(|| context::current().unwrap());
    let parts: Vec<&str> = written.traceparent.split('-').collect();
    assert_eq!(parts.iter().map(|p| p.len()).collect::<Vec<_>>(), [2, 32, 16, 2], "{}", written.traceparent);

    let reader = info_span!(target: "echo_test", "read");
    context::set_parent(&reader, Some(&written));
    let read = reader.in_scope(|| context::current().unwrap());
    let trace_id = |t: &echo_proto::v1::TraceContext| t.traceparent.split('-').nth(1).unwrap().to_owned();
    assert_eq!(trace_id(&read), trace_id(&written));
    assert_ne!(read.traceparent, written.traceparent, "the reader is a span of its own");

    let stranger = info_span!(target: "echo_test", "garbage");
    let garbage = echo_proto::v1::TraceContext { traceparent: "00-zz".into(), tracestate: "\u{0}".into() };
    context::set_parent(&stranger, Some(&garbage));
    assert_ne!(trace_id(&stranger.in_scope(|| context::current().unwrap())), trace_id(&written));

    let metrics = telemetry.metrics();
    metrics.meter().u64_counter("echo.test").with_unit("By").build().add(3, &[]);
    assert!(metrics.text().contains("echo_test_bytes_total"), "{}", metrics.text());

    assert!(telemetry::start(identity, Logs::Off).is_err(), "a second start is refused");
    telemetry.shutdown().await;
}
