//! A node at full rate for minutes: no byte wrong, and neither memory nor file descriptors grow.

use std::thread;
use std::time::Duration;

use echo_probe::load::{ANSWER_TIMEOUT, Load, Transport};
use echo_tests::process::rss_kib;

use crate::kind::Kind;
use crate::pool::Setup;
use crate::server::Server;
use crate::stats::Middle;
use crate::target::{Bound, Target};
use crate::{Failure, Plan, cost, sample};

pub(crate) const NAME: &str = "steady";
/// Parts of the run, of three kinds in turn; memory and files are looked at after each.
const PARTS: u32 = 30;
/// So many of them are a tenth of the run: a minute of ten. The second tenth, in which a node has made what it makes
/// once, is what the last one is compared with.
const TENTH: usize = PARTS as usize / 10;
/// KiB that the kernel's and the allocator's rounding may add to two nodes.
const ROUNDING_KIB: u64 = 1024;
/// Connections of a load that has just ended may be open a little longer: looks after it, of which the lowest counts,
/// and the pause between them.
const LOOKS: u32 = 10;
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// What the run showed.
#[derive(Debug)]
pub(crate) struct Steady {
    pub(crate) minutes: f64,
    pub(crate) echoes: u64,
    /// Most of the second tenth of the run, and of the last; of both nodes together.
    pub(crate) rss_kib: [u64; 2],
    pub(crate) files: [usize; 2],
}

/// A node, and the fewest files that it had open so far.
struct Node {
    server: Server,
    least: Option<usize>,
}

/// Loads a node over TCP, another over UDP, and the first by connections that come and go, in turn.
pub(crate) fn measure(plan: &Plan) -> Result<Steady, Failure> {
    eprintln!("{NAME}: {} minutes", plan.minutes);
    let node = |udp| Ok::<_, Failure>(Node { server: Server::start(Kind::Node(Setup::Full), udp, plan)?, least: None });
    let (mut tcp, mut udp) = (node(false)?, node(true)?);
    let duration = Duration::from_secs_f64(plan.minutes * 60.0 / f64::from(PARTS));
    let (mut echoes, mut rss, mut files) = (0, Vec::new(), Vec::new());
    for part in 0..PARTS {
        let (transport, reconnect, node) = match part % 3 {
            0 => (Transport::Tcp, false, &tcp),
            1 => (Transport::Udp, false, &udp),
            _ => (Transport::Tcp, true, &tcp),
        };
        let (connections, size, in_flight, rate, timeout) = (16, 512, 16, None, ANSWER_TIMEOUT);
        let load = Load { transport, connections, reconnect, size, in_flight, duration, timeout, rate };
        echoes += sample::put(load, &node.server).map_err(|flaw| format!("part {part}: {flaw}"))?.echoes;
        files.push(tcp.files()? + udp.files()?);
        rss.push(tcp.rss_kib()? + udp.rss_kib()?);
    }
    if echoes == 0 {
        return Err("no echoes".into());
    }
    let (rss_kib, files) = (ends(&rss).ok_or("no part")?, ends(&files).ok_or("no part")?);
    let steady = Steady { minutes: plan.minutes, echoes, rss_kib, files };
    println!(
        "\nAt full rate for {} minutes: {echoes} echoes, none wrong; RSS {} to {} KiB, files {} to {}",
        plan.minutes, rss_kib[0], rss_kib[1], files[0], files[1]
    );
    Ok(steady)
}

/// The most of the second tenth, and of the last.
fn ends<T: Ord + Copy>(parts: &[T]) -> Option<[T; 2]> {
    let second = parts.iter().skip(TENTH).take(TENTH).max();
    let last = parts.iter().rev().take(TENTH).max();
    second.zip(last).map(|(second, last)| [*second, *last])
}

impl Node {
    /// How many it has open, once those of the load are gone: as few as it ever had, or after some looks.
    #[allow(clippy::disallowed_methods)] // The pause between two looks; there are ten.
    fn files(&mut self) -> Result<usize, Failure> {
        let mut files = cost::files(self.server.pid())?;
        for _ in 0..LOOKS {
            if self.least.is_some_and(|least| files <= least) {
                break;
            }
            thread::sleep(LOOK_PAUSE);
            files = files.min(cost::files(self.server.pid())?);
        }
        self.least = Some(self.least.map_or(files, |least| least.min(files)));
        Ok(files)
    }

    fn rss_kib(&self) -> Result<u64, Failure> {
        Ok(rss_kib(self.server.pid())?)
    }
}

impl Steady {
    /// What is asked of it.
    pub(crate) fn targets(&self) -> [Target; 2] {
        let [rss, files] = [self.rss_kib, self.files.map(|files| files as u64)];
        let target = |figure, [before, after]: [u64; 2], rounding| Target {
            work: format!("{} minutes at full rate, {} echoes, no byte wrong", self.minutes, self.echoes),
            figure,
            measured: Middle::once(after as f64),
            wanted: Bound::AtMost((before + rounding) as f64),
        };
        [
            target("most KiB of RSS in the last tenth (the second one's, and 1024)", rss, ROUNDING_KIB),
            target("most files in the last tenth (the second one's)", files, 0),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_tenth_is_compared_with_the_second() {
        let parts: Vec<u32> = (0..PARTS).collect();
        assert_eq!(ends(&parts), Some([5, 29]));
        assert_eq!(ends::<u32>(&[]), None);
    }

    #[test]
    fn what_grows_is_missed() {
        let steady = |rss, files| Steady { minutes: 1.0, echoes: 1, rss_kib: [5_000, rss], files: [40, files] };
        let met = |steady: Steady| steady.targets().map(|target| target.is_met());
        assert_eq!(met(steady(6_024, 40)), [true, true]);
        assert_eq!(met(steady(6_025, 41)), [false, false]);
    }
}
