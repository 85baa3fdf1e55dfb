//! `echoctl rollout status`: waits for the end of a rollout, and tells how far it is and what holds it up.
//!
//! Called by `rollout`.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::time::Duration;

use clap::ArgAction;
use echo_proto::ids::PoolName;
use echo_proto::v1;
use tokio::time::Instant;

use super::progress::{End, Progress};
use super::settle::{self, Stand};
use super::told::Told;
use crate::args::{Global, revision};
use crate::connect::Control;
use crate::failure::Failure;
use crate::follow::{PATIENCE, follow};
use crate::object::Object as _;
use crate::object::source::{Filter, list};
use crate::output::TreeForm;
use crate::target;

/// How often the nodes of a completed rollout are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How often it is asked which nodes hold a rollout up that does not move.
const ASK: Duration = Duration::from_secs(3);

/// Shown at the end of `--help`.
pub(super) const CODES_AND_EXAMPLES: &str = "\
Exit codes:
  0  all nodes run it
  1  it failed, was taken back or overtaken, or nobody can tell
  2  wrong usage
  3  it has not ended: with --watch=false, or after --timeout

Examples:
  echoctl rollout status pool/edge --timeout 1m
  echoctl rollout status pool/edge --watch=false -o json | jq -r .rollout.phase
  echoctl rollout status pool/edge -o json | jq .object.rollout.acked";

#[derive(Debug, clap::Args)]
pub(super) struct StatusArgs {
    /// The pool.
    #[arg(required = true, num_args = 1..=2, value_name = "pool/NAME")]
    target: Vec<String>,
    /// Number of the revision that is meant; the newest there is now unless given.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = revision)]
    revision: Option<u32>,
    /// Wait for the end; with =false tell once how it stands.
    #[arg(short, long, value_name = "BOOL", default_value_t = true, default_missing_value = "true")]
    #[arg(num_args = 0..=1, require_equals = true, action = ArgAction::Set)]
    watch: bool,
    /// What control answers, whole: each change a JSON line or a YAML document; with --watch=false one document.
    #[arg(short, long, value_enum, value_name = "FORM")]
    output: Option<TreeForm>,
}

/// Waits for the end.
///
/// # Errors
/// Control is away, there is no such pool, or the rollout did not complete.
pub(super) async fn run(global: &Global, args: StatusArgs) -> Result<(), Failure> {
    let pool = target::pool(&args.target)?;
    let mut control = Control::connect(global).await?;
    let progress = RefCell::new(Progress::new(&pool, args.revision));
    let told = Told::new(args.output, args.watch);
    let waiting = finish(&mut control, &pool, &progress, &told, args.watch);
    // Without --watch the first message is the end; `follow` keeps that to the time of an answer.
    let end = match global.timeout.filter(|_| args.watch) {
        None => waiting.await,
        Some(limit) => match tokio::time::timeout(limit, waiting).await {
            Ok(end) => end,
            Err(_) => Err(late(&mut control, &pool, &progress, limit).await),
        },
    };
    told.settle();
    match end? {
        Stand::Settled(line) => told.result(&line),
        Stand::Refused(text) => Err(Failure::Rollout(text)),
        Stand::Waits { line: text, .. } => Err(Failure::Unfinished(text)),
        Stand::Gone => Err(Failure::NotFound { what: format!("pool {:?}", pool.as_str()), list: v1::Pool::LIST }),
    }
}

/// Waits for the rollout's end, then for the nodes; without `watch`, looks once.
async fn finish(
    control: &mut Control,
    pool: &PoolName,
    progress: &RefCell<Progress>,
    told: &Told,
    watch: bool,
) -> Result<Stand, Failure> {
    let mut asking = control.clone();
    let end = tokio::select! {
        end = wait(control, pool, progress, told, watch) => end?,
        never = blame(&mut asking, pool, progress, told) => never,
    };
    match end {
        End::Completed => {}
        End::Unfinished(line) => return Ok(Stand::Waits { running: 0, wanted: 0, line }),
        End::Passed(line) => return Ok(Stand::Settled(line)),
        End::Failed(text) => return Ok(Stand::Refused(text)),
        End::Gone => return Ok(Stand::Gone),
    }
    let mut answered = Instant::now();
    loop {
        let stand = match settle::look(control, pool).await {
            Ok(stand) => stand,
            // Control dies after a rollout as well as in it.
            Err(failure) if watch && failure.may_pass() && answered.elapsed() < PATIENCE => {
                tokio::time::sleep(LOOK).await;
                control.turn().await;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        answered = Instant::now();
        let Stand::Waits { running, wanted, line } = stand else { return Ok(stand) };
        if !watch {
            return Ok(Stand::Waits { running, wanted, line });
        }
        let news = progress.borrow_mut().news(line, Some((running, wanted)));
        if let Some(news) = news {
            told.news(&news);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Follows the rollout to its end, or without `watch` to the first answer.
async fn wait(
    control: &mut Control,
    pool: &PoolName,
    progress: &RefCell<Progress>,
    told: &Told,
    watch: bool,
) -> Result<End, Failure> {
    let open = async |control: &mut Control| {
        let request = v1::WatchRolloutRequest { pool: pool.to_string() };
        control.pools.watch_rollout(request).await.map(tonic::Response::into_inner)
    };
    follow(control, open, |message| {
        told.answer(&message)?;
        let (news, end) = progress.borrow_mut().take(message);
        if let Some(news) = news {
            told.news(&news);
        }
        Ok(match end {
            Some(end) => ControlFlow::Break(end),
            None if !watch => ControlFlow::Break(End::Unfinished(progress.borrow().unfinished())),
            None => ControlFlow::Continue(()),
        })
    })
    .await
}

/// What to say when the time is up: how far it got, and who holds it up.
async fn late(control: &mut Control, pool: &PoolName, progress: &RefCell<Progress>, limit: Duration) -> Failure {
    // Only adds to the answer; if control is away too, that says less.
    let nodes = nodes(control, pool).await.unwrap_or_default();
    Failure::Unfinished(format!("after {limit:?}: {}", progress.borrow().blocked_by(&nodes)))
}

/// Tells people which nodes hold up a rollout that does not move; ends never.
async fn blame(control: &mut Control, pool: &PoolName, progress: &RefCell<Progress>, told: &Told) -> End {
    if !told.for_people() {
        return std::future::pending().await;
    }
    loop {
        let last = progress.borrow().told().to_owned();
        tokio::time::sleep(ASK).await;
        if progress.borrow().told() != last {
            continue;
        }
        match nodes(control, pool).await {
            Ok(nodes) => progress.borrow_mut().blockers(&nodes).iter().for_each(|line| told.line(line)),
            // Another one may know.
            Err(_) => control.turn().await,
        }
    }
}

async fn nodes(control: &mut Control, pool: &PoolName) -> Result<Vec<v1::Node>, Failure> {
    let filter = Filter { pool: pool.to_string(), skip_live: true, ..Filter::default() };
    list::<v1::Node>(control, &filter).await.map(|(nodes, _)| nodes)
}
