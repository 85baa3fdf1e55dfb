//! One load on one server, and what an echo cost both meanwhile.
//!
//! Used for all that is measured with a load of [`echo_probe`]. It must never give figures of a load in which an echo
//! was wrong or lost.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use echo_probe::load::{self, Live, Load, Report};

use crate::server::Server;
use crate::{Failure, cost};

/// The part of a load before its costs count: a server may begin with what it does once for a connection.
const WARM: u32 = 5;
/// How often it is looked whether a load has begun.
const LOOK_PERIOD: Duration = Duration::from_millis(1);
/// Loads, each so many times as long as the one before, until one has an echo and the server a time for it: a busy
/// machine may not run it for a while, and the time of ended processes is told in steps.
const TRIES: u32 = 4;
const LONGER: u32 = 4;

/// What one load showed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// CPU time for one echo in microseconds: of the server, and of the load.
    pub(crate) cpu: f64,
    pub(crate) load_cpu: f64,
    /// The part of the time in which each of them had its core.
    pub(crate) busy: f64,
    pub(crate) load_busy: f64,
    /// Echoes a second.
    pub(crate) rate: f64,
    /// Latencies that a half, 99 % and 99.9 % did not exceed, in microseconds.
    pub(crate) latency: [f64; 3],
}

/// Why there are no figures.
#[derive(Debug)]
pub(crate) struct Flaw {
    /// A byte came back that was not sent.
    pub(crate) wrong: bool,
    pub(crate) why: String,
}

/// What was read in one moment.
struct Look {
    at: Instant,
    server: Duration,
    load: Duration,
    echoes: u64,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl<E: Into<Failure>> From<E> for Flaw {
    fn from(error: E) -> Self {
        Self { wrong: false, why: error.into().to_string() }
    }
}

/// Loads a server from this thread, which has a core of its own; longer than asked, where nothing came back in time.
pub(crate) fn take(mut load: Load, server: &Server) -> Result<Sample, Flaw> {
    for _ in 0..TRIES {
        if let Some(sample) = once(load, server)? {
            return Ok(sample);
        }
        load.duration *= LONGER;
    }
    Err(Flaw { wrong: false, why: format!("no echo within {:?}", load.duration / LONGER) })
}

fn once(load: Load, server: &Server) -> Result<Option<Sample>, Flaw> {
    let live = Arc::new(Live::default());
    let address = [server.address];
    let both = async { tokio::join!(load::run(load, &address, &live), watch(load, server, &live)) };
    let done = runtime()?.block_on(both);
    let (report, looks) = (clean(&done.0)?, done.1?);
    let (from, to) = looks;
    let echoes = to.echoes.saturating_sub(from.echoes);
    let spent = to.server.saturating_sub(from.server);
    if echoes == 0 || spent.is_zero() {
        return Ok(None);
    }
    let (time, echoes) = ((to.at - from.at).as_secs_f64(), echoes as f64);
    let (server, load) = (spent.as_secs_f64(), (to.load - from.load).as_secs_f64());
    Ok(Some(Sample {
        cpu: server * 1e6 / echoes,
        load_cpu: load * 1e6 / echoes,
        busy: server / time,
        load_busy: load / time,
        rate: echoes / time,
        latency: [0.5, 0.99, 0.999].map(|share| report.latency(share).as_secs_f64() * 1e6),
    }))
}

/// Runs a load of which nothing is weighed.
pub(crate) fn put(load: Load, server: &Server) -> Result<Report, Flaw> {
    clean(&runtime()?.block_on(load::run(load, &[server.address], &Arc::default())))
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn clean(reports: &[Report]) -> Result<Report, Flaw> {
    let report: Report = reports.iter().sum();
    let Report { echoes, mismatches, lost, strays, refused, errors, ref first_error, .. } = report;
    let counts = [
        (mismatches, "answers were wrong"),
        (lost, "messages had no answer"),
        (strays, "answers were to nothing that waited"),
        (refused, "messages could not be sent"),
        (errors, "connections failed"),
    ];
    let bad: Vec<_> = counts.iter().filter(|(count, _)| *count > 0).map(|(n, what)| format!("{n} {what}")).collect();
    if bad.is_empty() {
        return Ok(report);
    }
    let error = first_error.as_ref().map_or_else(String::new, |error| format!(" ({error})"));
    Err(Flaw { wrong: mismatches > 0, why: format!("{}{error}, beside {echoes} right echoes", bad.join(", ")) })
}

async fn watch(load: Load, server: &Server, live: &Live) -> Result<(Look, Look), Failure> {
    let look = || -> Result<Look, Failure> {
        Ok(Look { at: Instant::now(), server: server.cpu()?, load: cost::own_cpu()?, echoes: live.answered() })
    };
    // Connections come first, of which each may take as long as an answer.
    let limit = Instant::now() + load.timeout + load.duration;
    while live.sent() == 0 && Instant::now() < limit {
        tokio::time::sleep(LOOK_PERIOD).await;
    }
    tokio::time::sleep(load.duration / WARM).await;
    let from = look()?;
    tokio::time::sleep(load.duration - load.duration / WARM).await;
    Ok((from, look()?))
}
