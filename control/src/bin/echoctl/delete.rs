//! `echoctl delete`: removes pools, and retires nodes.
//!
//! Called by `main`. It asks nothing, as kubectl does not; it returns once control has stored the wish.

use echo_proto::v1::{self, IntentKind};

use crate::args::{Global, selector};
use crate::author::author;
use crate::chosen::{ONLY_CONTROL_KNOWS, chosen, line, one_of_several};
use crate::connect::Control;
use crate::documents::read_pools;
use crate::dry_run::DryRunArgs;
use crate::failure::Failure;
use crate::intent::{self, DrainArgs};
use crate::object::Object as _;
use crate::object::source::Filter;
use crate::output::{print, warn};
use crate::target::{self, Target, Type};

/// Shown at the end of `--help`.
const EXAMPLES: &str = "\
A deleted pool's nodes drain and serve nothing any more; its revisions are gone with it.
A deleted node drains, then its process ends. The pool keeps its number of nodes: where control
starts nodes itself, another one takes its place. To have fewer, use `echoctl scale`.

Examples:
  echoctl delete pool/edge
  echoctl delete -f edge.yaml --dry-run=server
  echoctl delete node/node-3 --deadline 30s
  echoctl delete nodes -l zone=a";

/// Flags of `delete`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What to delete: pools or nodes, by name.
    #[arg(required_unless_present = "files", value_name = "TYPE/NAME")]
    target: Vec<String>,
    /// Delete the pools that this file describes; `-` is standard input. May be given several times.
    #[arg(short, long = "filename", conflicts_with_all = ["target", "selector"], value_name = "FILE")]
    files: Vec<String>,
    /// All objects of the type whose labels match, as in zone=a,!canary.
    #[arg(short = 'l', long, value_parser = selector, value_name = "LABELS")]
    selector: Option<String>,
    /// Pool of the nodes, where several pools have nodes of the same name.
    #[arg(short, long, default_value = "", hide_default_value = true, value_name = "NAME")]
    pool: String,
    #[command(flatten)]
    drain: DrainArgs,
    #[command(flatten)]
    dry_run: DryRunArgs,
}

/// Deletes what is named.
///
/// # Errors
/// Something isn't there, or control is away or refuses.
pub(crate) async fn run(global: &Global, args: Args) -> Result<(), Failure> {
    let Target { of, names } = target(&args)?;
    let done = match of {
        Type::Pool => "deleted",
        Type::Node => "retired",
        Type::Revision | Type::Event => {
            return Err(Failure::Usage(format!(
                "{} go away by themselves; only pools and nodes are deleted",
                of.plural()
            )));
        }
    };
    if of == Type::Pool && (args.drain.given() || !args.pool.is_empty()) {
        return Err(Failure::Usage("--deadline, --force and --pool are for nodes, not for pools".to_owned()));
    }
    if args.dry_run.client() {
        if args.selector.is_some() {
            return Err(Failure::Usage(ONLY_CONTROL_KNOWS.to_owned()));
        }
        let lines = names.iter().map(|name| line(&format!("{}/{name}", of.singular()), done, &args.dry_run));
        return print(&lines.collect::<String>());
    }
    let mut control = Control::connect(global).await?;
    let filter =
        Filter { pool: args.pool.clone(), selector: args.selector.clone().unwrap_or_default(), ..Filter::default() };
    let whole = match of {
        Type::Pool => {
            let pools = chosen::<v1::Pool>(&mut control, &names, &filter).await?;
            delete_pools(&mut control, pools, &args.dry_run).await
        }
        _ => {
            let nodes = chosen::<v1::Node>(&mut control, &names, &filter).await?;
            retire(&mut control, nodes, &args).await
        }
    }?;
    if whole { Ok(()) } else { Err(Failure::Partly) }
}

/// The type and the names: those of the words, or the pools of the files.
fn target(args: &Args) -> Result<Target, Failure> {
    if !args.files.is_empty() {
        let names = read_pools(&args.files)?.iter().map(|pool| pool.name().to_owned()).collect();
        return Ok(Target { of: Type::Pool, names });
    }
    let target = target::parse(&args.target)?;
    match (target.names.is_empty(), args.selector.is_some()) {
        (false, true) => return Err(Failure::Usage("give names or --selector, not both".to_owned())),
        (true, false) => {
            return Err(Failure::Usage(format!(
                "name what to delete, as in {}/NAME, or choose by labels with --selector",
                target.of.singular()
            )));
        }
        _ => {}
    }
    Ok(target)
}

/// Deletes the pools; whether none was refused.
async fn delete_pools(control: &mut Control, pools: Vec<v1::Pool>, dry_run: &DryRunArgs) -> Result<bool, Failure> {
    let mut whole = true;
    for pool in pools {
        let request = v1::PoolsDeleteRequest {
            name: pool.name().to_owned(),
            resource_version: String::new(),
            author: author(),
            dry_run: dry_run.any(),
        };
        let answer = control.pools.delete(request).await.map_err(|status| control.explain_change(status, "pools"));
        match one_of_several(&pool.path(), answer)? {
            Some(answer) => {
                warn(&answer.into_inner().warnings);
                print(&line(&pool.path(), "deleted", dry_run))?;
            }
            None => whole = false,
        }
    }
    Ok(whole)
}

/// Retires the nodes; whether none was refused.
async fn retire(control: &mut Control, nodes: Vec<v1::Node>, args: &Args) -> Result<bool, Failure> {
    let mut whole = true;
    for node in nodes {
        let answer = intent::set(control, &node, IntentKind::Retire, args.drain, &args.dry_run).await;
        match one_of_several(&node.path(), answer)? {
            Some(_) => print(&line(&node.path(), "retired", &args.dry_run))?,
            None => whole = false,
        }
    }
    Ok(whole)
}
