//! What an apply, a scale or an undo makes of a pool.
//!
//! Called by the API with what is stored; it stores the outcome by compare-and-put. A changed template, by digest,
//! makes a new revision; anything else does not. The template of a revision that was taken back makes a new revision
//! when it is applied again: that is how an operator tries once more.

mod replaced;
mod size;

use std::time::SystemTime;

use echo_proto::ids::{Digest, PoolName, PoolUid, RevisionNumber};
use echo_proto::spec::{DEFAULT_REPLICAS, MAX_REPLICAS};
use echo_proto::{API_VERSION, v1};

pub use self::replaced::replaced;
pub use self::size::{Number, bounds, keeping, kept, replicas};
use self::size::{number, renumber, within};
use crate::event;
use crate::words::count;

/// Who asks for a change, and how.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// For history and events.
    pub author: String,
    /// In the author's words.
    pub message: String,
    /// One step over the whole pool.
    pub now: bool,
}

impl Request {
    /// The author, as history and events name it.
    pub fn who(&self) -> &str {
        if self.author.is_empty() { "unknown" } else { &self.author }
    }
}

/// What there is beside a pool's record, as far as it is known.
#[derive(Debug, Clone, Copy, Default)]
pub struct Beside<'a> {
    /// Its newest rollout.
    pub rollout: Option<&'a v1::Rollout>,
    /// How many nodes its autoscaler decided on.
    pub scale: Option<&'a v1::Scale>,
    /// Nodes that live and stay; looked at only where nothing stored tells how many the pool wants.
    pub there: u32,
}

/// What to store.
#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    /// The pool's new record.
    pub record: v1::PoolRecord,
    /// A new revision, when there is one.
    pub revision: Option<v1::Revision>,
    /// What becomes of the autoscaler's number.
    pub number: Number,
    /// What happened.
    pub event: v1::Event,
}

/// A new pool, from a valid one.
///
/// Its nodes may be there already: of an etcd that lost its data. Where the file leaves their number open, it begins
/// with those that live, since fewer would end nodes that serve.
pub fn create(name: &PoolName, pool: &v1::Pool, there: u32, request: &Request, now: SystemTime) -> Changed {
    let given = pool.metadata.clone().unwrap_or_default();
    let metadata = v1::ObjectMeta {
        name: name.to_string(),
        uid: PoolUid::random().to_string(),
        labels: given.labels,
        generation: 1,
        create_time: Some(now.into()),
        ..Default::default()
    };
    let mut spec = pool.spec.clone().unwrap_or_default();
    let (number, replicas) = match spec.autoscale.as_ref().map(|rule| within(rule, there)) {
        Some(begin) => (Number::Begins(begin), begin),
        None => (Number::Stays, *spec.replicas.get_or_insert(there.clamp(DEFAULT_REPLICAS, MAX_REPLICAS))),
    };
    let replicas_open = is_open(pool);
    let record = v1::PoolRecord { metadata: Some(metadata), spec: Some(spec), replicas_open, ..Default::default() };
    let event = event::normal("PoolCreated", event::of_pool(name), format!("created with {}", count(replicas, "node")));
    Changed { number, ..changed(name, record, true, request, now, event) }
}

/// What is applied over what is stored; `None`: nothing changes.
///
/// `replicas` that are absent stay what they are: a file without them leaves their number to whoever scales. So an
/// autoscaler that comes goes on from the number that there is, and one that goes leaves its number.
pub fn apply(
    name: &PoolName,
    stored: &v1::PoolRecord,
    beside: Beside<'_>,
    pool: &v1::Pool,
    request: &Request,
    now: SystemTime,
) -> Option<Changed> {
    let labels = pool.metadata.clone().unwrap_or_default().labels;
    let mut spec = pool.spec.clone().unwrap_or_default();
    let (before, rule) = (number(stored, beside), stored.spec.as_ref().and_then(|s| s.autoscale.as_ref()));
    let (number, scaled) = renumber(&mut spec, rule, before);
    // Nor is it open any more where an autoscaler comes, or went.
    let replicas_open = stored.replicas_open && is_open(pool);
    let mut record = v1::PoolRecord { spec: Some(spec), replicas_open, ..stored.clone() };
    let metadata = record.metadata.get_or_insert_default();
    let relabelled = metadata.labels != labels;
    metadata.labels = labels;
    let new_revision = digest(&record) != stored_digest(stored) || was_taken_back(stored, beside.rollout);
    if record.spec == stored.spec && !relabelled && !new_revision {
        return None;
    }
    if record.spec != stored.spec || new_revision {
        next_generation(&mut record);
    }
    let event = event::normal("PoolConfigured", event::of_pool(name), format!("changed by apply{scaled}"));
    Some(Changed { number, ..changed(name, record, new_revision, request, now, event) })
}

/// Whether a pool file leaves the number of nodes to control.
fn is_open(pool: &v1::Pool) -> bool {
    pool.spec.as_ref().is_none_or(|spec| spec.replicas.is_none() && spec.autoscale.is_none())
}

