//! Values of etcd -> checked records.
//!
//! Used by the mirror when a key is new; what is worked out here is worked out once for each version of a key, and not by
//! each reader. Pure; a record that can't be read is an error that says why.

use echo_proto::ids::PoolName;
use echo_proto::spec::{PoolPlan, check_pool, check_template};
use echo_proto::v1;

use super::state::{AssignmentEntry, PoolEntry};
use crate::present;
use crate::store::{Entry, Stored};

pub(super) fn read_pool(name: &PoolName, entry: &Entry) -> Result<Stored<PoolEntry>, String> {
    let Stored { value: record, mod_revision, create_revision } =
        entry.decode::<v1::PoolRecord>().map_err(|e| e.cause())?;
    let plan = check_record(name, &record)?;
    Ok(Stored { value: PoolEntry { record, plan }, mod_revision, create_revision })
}

/// Whether a record is that of the pool `name`, and what every pool must be; also asked before one is changed.
pub(crate) fn check_record(name: &PoolName, record: &v1::PoolRecord) -> Result<PoolPlan, String> {
    let plan = check_pool(&present::pool(record, 0)).map_err(|e| e.to_string())?;
    if plan.name != *name {
        return Err(format!("metadata.name: {} stands under the key of {name}", plan.name));
    }
    let uid = record.metadata.as_ref().map_or("", |m| m.uid.as_str());
    if uid.is_empty() || record.revision.as_ref().is_none_or(|r| r.uid != uid || r.n == 0) {
        return Err("metadata.uid and revision must be set and belong together".to_owned());
    }
    Ok(plan)
}

pub(super) fn read_assignment(entry: &Entry) -> Result<Stored<AssignmentEntry>, String> {
    let Stored { value: record, mod_revision, create_revision } =
        entry.decode::<v1::Assignment>().map_err(|e| e.cause())?;
    let complete = |r: &v1::AssignedRevision| r.n > 0 && !r.digest.is_empty() && r.config.is_some();
    let stable = record.stable.clone().filter(complete).ok_or("stable: n, digest and config are required")?;
    if record.next.as_ref().is_some_and(|next| !complete(next)) {
        return Err("next: n, digest and config are required".to_owned());
    }
    if let Some(index) = record.pinned.iter().position(|pinned| !complete(pinned)) {
        return Err(format!("pinned[{index}]: n, digest and config are required"));
    }
    let revisions = [&record.stable, &record.next].into_iter().flatten().chain(&record.pinned);
    let configs = revisions.flat_map(|revision| &revision.config);
    let drains = configs.filter_map(|config| check_template(config).ok()).map(|plan| plan.drain.longest());
    let longest_drain = drains.max().unwrap_or_default();
    Ok(Stored { value: AssignmentEntry { record, stable, longest_drain }, mod_revision, create_revision })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_longest_drain_is_that_of_any_assigned_config() {
        let longest = |value: &str| {
            let entry = Entry { key: b"k".to_vec(), value: value.as_bytes().to_vec(), ..Entry::default() };
            read_assignment(&entry).unwrap().value.longest_drain
        };
        let config = |n, deadline| {
            format!(
                r#"{{"n":{n},"digest":"d","config":{{"listeners":[{{"name":"a","protocol":"PROTOCOL_TCP","port":7007,
                    "service":{{"echo":{{}}}}}}],"drain":{{"deadline":"{deadline}"}}}}}}"#
            )
        };
        let both = format!(r#"{{"stable":{},"next":{}}}"#, config(1, "70s"), config(2, "5s"));
        assert_eq!(longest(&both), Duration::from_secs(70));
        assert_eq!(longest(&format!(r#"{{"stable":{}}}"#, config(2, "5s"))), Duration::from_secs(5));
        let pinned = format!(r#"{{"stable":{},"pinned":[{}]}}"#, config(2, "5s"), config(1, "80s"));
        assert_eq!(longest(&pinned), Duration::from_secs(80));
    }
}
