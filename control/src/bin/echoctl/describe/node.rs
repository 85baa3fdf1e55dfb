//! The description of a node.
//!
//! Used by `describe`. Pure.

use std::collections::BTreeMap;
use std::time::SystemTime;

use echo_proto::v1::{self, DrainStage};

use super::sheet::Sheet;
use super::{Described, since};
use crate::connect::Control;
use crate::failure::Failure;
use crate::object::{Object as _, cause, labels, phase, revision, short_name, text};
use echo_control::words::count;

use crate::output::human::{age, clock, moment, rate};

impl Described for v1::Node {
    const HAS_EVENTS: bool = true;
    type More = ();

    async fn more(&self, _: &mut Control) -> Result<(), Failure> {
        Ok(())
    }

    fn sheet(&self, (): &(), now: SystemTime) -> Sheet {
        let mut sheet = Sheet::default();
        let status = self.status.clone().unwrap_or_default();
        sheet.field("Name", self.name());
        sheet.field("Pool", &status.pool);
        sheet.field("Zone", &status.zone);
        sheet.field("Host", &status.host);
        sheet.fields("Labels", labels(self.meta()));
        sheet.field("Phase", phase(&status));
        sheet.optional("Cordoned by", &status.cordoned_by);
        sheet.field("Sync", sync(&status, now));
        sheet.field("Revision", status.applied.as_ref().map_or_else(String::new, full_revision));
        if status.pinned_revision > 0 {
            sheet.field("Pinned to", status.pinned_revision.to_string());
        }
        if let Some(rejection) = &status.rejection {
            let (n, cause) = (revision(rejection.revision.as_ref()), cause(&rejection.listener, &rejection.cause));
            sheet.field("Rejection", format!("revision {n}: {cause}{}", since(rejection.time, now)));
        }
        sheet.field("Version", &status.version);
        sheet.field("Incarnation", &status.incarnation);
        sheet.field("Created", moment(self.meta().and_then(|m| m.create_time), now));
        sheet.field("Agent", &status.agent_address);
        sheet.field("HTTP", &status.http_address);
        let listener = |l: &v1::BoundListener| {
            let protocol = short_name(l.protocol().as_str_name(), "PROTOCOL_");
            vec![l.name.clone(), protocol, l.address.clone(), size(l.receive_buffer), size(l.send_buffer)]
        };
        let listeners: Vec<_> = status.listeners.iter().map(listener).collect();
        sheet.table("Listeners", &["NAME", "PROTOCOL", "ADDRESS", "RECEIVE-BUFFER", "SEND-BUFFER"], &listeners);
        if let Some(drain) = &status.drain {
            sheet.fields("Drain", drain_lines(drain, now));
        }
        conditions(&mut sheet, &status.conditions, now);
        live(&mut sheet, status.live.as_ref(), now);
        sheet
    }
}

/// `4096 KiB`; nothing where there is no such thing, or an older node does not tell.
fn size(bytes: u32) -> String {
    if bytes == 0 { String::new() } else { format!("{} KiB", bytes.div_ceil(1024)) }
}

/// `LOST, its record went away at 2026-11-22T21:30:05Z (3m12s ago)`.
fn sync(status: &v1::NodeStatus, now: SystemTime) -> String {
    let sync = short_name(status.sync().as_str_name(), "SYNC_STATE_");
    match status.vanish_time {
        Some(time) => format!("{sync}, its record went away{}", since(Some(time), now)),
        None => sync,
    }
}

/// `4, digest 0123456789abcdef...`.
pub(super) fn full_revision(reference: &v1::RevisionRef) -> String {
    format!("{}, digest {}", reference.n, reference.digest)
}

fn drain_lines(drain: &v1::DrainStatus, now: SystemTime) -> Vec<String> {
    let mut lines = vec![match drain.stage() {
        DrainStage::LameDuck => "not ready, still accepting".to_owned(),
        DrainStage::Closing => "listeners are closed, what is open goes on".to_owned(),
        DrainStage::Drained => "nothing is served".to_owned(),
        DrainStage::Unspecified => "-".to_owned(),
    }];
    lines.push(format!("{}{}", text(&drain.reason), since(drain.start_time, now)));
    let deadline = drain.deadline_time.filter(|_| drain.stage() != DrainStage::Drained);
    if let Some(time) = deadline.and_then(|time| SystemTime::try_from(time).ok()) {
        let left = time.duration_since(now).unwrap_or_default().as_secs();
        lines.push(format!("deadline in {left} s, at {}", clock(deadline)));
    }
    if drain.exits {
        lines.push("its process ends then".to_owned());
    }
    // At the deadline or by force: the record does not say.
    if drain.cut_connections > 0 {
        lines.push(format!("cut: {}", count(drain.cut_connections, "connection")));
    }
    lines
}

fn conditions(sheet: &mut Sheet, conditions: &[v1::Condition], now: SystemTime) {
    let row = |condition: &v1::Condition| {
        let status = if condition.status { "True" } else { "False" };
        vec![
            condition.r#type.clone(),
            status.to_owned(),
            text(&condition.reason),
            age(condition.transition_time, now),
            clock(condition.transition_time),
            condition.message.clone(),
        ]
    };
    let rows: Vec<_> = conditions.iter().map(row).collect();
    sheet.table("Conditions", &["TYPE", "STATUS", "REASON", "AGE", "SINCE", "MESSAGE"], &rows);
}

fn live(sheet: &mut Sheet, live: Option<&v1::LiveFigures>, now: SystemTime) {
    let Some(live) = live else { return sheet.field("Live figures", "its Agent did not answer in time") };
    sheet.field("Connections", format!("{} open, {} accepted", live.connections, live.connections_accepted));
    let least = if live.udp_flows_capped { ">=" } else { "" };
    sheet.field("UDP flows", format!("{least}{} in the last 10 s", live.udp_flows));
    sheet.field("Rate", format!("{} exchanges/s", rate(live.rate)));
    let io = |bytes: u64, packets: u64| format!("{}, {}", count(bytes, "byte"), count(packets, "datagram"));
    sheet.field("Received", io(live.received_bytes, live.received_packets));
    sheet.field("Transmitted", io(live.transmitted_bytes, live.transmitted_packets));
    sheet.fields("Dropped", losses(live, &live.dropped_packets, now));
    sheet.fields("Refused", losses(live, &live.rejected_connections, now));
    if live.paced_reads > 0 {
        sheet.field("Paced", format!("{}, for a rate of the limits", count(live.paced_reads, "pause")));
    }
}

/// `2 rate_limit, last at 2026-11-22T21:30:05Z (3m12s ago)`, a line for each reason.
fn losses(live: &v1::LiveFigures, counts: &BTreeMap<String, u64>, now: SystemTime) -> Vec<String> {
    let line = |(reason, n): (&String, &u64)| match live.last_loss_times.get(reason) {
        Some(time) => format!("{n} {reason}, last at {}", moment(Some(*time), now)),
        None => format!("{n} {reason}"),
    };
    let lines: Vec<_> = counts.iter().filter(|(_, n)| **n > 0).map(line).collect();
    if lines.is_empty() { vec!["0".to_owned()] } else { lines }
}
