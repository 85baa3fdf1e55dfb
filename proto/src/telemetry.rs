//! OpenTelemetry start-up, the flush guard, W3C context and metric names.
//!
//! Every binary calls [`start`] once and keeps the guard to its end. Traces and metrics go out over OTLP when the
//! standard environment names an endpoint (`OTEL_EXPORTER_OTLP_ENDPOINT` and its kin); without one nothing is sent and
//! nothing is an error. Telemetry must never block or stop a service: queues are bounded by the SDK, exports time out,
//! and [`Telemetry::shutdown`] waits for at most [`FLUSH_TIMEOUT`].

pub mod context;
pub mod names;
pub mod rpc;

use std::time::Duration;

use opentelemetry::metrics::{Meter, MeterProvider as _};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{KeyValue, global};
use opentelemetry_otlp::{ExporterBuildError, MetricExporter, SpanExporter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use prometheus::Registry;
use tracing_subscriber::filter::{EnvFilter, FilterFn};
use tracing_subscriber::{Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// Longest wait at exit for what was not sent yet.
pub const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// What is logged where neither `ECHO_LOG` nor `RUST_LOG` says otherwise.
const DEFAULT_LOG: &str = "info,opentelemetry=warn,opentelemetry_sdk=warn,opentelemetry-otlp=warn,h2=warn,tower=warn";

/// Who this process is, to the receivers of its telemetry.
#[derive(Debug, Clone)]
pub struct Identity {
    /// `service.name`, unless `OTEL_SERVICE_NAME` names another: `echo-node`, `echo-control` or `echoctl`.
    pub service: &'static str,
    /// `service.namespace`.
    pub cluster: String,
    /// `service.instance.id`.
    pub instance: String,
    /// Further resource attributes, such as the zone.
    pub attributes: Vec<KeyValue>,
}

/// Where log lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logs {
    /// One line each on standard error; JSON when `ECHO_LOG_FORMAT=json`.
    Stderr,
    /// Nowhere: the process speaks to a person by itself.
    Off,
}

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// An exporter refuses its settings.
    #[error("OTLP exporter: {0}; check OTEL_EXPORTER_OTLP_ENDPOINT")]
    Exporter(#[from] ExporterBuildError),
    /// The environment asks for a protocol that this build does not speak.
    #[error("OTEL_EXPORTER_OTLP_PROTOCOL={0}: only grpc is supported; point the endpoint at the collector's gRPC port")]
    Protocol(String),
    /// The log filter is malformed.
    #[error("log filter {value:?}: {source}; check ECHO_LOG, as in `info,echo_node=debug`")]
    Filter {
        /// The filter as given.
        value: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// A subscriber is installed already: `start` was called twice.
    #[error("telemetry was started twice: {0}")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
    /// The Prometheus reader could not be registered.
    #[error("metrics reader: {0}")]
    Reader(#[from] opentelemetry_sdk::error::OTelSdkError),
}

/// Keeps telemetry running; shut it down last.
#[derive(Debug)]
#[must_use = "dropping the guard loses what was not sent yet"]
pub struct Telemetry {
    tracer: SdkTracerProvider,
    meter: SdkMeterProvider,
    registry: Registry,
}

/// A cheap handle on the metrics of the process.
#[derive(Debug, Clone)]
pub struct Metrics {
    meter: Meter,
    registry: Registry,
}

impl Metrics {
    /// Where instruments are made.
    pub fn meter(&self) -> Meter {
        self.meter.clone()
    }

    /// All metrics in the Prometheus text format, version 0.0.4.
    pub fn text(&self) -> String {
        prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_else(|e| {
            // A scrape must not fail because one family is malformed; it is told where people look.
            tracing::warn!(error = %e, "metrics can't be encoded");
            String::new()
        })
    }
}

/// Installs logs, traces and metrics for the whole process.
///
/// Must be called inside the tokio runtime that will live longest: the exporters' connections run on it.
///
/// # Errors
/// A malformed endpoint or log filter, or a second call.
pub fn start(identity: Identity, logs: Logs) -> Result<Telemetry, TelemetryError> {
    let resource = resource(identity);
    let registry = Registry::new();
    let tracer = tracer(resource.clone())?;
    let meter = meter(resource, &registry)?;
    global::set_meter_provider(meter.clone());

    // Only our own spans become traces: the libraries' would drown them.
    let ours = FilterFn::new(|metadata| metadata.is_span() && metadata.target().starts_with("echo"));
    // Places in our source, threads and busy time are of no use to an operator and double each span.
    let traces = tracing_opentelemetry::layer()
        .with_tracer(tracer.tracer("echo"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_target(false)
        .with_filter(ours);
    let lines = match logs {
        Logs::Off => None,
        Logs::Stderr => Some(stderr_lines()?),
    };
    tracing_subscriber::registry().with(traces).with(lines).try_init()?;
    Ok(Telemetry { tracer, meter, registry })
}

impl Telemetry {
    /// A handle for instruments and for `/metrics`.
    pub fn metrics(&self) -> Metrics {
        Metrics { meter: self.meter.meter("echo"), registry: self.registry.clone() }
    }

    /// Sends what is left, for at most [`FLUSH_TIMEOUT`]; what could not be sent is lost, as it is at any exit.
    pub async fn shutdown(self) {
        let flush = tokio::task::spawn_blocking(move || {
            // An unreachable collector was reported while the process ran; at exit there is no one to tell.
            let _ = self.tracer.shutdown_with_timeout(FLUSH_TIMEOUT);
            let _ = self.meter.shutdown_with_timeout(FLUSH_TIMEOUT);
        });
        let _ = tokio::time::timeout(FLUSH_TIMEOUT, flush).await;
    }
}

fn resource(identity: Identity) -> Resource {
    let mut builder = Resource::builder().with_attributes([
        KeyValue::new("service.namespace", identity.cluster),
        KeyValue::new("service.instance.id", identity.instance),
        KeyValue::new("service.version", crate::VERSION),
    ]);
    builder = builder.with_attributes(identity.attributes);
    let named = std::env::var("OTEL_RESOURCE_ATTRIBUTES").is_ok_and(|a| a.split(',').any(is_service_name));
    if !named && std::env::var_os("OTEL_SERVICE_NAME").is_none() {
        builder = builder.with_service_name(identity.service);
    }
    builder.build()
}

fn is_service_name(attribute: &str) -> bool {
    attribute.split_once('=').is_some_and(|(key, _)| key.trim() == "service.name")
}

/// Spans get their ids also without an exporter: the context that records carry is always there.
fn tracer(resource: Resource) -> Result<SdkTracerProvider, TelemetryError> {
    let mut builder = SdkTracerProvider::builder().with_resource(resource);
    if exports("TRACES")? {
        builder = builder.with_batch_exporter(SpanExporter::builder().with_tonic().build()?);
    }
    Ok(builder.build())
}

fn meter(resource: Resource, registry: &Registry) -> Result<SdkMeterProvider, TelemetryError> {
    let scrape = opentelemetry_prometheus::exporter().with_registry(registry.clone()).build()?;
    let mut builder = SdkMeterProvider::builder().with_resource(resource).with_reader(scrape);
    if exports("METRICS")? {
        builder = builder.with_periodic_exporter(MetricExporter::builder().with_tonic().build()?);
    }
    Ok(builder.build())
}

/// Whether the standard environment names an endpoint for this signal, and does not switch the SDK off.
fn exports(signal: &str) -> Result<bool, TelemetryError> {
    let given = |name: &str| {
        let own = std::env::var(format!("OTEL_EXPORTER_OTLP_{signal}_{name}")).ok();
        own.or_else(|| std::env::var(format!("OTEL_EXPORTER_OTLP_{name}")).ok()).filter(|value| !value.is_empty())
    };
    let disabled = std::env::var("OTEL_SDK_DISABLED").is_ok_and(|v| v.eq_ignore_ascii_case("true"));
    if disabled || given("ENDPOINT").is_none() {
        return Ok(false);
    }
    match given("PROTOCOL") {
        Some(other) if other != "grpc" => Err(TelemetryError::Protocol(other)),
        _ => Ok(true),
    }
}

fn stderr_lines<S>() -> Result<Box<dyn tracing_subscriber::Layer<S> + Send + Sync>, TelemetryError>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let value = std::env::var("ECHO_LOG").or_else(|_| std::env::var("RUST_LOG"));
    let value = value.unwrap_or_else(|_| DEFAULT_LOG.to_owned());
    let filter = EnvFilter::try_new(&value).map_err(|source| TelemetryError::Filter { value, source })?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    if std::env::var("ECHO_LOG_FORMAT").is_ok_and(|format| format == "json") {
        return Ok(lines.json().with_filter(filter).boxed());
    }
    Ok(lines.with_filter(filter).boxed())
}
