//! The description of an event, and the table of an object's last ones.
//!
//! Used by `describe`. Pure.

use std::time::SystemTime;

use echo_proto::v1;

use super::Described;
use super::sheet::Sheet;
use crate::connect::Control;
use crate::failure::Failure;
use crate::object::event::{last_seen, severity};
use crate::object::{Object as _, View};
use crate::output::human::moment;

impl Described for v1::Event {
    const HAS_EVENTS: bool = false;
    type More = ();

    async fn more(&self, _: &mut Control) -> Result<(), Failure> {
        Ok(())
    }

    fn sheet(&self, (): &(), now: SystemTime) -> Sheet {
        let mut sheet = Sheet::default();
        sheet.field("Name", self.name());
        sheet.field("Type", severity(self));
        sheet.field("Reason", &self.reason);
        sheet.field("Object", &self.object);
        sheet.field("Message", &self.message);
        sheet.optional("From", &self.from);
        sheet.optional("To", &self.to);
        sheet.field("Actor", &self.actor);
        sheet.field("Count", self.count.max(1).to_string());
        sheet.field("First seen", moment(self.first_time, now));
        sheet.field("Last seen", moment(last_seen(self), now));
        sheet.optional("Trace", self.trace.as_ref().map_or("", |trace| &trace.traceparent));
        sheet
    }
}

/// The last events of an object, oldest first, without what they have in common; `more_of`: the object, where it has
/// more.
pub(super) fn table(sheet: &mut Sheet, events: &[v1::Event], more_of: Option<String>, now: SystemTime) {
    let view = View { now, wide: false, live: true, clock: true, pools: Vec::new() };
    let titles = v1::Event::titles(&view);
    let keep = |row: Vec<String>| -> Vec<String> {
        row.into_iter().zip(&titles).filter(|(_, title)| **title != "OBJECT").map(|(cell, _)| cell).collect()
    };
    let rows: Vec<_> = events.iter().map(|event| keep(event.cells(&view))).collect();
    let shown: Vec<&str> = titles.iter().copied().filter(|title| *title != "OBJECT").collect();
    let last = |object| format!("Events (the last {}; all: echoctl get events --for {object})", events.len());
    sheet.table(&more_of.map_or_else(|| "Events".to_owned(), last), &shown, &rows);
}
