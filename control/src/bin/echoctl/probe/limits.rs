//! The limits by which a run of probes is good or bad.
//!
//! Used by `probe`. Pure.

use std::time::Duration;

use echo_probe::prober::Report;

use crate::args::{duration, percent};
use crate::failure::Failure;
use crate::output::human::round_trip;

/// The flags.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Limits {
    /// Fail where more than this is lost or refused, as in 1% or 0.1%.
    #[arg(long, value_parser = percent, value_name = "PERCENT")]
    max_loss: Option<f64>,
    /// Fail where the 99th percentile of the round trips is above this.
    #[arg(long, value_parser = duration, value_name = "TIME")]
    max_rtt_p99: Option<Duration>,
}

impl Limits {
    /// Whether all was within them.
    ///
    /// # Errors
    /// It was not, or there was no answer at all.
    pub(super) fn check(&self, report: &Report) -> Result<(), Failure> {
        let mut beyond = Vec::new();
        if report.rtt.count() == 0 {
            beyond.push(match report.sent {
                0 => "no probe was sent and had its time".to_owned(),
                1 => "the probe was not answered".to_owned(),
                sent => format!("none of {sent} probes was answered"),
            });
        }
        let (lost, refused) = (report.loss.network(), report.refused);
        let share = 100.0 * report.unanswered() as f64 / report.sent.max(1) as f64;
        if let Some(max) = self.max_loss.filter(|max| share > *max) {
            beyond.push(format!("{lost} lost and {refused} refused are {share:.2} % of the probes, more than {max} %"));
        }
        let p99 = report.rtt.percentile(99.0);
        if let Some((p99, max)) = p99.zip(self.max_rtt_p99).filter(|(p99, max)| p99 > max) {
            let (p99, max) = (round_trip(p99), round_trip(max));
            beyond.push(format!("the 99th percentile of the round trips is {p99}, more than {max}"));
        }
        if beyond.is_empty() { Ok(()) } else { Err(Failure::Probe(beyond.join("; "))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_probe::prober::Loss;

    #[test]
    fn what_a_node_dropped_is_within_any_limit() {
        let limits = Limits { max_loss: Some(1.0), max_rtt_p99: None };
        let loss = |there, by_node| Report {
            sent: 100,
            loss: Loss { there, by_node, ..Loss::default() },
            ..Report::default()
        };
        let told = |report: &Report| limits.check(report).err().map(|e| e.to_string()).unwrap_or_default();
        assert_eq!(told(&loss(1, 50)), "none of 100 probes was answered");
        assert!(told(&loss(2, 0)).ends_with("2 lost and 0 refused are 2.00 % of the probes, more than 1 %"));
        assert_eq!(told(&Report::default()), "no probe was sent and had its time");
    }

    #[test]
    fn what_is_refused_is_within_no_limit_on_loss() {
        let limits = Limits { max_loss: Some(0.0), max_rtt_p99: None };
        let refused = |refused| Report { sent: 1_000, refused, ..Report::default() };
        let told = |report: &Report| limits.check(report).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(told(&refused(999)).ends_with("0 lost and 999 refused are 99.90 % of the probes, more than 0 %"));
        assert!(!told(&refused(0)).contains("refused"));
    }
}
