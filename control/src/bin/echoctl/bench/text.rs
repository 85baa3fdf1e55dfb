//! A load for people: what is going to be done, how far it got, and what it came to.
//!
//! Used by `bench`. Pure. Names may be what a node sent: control characters never reach the terminal.

use std::time::Duration;

use echo_control::words::count;
use echo_probe::load::{LATE, Live, Load, Report, Transport};

use super::{Drops, Effort, Outcome, Subject};
use crate::output::human::{NONE, rate, round_trip};
use crate::output::table::{plain, render};
use crate::reflector::Reflector;

/// Addresses that a headline has room for.
const MAX_SHOWN: usize = 8;
/// What a table tells of each node.
const TITLES: [&str; 9] = ["NODE", "ADDRESS", "SENT", "ANSWERED", "RATE", "P50", "P99", "MAX", "LOST"];

/// What is going to be done.
pub(super) fn header(subject: &Subject<'_>) -> String {
    let Subject { target, load, reflectors } = subject;
    let addresses: Vec<_> = reflectors.iter().take(MAX_SHOWN).map(|reflector| reflector.address.to_string()).collect();
    let more = if reflectors.len() > MAX_SHOWN { ", ..." } else { "" };
    let at = if addresses.concat() == *target { String::new() } else { format!(" ({}{more})", addresses.join(", ")) };
    let links = count(load.connections, if load.transport == Transport::Udp { "socket" } else { "connection" });
    let anew = if load.reconnect { ", anew for each message" } else { "" };
    let pace = load.rate.map_or_else(|| "a closed loop".to_owned(), |rate| format!("{rate} messages a second"));
    let Load { size, in_flight, duration, .. } = load;
    let told = format!("{links}{anew}, {in_flight} in flight on each, {size} bytes, {pace} for {duration:?}");
    plain(&format!("BENCH {} {target}{at}: {told}", load.transport.label())) + "\n"
}

/// How far it got; `last` were answered in the last second.
pub(super) fn progress(load: &Load, elapsed: Duration, live: &Live, last: u64) -> String {
    let (answered, out) = (live.answered(), live.sent().saturating_sub(live.answered()));
    let time = format!("{} s of {:?}", elapsed.as_secs(), load.duration);
    let end = if live.is_stopped() || elapsed > load.duration { "; waiting for the last answers" } else { "" };
    format!("{time}: {}/s, {answered} answered, {out} without an answer{end}", rate(last as f64))
}

/// What it came to.
pub(super) fn summary(subject: &Subject<'_>, outcome: &Outcome) -> String {
    let Outcome { all, .. } = outcome;
    let mut text = nodes(subject, outcome);
    let mut lines = vec![format!("--- {} {} ---", subject.load.transport.label(), subject.target)];
    let share = 100.0 * all.lost as f64 / all.sent.max(1) as f64;
    let digits = if share > 0.0 && share < 10.0 { 2 } else { 0 };
    let Report { sent, echoes, lost, mismatches, .. } = all;
    lines.push(format!("{sent} sent, {echoes} answered, {lost} lost ({share:.digits$} %), {mismatches} wrong"));
    lines.push(speed(subject, all));
    lines.extend((*echoes > 0).then(|| latency(all)));
    lines.extend(besides(subject, all));
    lines.extend(failed(all));
    lines.extend(dropped(subject, outcome));
    lines.push(own(subject, outcome));
    text.extend(lines.iter().map(|line| plain(line) + "\n"));
    text
}

