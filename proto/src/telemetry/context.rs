//! W3C Trace Context (<https://www.w3.org/TR/trace-context/>) of spans, as records in etcd and gRPC headers carry it.
//!
//! Used by whoever writes or reads such a record, and by the gRPC layers. A context that cannot be parsed is no context:
//! the span then starts a trace of its own.

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::v1::TraceContext;

/// Header and field names of the standard.
pub(super) const TRACEPARENT: &str = "traceparent";
pub(super) const TRACESTATE: &str = "tracestate";

/// The context of tracing's current span; `None` outside of any span.
pub fn current() -> Option<TraceContext> {
    of(&Span::current())
}

/// The context of `span`; `None` if it is not recorded.
pub fn of(span: &Span) -> Option<TraceContext> {
    let mut trace = TraceContext::default();
    TraceContextPropagator::new().inject_context(&span.context(), &mut Fields(&mut trace));
    (!trace.traceparent.is_empty()).then_some(trace)
}

/// Makes `span`, which must not have been entered yet, a child of the span that wrote `trace`.
pub fn set_parent(span: &Span, trace: Option<&TraceContext>) {
    let Some(trace) = trace else { return };
    let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &Carrier(trace));
    // Fails only where no OpenTelemetry layer is installed, as in unit tests: then there is nothing to link.
    let _ = span.set_parent(parent);
}

struct Fields<'a>(&'a mut TraceContext);

impl Injector for Fields<'_> {
    fn set(&mut self, key: &str, value: String) {
        match key {
            TRACEPARENT => self.0.traceparent = value,
            TRACESTATE => self.0.tracestate = value,
            _ => {}
        }
    }
}

struct Carrier<'a>(&'a TraceContext);

impl Extractor for Carrier<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            TRACEPARENT => Some(&self.0.traceparent),
            TRACESTATE => Some(&self.0.tracestate),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT, TRACESTATE]
    }
}
