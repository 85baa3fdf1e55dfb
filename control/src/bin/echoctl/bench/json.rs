//! A load as one JSON document.
//!
//! Used by `bench`. Pure. Its fields are told in `bench --help`.

use std::time::Duration;

use echo_probe::load::Report;
use echo_proto::{API_VERSION, VERSION};
use prost_types::Timestamp;
use serde_json::{Map, Value, json};

use super::{Outcome, Subject};

/// All of it.
pub(super) fn document(subject: &Subject<'_>, outcome: &Outcome) -> String {
    let Subject { target, load, reflectors } = subject;
    let nodes = reflectors.iter().zip(&outcome.reports).zip(&outcome.drops).map(|((reflector, report), drops)| {
        let mut node = Map::new();
        node.insert("address".to_owned(), reflector.address.to_string().into());
        if let Some(known) = &reflector.node {
            node.insert("node".to_owned(), known.name.as_str().into());
            node.insert("pool".to_owned(), known.pool.as_str().into());
            node.insert("droppedByNode".to_owned(), json!(drops));
        }
        node.extend(report_of(report, load.size));
        Value::Object(node)
    });
    let client = &outcome.client;
    let document = json!({
        "apiVersion": API_VERSION, "kind": "Bench", "version": VERSION, "target": target,
        "startTime": Timestamp::from(outcome.began).to_string(),
        "settings": {
            "transport": load.transport.label(), "connections": load.connections, "inFlight": load.in_flight,
            "size": load.size, "reconnect": load.reconnect, "rate": load.rate, "durationNanos": nanos(load.duration),
            "timeoutNanos": nanos(load.timeout),
        },
        "client": {
            "threads": client.threads, "running": client.running, "waitingForCore": client.waiting,
            "wasLimit": client.was_limit,
        },
        "all": report_of(&outcome.all, load.size),
        "nodes": nodes.collect::<Vec<_>>(),
    });
    format!("{document}\n")
}

fn report_of(report: &Report, size: usize) -> Map<String, Value> {
    let bytes = |messages: u64| report.per_second(messages.saturating_mul(size as u64));
    let told = json!({
        "sent": report.sent, "answered": report.echoes, "wrong": report.mismatches, "lost": report.lost,
        "strays": report.strays, "held": report.held, "unsent": report.unsent,
        "own": {"sentLate": report.late_sends, "refused": report.refused},
        "errors": report.errors, "firstError": report.first_error,
        "elapsedNanos": nanos(report.elapsed()), "answersPerSecond": report.rate(),
        "bytesPerSecond": {"there": bytes(report.sent), "back": bytes(report.echoes + report.mismatches)},
        "latency": latency(report),
    });
    match told {
        Value::Object(told) => told,
        _ => Map::new(),
    }
}

/// `null` where there is none.
fn latency(report: &Report) -> Value {
    if report.echoes == 0 {
        return Value::Null;
    }
    let at = |share| nanos(report.latency(share));
    let steps = report.latencies().map(|(nanos, count)| json!({"upToNanos": nanos, "count": count}));
    json!({
        "minNanos": at(0.0), "p50Nanos": at(0.5), "p90Nanos": at(0.9), "p99Nanos": at(0.99), "p999Nanos": at(0.999),
        "maxNanos": at(1.0), "histogram": steps.collect::<Vec<_>>(),
    })
}

fn nanos(time: Duration) -> Value {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).into()
}
