//! `echoctl bench`: load on nodes or any echo, every byte compared, and what it came to.
//!
//! Called by `main`. It must never pass its own shortcomings off as the far end's: what this client sent late, could not
//! send, or had no time for is told beside the result.

mod client;
mod drops;
mod json;
mod limits;
mod plan;
mod text;
mod watch;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use echo_probe::load::{self, Live, Load, Report};
use echo_proto::spec::GuardPlan;

use crate::args::{Global, count, duration};
use crate::failure::Failure;
use crate::output::{Form, print};
use crate::reflector::{Over, Reflector, ReflectorArgs};
use crate::stops::stops;
use client::{Client, Effort};
use drops::{Counted, Drops};
use limits::Limits;
use watch::Running;

/// Shown at the end of `--help`.
const EXAMPLES: &str = "\
Without --rate it is a closed loop: each connection sends the next message when an answer comes, so
that both sides show what they can do together. With --rate it is an open loop: messages go at
their own moments, whatever the answers do, and a latency counts from when its message was meant to
go. Every byte is compared. Of a pool, the connections are spread over its ready nodes.

Exits with 0 when all was answered and right, with 1 when an answer was wrong, a connection failed,
a message was lost (more than --max-loss) or not sent in time, or a limit was passed. What has no
answer within --timeout [default: 2s] is lost; over TCP its connection then carries no more.

What this client did itself is told apart: messages sent late, datagrams that its kernel did not
take, and how busy its threads were; a closed loop on a client that is always busy measures the
client. Ctrl-C ends it with what there is; before all connections are made, that is nothing.

-o json prints one document: settings; client; and for `all`, and each of `nodes`, what was sent,
answered, wrong, lost, held (sent late for want of room in flight), unsent and strays (answers that
nobody waited for any more), own.sentLate, own.refused, rates, and latency with its whole histogram:
so many answers (count) within upToNanos and above the step before.

Examples:
  echoctl bench tcp node/node-1
  echoctl bench udp pool/default --connections 32 --in-flight 16 --duration 30s
  echoctl bench tcp 10.0.0.1:7007 --rate 5000 --max-p99 5ms
  echoctl bench tcp pool/default --reconnect --duration 1m --max-loss 0.1%
  echoctl bench udp 10.0.0.1:7007 --size 1400 --rate 20000 -o json";

/// Flags of `bench`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What to send over.
    #[arg(value_enum, value_name = "tcp|udp", hide_possible_values = true)]
    transport: Over,
    #[command(flatten)]
    to: ReflectorArgs,
    /// TCP connections, or UDP sockets, over all nodes [default: 16, or one for each node].
    #[arg(short, long, value_parser = count, allow_negative_numbers = true, value_name = "N")]
    connections: Option<u32>,
    /// Most messages without an answer on each of them.
    #[arg(long, value_parser = count, allow_negative_numbers = true, default_value_t = 1, value_name = "N")]
    in_flight: u32,
    /// Bytes of a message: 1, or over UDP 8, to 65507.
    #[arg(short, long, value_parser = count, allow_negative_numbers = true, default_value_t = 64, value_name = "BYTES")]
    size: u32,
    /// How long to send.
    #[arg(short, long, value_parser = duration, default_value = "10s", value_name = "TIME")]
    duration: Duration,
    /// Messages a second in all, whatever the answers do; without it, as fast as answers come.
    #[arg(short, long, value_parser = count, allow_negative_numbers = true, value_name = "N")]
    rate: Option<u32>,
    /// Connect anew for each message.
    #[arg(long)]
    reconnect: bool,
    /// Load a HOST with a public address too, which should be yours.
    #[arg(long)]
    allow_public: bool,
    #[command(flatten)]
    limits: Limits,
    /// Form of the result.
    #[arg(short, long, value_enum, default_value = "table", value_name = "FORM")]
    output: Form,
}

/// What is loaded, and how.
#[derive(Debug)]
struct Subject<'a> {
    target: &'a str,
    load: Load,
    reflectors: &'a [Reflector],
}

/// What it came to.
#[derive(Debug)]
struct Outcome {
    began: SystemTime,
    /// One for each reflector.
    reports: Vec<Report>,
    /// What each of them says that it dropped meanwhile, for whichever client.
    drops: Vec<Option<Drops>>,
    all: Report,
    client: Effort,
}

/// Puts a load on the target, and tells what that showed.
///
/// # Errors
/// The target is wrong or not there, something went wrong on the way, or a limit was passed.
pub(crate) async fn run(global: &Global, args: Args) -> Result<(), Failure> {
    let wish = plan::check(&args, global, client::raise_file_limit())?;
    let reflectors = args.to.find(global, args.transport.protocol()).await?;
    let target = args.to.target();
    let load = plan::load(&wish, &target, reflectors.len())?;
    consent(&args, &reflectors)?;
    let subject = Subject { target: &target, load, reflectors: &reflectors };
    let outcome = put(global, &args, &subject).await?;
    print(&match args.output {
        Form::Table => text::summary(&subject, &outcome),
        Form::Json => json::document(&subject, &outcome),
    })?;
    args.limits.check(&load, &outcome.all)
}

/// A load is put on strangers by mistake only. Nodes are the fleet's own, wherever they are.
fn consent(args: &Args, reflectors: &[Reflector]) -> Result<(), Failure> {
    let private = GuardPlan::default().allow.unwrap_or_default();
    let is_private = |of: &Reflector| private.iter().any(|range| range.contains(&of.address.ip().to_canonical()));
    match reflectors.iter().find(|of| of.node.is_none() && !is_private(of)) {
        Some(of) if !args.allow_public => {
            let cause =
                format!("{} is a public address: if it is yours to load, say so with --allow-public", of.address);
            Err(Failure::Usage(cause))
        }
        _ => Ok(()),
    }
}

/// Runs the load to its end, or to the first Ctrl-C.
async fn put(global: &Global, args: &Args, subject: &Subject<'_>) -> Result<Outcome, Failure> {
    let load = subject.load;
    let addresses: Vec<_> = subject.reflectors.iter().map(|reflector| reflector.address).collect();
    let before = Counted::now(global, subject.reflectors).await;
    let (_stop, stopped) = stops();
    if args.output == Form::Table {
        print(&text::header(subject))?;
    }
    let (mut client, live) = (Client::start(&load)?, Arc::<Live>::default());
    let (began, counted) = (SystemTime::now(), Arc::clone(&live));
    let ended = client.spawn(async move { load::run(load, &addresses, &counted).await });
    let running = Running { load: &load, live: &live, client: &mut client, stopped, ended };
    let reports = running.end(args.output == Form::Table).await?;
    let all: Report = reports.iter().sum();
    let client = client.effort(&load, &all);
    let after = Counted::now(global, subject.reflectors).await;
    let since = |of: &Reflector| after.since(&before, &of.node.as_ref()?.name);
    let drops = subject.reflectors.iter().map(since).collect();
    Ok(Outcome { began, client, reports, drops, all })
}
