//! `echoctl scale`: sets how many nodes a pool has.
//!
//! Called by `main`. It returns once the number is stored; `get nodes --watch` shows the nodes come and go.

use echo_proto::ids::PoolName;
use echo_proto::spec::MAX_REPLICAS;
use echo_proto::v1;

use crate::args::{Global, count};
use crate::author::author;
use crate::chosen::{line, one_of_several};
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
  echoctl scale edge --replicas 5              the same: only pools have a number of nodes
  echoctl scale edge core --replicas 5         several at once";

/// Flags of `scale`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Names of pools, as edge or pool/edge.
    #[arg(required = true, value_name = "pool/NAME")]
    target: Vec<String>,
    /// Nodes each shall have.
    #[arg(short, long, value_parser = count, allow_negative_numbers = true, value_name = "N")]
    replicas: u32,
    #[command(flatten)]
    dry_run: DryRunArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Scales pools. One that control refuses does not keep the others from being scaled.
///
/// # Errors
/// Control is away or refuses, or there is no such pool.
pub(crate) async fn run(global: &Global, args: Args) -> Result<(), Failure> {
    let pools = target::pools(&args.target)?;
    let replicas = args.replicas;
    if replicas > MAX_REPLICAS {
        return Err(Failure::Usage(format!("--replicas: {replicas} is too large; at most {MAX_REPLICAS}")));
    }
    if args.dry_run.client() {
        let done = format!("scaled to {replicas}");
        let line = |pool: &PoolName| line(&format!("pool/{pool}"), &done, &args.dry_run);
        return print(&pools.iter().map(line).collect::<String>());
    }
    let mut control = Control::connect(global).await?;
    if let [pool] = pools.as_slice() {
        let response = send(&mut control, pool, &args).await?;
        return tell(pool, response, &args);
    }
    let mut refused = false;
    for pool in &pools {
        let answer = send(&mut control, pool, &args).await;
        match one_of_several(&format!("pool/{pool}"), answer)? {
            Some(response) => tell(pool, response, &args)?,
            None => refused = true,
        }
    }
    if refused { Err(Failure::Partly) } else { Ok(()) }
}

/// Asks control for it.
async fn send(control: &mut Control, pool: &PoolName, args: &Args) -> Result<v1::ScaleResponse, Failure> {
    let (name, dry_run) = (pool.to_string(), args.dry_run.any());
    let request = v1::ScaleRequest { name, replicas: args.replicas, author: author(), dry_run };
    let answer = control.pools.scale(request).await;
    answer.map(tonic::Response::into_inner).map_err(|status| control.explain_change(status, "pools"))
}

/// Shows what came of it.
fn tell(pool: &PoolName, response: v1::ScaleResponse, args: &Args) -> Result<(), Failure> {
    let (path, replicas) = (format!("pool/{pool}"), args.replicas);
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