/// A row for each node, where there are several.
fn nodes(subject: &Subject<'_>, outcome: &Outcome) -> String {
    if subject.reflectors.len() < 2 {
        return String::new();
    }
    let time = outcome.all.elapsed().as_secs_f64().max(f64::MIN_POSITIVE);
    let row = |name: &str, address: &str, of: &Report| {
        let at = |share| if of.echoes == 0 { NONE.to_owned() } else { round_trip(of.latency(share)) };
        let numbers =
            [of.sent.to_string(), of.echoes.to_string(), rate(of.echoes as f64 / time), at(0.5), at(0.99), at(1.0)];
        let mut cells = vec![name.to_owned(), address.to_owned()];
        cells.extend(numbers);
        cells.push(of.lost.to_string());
        cells
    };
    let name = |of: &Reflector| of.node.as_ref().map_or(NONE.to_owned(), |node| node.name.clone());
    let each = subject.reflectors.iter().zip(&outcome.reports);
    let rows: Vec<_> = each.map(|(of, report)| row(&name(of), &of.address.to_string(), report)).collect();
    render(&TITLES, &rows)
}

fn speed(subject: &Subject<'_>, all: &Report) -> String {
    let bytes = |messages: u64| bytes(all.per_second(messages.saturating_mul(subject.load.size as u64)));
    let answers = all.echoes + all.mismatches;
    let time = all.elapsed().as_secs_f64();
    format!("rate: {}/s over {time:.1} s; {} there, {} back", rate(all.rate()), bytes(all.sent), bytes(answers))
}

/// Bytes a second.
fn bytes(a_second: f64) -> String {
    format!("{}B/s", rate(a_second))
}

fn latency(all: &Report) -> String {
    let at = |share| round_trip(all.latency(share));
    let (min, p50, p90, p99, p999, max) = (at(0.0), at(0.5), at(0.9), at(0.99), at(0.999), at(1.0));
    format!("latency: min {min}, p50 {p50}, p90 {p90}, p99 {p99}, p99.9 {p999}, max {max}")
}

/// What else happened on the way.
fn besides(subject: &Subject<'_>, all: &Report) -> Option<String> {
    let held =
        format!("sent more than {LATE:?} late, since all {} in flight had no answer yet", subject.load.in_flight);
    let parts = [
        (all.strays, "answered twice, or after it counted as lost"),
        (all.held, &held),
        (all.unsent, "never sent, though the rate asked for it"),
    ];
    let parts: Vec<_> = parts.iter().filter(|(count, _)| *count > 0).map(|(n, what)| format!("{n} {what}")).collect();
    (!parts.is_empty()).then(|| format!("besides: {}", parts.join("; ")))
}

fn failed(all: &Report) -> Option<String> {
    let first = all.first_error.as_deref()?;
    Some(format!("failed: {} ({first}{})", all.errors, if all.errors > 1 { ", ..." } else { "" }))
}

/// What the nodes say that they dropped, which is not the network's doing.
fn dropped(subject: &Subject<'_>, outcome: &Outcome) -> Vec<String> {
    let each = subject.reflectors.iter().zip(&outcome.drops);
    let line = |(of, drops): (&Reflector, &Option<Drops>)| {
        let reasons: Vec<_> = drops.as_ref()?.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        let node = &of.node.as_ref()?.name;
        (!reasons.is_empty())
            .then(|| format!("dropped by {node} meanwhile, of all its clients: {}", reasons.join(", ")))
    };
    each.filter_map(line).take(MAX_SHOWN).collect()
}

/// What this client did itself, which is nobody else's doing.
fn own(subject: &Subject<'_>, outcome: &Outcome) -> String {
    let Effort { threads, running, waiting, was_limit } = outcome.client;
    let Report { late_sends, refused, .. } = &outcome.all;
    let percent = |share: f64, what: &str| format!("{:.0} % {what}", share * 100.0);
    let mut parts = vec![count(threads, "thread")];
    // The threads of an open loop look at the clock while they wait.
    parts.extend(running.filter(|_| subject.load.rate.is_none()).map(|share| percent(share, "running")));
    parts.extend(waiting.map(|share| percent(share, "waiting for a core")));
    parts.extend(subject.load.rate.map(|_| format!("{late_sends} sent more than {LATE:?} late")));
    parts.extend((subject.load.transport == Transport::Udp).then(|| format!("{refused} not taken by its kernel")));
    let limit = if was_limit { "; IT WAS THE LIMIT: one with more cores to itself may see more" } else { "" };
    format!("this client: {}{limit}", parts.join(", "))
}
