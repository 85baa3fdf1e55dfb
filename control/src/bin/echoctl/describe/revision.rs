//! The description of a revision.
//!
//! Used by `describe`. Pure, but for the question which revision is in use.

use std::time::SystemTime;

use echo_proto::v1;

use super::sheet::Sheet;
use super::{Described, optional, pool};
use crate::connect::Control;
use crate::failure::Failure;
use crate::object::{Object as _, ended, in_use, revision};
use crate::output::human::moment;

impl Described for v1::Revision {
    const HAS_EVENTS: bool = false;
    /// Its pool, unless that is gone.
    type More = Option<v1::Pool>;

    async fn more(&self, control: &mut Control) -> Result<Option<v1::Pool>, Failure> {
        let answer = control.pools.get(v1::PoolsGetRequest { name: self.pool.clone() }).await;
        Ok(optional(control, answer)?.and_then(|response| response.into_inner().pool))
    }

    fn sheet(&self, pool: &Option<v1::Pool>, now: SystemTime) -> Sheet {
        let mut sheet = Sheet::default();
        sheet.field("Name", self.name());
        sheet.field("Pool", &self.pool);
        let status = pool.as_ref().and_then(|pool| pool.status.as_ref());
        let mark = in_use(self.revision.as_ref(), status).map(|mark| format!(" ({mark})")).unwrap_or_default();
        sheet.field("Revision", revision(self.revision.as_ref()) + &mark);
        sheet.field("Digest", self.revision.as_ref().map_or("", |r| &r.digest));
        sheet.field("Author", &self.author);
        sheet.optional("Message", &self.message);
        let why = self.outcome.as_ref().map(|outcome| format!(": {}", outcome.reason)).unwrap_or_default();
        sheet.optional("Outcome", ended(self).map(|ended| format!("{ended}{why}")).unwrap_or_default());
        sheet.field("Created", moment(self.meta().and_then(|m| m.create_time), now));
        pool::template(&mut sheet, self.template.as_ref(), None);
        sheet
    }
}
