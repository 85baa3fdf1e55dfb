//! Reports values of ours that can't be read: each once, by its key and mod_revision, whoever leads.
//!
//! Part of the drive. A value is reported again when it was changed, and is bad still.

use std::collections::HashMap;

use echo_proto::v1;

use super::Pass;
use super::journal::Journal;
use crate::event;
use crate::store::{StoreError, Stored};
use crate::view::{Invalid, State, View};

/// Bad values reported in one pass; more follow in the next.
const MAX_PER_PASS: usize = 64;
/// Reason of the report of a bad value.
const REASON: &str = "InvalidRecord";

/// What was reported: key -> mod_revision.
#[derive(Debug)]
pub(super) struct Reported(HashMap<String, String>);

impl Reported {
    /// By earlier leaders.
    pub(super) fn recall(told: &[Stored<v1::Event>]) -> Self {
        let reports = told.iter().map(|stored| &stored.value).filter(|event| event.reason == REASON);
        Self(reports.map(|event| (event::key_of(event).to_owned(), event.to.clone())).collect())
    }

    pub(super) async fn pass(&mut self, view: &View, journal: &mut Journal) -> Result<Pass, StoreError> {
        for event in view.read(|state| self.missing(state)) {
            tracing::warn!(object = event.object, "{}", event.message);
            let (key, at) = (event::key_of(&event).to_owned(), event.to.clone());
            if !journal.tell(event).await? {
                return Ok(Pass::Again);
            }
            self.0.insert(key, at);
        }
        Ok(Pass::Done(None))
    }

    /// The reports that nobody has made yet.
    fn missing(&mut self, state: &State) -> Vec<v1::Event> {
        self.0.retain(|key, _| state.invalid.contains_key(key));
        let untold = state.invalid.iter().filter(|(key, found)| self.0.get(*key) != Some(&found.version()));
        let report = |(key, found): (&String, &Invalid)| {
            let message = format!("{}; it is passed over until it is repaired or deleted", found.cause);
            v1::Event { to: found.version(), ..event::warning(REASON, event::of_key(key), message) }
        };
        untold.take(MAX_PER_PASS).map(report).collect()
    }
}
