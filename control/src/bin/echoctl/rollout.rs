//! `echoctl rollout`: follows a pool's rollout to its end, or goes back to an older revision.
//!
//! Called by `main`.

mod progress;
mod settle;

use std::ops::ControlFlow;
use std::time::Duration;

use clap::{ArgAction, Subcommand};
use echo_proto::ids::PoolName;
use echo_proto::v1;

use crate::args::{Global, revision};
use crate::author::author;
use crate::chosen::line;
use crate::connect::Control;
use crate::dry_run::DryRunArgs;
use crate::failure::Failure;
use crate::follow::follow;
use crate::object::Object as _;
use crate::output::console::Console;
use crate::output::print;
use crate::target;
use progress::{End, News, Progress};
use settle::Stand;

/// How often the nodes of a completed rollout are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// Shown at the end of `--help`.
const EXAMPLES: &str = "\
Examples:
  echoctl rollout status pool/edge --timeout 1m
  echoctl rollout undo pool/edge --to-revision 2";

/// `rollout` and what it does.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Wait until all nodes run the newest revision; exit 0 only if they do.
    Status(StatusArgs),
    /// Make an older revision the newest again.
    Undo(UndoArgs),
}

#[derive(Debug, clap::Args)]
struct StatusArgs {
    /// The pool.
    #[arg(required = true, num_args = 1..=2, value_name = "pool/NAME")]
    target: Vec<String>,
    /// Wait for the end; with =false tell once how it stands.
    #[arg(short, long, value_name = "BOOL", default_value_t = true, default_missing_value = "true")]
    #[arg(num_args = 0..=1, require_equals = true, action = ArgAction::Set)]
    watch: bool,
}

#[derive(Debug, clap::Args)]
struct UndoArgs {
    /// The pool.
    #[arg(required = true, num_args = 1..=2, value_name = "pool/NAME")]
    target: Vec<String>,
    /// Number of the revision to go back to; the one before the newest unless given.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = revision)]
    to_revision: Option<u32>,
    /// Change the whole pool in one step, whatever its rollout policy says.
    #[arg(long)]
    now: bool,
    #[command(flatten)]
    dry_run: DryRunArgs,
}

impl Args {
    /// Name of the root span.
    pub(crate) fn span(&self) -> &'static str {
        match self.action {
            Action::Status(_) => "echoctl rollout status",
            Action::Undo(_) => "echoctl rollout undo",
        }
    }
}

/// Does what is asked for.
///
/// # Errors
/// Control is away or refuses, there is no such pool, or the rollout did not complete.
pub(crate) async fn run(global: &Global, args: Args) -> Result<(), Failure> {
    match args.action {
        Action::Status(args) => status(global, args).await,
        Action::Undo(args) => undo(global, args).await,
    }
}

async fn undo(global: &Global, args: UndoArgs) -> Result<(), Failure> {
    let pool = target::pool(&args.target)?;
    let path = format!("pool/{pool}");
    if args.dry_run.client() {
        let to = args.to_revision.map_or_else(|| "the revision before".to_owned(), |n| format!("revision {n}"));
        return print(&line(&path, &format!("rolled back to {to}"), &args.dry_run));
    }
    let mut control = Control::connect(global).await?;
    let request = v1::UndoRequest {
        pool: pool.to_string(),
        to_revision: args.to_revision.unwrap_or_default(),
        now: args.now,
        author: author(),
        dry_run: args.dry_run.any(),
        ..Default::default()
    };
    let answer = control.pools.undo(request).await;
    let response = answer.map_err(|status| control.explain_change(status, "revisions"))?.into_inner();
    let n = response.revision.map_or(0, |r| r.n);
    let done = format!("rolled back to revision {}, as revision {n}", response.restored);
    print(&line(&path, &done, &args.dry_run))
}

async fn status(global: &Global, args: StatusArgs) -> Result<(), Failure> {
    let pool = target::pool(&args.target)?;
    let mut control = Control::connect(global).await?;
    let mut progress = Progress::new(&pool);
    let console = Console::new();
    let waiting = finish(&mut control, &pool, &mut progress, &console, args.watch);
    // Without --watch the first message is the end; `follow` keeps that to the time of an answer.
    let end = match global.timeout.filter(|_| args.watch) {
        None => waiting.await,
        Some(limit) => match tokio::time::timeout(limit, waiting).await {
            Ok(end) => end,
            Err(_) => Err(late(&mut control, &pool, &progress, limit).await),
        },
    };
    console.settle();
    match end? {
        Stand::Settled(line) => print(&format!("{line}\n")),
        Stand::Refused(text) | Stand::Waits { line: text, .. } => Err(Failure::Rollout(text)),
        Stand::Gone => Err(Failure::NotFound { what: format!("pool {:?}", pool.as_str()), list: v1::Pool::LIST }),
    }
}

/// Waits for the rollout's end, then for the nodes; without `watch`, looks once.
async fn finish(
    control: &mut Control,
    pool: &PoolName,
    progress: &mut Progress,
    console: &Console,
    watch: bool,
) -> Result<Stand, Failure> {
    match wait(control, pool, progress, console, watch).await? {
        End::Completed => {}
        End::Failed(text) => return Ok(Stand::Refused(text)),
        End::Gone => return Ok(Stand::Gone),
    }
    loop {
        let stand = settle::look(control, pool).await?;
        let Stand::Waits { running, wanted, line } = stand else { return Ok(stand) };
        if !watch {
            return Ok(Stand::Waits { running, wanted, line });
        }
        if let Some(news) = progress.news(line, Some((running, wanted))) {
            show(console, &news);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn show(console: &Console, news: &News) {
    match news.share {
        Some((done, total)) => console.gauge(done, total, &news.line),
        None => console.progress(&news.line),
    }
}

/// Follows the rollout to its end, or without `watch` to the first answer.
async fn wait(
    control: &mut Control,
    pool: &PoolName,
    progress: &mut Progress,
    console: &Console,
    watch: bool,
) -> Result<End, Failure> {
    let open = async |control: &mut Control| {
        let request = v1::WatchRolloutRequest { pool: pool.to_string() };
        control.pools.watch_rollout(request).await.map(tonic::Response::into_inner)
    };
    follow(control, open, |message| {
        let (news, end) = progress.take(message);
        if let Some(news) = news {
            show(console, &news);
        }
        Ok(match end {
            Some(end) => ControlFlow::Break(end),
            None if !watch => ControlFlow::Break(End::Failed(progress.unfinished())),
            None => ControlFlow::Continue(()),
        })
    })
    .await
}

/// What to say when the time is up: how far it got, and who holds it up.
async fn late(control: &mut Control, pool: &PoolName, progress: &Progress, limit: Duration) -> Failure {
    let request = v1::NodesListRequest { pool: pool.to_string(), skip_live: true, ..Default::default() };
    // Only adds to the answer; if control is away too, that says less.
    let nodes = control.nodes.list(request).await.map(|r| r.into_inner().nodes).unwrap_or_default();
    Failure::Rollout(format!("after {limit:?}: {}", progress.blocked_by(&nodes)))
}
