//! What etcd, the leading control and the agents take: CPU time and memory.

use std::fmt;
use std::time::{Duration, Instant};

use echo_tests::client::http_get;
use echo_tests::process::rss_kib;
use serde_json::{Value, json};

use super::place::Place;
use crate::Failure;
use crate::cost::cpu;

/// From a moment on.
pub(super) struct Meter {
    began: Instant,
    control: Duration,
    control_rss: f64,
    agents: Duration,
    etcd: Metrics,
}

/// Cores, and MiB of RSS.
pub(super) struct Cost {
    seconds: f64,
    pub(super) control: f64,
    pub(super) control_rss: f64,
    agents: f64,
    agents_rss: f64,
    etcd: f64,
    etcd_rss: f64,
}

/// What etcd tells of itself.
struct Metrics {
    cpu: f64,
    rss: f64,
    expired: f64,
}

impl Meter {
    pub(super) fn start(place: &Place) -> Result<Self, Failure> {
        let (control, agents) = (cpu(place.leading())?, cpu(std::process::id())?);
        let (control_rss, etcd) = (mib(place.leading())?, Metrics::of(place)?);
        Ok(Self { began: Instant::now(), control, control_rss, agents, etcd })
    }

    /// What was taken since.
    pub(super) fn cost(&self, place: &Place) -> Result<Cost, Failure> {
        let (seconds, etcd) = (self.began.elapsed().as_secs_f64(), Metrics::of(place)?);
        let cores = |now: Duration, before: Duration| now.saturating_sub(before).as_secs_f64() / seconds;
        Ok(Cost {
            seconds,
            control: cores(cpu(place.leading())?, self.control),
            control_rss: mib(place.leading())?,
            agents: cores(cpu(std::process::id())?, self.agents),
            agents_rss: mib(std::process::id())?,
            etcd: (etcd.cpu - self.etcd.cpu) / seconds,
            etcd_rss: etcd.rss,
        })
    }

    /// Leases that ran out since.
    pub(super) fn expired(&self, place: &Place) -> Result<f64, Failure> {
        Ok(Metrics::of(place)?.expired - self.etcd.expired)
    }

    /// MiB that the leading control's RSS has grown by since.
    pub(super) fn control_growth(&self, place: &Place) -> Result<f64, Failure> {
        Ok((mib(place.leading())? - self.control_rss).max(0.0))
    }
}

impl Metrics {
    fn of(place: &Place) -> Result<Self, Failure> {
        let page = http_get(place.etcd_address()?, "/metrics")?;
        let figure = |name: &str| {
            let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.trim().parse::<f64>().ok()).ok_or(format!("etcd tells no {name}"))
        };
        Ok(Self {
            cpu: figure("process_cpu_seconds_total")?,
            rss: figure("process_resident_memory_bytes")? / 1_048_576.0,
            expired: figure("etcd_debugging_server_lease_expired_total")?,
        })
    }
}

fn mib(pid: u32) -> Result<f64, Failure> {
    Ok(rss_kib(pid)? as f64 / 1024.0)
}

impl Cost {
    pub(super) fn json(&self) -> Value {
        json!({
            "seconds": self.seconds,
            "cores": {"control": self.control, "etcd": self.etcd, "agents": self.agents},
            "rssMiB": {"control": self.control_rss, "etcd": self.etcd_rss, "agents": self.agents_rss},
        })
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seconds, control, control_rss, agents, agents_rss, etcd, etcd_rss } = self;
        write!(f, "{seconds:.1} s; control {control:.3} cores, {control_rss:.0} MiB; etcd {etcd:.3} cores, ")?;
        write!(f, "{etcd_rss:.0} MiB; the agents {agents:.3} cores, {agents_rss:.0} MiB")
    }
}
