//! OpenTelemetry start-up, the flush guard, W3C context and metric names.
//!
//! Every binary calls [`start`] once and keeps the guard to its end. Traces and metrics go out over OTLP when the
//! standard environment names an endpoint (`OTEL_EXPORTER_OTLP_ENDPOINT` and its kin); without one nothing is sent and
//! nothing is an error. Telemetry must never block or stop a service: queues are bounded by the SDK, exports time out,
//! and [`Telemetry::shutdown`] waits for at most [`FLUSH_TIMEOUT`].

pub mod context;
pub mod names;
pub mod rpc;
