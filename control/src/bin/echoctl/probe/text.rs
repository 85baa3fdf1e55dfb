//! A run of probes for people: a line each, as ping writes them, and a summary.
//!
//! Used by `probe`. Pure. Names may be what a node sent: control characters never reach the terminal.

use std::collections::BTreeMap;
use std::time::Duration;

use echo_probe::prober::{Directions, Event, OneWay, Outcome, Reply, Report, Spread, Times};

use super::sessions::Sessions;
use super::{Subject, share};
use crate::output::human::round_trip;
use crate::output::table::plain;

/// Nodes and addresses that a summary has room for.
const MAX_SHOWN: usize = 20;

/// What is going to be done.
pub(super) fn header(subject: &Subject<'_>) -> String {
    let Subject { target, settings, reflectors } = subject;
    let addresses: Vec<_> = reflectors.iter().take(MAX_SHOWN).map(|reflector| reflector.address.to_string()).collect();
    let more = if reflectors.len() > MAX_SHOWN { ", ..." } else { "" };
    let form = if settings.stamped { "stamped" } else { "plain" };
    let at = if addresses.concat() == *target { String::new() } else { format!(" ({}{more})", addresses.join(", ")) };
    let (size, interval) = (settings.size, settings.interval);
    format!("PROBE {} {target}{at}: {size} bytes, {form}, one each {interval:?}\n", subject.settings.transport.label())
}

/// What happened to a probe.
pub(super) fn line(subject: &Subject<'_>, event: &Event) -> String {
    let Event { number, flow, address, outcome } = event;
    let mut seq = number.map_or_else(|| "seq=?".to_owned(), |number| format!("seq={number}"));
    if subject.settings.source_ports > 1 {
        seq = format!("{seq} flow={flow}");
    }
    let text = match outcome {
        Outcome::Answered(reply) => answer(subject, &seq, reply),
        Outcome::Late(reply) => format!("{} (late)", answer(subject, &seq, reply)),
        Outcome::Duplicate(reply) => format!("{} (DUPLICATE)", answer(subject, &seq, reply)),
        Outcome::Forgotten => format!("an answer from {address} to a probe of long ago"),
        Outcome::Silent => format!("no answer from {address}: {seq} within {:?}", subject.settings.timeout),
        Outcome::Unconnected => {
            format!("no connection to {address} took {seq} within {:?}", subject.settings.timeout)
        }
        Outcome::Refused(cause) => format!("refused by {address}: {seq} {cause}"),
        Outcome::Unsent(cause) => format!("not sent to {address}: {seq} {cause}"),
        Outcome::Wrong => format!("no answer to any probe, but something else from {address}: {seq}"),
    };
    plain(&text) + "\n"
}

fn answer(subject: &Subject<'_>, seq: &str, reply: &Reply) -> String {
    let (bytes, time) = (subject.settings.size, round_trip(reply.rtt));
    let Some(stamp) = &reply.stamp else { return format!("{bytes} bytes from {}: {seq} time={time}", reply.address) };
    let ttl = stamp.arrival.ttl.map_or_else(String::new, |ttl| format!(" ttl={ttl}"));
    format!("{bytes} bytes from {} ({}): {seq} time={time}{ttl}", stamp.identity.node, reply.address)
}

/// What it came to.
pub(super) fn summary(subject: &Subject<'_>, report: &Report, sessions: &Sessions) -> String {
    let mut lines = vec![format!("--- {} {} ---", subject.settings.transport.label(), subject.target)];
    lines.push(counts(report));
    lines.extend(losses(report, sessions));
    lines.extend(ours(report));
    lines.extend(directions("doubled", report.duplicates));
    lines.extend(directions("reordered", report.reordered));
    let kernel = match report.rtt_by_kernel {
        0 => "our times".to_owned(),
        all if all == report.rtt.count() => "the kernel's times".to_owned(),
        some => format!("the kernel's times of {some}, ours of {}", report.rtt.count() - some),
    };
    lines.extend(times("round trip", &report.rtt).map(|times| format!("{times} ({kernel})")));
    lines.extend(times("of it in the node", &report.in_node));
    lines.extend(times("connect", &report.connect));
    lines.extend(report.one_way.as_ref().and_then(one_way));
    lines.extend(answerers(report));
    lines.extend(path(subject, report));
    lines.iter().map(|line| plain(line) + "\n").collect()
}

fn counts(report: &Report) -> String {
    let Report { sent, answered, late, refused, loss, .. } = report;
    let mut parts = vec![format!("{sent} sent"), format!("{answered} answered")];
    let lost = loss.network();
    parts.extend((*late > 0).then(|| format!("{late} late")));
    parts.extend((*refused > 0).then(|| format!("{refused} refused")));
    parts.push(format!("{lost} lost ({})", share(report, lost)));
    parts.join(", ")
}

