//! `echoctl apply`: creates or changes pools from files.
//!
//! Called by `main`. Nothing is sent unless every document of every file is valid. It returns once the pools are
//! stored; `rollout status` follows what the nodes make of them.

use echo_proto::v1::{self, ApplyOutcome};

use crate::args::Global;
use crate::author::author;
use crate::chosen::{line, one_of_several};
use crate::connect::Control;
use crate::documents::read_pools;
use crate::dry_run::DryRunArgs;
use crate::failure::Failure;
use crate::object::{Object as _, View};
use crate::output::{Format, OutputArgs, print, print_list, print_object};

/// Shown at the end of `--help`.
const EXAMPLES: &str = "\
Examples:
  echoctl apply -f edge.yaml -m 'add a greeting'
  echoctl apply -f edge.yaml --dry-run=server
  echoctl get pool/edge -o yaml | sed s/7007/7008/ | echoctl apply -f -";

/// Flags of `apply`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A file of one or more pools, YAML or JSON; `-` is standard input. May be given several times.
    #[arg(short, long = "filename", required = true, value_name = "FILE")]
    files: Vec<String>,
    #[command(flatten)]
    dry_run: DryRunArgs,
    /// Change the whole pool in one step, whatever its rollout policy says.
    #[arg(long)]
    now: bool,
    /// Why, for the history.
    #[arg(short, long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    message: String,
    #[command(flatten)]
    output: OutputArgs,
}

/// Applies the files' pools in order. A pool that control refuses does not keep the others from being applied.
///
/// # Errors
/// A file has mistakes, control is away, or it refused a pool.
pub(crate) async fn run(global: &Global, args: Args) -> Result<(), Failure> {
    let pools = read_pools(&args.files)?;
    let format = args.output.output;
    if args.dry_run.client() {
        let lines = pools.iter().map(|pool| line(&pool.path(), "valid", &args.dry_run)).collect::<String>();
        return if is_table(format) { print(&lines) } else { show(&pools, format) };
    }
    let mut control = Control::connect(global).await?;
    let mut applied = Vec::new();
    let mut refused = false;
    for pool in pools {
        let how = How { dry_run: args.dry_run.any(), now: args.now, message: &args.message };
        let answer = send(&mut control, &pool, how).await;
        let Some(response) = one_of_several(&pool.path(), answer)? else {
            refused = true;
            continue;
        };
        if is_table(format) {
            print(&line(&pool.path(), outcome(response.outcome()), &args.dry_run))?;
        }
        applied.push(response.pool.unwrap_or(pool));
    }
    if !is_table(format) {
        show(&applied, format)?;
    }
    if refused { Err(Failure::Partly) } else { Ok(()) }
}

/// How pools are applied.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How<'a> {
    /// Everything is checked, nothing stored.
    pub(crate) dry_run: bool,
    pub(crate) now: bool,
    pub(crate) message: &'a str,
}

/// Asks control to apply one pool.
///
/// # Errors
/// Control is away or refuses.
pub(crate) async fn send(control: &mut Control, pool: &v1::Pool, how: How<'_>) -> Result<v1::ApplyResponse, Failure> {
    let request = v1::ApplyRequest {
        pool: Some(pool.clone()),
        dry_run: how.dry_run,
        now: how.now,
        author: author(),
        message: how.message.to_owned(),
    };
    let answer = control.pools.apply(request).await;
    answer.map(tonic::Response::into_inner).map_err(|status| control.explain_change(status, "pools"))
}

fn is_table(format: Format) -> bool {
    matches!(format, Format::Table | Format::Wide)
}

fn show(pools: &[v1::Pool], format: Format) -> Result<(), Failure> {
    let view = View::now(false);
    match pools {
        [pool] => print_object(pool, format, &view),
        pools => print_list(pools, "", format, &view),
    }
}

/// What was done, in kubectl's words.
pub(crate) fn outcome(outcome: ApplyOutcome) -> &'static str {
    match outcome {
        ApplyOutcome::Created => "created",
        ApplyOutcome::Unchanged => "unchanged",
        ApplyOutcome::Configured | ApplyOutcome::Unspecified => "configured",
    }
}
