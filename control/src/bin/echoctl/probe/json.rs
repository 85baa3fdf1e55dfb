//! A run of probes as one JSON document, written while it goes on.
//!
//! Used by `probe`. Pure. Its fields are told in `probe --help`.

use echo_probe::prober::{Directions, Event, Outcome, Reply, Report, Run, Spread, Times};
use echo_proto::API_VERSION;
use serde_json::{Map, Value, json};

use super::Subject;
use super::sessions::Sessions;

/// Up to the first probe.
pub(super) fn begin(subject: &Subject<'_>) -> String {
    let settings = subject.settings;
    let over = settings.transport.label();
    let addresses: Vec<_> = subject.reflectors.iter().map(|reflector| reflector.address.to_string()).collect();
    let head = json!({
        "apiVersion": API_VERSION, "kind": "Probe", "target": subject.target, "transport": over,
        "addresses": addresses, "size": settings.size, "stamped": settings.stamped,
        "intervalNanos": nanos(settings.interval), "timeoutNanos": nanos(settings.timeout),
        "sourcePorts": settings.source_ports,
    });
    let head = head.to_string();
    format!("{},\n\"probes\": [", head.strip_suffix('}').unwrap_or(&head))
}

/// One probe.
pub(super) fn probe(event: &Event, first: bool) -> String {
    let mut probe = Map::new();
    let mut put = |name: &str, value: Value| drop(probe.insert(name.to_owned(), value));
    event.number.into_iter().for_each(|number| put("seq", number.into()));
    put("flow", event.flow.into());
    put("address", event.address.to_string().into());
    put("outcome", event.outcome.label().into());
    if let Outcome::Refused(cause) | Outcome::Unsent(cause) = &event.outcome {
        put("cause", cause.as_str().into());
    }
    if let Some(reply) = event.outcome.reply() {
        put("rttNanos", nanos(reply.rtt));
        put("kernelTimes", reply.by_kernel.into());
        stamp(reply, &mut put);
    }
    let comma = if first { "" } else { "," };
    format!("{comma}\n{}", Value::Object(probe))
}

fn stamp(reply: &Reply, put: &mut impl FnMut(&str, Value)) {
    let Some(stamp) = reply.stamp.as_deref() else { return };
    put("node", stamp.identity.node.as_str().into());
    put("zone", stamp.identity.zone.as_str().into());
    put("revision", stamp.identity.revision.into());
    put("seenAs", stamp.arrival.client.to_string().into());
    stamp.arrival.ttl.into_iter().for_each(|ttl| put("ttl", ttl.into()));
    stamp.arrival.traffic_class.into_iter().for_each(|class| put("dscp", (class >> 2).into()));
    reply.in_node.into_iter().for_each(|time| put("nodeNanos", nanos(time)));
    reply.there.into_iter().for_each(|time| put("thereNanos", time.into()));
    reply.back.into_iter().for_each(|time| put("backNanos", time.into()));
}

/// From the last probe to the end.
pub(super) fn end(run: &Run, report: &Report, sessions: &Sessions) -> String {
    let loss = report.loss;
    let answerers = report
        .answerers
        .iter()
        .map(|(name, who)| json!({"name": name, "zone": who.zone, "revision": who.revision, "answers": who.answers}));
    let mut summary = json!({
        "session": format!("{:016x}", run.session()),
        "sent": report.sent, "answered": report.answered, "late": report.late, "refused": report.refused,
        "lost": {"all": loss.network(), "there": loss.there, "back": loss.back, "unknown": loss.unknown,
            "unconnected": report.unconnected},
        "droppedByNode": {"all": loss.by_node, "reasons": sessions.dropped},
        "lostOrDroppedByNode": loss.by_queue,
        "own": {
            "unsent": report.unsent, "sentLate": report.behind, "notWaitedFor": report.cut_short,
            "droppedAnswers": loss.by_us,
        },
        "wrong": report.wrong,
        "duplicates": directions(report.duplicates), "reordered": directions(report.reordered),
        "stamped": report.stamped, "kernelTimes": report.rtt_by_kernel,
        "rtt": times(&report.rtt), "inNode": times(&report.in_node), "connect": times(&report.connect),
        "answeredBy": answerers.collect::<Vec<_>>(),
        "seenAs": report.seen_as.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "dscps": report.dscps, "silentAgents": sessions.silent,
    });
    if let (Some(delays), Some(summary)) = (report.one_way, summary.as_object_mut()) {
        let told = json!({
            "there": spread(&delays.there), "back": spread(&delays.back), "clockErrorNanos": nanos(delays.error),
        });
        summary.insert("oneWay".to_owned(), told);
    }
    format!("\n],\n\"summary\": {summary}}}\n")
}

fn directions(Directions { all, there, back }: Directions) -> Value {
    json!({"all": all, "there": there, "back": back})
}

/// `null` where there are none.
fn times(times: &Times) -> Value {
    let (Some(min), Some(max)) = (times.min(), times.max()) else { return Value::Null };
    let percentile = |percent| times.percentile(percent).map(nanos);
    json!({
        "count": times.count(), "minNanos": nanos(min), "p50Nanos": percentile(50.0), "p90Nanos": percentile(90.0),
        "p99Nanos": percentile(99.0), "p999Nanos": percentile(99.9), "maxNanos": nanos(max),
    })
}

fn spread(of: &Spread) -> Value {
    json!({"count": of.count, "minNanos": of.min, "meanNanos": of.mean(), "maxNanos": of.max})
}

fn nanos(time: std::time::Duration) -> Value {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).into()
}
