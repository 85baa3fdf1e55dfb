//! Tower layers for the gRPC edge: one span and one duration a call, W3C context in the headers.
//!
//! [`server_layer`] goes around control's and the nodes' servers, [`ClientLayer`] around every channel to them. A call
//! ends when its body ends, so that streams are timed to their end; it is recorded once, by `Drop`. They must not
//! change a call, nor fail one.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};
use std::time::Instant;

use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use opentelemetry::metrics::Histogram;
use opentelemetry::{KeyValue, global};
use tower::{Layer, Service};
use tracing::{Instrument as _, Span, field, info_span};

use super::{context, names};
use crate::v1::TraceContext;

/// Upper bounds of the duration histograms in seconds, as OpenTelemetry's RPC conventions advise.
const BOUNDARIES: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// Stands for every method that this build does not know: a caller must not be able to make up metric series.
const OTHER: &str = "_OTHER";

/// Around a tonic server: continues the caller's trace.
#[derive(Debug, Clone)]
pub struct ServerLayer(());

/// The layer for `tonic::transport::Server::builder().layer(...)`.
pub fn server_layer() -> ServerLayer {
    ServerLayer(())
}

/// Around a channel: sends the current trace along.
#[derive(Debug, Clone, Copy)]
pub struct ClientLayer;

impl<S> Layer<S> for ServerLayer {
    type Service = Traced<S>;
    fn layer(&self, inner: S) -> Traced<S> {
        Traced::new(inner, Side::Server)
    }
}

impl<S> Layer<S> for ClientLayer {
    type Service = Traced<S>;
    fn layer(&self, inner: S) -> Traced<S> {
        Traced::new(inner, Side::Client)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Server,
    Client,
}

/// A service whose calls are traced and timed.
#[derive(Debug, Clone)]
pub struct Traced<S> {
    inner: S,
    side: Side,
    duration: Histogram<f64>,
}

impl<S> Traced<S> {
    fn new(inner: S, side: Side) -> Self {
        let name = if side == Side::Server { names::RPC_SERVER_DURATION } else { names::RPC_CLIENT_DURATION };
        let meter = global::meter("echo");
        let duration = meter.f64_histogram(name).with_unit("s").with_boundaries(BOUNDARIES.into()).build();
        Self { inner, side, duration }
    }

    fn call_of<B>(&self, request: &mut Request<B>) -> Call {
        let method = method(request.uri().path());
        let kind = if self.side == Side::Server { "server" } else { "client" };
        let span = info_span!(
            "rpc",
            otel.name = method,
            otel.kind = kind,
            otel.status_code = field::Empty,
            rpc.system.name = "grpc",
            rpc.method = method,
            error.r#type = field::Empty,
        );
        match self.side {
            Side::Server => context::set_parent(&span, received(request.headers()).as_ref()),
            Side::Client => send(request.headers_mut(), context::of(&span)),
        }
        Call { method, span, duration: self.duration.clone(), start: Instant::now(), status: None }
    }
}

impl<S, B, R> Service<Request<B>> for Traced<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = Response<Timed<R>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let mut call = self.call_of(&mut request);
        let future = self.inner.call(request).instrument(call.span.clone());
        Box::pin(async move {
            let outcome = future.await;
            match outcome {
                Ok(response) => {
                    // An error without a body stands in the headers.
                    call.note(response.headers());
                    Ok(response.map(|body| Timed { body, call }))
                }
                Err(error) => {
                    call.end("UNAVAILABLE");
                    Err(error)
                }
            }
        })
    }
}

/// One call, recorded when it is dropped.
#[derive(Debug)]
struct Call {
    method: &'static str,
    span: Span,
    duration: Histogram<f64>,
    start: Instant,
    /// Name of the gRPC status, once it was seen.
    status: Option<&'static str>,
}

impl Call {
    fn note(&mut self, headers: &HeaderMap) {
        if let Some(code) = headers.get("grpc-status") {
            self.end(status_name(code.as_bytes()));
        }
    }

    fn end(&mut self, status: &'static str) {
        self.status = Some(status);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // A call that ends without a status was given up by one side.
        let status = self.status.unwrap_or("CANCELLED");
        let mut attributes =
            vec![KeyValue::new(names::RPC_SYSTEM, "grpc"), KeyValue::new(names::RPC_METHOD, self.method)];
        if status != "OK" {
            attributes.push(KeyValue::new(names::ERROR_TYPE, status));
            self.span.record("error.type", status);
            self.span.record("otel.status_code", "ERROR");
        }
        self.duration.record(self.start.elapsed().as_secs_f64(), &attributes);
    }
}

/// A response body that keeps its call open, and reads the status from the trailers.
#[derive(Debug)]
pub struct Timed<B> {
    body: B,
    call: Call,
}

impl<B: Body + Unpin> Body for Timed<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.get_mut();
        let frame = std::task::ready!(Pin::new(&mut this.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            this.call.note(trailers);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn received(headers: &HeaderMap) -> Option<TraceContext> {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let trace = TraceContext { traceparent: text(context::TRACEPARENT), tracestate: text(context::TRACESTATE) };
    (!trace.traceparent.is_empty()).then_some(trace)
}

fn send(headers: &mut HeaderMap, trace: Option<TraceContext>) {
    let Some(trace) = trace else { return };
    for (name, text) in [(context::TRACEPARENT, trace.traceparent), (context::TRACESTATE, trace.tracestate)] {
        if let Ok(value) = HeaderValue::from_str(&text)
            && !text.is_empty()
        {
            headers.insert(name, value);
        }
    }
}

/// `echo.v1.Pools/Apply` for `/echo.v1.Pools/Apply`, if this build knows it.
fn method(path: &str) -> &'static str {
    static KNOWN: LazyLock<HashSet<String>> = LazyLock::new(|| {
        let ours = crate::codec::descriptors().services().flat_map(|service| {
            let methods: Vec<_> = service.methods().collect();
            methods.into_iter().map(move |m| format!("{}/{}", service.full_name(), m.name()))
        });
        let standard = [
            "grpc.health.v1.Health/Check",
            "grpc.health.v1.Health/Watch",
            "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        ];
        ours.chain(standard.map(str::to_owned)).collect()
    });
    KNOWN.get(path.trim_start_matches('/')).map_or(OTHER, String::as_str)
}

/// Names of the gRPC status codes (<https://grpc.io/docs/guides/status-codes/>).
fn status_name(code: &[u8]) -> &'static str {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    let index = std::str::from_utf8(code).ok().and_then(|c| c.parse::<usize>().ok());
    index.and_then(|i| NAMES.get(i)).unwrap_or(&"UNKNOWN")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_methods_become_series() {
        assert_eq!(method("/echo.v1.Pools/Apply"), "echo.v1.Pools/Apply");
        assert_eq!(method("/echo.v1.Agent/GetStatus"), "echo.v1.Agent/GetStatus");
        assert_eq!(method("/echo.v1.Pools/Made-Up-17"), OTHER);
    }

    #[test]
    fn statuses_have_their_names() {
        assert_eq!(status_name(b"0"), "OK");
        assert_eq!(status_name(b"14"), "UNAVAILABLE");
        assert_eq!(status_name(b"99"), "UNKNOWN");
        assert_eq!(status_name(b"\xff"), "UNKNOWN");
    }
}
