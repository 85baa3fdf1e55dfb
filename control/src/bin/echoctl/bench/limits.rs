//! Whether a load went well.
//!
//! Used by `bench`. Pure.

use std::time::Duration;

use echo_control::words::count;
use echo_probe::load::{Load, Report, Transport};

use crate::args::{duration, percent};
use crate::failure::Failure;
use crate::output::human::round_trip;

/// The flags.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Limits {
    /// Fail above this share of messages without an answer, as in 0.1% [default: 0%].
    #[arg(long, value_parser = percent, value_name = "PERCENT")]
    max_loss: Option<f64>,
    /// Fail where the 99th percentile of the latencies is above this.
    #[arg(long, value_parser = duration, value_name = "TIME")]
    max_p99: Option<Duration>,
}

impl Limits {
    /// Whether everything was right and within them.
    ///
    /// # Errors
    /// It was not.
    pub(super) fn check(&self, load: &Load, all: &Report) -> Result<(), Failure> {
        let mut beyond = Vec::new();
        // One that is made anew costs its message, which is lost.
        if all.errors > 0 && !load.reconnect {
            let what = if load.transport == Transport::Udp { "socket" } else { "connection" };
            let first = all.first_error.as_deref().unwrap_or_default();
            beyond.push(format!("{} failed, the first to {first}", count(all.errors, what)));
        }
        if all.mismatches > 0 {
            beyond.push(format!("{} wrong", count(all.mismatches, "answer")));
        }
        let lost = 100.0 * all.lost as f64 / all.sent.max(1) as f64;
        match self.max_loss {
            _ if all.sent == 0 => beyond.extend((all.errors == 0).then(|| "no message was sent".to_owned())),
            _ if all.echoes + all.mismatches == 0 => beyond.push("no message was answered".to_owned()),
            Some(max) if lost > max => {
                beyond.push(format!("{lost:.2} % of the messages were lost, more than {max} %"));
            }
            None if all.lost > 0 => beyond.push(format!("{} of {} messages lost", all.lost, all.sent)),
            _ => {}
        }
        if all.unsent > 0 {
            // For lack of room, which more of it mends.
            let held = all.held > all.late_sends && all.errors == 0;
            let hint = if held { "; give it more --in-flight or --connections" } else { "" };
            beyond.push(format!("the rate was not kept: {} never sent{hint}", count(all.unsent, "message")));
        }
        let p99 = all.latency(0.99);
        if let Some(max) = self.max_p99.filter(|max| p99 > *max) {
            let (p99, max) = (round_trip(p99), round_trip(max));
            beyond.push(format!("the 99th percentile of the latencies is {p99}, more than {max}"));
        }
        if beyond.is_empty() { Ok(()) } else { Err(Failure::Bench(beyond.join("; "))) }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use echo_probe::load::ANSWER_TIMEOUT;

    use super::*;

    fn told(limits: &Limits, change: fn(&mut Report)) -> String {
        let mut all = Report::default();
        (all.sent, all.echoes) = (1_000, 1_000);
        change(&mut all);
        limits.check(&load(), &all).err().map(|failure| failure.to_string()).unwrap_or_default()
    }

    fn load() -> Load {
        Load {
            transport: Transport::Udp,
            connections: 4,
            reconnect: false,
            size: 64,
            in_flight: 1,
            duration: Duration::from_secs(1),
            timeout: ANSWER_TIMEOUT,
            rate: NonZeroU32::new(1_000),
        }
    }

    #[test]
    fn a_load_went_well_when_all_was_right_and_within_the_limits() {
        let (any, some) = (Limits::default(), Limits { max_loss: Some(1.0), max_p99: None });
        assert_eq!(told(&any, |_| {}), "");
        assert_eq!(told(&any, |all| (all.refused, all.late_sends, all.strays, all.held) = (1, 1, 1, 1)), "");
        assert_eq!(told(&any, |all| all.lost = 1), "1 of 1000 messages lost");
        assert_eq!(told(&some, |all| all.lost = 10), "");
        assert_eq!(told(&some, |all| all.lost = 11), "1.10 % of the messages were lost, more than 1 %");
        assert_eq!(told(&some, |all| (all.echoes, all.lost) = (0, 1_000)), "no message was answered");
        assert_eq!(told(&any, |all| (all.sent, all.echoes) = (0, 0)), "no message was sent");
        let wrong = |all: &mut Report| (all.mismatches, all.errors, all.first_error) = (2, 1, Some("a: b".to_owned()));
        assert_eq!(told(&any, wrong), "1 socket failed, the first to a: b; 2 answers wrong");
        let anew = Load { reconnect: true, transport: Transport::Tcp, ..load() };
        let mut failed = Report::default();
        (failed.sent, failed.echoes, failed.lost, failed.errors) = (1_000, 990, 10, 10);
        assert!(some.check(&anew, &failed).is_ok(), "each cost one message, within what may be lost");
        assert!(any.check(&anew, &failed).is_err());
        let late = told(&any, |all| (all.unsent, all.held) = (7, 9));
        assert_eq!(late, "the rate was not kept: 7 messages never sent; give it more --in-flight or --connections");
    }
}
