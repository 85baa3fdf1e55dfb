//! `echoctl rollout history`: a pool's revisions, who made them and why, and what became of each.
//!
//! Called by `rollout`. Asks control; what is shown of the answers is made by pure functions.

use std::time::SystemTime;

use echo_proto::codec;
use echo_proto::v1::{self, RolloutPhase};

use crate::args::{Global, revision};
use crate::connect::Control;
use crate::failure::Failure;
use crate::object::source::{Filter, list};
use crate::object::{Object as _, View, ended, in_use, text};
use crate::output::human::age;
use crate::output::table::render;
use crate::output::{Format, OutputArgs, print, print_list, print_object};
use crate::target;

/// Flags of `rollout history`.
#[derive(Debug, clap::Args)]
pub(super) struct HistoryArgs {
    /// The pool.
    #[arg(required = true, num_args = 1..=2, value_name = "pool/NAME")]
    target: Vec<String>,
    /// Show this revision's template whole.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = revision)]
    revision: Option<u32>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Shows them.
///
/// # Errors
/// Control is away, or there is no such pool or revision.
pub(super) async fn run(global: &Global, args: HistoryArgs) -> Result<(), Failure> {
    let pool = target::pool(&args.target)?;
    let mut control = Control::connect(global).await?;
    let format = args.output.output;
    let (revisions, version) = of_pool(&mut control, pool.as_str()).await?;
    if let Some(n) = args.revision {
        let found = numbered(&revisions, pool.as_str(), n)?;
        return match format {
            Format::Table | Format::Wide => print(&template(found)),
            format => print_object(found, format, &View::now(false)),
        };
    }
    if !matches!(format, Format::Table | Format::Wide) {
        return print_list(&revisions, &version, format, &View::now(false));
    }
    let request = v1::PoolsGetRequest { name: pool.to_string() };
    let stored = control.pools.get(request).await.map_err(|status| control.explain(status))?.into_inner().pool;
    let request = v1::GetRolloutRequest { pool: pool.to_string() };
    let rollout = control.pools.get_rollout(request).await.map_err(|status| control.explain(status))?.into_inner();
    let status = stored.and_then(|pool| pool.status).unwrap_or_default();
    print(&table(&revisions, &status, rollout.rollout.as_ref(), SystemTime::now()))
}

/// The stored revisions of a pool, the oldest first, and the version of the list.
///
/// # Errors
/// Control is away, or there is no such pool.
pub(crate) async fn of_pool(control: &mut Control, pool: &str) -> Result<(Vec<v1::Revision>, String), Failure> {
    let filter = Filter { pool: pool.to_owned(), ..Filter::default() };
    list::<v1::Revision>(control, &filter).await
}

/// The revision of this number.
///
/// # Errors
/// It is none of them, which are named.
pub(crate) fn numbered<'a>(revisions: &'a [v1::Revision], pool: &str, n: u32) -> Result<&'a v1::Revision, Failure> {
    revisions.iter().find(|revision| number(revision) == n).ok_or_else(|| {
        let kept: Vec<String> = revisions.iter().map(|revision| number(revision).to_string()).collect();
        Failure::NoRevision { pool: pool.to_owned(), n, kept: kept.join(", ") }
    })
}

/// A revision's template as YAML.
pub(crate) fn template(revision: &v1::Revision) -> String {
    codec::yaml(&codec::to_human_value(&revision.template.clone().unwrap_or_default()))
}

fn number(revision: &v1::Revision) -> u32 {
    revision.revision.as_ref().map_or(0, |r| r.n)
}

fn table(
    revisions: &[v1::Revision],
    status: &v1::PoolStatus,
    rollout: Option<&v1::Rollout>,
    now: SystemTime,
) -> String {
    let row = |revision: &v1::Revision| {
        vec![
            number(revision).to_string(),
            text(&revision.author),
            text(&revision.message),
            age(revision.meta().and_then(|m| m.create_time), now),
            text(&state(revision, status, rollout)),
        ]
    };
    let rows: Vec<_> = revisions.iter().map(row).collect();
    render(&["REVISION", "AUTHOR", "MESSAGE", "AGE", "STATE"], &rows)
}

