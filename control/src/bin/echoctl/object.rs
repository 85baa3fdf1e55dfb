//! The types of objects that control serves: how each is shown, and where it comes from.
//!
//! Used by `get` and `up`. Showing is pure: what a row needs beside its object comes in a [`View`].

pub(crate) mod event;
mod node;
mod pool;
mod revision;
pub(crate) mod source;

use std::time::SystemTime;

use echo_proto::codec::Message;
use echo_proto::v1;

pub(crate) use self::pool::replicas;
use crate::output::human::{NONE, age};

/// What rows are seen with.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// The time that ages count to.
    pub(crate) now: SystemTime,
    /// More columns.
    pub(crate) wide: bool,
    /// With live figures; watches have none.
    pub(crate) live: bool,
    /// With clock times beside the ages of what happened.
    pub(crate) clock: bool,
    /// The pools, which know what of their revisions is in use.
    pub(crate) pools: Vec<v1::Pool>,
}

impl View {
    /// The usual one, of this moment.
    pub(crate) fn now(wide: bool) -> Self {
        Self { now: SystemTime::now(), wide, live: true, clock: wide, pools: Vec::new() }
    }
}

/// An object that can be listed.
pub(crate) trait Object: Message + Clone + PartialEq {
    /// Its type, as in `node/node-1`.
    const TYPE: &'static str;
    /// What lists it, as in `echoctl get nodes`.
    const LIST: &'static str;
    /// Title of the column that changes by itself.
    const AGE: &'static str = "AGE";
    /// Titles of its table.
    fn titles(view: &View) -> Vec<&'static str>;
    /// Its row, as many cells as there are titles.
    fn cells(&self, view: &View) -> Vec<String>;
    /// The longest word that a column often changes to, for which a watch keeps room.
    fn widest(_title: &str) -> &'static str {
        ""
    }
    /// Its name, identity and age.
    fn meta(&self) -> Option<&v1::ObjectMeta>;
    /// A line below the table, for what must not be missed.
    fn note(&self) -> Option<String> {
        None
    }
    /// Its name.
    fn name(&self) -> &str {
        self.meta().map_or("", |m| &m.name)
    }
    /// Unique among the objects of its type.
    fn key(&self) -> String {
        self.name().to_owned()
    }
    /// Lists are shown in the order of it, and where it is equal, as control sent them.
    fn rank(&self) -> (i64, i32) {
        (0, 0)
    }
    /// `TYPE/NAME`.
    fn path(&self) -> String {
        format!("{}/{}", Self::TYPE, self.name())
    }
}

/// `listener greet: bind 127.0.0.2:7008: address in use`.
pub(crate) fn cause(listener: &str, cause: &str) -> String {
    let cause = text(cause);
    if listener.is_empty() { cause } else { format!("listener {listener}: {cause}") }
}

/// The number of a revision.
pub(crate) fn revision(revision: Option<&v1::RevisionRef>) -> String {
    revision.map_or_else(|| NONE.to_owned(), |r| r.n.to_string())
}

pub(crate) fn text(text: &str) -> String {
    if text.is_empty() { NONE.to_owned() } else { text.to_owned() }
}

/// `READY` for `NODE_PHASE_READY`; the zero value and what a newer control says are `-`.
pub(crate) fn short_name(name: &str, prefix: &str) -> String {
    match name.strip_prefix(prefix) {
        Some("UNSPECIFIED") | None => NONE.to_owned(),
        Some(short) => short.to_owned(),
    }
}

/// The labels as `name=value`, by name.
pub(crate) fn labels(meta: Option<&v1::ObjectMeta>) -> Vec<String> {
    let mut labels: Vec<_> = meta.into_iter().flat_map(|m| &m.labels).map(|(k, v)| format!("{k}={v}")).collect();
    labels.sort();
    labels
}

/// The phase of a node as tables show it: one that serves but was cordoned is CORDONED.
pub(crate) fn phase(status: &v1::NodeStatus) -> String {
    let cordoned = status.phase() == v1::NodePhase::Ready && !status.cordoned_by.is_empty();
    if cordoned { "CORDONED".to_owned() } else { short_name(status.phase().as_str_name(), "NODE_PHASE_") }
}

/// What its pool uses a revision for.
pub(crate) fn in_use(revision: Option<&v1::RevisionRef>, status: Option<&v1::PoolStatus>) -> Option<&'static str> {
    let (revision, status) = (revision?, status?);
    let is = |other: &Option<v1::RevisionRef>| other.as_ref() == Some(revision);
    if is(&status.next) {
        return Some("next");
    }
    is(&status.stable).then_some("stable")
}

/// What became of a revision, as far as that is known.
pub(crate) fn ended(revision: &v1::Revision) -> Option<&'static str> {
    Some(match revision.outcome.as_ref()?.end() {
        v1::RevisionEnd::Unspecified => return None,
        v1::RevisionEnd::Completed => "completed",
        v1::RevisionEnd::Reverted => "reverted",
        v1::RevisionEnd::RevertIncomplete => "reverted, not by all nodes",
        v1::RevisionEnd::Aborted => "aborted",
        v1::RevisionEnd::Superseded => "superseded",
        v1::RevisionEnd::Skipped => "skipped",
    })
}

fn created(meta: Option<&v1::ObjectMeta>, view: &View) -> String {
    age(meta.and_then(|m| m.create_time), view.now)
}

#[cfg(test)]
mod tests;