fn losses(report: &Report, sessions: &Sessions) -> Vec<String> {
    let loss = report.loss;
    let mut lines = Vec::new();
    if loss.network() > 0 {
        let ways = [(loss.there, "on the way there"), (loss.back, "on the way back"), (loss.unknown, "either way")];
        let ways: Vec<_> = ways.iter().filter(|(count, _)| *count > 0).map(|(n, way)| format!("{n} {way}")).collect();
        let unconnected = match report.unconnected {
            0 => String::new(),
            all => format!(" ({all} had no connection)"),
        };
        lines.push(format!("lost: {}{unconnected}", ways.join(", ")));
    }
    if loss.by_node > 0 {
        let reasons: Vec<_> = sessions.dropped.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
        lines.push(format!("dropped by the node, not lost: {}{reasons}", loss.by_node));
    }
    if loss.by_queue > 0 {
        let count = loss.by_queue;
        lines.push(format!("did not arrive while the node's receive queue overflowed, so lost or dropped: {count}"));
    }
    if loss.unknown > 0 && !sessions.silent.is_empty() {
        let silent: Vec<_> = sessions.silent.iter().take(MAX_SHOWN).map(String::as_str).collect();
        lines.push(format!("what arrived is not known: no answer from the Agent of {}", silent.join(", ")));
    }
    lines
}

/// What this host did, which is not the network's doing.
fn ours(report: &Report) -> Option<String> {
    let parts = [
        (report.unsent, "not sent"),
        (report.behind, "sent late"),
        (report.cut_short, "not waited for"),
        (report.loss.by_us, "answers dropped by our own socket"),
        (report.wrong, "wrong answers"),
    ];
    let parts: Vec<_> = parts.iter().filter(|(count, _)| *count > 0).map(|(n, what)| format!("{n} {what}")).collect();
    (!parts.is_empty()).then(|| format!("besides: {}", parts.join(", ")))
}

fn directions(what: &str, Directions { all, there, back }: Directions) -> Option<String> {
    if all + there + back == 0 {
        return None;
    }
    let ways = [(there, "there"), (back, "back")];
    let ways: Vec<_> = ways.iter().filter(|(n, _)| *n > 0).map(|(n, way)| format!("{n} on the way {way}")).collect();
    let ways = if ways.is_empty() { String::new() } else { format!(" ({})", ways.join(", ")) };
    Some(format!("{what}: {all} answers{ways}"))
}

fn times(what: &str, times: &Times) -> Option<String> {
    let percentile = |percent| times.percentile(percent).map(round_trip);
    let (min, max) = (times.min().map(round_trip)?, times.max().map(round_trip)?);
    let (p50, p90, p99) = (percentile(50.0)?, percentile(90.0)?, percentile(99.0)?);
    Some(format!("{what}: min {min}, p50 {p50}, p90 {p90}, p99 {p99}, max {max}"))
}

/// Only where the clocks are better than what is measured by them.
fn one_way(delays: &OneWay) -> Option<String> {
    let OneWay { there, back, error } = delays;
    let useful = |spread: &Spread| i128::from(spread.mean()).unsigned_abs() > error.as_nanos();
    if !useful(there) && !useful(back) {
        return None;
    }
    let mean = |spread: &Spread| match u64::try_from(spread.mean()) {
        Ok(nanos) => round_trip(Duration::from_nanos(nanos)),
        Err(_) => format!("-{}", round_trip(Duration::from_nanos(spread.mean().unsigned_abs()))),
    };
    let (there, back) = (mean(there), mean(back));
    Some(format!("one way: there {there}, back {back} (means; the clocks may be {} off)", round_trip(*error)))
}

fn answerers(report: &Report) -> Vec<String> {
    let stamped = report.stamped > 0;
    let line = |(name, who): (&String, &echo_probe::prober::Answerer)| {
        let mut known = Vec::new();
        known.extend((!who.zone.is_empty()).then(|| format!("zone {}", who.zone)));
        known.extend((who.revision > 0).then(|| format!("revision {}", who.revision)));
        let known = if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) };
        format!("answered by {name}{known}: {}", who.answers)
    };
    let all: BTreeMap<_, _> = report.answerers.iter().take(MAX_SHOWN).collect();
    let mut lines: Vec<_> = all.into_iter().map(line).collect();
    let more = report.answerers.len().saturating_sub(MAX_SHOWN);
    lines.extend((more > 0).then(|| format!("answered by {more} more")));
    // One plain answerer is the target itself.
    if stamped || lines.len() > 1 { lines } else { Vec::new() }
}

/// What the path did to the probes.
fn path(subject: &Subject<'_>, report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    if !report.seen_as.is_empty() {
        let seen: Vec<_> = report.seen_as.iter().take(MAX_SHOWN).map(ToString::to_string).collect();
        lines.push(format!("seen as {}", seen.join(", ")));
    }
    let sent = subject.settings.dscp.unwrap_or_default();
    let other: Vec<_> = report.dscps.iter().filter(|dscp| **dscp != sent).map(ToString::to_string).collect();
    lines.extend((!other.is_empty()).then(|| format!("DSCP {sent} arrived as {}", other.join(", "))));
    lines
}
