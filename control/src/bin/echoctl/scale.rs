//! `echoctl scale`: sets how many nodes a pool has.
//!
//! Called by `main`. It returns once the number is stored; `get nodes --watch` shows the nodes come and go.

use echo_proto::spec::MAX_REPLICAS;
use echo_proto::v1;

use crate::args::{Global, count};
use crate::author::author;
use crate::chosen::line;
use crate::connect::Control;
use crate::dry_run::DryRunArgs;
use crate::failure::Failure;
use crate::object::View;
use crate::output::{Format, OutputArgs, print, print_object, warn};
use crate::target;

/// Shown at the end of `--help`.
const EXAMPLES: &str = "\
Examples:
  echoctl scale pool/edge --replicas 5
  echoctl scale pool/edge --replicas 5 --dry-run=server
  echoctl scale edge --replicas 5              the same: only pools have a number of nodes";

/// Flags of `scale`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The pool.
    #[arg(required = true, num_args = 1..=2, value_name = "pool/NAME")]
    target: Vec<String>,
    /// Nodes it shall have.
    #[arg(short, long, value_parser = count, allow_negative_numbers = true, value_name = "N")]
    replicas: u32,
    #[command(flatten)]
    dry_run: DryRunArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Scales a pool.
///
/// # Errors
/// Control is away or refuses, or there is no such pool.
pub(crate) async fn run(global: &Global, args: Args) -> Result<(), Failure> {
    let pool = target::pool(&args.target)?;
    let (path, replicas) = (format!("pool/{pool}"), args.replicas);
    if replicas > MAX_REPLICAS {
        return Err(Failure::Usage(format!("--replicas: {replicas} is too large; at most {MAX_REPLICAS}")));
    }
    if args.dry_run.client() {
        return print(&line(&path, &format!("scaled to {replicas}"), &args.dry_run));
    }
    let mut control = Control::connect(global).await?;
    let dry_run = args.dry_run.any();
    let request = v1::ScaleRequest { name: pool.to_string(), replicas, author: author(), dry_run };
    let answer = control.pools.scale(request).await;
    let response = answer.map_err(|status| control.explain_change(status, "pools"))?.into_inner();
    warn(&response.warnings);
    match (args.output.output, response.pool) {
        (format @ (Format::Json | Format::Yaml | Format::Name), Some(pool)) => {
            print_object(&pool, format, &View::now(false))
        }
        _ if response.previous_replicas == replicas => print(&line(&path, "unchanged", &args.dry_run)),
        _ => {
            let done = format!("scaled from {} to {replicas}", response.previous_replicas);
            print(&line(&path, &done, &args.dry_run))
        }
    }
}