/// What who applied `now` should know, where that made no revision to be rolled out in one step.
pub fn in_vain(name: &PoolName, before: Option<&v1::PoolRecord>, after: &v1::PoolRecord, now: bool) -> Option<String> {
    let unrevised = before.is_some_and(|before| before.revision == after.revision);
    (now && unrevised && !after.now).then(|| {
        format!(
            "pool/{name}: --now changes nothing, since no revision is made: one that is rolled out goes on in steps; \
             abort its rollout and apply it again to have it in one"
        )
    })
}

/// Another number of nodes; `None`: it is that already.
pub fn scale(
    name: &PoolName,
    stored: &v1::PoolRecord,
    wanted: u32,
    request: &Request,
    now: SystemTime,
) -> Option<Changed> {
    let before = replicas(stored);
    if before == wanted {
        return None;
    }
    let mut record = stored.clone();
    record.spec.get_or_insert_default().replicas = Some(wanted);
    record.replicas_open = false;
    next_generation(&mut record);
    let event =
        event::normal("PoolScaled", event::of_pool(name), format!("scaled from {before} to {}", count(wanted, "node")));
    let event = v1::Event { from: before.to_string(), to: wanted.to_string(), ..event };
    Some(changed(name, record, false, request, now, event))
}

/// The template of an older revision, as the newest.
pub fn undo(
    name: &PoolName,
    stored: &v1::PoolRecord,
    old: &v1::Revision,
    request: &Request,
    now: SystemTime,
) -> Changed {
    let mut record = stored.clone();
    record.spec.get_or_insert_default().template.clone_from(&old.template);
    next_generation(&mut record);
    let n = old.revision.as_ref().map_or(0, |r| r.n);
    let message = if request.message.is_empty() { format!("undo to revision {n}") } else { request.message.clone() };
    let request = &Request { message, ..request.clone() };
    let event = event::normal("PoolUndone", event::of_pool(name), format!("back to the template of revision {n}"));
    changed(name, record, true, request, now, event)
}

/// Whether the newest revision was tried and taken back.
pub fn was_taken_back(stored: &v1::PoolRecord, rollout: Option<&v1::Rollout>) -> bool {
    let ended = |r: &v1::Rollout| {
        matches!(
            r.phase(),
            v1::RolloutPhase::Reverting | v1::RolloutPhase::Reverted | v1::RolloutPhase::RevertIncomplete
        )
    };
    rollout.is_some_and(|r| ended(r) && r.to.is_some() && r.to == stored.revision)
}

/// Counts changes of the spec; also what makes a rollout of an unchanged one.
fn next_generation(record: &mut v1::PoolRecord) {
    let metadata = record.metadata.get_or_insert_default();
    metadata.generation = metadata.generation.saturating_add(1);
}

fn changed(
    name: &PoolName,
    mut record: v1::PoolRecord,
    new_revision: bool,
    request: &Request,
    now: SystemTime,
    event: v1::Event,
) -> Changed {
    record.trace = echo_proto::telemetry::context::current();
    let mut event = v1::Event { actor: request.who().to_owned(), ..event };
    let revision = new_revision.then(|| revise(name, &mut record, request, now));
    if let Some(n) = revision.as_ref().and_then(|r| r.revision.as_ref()).map(|r| r.n) {
        event.message += &format!("; revision {n}");
        if request.now {
            event.message += ", for the whole pool in one step";
        }
    }
    Changed { record, revision, number: Number::Stays, event }
}

/// Makes the record's template its next revision. Who applied one, and how, stays in the record until there is another:
/// it may not have begun to roll out yet.
fn revise(name: &PoolName, record: &mut v1::PoolRecord, request: &Request, now: SystemTime) -> v1::Revision {
    request.who().clone_into(&mut record.author);
    record.message.clone_from(&request.message);
    record.now = request.now;
    let template = record.spec.as_ref().and_then(|s| s.template.clone()).unwrap_or_default();
    let uid = record.metadata.as_ref().map_or_else(String::new, |m| m.uid.clone());
    let n = record.revision.as_ref().map_or(0, |r| r.n).saturating_add(1);
    let reference = v1::RevisionRef { uid, n, digest: Digest::of(&template).to_string() };
    record.revision = Some(reference.clone());
    v1::Revision {
        api_version: API_VERSION.to_owned(),
        kind: "Revision".to_owned(),
        metadata: Some(v1::ObjectMeta {
            name: format!("{name}-{}", RevisionNumber(n)),
            create_time: Some(now.into()),
            ..Default::default()
        }),
        pool: name.to_string(),
        revision: Some(reference),
        template: Some(template),
        author: record.author.clone(),
        message: record.message.clone(),
        trace: record.trace.clone(),
        outcome: None,
    }
}

fn digest(record: &v1::PoolRecord) -> String {
    Digest::of(&record.spec.as_ref().and_then(|s| s.template.clone()).unwrap_or_default()).to_string()
}

fn stored_digest(record: &v1::PoolRecord) -> String {
    record.revision.as_ref().map_or_else(String::new, |r| r.digest.clone())
}

#[cfg(test)]
pub(super) mod tests;
