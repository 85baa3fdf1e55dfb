//! A real OTLP collector (rotel), and what it received.

use std::path::Path;
use std::time::Duration;

use crate::ports::{free_port, own_loopback_address};
use crate::wait::{ensure, eventually};
use crate::{Process, tools};

/// Until the collector listens; well under a second on an idle machine.
const READY: Duration = Duration::from_secs(20);

/// A running collector that prints what it receives.
#[derive(Debug)]
pub struct Collector {
    process: Process,
    endpoint: String,
}

/// One span as the collector told it.
#[derive(Debug, Clone, Default)]
pub struct Span {
    /// `service.name` of its resource.
    pub service: String,
    /// `service.instance.id` of its resource.
    pub instance: String,
    /// 32 hex digits.
    pub trace: String,
    /// 16 hex digits.
    pub id: String,
    /// 16 hex digits; empty for a root.
    pub parent: String,
    /// What was done.
    pub name: String,
    /// Unix nanoseconds.
    pub start: u64,
}

impl Collector {
    /// Starts one and waits until it listens.
    pub fn start(dir: &Path) -> Self {
        let ip = own_loopback_address();
        let (grpc, http) = (format!("{ip}:{}", free_port(ip)), format!("{ip}:{}", free_port(ip)));
        let args = [
            "start".to_owned(),
            "--exporter=blackhole".into(),
            "--debug-log=traces".into(),
            "--debug-log=metrics".into(),
            "--debug-log-verbosity=detailed".into(),
            format!("--otlp-grpc-endpoint={grpc}"),
            format!("--otlp-http-endpoint={http}"),
            format!("--pid-file={}", dir.join("rotel.pid").display()),
            format!("--log-file={}", dir.join("rotel-agent.log").display()),
        ];
        let program = tools::venv("lib/python3*/site-packages/rotel/rotel-agent");
        let process = Process::start_foreign("rotel", dir, &program, &args);
        eventually("the collector listens", READY, || std::net::TcpStream::connect(&grpc).map(drop));
        Self { process, endpoint: format!("http://{grpc}") }
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` must be.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// All spans so far, in the order of their arrival.
    pub fn spans(&self) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        let mut resource = Span::default();
        for line in self.process.log().lines().map(str::trim) {
            let value = |name: &str| line.strip_prefix(name).map(|rest| rest.trim_start_matches([' ', ':']).to_owned());
            if line.starts_with("ResourceSpans #") {
                resource = Span::default();
            } else if line.starts_with("Span #") {
                spans.push(resource.clone());
            } else if let Some(text) = value("-> service.name: Str(") {
                resource.service = text.trim_end_matches(')').into();
            } else if let Some(text) = value("-> service.instance.id: Str(") {
                resource.instance = text.trim_end_matches(')').into();
            } else if let Some(span) = spans.last_mut() {
                if let Some(text) = value("Trace ID") {
                    span.trace = text;
                } else if let Some(text) = value("Parent ID") {
                    span.parent = text;
                } else if let Some(text) = value("ID") {
                    span.id = text;
                } else if let Some(text) = value("Name") {
                    span.name = text;
                } else if let Some(text) = value("Start time") {
                    span.start = text.parse().unwrap_or_default();
                }
            }
        }
        spans
    }

    /// One trace as a tree, a span a line: its name, its service and, on a node, which one.
    pub fn tree(&self, trace: &str) -> String {
        let mut spans: Vec<Span> = self.spans().into_iter().filter(|s| s.trace == trace).collect();
        spans.sort_by_key(|span| span.start);
        let mut text = String::new();
        branch(&spans, "", 0, &mut text);
        text
    }

    /// Waits until the collector has received a metric of this name.
    #[track_caller]
    pub fn wait_metric(&self, name: &str, deadline: Duration) {
        let line = format!("-> Name: {name}");
        let found = || self.process.log().lines().any(|l| l.trim() == line);
        eventually(&format!("metric {name} arrives"), deadline, || ensure(found(), || "not yet".into()));
    }
}

/// The spans below `parent`, each followed by its own.
fn branch(spans: &[Span], parent: &str, depth: usize, text: &mut String) {
    for span in spans.iter().filter(|s| s.parent == parent) {
        let place = if span.service == "echo-node" { format!(" {}", span.instance) } else { String::new() };
        text.push_str(&format!("{}{}  ({}{place})\n", "  ".repeat(depth), span.name, span.service));
        branch(spans, &span.id, depth + 1, text);
    }
}
