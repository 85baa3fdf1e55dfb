//! What busy polling gains: one connection whose client never sleeps, to a node that goes on looking and to one that
//! sleeps at once.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use echo_probe::pattern;

use crate::kind::Kind;
use crate::pool::Setup;
use crate::rounds::{of, ratio, turns};
use crate::server::Server;
use crate::stats::{Middle, quantile};
use crate::target::{Bound, Target};
use crate::{Failure, Plan};

pub(crate) const NAME: &str = "busy-poll";
const TITLE: &str = "One TCP connection, 64 B, client spinning on its own core";
/// Most that an echo may take with busy polling, over that without.
const WANTED: f64 = 0.5;
/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(2);
/// The first is what the other is compared with.
const SETUPS: [Setup; 2] = [Setup::Full, Setup::BusyPoll];

/// What it showed.
#[derive(Debug)]
pub(crate) struct Busy {
    pub(crate) without: Latencies,
    pub(crate) with: Latencies,
    /// Of the medians.
    pub(crate) ratio: Middle,
}

/// In microseconds.
#[derive(Debug)]
pub(crate) struct Latencies {
    pub(crate) p50: Middle,
    pub(crate) p99: Middle,
}

/// The median and the 99 % of one round.
type Round = [f64; 2];

/// Runs all rounds.
pub(crate) fn measure(plan: &Plan) -> Result<Busy, Failure> {
    eprintln!("{NAME}: {} rounds", plan.rounds);
    let start = |setup| Server::start(Kind::Node(setup), false, plan);
    let nodes = SETUPS.into_iter().map(start).collect::<Result<Vec<_>, _>>()?;
    let mut rounds = SETUPS.map(|_| Vec::new());
    for place in turns(plan.rounds, SETUPS.len()) {
        let (Some(node), Some(rounds)) = (nodes.get(place), rounds.get_mut(place)) else { continue };
        rounds.push(round(node.address, plan.load_time())?);
    }
    let [without, with] = rounds;
    let ratio = ratio(&with, &without, |round| round[0]).ok_or("no rounds")?;
    let busy = Busy { without: latencies(&without)?, with: latencies(&with)?, ratio };
    println!(
        "\n{TITLE}\n  p50 {:.1} us, p99 {:.1} us; with busyPoll: 50us p50 {:.1} us, p99 {:.1} us",
        busy.without.p50.median, busy.without.p99.median, busy.with.p50.median, busy.with.p99.median
    );
    Ok(busy)
}

fn latencies(rounds: &[Round]) -> Result<Latencies, Failure> {
    let [p50, p99] = [of(rounds, |round| round[0]), of(rounds, |round| round[1])];
    Ok(Latencies { p50: p50.ok_or("no rounds")?, p99: p99.ok_or("no rounds")? })
}

/// Echoes one after the other for so long.
fn round(address: SocketAddr, duration: Duration) -> Result<Round, Failure> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    let (mut times, end) = (Vec::new(), Instant::now() + duration);
    for number in 0.. {
        if Instant::now() >= end {
            break;
        }
        times.push(echo(&mut stream, number)?.as_secs_f64() * 1e6);
    }
    let mut of = |share| quantile(&mut times, share).ok_or("no echo in this time");
    Ok([of(0.5)?, of(0.99)?])
}

/// One echo, for which the kernel is asked again and again.
fn echo(stream: &mut TcpStream, number: u64) -> Result<Duration, Failure> {
    let (mut sent, mut answer) = ([0; 64], [0; 64]);
    pattern::fill(&mut sent, 0, number);
    let start = Instant::now();
    // So little always fits.
    stream.write_all(&sent)?;
    let mut have = 0;
    while let Some(rest) = answer.get_mut(have..).filter(|rest| !rest.is_empty()) {
        match stream.read(rest) {
            Ok(0) => return Err(format!("{NAME}: closed by the node").into()),
            Ok(n) => have += n,
            Err(e) if e.kind() == ErrorKind::WouldBlock && start.elapsed() < LIMIT => std::hint::spin_loop(),
            Err(e) => return Err(format!("{NAME}: {e}").into()),
        }
    }
    let time = start.elapsed();
    if answer == sent { Ok(time) } else { Err(format!("{NAME}: echo {number} came back wrong").into()) }
}

impl Busy {
    /// What is asked of it.
    pub(crate) fn target(&self) -> Target {
        let (work, figure) = (TITLE.to_owned(), "p50 with busy polling, over p50 without");
        Target { work, figure, measured: self.ratio, wanted: Bound::AtMost(WANTED) }
    }
}
