//! `echoctl probe`: single probes at a steady pace, as ping, and what they tell of the path.
//!
//! Called by `main`. What nodes tell about probes that were never answered is asked from their Agents at the end.

mod dscp;
mod json;
mod limits;
mod sessions;
mod text;

use std::cell::RefCell;
use std::time::Duration;

use echo_probe::prober::{self, Event, MAX_FLOWS, MAX_JITTER, MIN_BYTES, Report, Run, Settings};
use echo_proto::stamp::STAMP_BYTES;
use tokio::sync::mpsc;

use crate::args::{Global, duration, several};
use crate::failure::Failure;
use crate::output::{Form, print, tell};
use crate::reflector::{Over, Reflector, ReflectorArgs};
use crate::stops::{STOPS, stops, unless_stopped};
use limits::Limits;
use sessions::{Before, Sessions};

/// Shown at the end of `--help`.
const EXAMPLES: &str = "\
Probes are stamped (328 bytes or more): a node tells who it is, when each came and what it has seen,
and so on which way one was lost. Others echo the stamp as it is. Round trips of UDP are the
kernel's times, of TCP ours.

Exits with 0 when there were answers within the limits, with 1 when there were none or a limit was
passed. For --max-loss counts what was lost or refused: not what a node says it dropped, nor what
this host dropped or did not send. --timeout is the longest wait for each answer [default: 1s], and
over TCP for the connection to send it; what comes later is late, not lost. Ctrl-C ends it, with the
summary, once what is out had its time; a second one at once.

Of a pool with more than 1024 nodes so many are asked, chosen by chance.

-o json prints one document: `probes` has an object for each line (seq, flow, address, outcome:
answered, late, duplicate, forgotten, silent, unconnected, refused, unsent or wrong; rttNanos and
kernelTimes; cause; of a stamp: node, zone, revision, seenAs, ttl, dscp, nodeNanos, thereNanos and
backNanos, which are as wrong as the clocks); `summary` has all counts and times in nanoseconds.

Examples:
  echoctl probe udp 10.0.0.1:7007 --count 10
  echoctl probe udp pool/default --count 100 --interval 20ms --source-ports 4
  echoctl probe tcp node/node-1 --reconnect --max-rtt-p99 5ms --count 50
  echoctl probe udp node/node-1 --size 1472 --dont-fragment --dscp EF
  echoctl probe udp node/node-1 --count 1000 --interval 10ms --max-loss 1% -o json";

/// Time for an answer where nobody names one.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes of a plain probe where nobody names any, as ping.
const PLAIN_BYTES: usize = 64;

/// Flags of `probe`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What to send over.
    #[arg(value_enum, value_name = "tcp|udp", hide_possible_values = true)]
    transport: Over,
    #[command(flatten)]
    to: ReflectorArgs,
    /// Probes to send in all; without it, until Ctrl-C.
    #[arg(short, long, value_parser = several, allow_negative_numbers = true, value_name = "N")]
    count: Option<u64>,
    /// Time between two probes, over all addresses and source ports.
    #[arg(short, long, value_parser = duration, default_value = "1s", value_name = "TIME")]
    interval: Duration,
    /// A probe is late by a random part of up to this percentage of the interval.
    #[arg(long, value_parser = clap::value_parser!(u8).range(..=i64::from(MAX_JITTER)), default_value_t = 10, value_name = "PERCENT")]
    jitter: u8,
    /// Bytes of a probe, from 8 to 65507 [default: 328, or with --plain 64].
    #[arg(short, long, value_name = "BYTES")]
    size: Option<usize>,
    /// Send no stamps, as any client would.
    #[arg(long)]
    plain: bool,
    /// Mark probes with this DSCP: 0 to 63, or as EF, AF41, CS1.
    #[arg(long, value_parser = dscp::parse, value_name = "DSCP")]
    dscp: Option<u8>,
    /// Let nobody cut datagrams into pieces.
    #[arg(long)]
    dont_fragment: bool,
    /// Source ports to use in turn, for each address: paths may differ by them.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..), default_value_t = 1, value_name = "N")]
    source_ports: u16,
    /// Connect anew for each probe.
    #[arg(long)]
    reconnect: bool,
    /// How far off this host's clock may be, for one-way delays [default: what the kernel knows].
    #[arg(long, value_parser = duration, value_name = "TIME")]
    clock_error: Option<Duration>,
    #[command(flatten)]
    limits: Limits,
    /// Print the summary only.
    #[arg(short, long)]
    quiet: bool,
    /// Form of the result.
    #[arg(short, long, value_enum, default_value = "table", value_name = "FORM")]
    output: Form,
}

/// What is probed, for those who print it.
#[derive(Debug)]
struct Subject<'a> {
    target: &'a str,
    settings: &'a Settings,
    reflectors: &'a [Reflector],
}

