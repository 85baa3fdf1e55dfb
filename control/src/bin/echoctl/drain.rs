//! `echoctl drain`: tells nodes to finish what they serve, and shows what is left until nothing is.
//!
//! Called by `main`. Waiting is only watching: the drain goes on in the nodes when this command ends early.

mod progress;

use std::time::{Duration, SystemTime};

use echo_proto::v1::{self, IntentKind};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tonic::{Code, Status};

use crate::args::Global;
use crate::chosen::{NodeArgs, line, one_of_several};
use crate::connect::Control;
use crate::dry_run::DryRunArgs;
use crate::failure::Failure;
use crate::follow::passes;
use crate::intent::{self, DrainArgs};
use crate::object::Object as _;
use crate::output::console::Console;
use crate::output::{print, tell};
use progress::{Drain, End, Sight};

/// Shown at the end of `--help`.
const EXAMPLES: &str = "\
A drained node stays registered and serves nothing until `echoctl undrain`.
Ctrl-C ends the waiting, not the drain, and --timeout limits it.
Exits with 0 only when all nodes are drained.

Examples:
  echoctl drain node-1
  echoctl drain -l zone=a --deadline 2m
  echoctl drain node-1 --detach                and to see what is left: echoctl describe node/node-1";

/// Between two looks at the nodes.
const LOOK: Duration = Duration::from_millis(500);
/// Between two lines where nothing is written over.
const LINES: Duration = Duration::from_secs(1);
/// Nodes asked at once.
const IN_FLIGHT: usize = 64;
/// A control that is away for longer has not just been restarted.
const PATIENCE: Duration = Duration::from_secs(30);

/// Flags of `drain`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    nodes: NodeArgs,
    #[command(flatten)]
    drain: DrainArgs,
    /// Return at once, while the nodes drain.
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    dry_run: DryRunArgs,
}

/// Drains the nodes.
///
/// # Errors
/// A node isn't there, control is away or refuses, or not all nodes drained.
pub(crate) async fn run(global: &Global, args: Args) -> Result<(), Failure> {
    let nodes = args.nodes.read()?;
    if args.dry_run.client() {
        return nodes.unasked("draining", &args.dry_run);
    }
    let mut control = Control::connect(global).await?;
    let nodes = nodes.find(&mut control).await?;
    let mut drains = Vec::new();
    let console = Console::new();
    let limit = global.timeout;
    let end = tokio::select! {
        end = drain(&mut control, nodes, &args, &mut drains, &console) => end,
        Ok(()) = tokio::signal::ctrl_c() => Err(Failure::Drain("interrupted".to_owned())),
        () = expired(limit) => Err(Failure::Drain(format!("not drained within {:?}", limit.unwrap_or_default()))),
    };
    console.settle();
    match end {
        Ok(true) if !drains.iter().any(Drain::failed) => Ok(()),
        Ok(_) => Err(Failure::Partly),
        Err(failure) if drains.iter().any(Drain::goes_on) => {
            Err(Failure::Drain(progress::unfinished(&drains, &failure.to_string(), SystemTime::now())))
        }
        Err(failure) => Err(failure),
    }
}

/// Asks every node to drain, and waits where that is wanted; whether none was refused. Whenever this ends, `drains` holds
/// those that may have been asked.
async fn drain(
    control: &mut Control,
    nodes: Vec<v1::Node>,
    args: &Args,
    drains: &mut Vec<Drain>,
    console: &Console,
) -> Result<bool, Failure> {
    let mut whole = true;
    for node in nodes {
        if !args.dry_run.any() {
            drains.push(Drain::new(&node, args.drain.forced(), Instant::now()));
        }
        let answer = intent::set(control, &node, IntentKind::Drain, args.drain, &args.dry_run).await;
        match one_of_several(&node.path(), answer)? {
            Some(_) if args.detach || args.dry_run.any() => print(&line(&node.path(), "draining", &args.dry_run))?,
            Some(_) => {}
            None => {
                drains.pop();
                whole = false;
            }
        }
    }
    if !args.detach {
        wait(control, drains, console).await?;
    }
    Ok(whole)
}

async fn expired(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

/// Looks at the nodes and tells what is left, until every drain has ended.
async fn wait(control: &mut Control, drains: &mut [Drain], console: &Console) -> Result<(), Failure> {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told: Option<(Instant, String)> = None;
    let mut away: Option<Instant> = None;
    let mut away_told = false;
    while drains.iter().any(Drain::goes_on) {
        looks.tick().await;
        match look(control, drains).await {
            Ok(ends) => {
                away = None;
                if std::mem::take(&mut away_told) {
                    tell("control is back");
                }
                ends.into_iter().for_each(|end| show(console, end));
            }
            Err(status) => {
                let again = away.is_some();
                if !passes(&status) || away.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                    return Err(control.explain(status));
                }
                // Not when another server answers at once.
                if again && !std::mem::replace(&mut away_told, true) {
                    tell(&format!("lost control; trying again for {} s", PATIENCE.as_secs()));
                }
                control.turn().await;
                continue;
            }
        }
        let Some(left) = progress::left(drains, SystemTime::now(), console.rewrites()) else { continue };
        let soon = told.as_ref().is_some_and(|(at, _)| !console.rewrites() && at.elapsed() < LINES);
        if !soon && told.as_ref().is_none_or(|(_, text)| *text != left) {
            console.progress(&left);
            told = Some((Instant::now(), left));
        }
    }
    Ok(())
}

fn show(console: &Console, end: End) {
    match end {
        End::Drained(text) => console.line(&text),
        End::Failed(text) => {
            console.settle();
            tell(&format!("error: {text}"));
        }
    }
}

/// One look at every node that drains; what ended by it.
async fn look(control: &Control, drains: &mut [Drain]) -> Result<Vec<End>, Status> {
    let mut ends = Vec::new();
    let mut going: Vec<&mut Drain> = drains.iter_mut().filter(|drain| drain.goes_on()).collect();
    for chunk in going.chunks_mut(IN_FLIGHT) {
        let mut asked = JoinSet::new();
        for (index, drain) in chunk.iter().enumerate() {
            let (control, request) = (control.clone(), drain.request());
            asked.spawn(async move { (index, ask(control, request).await) });
        }
        while let Some(answer) = asked.join_next().await {
            // A task that was cancelled has no answer; the next look asks again.
            let Ok((index, sight)) = answer else { continue };
            let sight = sight?;
            ends.extend(chunk.get_mut(index).and_then(|drain| drain.see(sight, Instant::now())));
        }
    }
    Ok(ends)
}

async fn ask(mut control: Control, request: v1::NodesGetRequest) -> Result<Sight, Status> {
    match control.nodes.get(request).await {
        Ok(response) => Ok(response.into_inner().node.map_or(Sight::Gone, |node| Sight::Node(Box::new(node)))),
        Err(status) if status.code() == Code::NotFound => Ok(Sight::Gone),
        Err(status) => Err(status),
    }
}
