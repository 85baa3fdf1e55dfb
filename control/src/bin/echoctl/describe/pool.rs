//! The description of a pool: what it shall be, what its nodes make of it, and its newest rollout.
//!
//! Used by `describe`. Pure, but for the questions.

use std::collections::BTreeMap;
use std::time::SystemTime;

use echo_proto::{codec, v1};
use serde_json::Value;

use super::sheet::Sheet;
use super::{Described, optional, served, since};
use crate::connect::Control;
use crate::failure::Failure;
use crate::object::source::{Filter, list};
use crate::object::{Object as _, cause, labels, phase, replicas, revision, short_name};
use echo_control::words::count;

use crate::output::human::{NONE, age, moment};

/// What its description needs beside the pool.
pub(super) struct More {
    pub(super) rollout: Option<v1::Rollout>,
    pub(super) nodes: Vec<v1::Node>,
}

impl Described for v1::Pool {
    const HAS_EVENTS: bool = true;
    type More = More;

    async fn more(&self, control: &mut Control) -> Result<More, Failure> {
        let request = v1::GetRolloutRequest { pool: self.name().to_owned() };
        let answer = control.pools.get_rollout(request).await;
        let rollout = optional(control, answer)?.and_then(|response| response.into_inner().rollout);
        let filter = Filter { pool: self.name().to_owned(), skip_live: true, ..Filter::default() };
        let (nodes, _) = list::<v1::Node>(control, &filter).await?;
        Ok(More { rollout, nodes })
    }

    fn sheet(&self, more: &More, now: SystemTime) -> Sheet {
        let mut sheet = Sheet::default();
        let meta = self.metadata.clone().unwrap_or_default();
        let spec = self.spec.clone().unwrap_or_default();
        let status = self.status.clone().unwrap_or_default();
        sheet.field("Name", self.name());
        sheet.fields("Labels", labels(self.meta()));
        sheet.optional("Owner", &meta.owner);
        sheet.field("UID", &meta.uid);
        sheet.field("Generation", meta.generation.to_string());
        sheet.field("Created", moment(meta.create_time, now));
        sheet.field("Replicas", replicas(self).map_or_else(|| NONE.to_owned(), |r| r.to_string()));
        sheet.optional("Autoscale", spec.autoscale.as_ref().map(settings).unwrap_or_default());
        let (nodes, ready, synced) = (status.nodes, status.ready, status.synced);
        sheet.field("Nodes", format!("{nodes} registered, {ready} ready, {synced} in sync"));
        sheet.table("By state", &["PHASE", "SYNC", "NODES"], &states(&more.nodes));
        sheet.field("Stable", reference(status.stable.as_ref()));
        if status.next.is_some() {
            sheet.field("Next", reference(status.next.as_ref()));
        }
        if !status.pins.is_empty() {
            sheet.table("Pins", &["NODE", "REVISION", "AUTHOR", "AGE"], &pins(&status.pins, now));
        }
        if !status.conditions.is_empty() {
            sheet.table("Conditions", &["TYPE", "REASON", "AGE", "MESSAGE"], &conditions(&status.conditions, now));
        }
        template(&mut sheet, spec.template.as_ref(), Some(&more.nodes));
        sheet.optional("Rollout policy", spec.rollout.as_ref().map(settings).unwrap_or_default());
        rollout(&mut sheet, more.rollout.as_ref(), now);
        sheet
    }
}

/// How many nodes are in each phase and sync state.
fn states(nodes: &[v1::Node]) -> Vec<Vec<String>> {
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    for status in nodes.iter().filter_map(|node| node.status.as_ref()) {
        let sync = short_name(status.sync().as_str_name(), "SYNC_STATE_");
        *counts.entry((phase(status), sync)).or_default() += 1;
    }
    counts.into_iter().map(|((phase, sync), count)| vec![phase, sync, count.to_string()]).collect()
}

fn pins(pins: &[v1::Pin], now: SystemTime) -> Vec<Vec<String>> {
    let row =
        |pin: &v1::Pin| vec![pin.node.clone(), pin.revision.to_string(), pin.author.clone(), age(pin.create_time, now)];
    pins.iter().map(row).collect()
}

