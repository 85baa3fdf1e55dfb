//! A node at full rate for minutes: no byte wrong, and neither memory nor file descriptors grow.

use std::time::Duration;

use echo_probe::load::{ANSWER_TIMEOUT, Load, Transport};

use crate::server::{Kind, Server};
use crate::{Failure, Plan, cost, figures};

pub(crate) const NAME: &str = "steady";
/// Parts of the run; memory and files are looked at between them.
const PARTS: u32 = 60;
/// Parts after which a node has made what it makes once.
const WARM: u32 = 6;

/// What the run showed.
#[derive(Debug)]
pub(crate) struct Steady {
    pub(crate) minutes: f64,
    pub(crate) echoes: u64,
    /// After the warm parts, and at the end.
    pub(crate) rss_kib: [u64; 2],
    /// The same.
    pub(crate) files: [usize; 2],
}

/// Loads a node over TCP, by connections that come and go, and over UDP in turn.
pub(crate) fn measure(plan: &Plan) -> Result<Steady, Failure> {
    let tcp = Server::start(Kind::Node, false, plan)?;
    let udp = Server::start(Kind::Node, true, plan)?;
    let duration = Duration::from_secs_f64(plan.minutes * 60.0 / f64::from(PARTS));
    let look = || -> Result<(u64, usize), Failure> {
        Ok((cost::rss_kib(tcp.pid())? + cost::rss_kib(udp.pid())?, cost::files(tcp.pid())? + cost::files(udp.pid())?))
    };
    let (mut echoes, mut warm) = (0, look()?);
    for part in 0..PARTS {
        let (transport, reconnect, server) = match part % 3 {
            0 => (Transport::Tcp, false, &tcp),
            1 => (Transport::Udp, false, &udp),
            _ => (Transport::Tcp, true, &tcp),
        };
        let (connections, size, in_flight, rate, timeout) = (16, 512, 16, None, ANSWER_TIMEOUT);
        let load = Load { transport, connections, reconnect, size, in_flight, duration, timeout, rate };
        let report = figures::put(load, server.address)?;
        if !report.is_clean() {
            return Err(format!("{NAME}: not every echo came back right: {report:?}").into());
        }
        echoes += report.echoes;
        if part < WARM {
            warm = look()?;
        }
    }
    let (rss, files) = look()?;
    let steady = Steady { minutes: plan.minutes, echoes, rss_kib: [warm.0, rss], files: [warm.1, files] };
    println!(
        "steady: {} minutes, {echoes} echoes, none wrong; RSS {} to {rss} KiB, files {} to {files}",
        plan.minutes, warm.0, warm.1
    );
    Ok(steady)
}