/// Probes the target, and tells what that showed.
///
/// # Errors
/// The target is wrong or not there, nobody answers, or a limit was passed.
pub(crate) async fn run(global: &Global, args: Args) -> Result<(), Failure> {
    let settings = args.settings(global)?;
    let reflectors = args.to.find(global, args.transport.protocol()).await?;
    let reflectors = some(reflectors, (MAX_FLOWS / settings.source_ports.max(1)).max(1));
    Failure::usage(&settings.mistakes(reflectors.len() * settings.source_ports))?;
    let subject = Subject { target: &args.to.target(), settings: &settings, reflectors: &reflectors };
    let (run, sessions) = args.probe(global, &subject).await?;
    let report = run.report();
    match args.output {
        Form::Table => print(&text::summary(&subject, &report, &sessions))?,
        Form::Json => print(&json::end(&run, &report, &sessions))?,
    }
    args.limits.check(&report)
}

impl Args {
    fn settings(&self, global: &Global) -> Result<Settings, Failure> {
        let mut mistakes = Vec::from_iter(self.to.check().err().map(|failure| failure.to_string()));
        if self.transport == Over::Tcp && self.dont_fragment {
            mistakes.push("--dont-fragment is for udp: TCP fits its segments to the path".to_owned());
        }
        if self.transport == Over::Udp && self.reconnect {
            mistakes.push("--reconnect is for tcp: UDP has no connections".to_owned());
        }
        let size = self.size.unwrap_or(if self.plain { PLAIN_BYTES } else { STAMP_BYTES });
        let settings = Settings {
            transport: self.transport.transport(),
            count: self.count,
            interval: self.interval,
            jitter: self.jitter,
            size,
            stamped: !self.plain && size >= STAMP_BYTES,
            timeout: global.timeout.filter(|_| global.given.timeout).unwrap_or(TIMEOUT),
            dscp: self.dscp,
            dont_fragment: self.dont_fragment,
            source_ports: self.source_ports.into(),
            reconnect: self.reconnect,
            clock_error: self.clock_error,
        };
        // Of one address; there may be more.
        mistakes.extend(settings.mistakes(settings.source_ports));
        Failure::usage(&mistakes)?;
        if !self.plain && (MIN_BYTES..STAMP_BYTES).contains(&size) {
            tell(&format!(
                "probes of {size} bytes have no room for a stamp, which takes {STAMP_BYTES}: they are plain"
            ));
        }
        Ok(settings)
    }

    /// Probes to the end, while lines are printed, and asks the nodes about what was not answered.
    async fn probe(&self, global: &Global, subject: &Subject<'_>) -> Result<(Run, Sessions), Failure> {
        let addresses: Vec<_> = subject.reflectors.iter().map(|reflector| reflector.address).collect();
        let (stop, stopped) = stops();
        let printer = Printer { args: self, subject, failure: RefCell::default(), stop };
        let before = Before::ask(global, subject).await;
        let mut first = true;
        let ended = prober::run(subject.settings, &addresses, stopped, |event| {
            printer.show(&event, std::mem::take(&mut first));
        });
        if self.output == Form::Table {
            print(&text::header(subject))?;
        }
        let mut run = ended.await.map_err(|unfit| Failure::Probe(unfit.to_string()))?;
        if let Some(failure) = printer.failure.take() {
            return Err(failure);
        }
        if self.output == Form::Json && first {
            print(&json::begin(subject))?;
        }
        let asked = unless_stopped(sessions::ask(global, &mut run, subject, &before)).await;
        let sessions = asked.unwrap_or_else(|| {
            tell("interrupted before the nodes had told what came to them");
            Sessions::default()
        });
        Ok((run, sessions))
    }
}

/// Of more than there can be flows, some by chance, so that run after run comes to all.
fn some(all: Vec<Reflector>, most: usize) -> Vec<Reflector> {
    if all.len() <= MAX_FLOWS {
        return all;
    }
    tell(&format!("{most} of {} nodes are asked, chosen by chance", all.len()));
    fastrand::choose_multiple(all, most)
}

/// Prints what happens; a failure ends the run.
struct Printer<'a> {
    args: &'a Args,
    subject: &'a Subject<'a>,
    failure: RefCell<Option<Failure>>,
    stop: mpsc::Sender<()>,
}

impl Printer<'_> {
    fn show(&self, event: &Event, first: bool) {
        let text = match self.args.output {
            Form::Table if self.args.quiet => return,
            Form::Table => text::line(self.subject, event),
            Form::Json => {
                let begin = if first { json::begin(self.subject) } else { String::new() };
                let probe = if self.args.quiet { String::new() } else { json::probe(event, first) };
                begin + &probe
            }
        };
        if let Err(failure) = print(&text) {
            self.failure.borrow_mut().get_or_insert(failure);
            // Nobody reads any more: nothing is waited for.
            for _ in 0..STOPS {
                let _ = self.stop.try_send(());
            }
        }
    }
}

/// What a person calls it: `3 of 10 (30 %)`.
fn share(report: &Report, count: u64) -> String {
    let percent = if report.sent == 0 { 0.0 } else { 100.0 * count as f64 / report.sent as f64 };
    format!("{percent:.*} %", if percent > 0.0 && percent < 10.0 { 2 } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_nodes_some_are_chosen_and_of_others_all() {
        let all = |n: u16| (1..=n).map(|port| Reflector { address: ([127, 0, 0, 1], port).into(), node: None });
        assert_eq!(some(all(3).collect(), 2), all(3).collect::<Vec<_>>(), "whoever has few means all of them");
        let mut ports: Vec<_> =
            some(all(10_000).collect(), 512).iter().map(|reflector| reflector.address.port()).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 512);
    }
}