fn conditions(conditions: &[v1::PoolCondition], now: SystemTime) -> Vec<Vec<String>> {
    let row = |c: &v1::PoolCondition| {
        vec![c.r#type.clone(), c.reason.clone(), age(c.transition_time, now), c.message.clone()]
    };
    conditions.iter().map(row).collect()
}

fn reference(reference: Option<&v1::RevisionRef>) -> String {
    reference.map_or_else(String::new, super::node::full_revision)
}

/// The listeners and settings of a template, for pools and revisions; with the nodes of a pool, how many of them have
/// each listener, since a template may be on its way, or have been refused.
pub(super) fn template(sheet: &mut Sheet, template: Option<&v1::PoolTemplate>, nodes: Option<&[v1::Node]>) {
    let Some(template) = template else { return };
    let row = |listener: &v1::Listener| {
        let service = listener.service.as_ref().map(settings).unwrap_or_default();
        let address = if listener.address.is_empty() { NONE } else { &listener.address };
        let port = if listener.port == 0 { "any".to_owned() } else { listener.port.to_string() };
        let protocol = short_name(listener.protocol().as_str_name(), "PROTOCOL_");
        let mut cells = vec![listener.name.clone(), protocol, address.to_owned(), port, service];
        cells.extend(nodes.map(|nodes| served::by(listener, nodes)));
        cells
    };
    let rows: Vec<_> = template.listeners.iter().map(row).collect();
    let titles = ["NAME", "PROTOCOL", "ADDRESS", "PORT", "SERVICE", "OPEN ON"];
    let shown = if nodes.is_some() { titles.len() } else { titles.len() - 1 };
    sheet.table("Listeners", titles.get(..shown).unwrap_or(&titles), &rows);
    let others = served::others(&template.listeners, nodes.unwrap_or_default());
    if !others.is_empty() {
        sheet.fields("Still open", others);
    }
    sheet.optional("Limits", template.limits.as_ref().map(settings).unwrap_or_default());
    sheet.optional("Drain policy", template.drain.as_ref().map(settings).unwrap_or_default());
}

/// `maxConnections 100, perSource {messages 10}`: what is set, in the words of a pool file.
fn settings<M: codec::Message>(message: &M) -> String {
    told(&codec::to_human_value(message))
}

fn told(tree: &Value) -> String {
    let one = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(|v| v.as_str().unwrap_or_default()).collect::<Vec<_>>().join(" "),
        Value::Object(members) if members.is_empty() => String::new(),
        Value::Object(_) => format!("{{{}}}", told(value)),
        other => other.to_string(),
    };
    let members = tree.as_object().into_iter().flatten();
    members.map(|(name, value)| format!("{name} {}", one(value)).trim_end().to_owned()).collect::<Vec<_>>().join(", ")
}

fn rollout(sheet: &mut Sheet, rollout: Option<&v1::Rollout>, now: SystemTime) {
    let Some(rollout) = rollout else { return sheet.field("Rollout", "<none>") };
    let phase = short_name(rollout.phase().as_str_name(), "ROLLOUT_PHASE_");
    let began = since(rollout.end_time.or(rollout.start_time), now);
    sheet.field("Rollout", format!("{phase}{began}"));
    let to = revision(rollout.to.as_ref());
    sheet.field("  Revision", rollout.from.as_ref().map_or(to.clone(), |from| format!("{to}, from {}", from.n)));
    sheet.field("  Run by", format!("{} of {}", rollout.acked, count(rollout.nodes, "node")));
    sheet.field("  Author", &rollout.author);
    sheet.optional("  Message", &rollout.message);
    if rollout.steps > 0 {
        let step = rollout.step.saturating_add(1).min(rollout.steps);
        sheet.field("  Step", format!("{step} of {}", rollout.steps));
    }
    sheet.optional("  Canaries", rollout.canaries.join(", "));
    sheet.optional("  Health", &rollout.health);
    sheet.optional("  Reason", &rollout.reason);
    if !rollout.problems.is_empty() {
        let row = |p: &v1::RolloutProblem| vec![p.node.clone(), cause(&p.listener, &p.cause)];
        sheet.table("Problems", &["NODE", "CAUSE"], &rollout.problems.iter().map(row).collect::<Vec<_>>());
    }
}
