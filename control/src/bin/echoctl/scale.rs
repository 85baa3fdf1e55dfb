//! `echoctl scale`: sets how many nodes a pool has.
//!
//! Called by `main`. It returns once the number is stored; `get nodes --watch` shows the nodes come and go.

use echo_proto::v1;

use crate::args::Global;
use crate::author::author;
use crate::connect::Control;
use crate::failure::Failure;
use crate::object::View;
use crate::output::{Format, OutputArgs, print, print_object};
use crate::target;

/// Shown at the end of `--help`.
const EXAMPLES: &str = "\
Examples:
  echoctl scale pool/edge --replicas 5
  echoctl scale edge --replicas 5              the same: only pools have a number of nodes";

/// Flags of `scale`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The pool.
    #[arg(required = true, num_args = 1..=2, value_name = "pool/NAME")]
    target: Vec<String>,
    /// Nodes it shall have.
    #[arg(short, long, value_name = "N")]
    replicas: u32,
    #[command(flatten)]
    output: OutputArgs,
}

/// Scales a pool.
///
/// # Errors
/// Control is away or refuses, or there is no such pool.
pub(crate) async fn run(global: &Global, args: Args) -> Result<(), Failure> {
    let pool = target::pool(&args.target)?;
    let mut control = Control::connect(global).await?;
    let request =
        v1::ScaleRequest { name: pool.to_string(), replicas: args.replicas, author: author(), dry_run: false };
    let response = control.pools.scale(request).await.map_err(|status| control.explain(status))?.into_inner();
    match (args.output.output, response.pool) {
        (format @ (Format::Json | Format::Yaml | Format::Name), Some(pool)) => {
            print_object(&pool, format, &View::now(false))
        }
        _ if response.previous_replicas == args.replicas => print(&format!("pool/{pool} unchanged\n")),
        _ => print(&format!("pool/{pool} scaled from {} to {}\n", response.previous_replicas, args.replicas)),
    }
}
