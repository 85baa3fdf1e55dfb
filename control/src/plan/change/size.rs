//! How many nodes a pool is to have, whoever decides it: its file, `scale`, or its autoscaler.
//!
//! Used by the changes of a pool, and by the API for what it says of them. No number is lowered here but by one that
//! somebody named.

use echo_proto::ids::PoolName;
use echo_proto::spec::{DEFAULT_MIN_REPLICAS, DEFAULT_REPLICAS, MAX_REPLICAS};
use echo_proto::v1;

use super::Beside;
use crate::words::count;

/// What becomes of the number of nodes that the autoscaler decided on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Number {
    /// It is the leader's.
    #[default]
    Stays,
    /// An autoscaler comes, and goes on from this.
    Begins(u32),
    /// The autoscaler goes.
    Ends,
}

/// Gives a spec its number of nodes where it names none; what becomes of the autoscaler's, and what events tell of it.
pub(super) fn renumber(spec: &mut v1::PoolSpec, rule: Option<&v1::Autoscale>, before: u32) -> (Number, String) {
    match (rule, &spec.autoscale) {
        (Some(_), Some(_)) => (Number::Stays, String::new()),
        (None, Some(new)) => {
            let replicas = within(new, before);
            (Number::Begins(replicas), format!("; autoscaled, from {} on", count(replicas, "node")))
        }
        (stored, None) => {
            let after = *spec.replicas.get_or_insert(before);
            let scaled = format!("; scaled from {before} to {}", count(after, "node"));
            let scaled = if before == after { String::new() } else { scaled };
            if stored.is_none() {
                return (Number::Stays, scaled);
            }
            (Number::Ends, format!("; no longer autoscaled{scaled}"))
        }
    }
}

/// The fewest and the most nodes of a valid rule.
pub fn bounds(rule: &v1::Autoscale) -> (u32, u32) {
    (rule.min_replicas.unwrap_or(DEFAULT_MIN_REPLICAS), rule.max_replicas)
}

/// The number of nodes nearest to this one that a valid rule allows.
pub(super) fn within(rule: &v1::Autoscale, replicas: u32) -> u32 {
    let (least, most) = bounds(rule);
    replicas.clamp(least, most.max(least))
}

/// Nodes wanted by a stored pool, whoever decided it.
pub(super) fn number(record: &v1::PoolRecord, beside: Beside<'_>) -> u32 {
    match record.spec.as_ref().and_then(|s| s.autoscale.as_ref()) {
        // Of another rule until the leader has seen the new one.
        Some(rule) => within(rule, beside.scale.map_or(beside.there, |scale| scale.replicas)),
        None => replicas(record),
    }
}

/// Nodes wanted by a stored pool that has no autoscaler.
pub fn replicas(record: &v1::PoolRecord) -> u32 {
    record.spec.as_ref().and_then(|s| s.replicas).unwrap_or(DEFAULT_REPLICAS)
}

/// A pool of a backup that takes no node away: where it names fewer than there are, or than are wanted, it gets those.
pub fn keeping(pool: &v1::Pool, stored: Option<&v1::PoolRecord>, beside: Beside<'_>) -> v1::Pool {
    let there = stored.map_or(beside.there, |stored| number(stored, beside)).min(MAX_REPLICAS);
    let mut pool = pool.clone();
    let spec = pool.spec.get_or_insert_default();
    if let Some(rule) = &mut spec.autoscale {
        rule.max_replicas = rule.max_replicas.max(there);
    } else {
        spec.replicas = spec.replicas.map(|replicas| replicas.max(there));
    }
    pool
}

/// What was kept though a pool that was applied names less, in words; `None`: nothing.
pub fn kept(name: &PoolName, asked: Option<&v1::PoolSpec>, stored: Option<&v1::PoolSpec>) -> Option<String> {
    let (asked, stored) = (asked?, stored?);
    if let (Some(few), Some(kept)) = (asked.replicas, stored.replicas)
        && few < kept
    {
        let nodes = count(kept, "node");
        return Some(format!(
            "pool/{name} keeps its {nodes}, in place of {few}; `echoctl scale pool/{name} --replicas {few}` takes \
             the others away"
        ));
    }
    let (few, kept) = (asked.autoscale.as_ref()?.max_replicas, stored.autoscale.as_ref()?.max_replicas);
    (few < kept).then(|| {
        let nodes = count(kept, "node");
        format!(
            "pool/{name} keeps its {nodes}, and its autoscaler takes away what is not needed: maxReplicas is {kept} in \
             place of {few}; apply it with {few} to have no more at once"
        )
    })
}