/// What a revision is, or what became of it as far as that is known, and which nodes are pinned to it.
fn state(revision: &v1::Revision, status: &v1::PoolStatus, rollout: Option<&v1::Rollout>) -> String {
    let this = revision.revision.as_ref();
    let tried = rollout.filter(|rollout| rollout.to.as_ref() == this).map(v1::Rollout::phase);
    let last = rollout.and_then(|rollout| rollout.to.as_ref()).filter(|to| this.is_some_and(|r| r.uid == to.uid));
    let mut state: Vec<String> = Vec::new();
    state.extend(match (in_use(this, Some(status)), tried) {
        (Some("next"), Some(RolloutPhase::Paused)) => Some("next, paused".to_owned()),
        (Some(used), _) => Some(used.to_owned()),
        (None, Some(RolloutPhase::Reverting)) => Some("reverting".to_owned()),
        (None, _) if last.is_some_and(|last| last.n < number(revision)) => Some("waiting".to_owned()),
        (None, _) => ended(revision).map(str::to_owned),
    });
    let pinned = status.pins.iter().filter(|pin| pin.revision == number(revision)).map(|pin| pin.node.as_str());
    let pinned: Vec<&str> = pinned.collect();
    if !pinned.is_empty() {
        state.push(format!("pinned: {}", pinned.join(" ")));
    }
    state.join(", ")
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use echo_proto::v1::RevisionEnd;

    use super::*;

    fn at(n: u32) -> Option<v1::RevisionRef> {
        Some(v1::RevisionRef { n, ..Default::default() })
    }

    fn revision(n: u32, message: &str) -> v1::Revision {
        let metadata = v1::ObjectMeta { create_time: Some(SystemTime::UNIX_EPOCH.into()), ..Default::default() };
        let (author, message) = ("ann@net".into(), message.into());
        v1::Revision { revision: at(n), metadata: Some(metadata), author, message, ..Default::default() }
    }

    #[test]
    fn the_history_tells_who_why_and_what_became_of_it() {
        let pins = vec![v1::Pin { node: "node-1".into(), revision: 1, ..Default::default() }];
        let status = v1::PoolStatus { stable: at(2), pins, ..Default::default() };
        let rollout = v1::Rollout { to: at(3), phase: RolloutPhase::Reverted.into(), ..Default::default() };
        let outcome = |end: RevisionEnd| Some(v1::RevisionOutcome { end: end.into(), ..Default::default() });
        let good = v1::Revision { outcome: outcome(RevisionEnd::Completed), ..revision(1, "") };
        let bad = v1::Revision { outcome: outcome(RevisionEnd::Reverted), ..revision(3, "") };
        let revisions = [good, revision(2, "a greeting"), bad, revision(4, "")];
        let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(60);
        let expected = "\
REVISION   AUTHOR    MESSAGE      AGE   STATE
1          ann@net   -            60s   completed, pinned: node-1
2          ann@net   a greeting   60s   stable
3          ann@net   -            60s   reverted
4          ann@net   -            60s   waiting
";
        assert_eq!(table(&revisions, &status, Some(&rollout), now), expected);
        let status = v1::PoolStatus { next: at(3), ..status };
        let rollout = v1::Rollout { phase: RolloutPhase::Paused.into(), ..rollout };
        assert!(table(&revisions[..3], &status, Some(&rollout), now).ends_with("60s   next, paused\n"));
    }

    #[test]
    fn a_revision_that_is_not_there_is_told_with_those_that_are() {
        let kept = [revision(4, ""), revision(5, "")];
        assert_eq!(numbered(&kept, "edge", 5).ok(), kept.last());
        let told = numbered(&kept, "edge", 3).map(|_| ()).map_err(|e| e.to_string());
        assert_eq!(told, Err("revision 3 of pool/edge not found; it has 4, 5".to_owned()));
    }
}
