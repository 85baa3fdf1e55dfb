//! The one validity rule: a pool as written -> a plan that cannot be wrong, or every mistake with its path.
//!
//! Used by `echoctl` before it sends, by control before it stores, and by a node before it applies. Pure; defaults live
//! here and nowhere else.

mod autoscale;
mod drain;
mod guard;
mod labels;
mod limits;
mod listener;
mod rates;
mod rollout;
mod service;
mod share;

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::codec::{self, FieldError, FieldErrors};
use crate::ids::{ListenerName, PoolName};
use crate::{API_VERSION, v1};
pub use autoscale::{
    AutoscalePlan, DEFAULT_DOWN, DEFAULT_MIN_REPLICAS, DEFAULT_TOLERANCE, DEFAULT_UP, MAX_SCALE_TIME, ScaleRulesPlan,
    ScaleStep, TargetPlan,
};
pub use drain::{DEFAULT_DRAIN_DEADLINE, DEFAULT_UDP_QUIET, DrainPlan};
pub use guard::{GuardPlan, MAX_RANGES, answering_ports, answers_datagrams};
pub use labels::{MAX_LABEL_BYTES, MAX_LABELS, is_label};
pub use limits::LimitsPlan;
pub use listener::overlap;
pub use rates::{DEFAULT_LISTENER_DATAGRAMS, DEFAULT_SOURCE_DATAGRAMS, MAX_BYTE_RATE, MAX_MESSAGE_RATE, RatePlan};
pub use rollout::{
    DEFAULT_ACK_DEADLINE, DEFAULT_CANARIES, DEFAULT_MAX_FAILURES, DEFAULT_MIN_HEALTHY, DEFAULT_WAVES, MAX_CANARIES,
    MAX_MIN_HEALTHY, MAX_WAVES, MIN_ACK_DEADLINE, RolloutPlan, check_rollout,
};
pub use service::ServicePlan;
pub use share::{InvalidShare, Share};

/// Nodes of a pool that names no number.
pub const DEFAULT_REPLICAS: u32 = 3;
/// Most nodes a pool may ask for.
pub const MAX_REPLICAS: u32 = 100_000;
/// Most listeners of a pool.
pub const MAX_LISTENERS: usize = 64;
/// Largest template, in bytes of canonical JSON: nodes read it embedded in their assignment.
pub const MAX_TEMPLATE_BYTES: usize = 64 * 1024;
/// Connections of a node that names no limit.
pub const DEFAULT_MAX_CONNECTIONS: u32 = 15_000;
/// Largest connection limit.
pub const MAX_CONNECTIONS: u32 = 1_000_000;
/// Idle timeout where none is given.
pub const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// Longest busy polling: beyond it a thread that looks for packets does little else.
pub const MAX_BUSY_POLL: Duration = Duration::from_millis(10);
/// Longest duration of any setting: a day.
pub const MAX_DURATION: Duration = Duration::from_secs(86_400);
/// Bytes taken by one read of an echo that names no number, and the most it may name.
pub const MAX_READ: u32 = 65_536;
/// Longest datagram that IPv4 can carry, in bytes of payload.
pub const MAX_DATAGRAM: u32 = 65_507;
/// Longest banner, in bytes.
pub const MAX_BANNER_BYTES: usize = 4_096;
/// What greet sends where no banner is given: the greeting of the lesson server it descends from.
pub const DEFAULT_BANNER: &str = "欢迎访问小服务器!\r\n";

/// What a pool's file calls itself.
const KIND: &str = "Pool";

/// A valid pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolPlan {
    /// Its name.
    pub name: PoolName,
    /// Nodes wanted; with `autoscale`, the fewest.
    pub replicas: u32,
    /// How their number follows what they do; `None`: it does not.
    pub autoscale: Option<AutoscalePlan>,
    /// What each node serves.
    pub template: Plan,
    /// How a new revision reaches them.
    pub rollout: RolloutPlan,
}

/// A valid template: what a node serves. Immutable; shared by all shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// In the order of the file; names are unique, as are (protocol, address, port) with a fixed port.
    pub listeners: Vec<ListenerPlan>,
    /// Bounds of the whole node.
    pub limits: LimitsPlan,
    /// How it leaves.
    pub drain: DrainPlan,
    /// A shard goes on looking for packets for so long before it sleeps; zero: not at all.
    pub busy_poll: Duration,
}

/// One listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerPlan {
    /// Unique in the plan.
    pub name: ListenerName,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Address to bind; `None` is the node's own.
    pub address: Option<IpAddr>,
    /// Port to bind; 0 is any free one.
    pub port: u16,
    /// What it does.
    pub service: ServicePlan,
    /// Whom it answers; UDP only.
    pub guard: GuardPlan,
    /// Load balancers from which every connection comes, with a PROXY protocol header; `None`: it is not asked for. TCP
    /// only.
    pub balancers: Option<Vec<IpNet>>,
}

/// Transport of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

impl Protocol {
    /// As in `network.transport`: `tcp` or `udp`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// Checks a whole pool.
///
/// # Errors
/// Every mistake, with its path from the root of the file.
pub fn check_pool(pool: &v1::Pool) -> Result<PoolPlan, FieldErrors> {
    let mut check = Check::default();
    check.header(pool);
    let name = check.name(pool);
    check.labels(pool);
    let spec = pool.spec.clone().unwrap_or_default();
    let replicas = spec.replicas.unwrap_or(DEFAULT_REPLICAS);
    check.at_most("spec.replicas", replicas.into(), MAX_REPLICAS.into());
    let autoscale = spec.autoscale.as_ref().map(|autoscale| check.autoscale("spec.autoscale", autoscale));
    if spec.replicas.is_some() && spec.autoscale.is_some() {
        check.fail("spec.replicas", "not together with spec.autoscale, which decides it; leave one of them out");
    }
    let replicas = autoscale.as_ref().map_or(replicas, |autoscale| autoscale.min);
    let rollout = check.rollout("spec.rollout", &spec.rollout.unwrap_or_default());
    let template = check.template("spec.template", &spec.template.unwrap_or_default());
    match (check.errors.is_empty(), name) {
        (true, Some(name)) => Ok(PoolPlan { name, replicas, autoscale, template, rollout }),
        _ => Err(FieldErrors(check.errors)),
    }
}

/// Checks a template by itself, as a node finds it in its assignment.
///
/// # Errors
/// Every mistake, with its path from the template.
pub fn check_template(template: &v1::PoolTemplate) -> Result<Plan, FieldErrors> {
    let mut check = Check::default();
    let plan = check.template("", template);
    if check.errors.is_empty() { Ok(plan) } else { Err(FieldErrors(check.errors)) }
}

/// Reads and checks a pool from an untyped document: mistakes of form and of content in one answer.
///
/// # Errors
/// Every mistake; what is only a consequence of an unreadable field is left out.
pub fn read_pool(document: &serde_json::Value) -> Result<(v1::Pool, PoolPlan), FieldErrors> {
    let decoded = codec::decode::<v1::Pool>(document, codec::Strictness::Strict);
    if !matches!(decoded.message.kind.as_str(), "" | KIND) {
        // Of another kind of object every field would be a mistake.
        let mut check = Check::default();
        check.header(&decoded.message);
        return Err(FieldErrors(check.errors));
    }
    let mut errors = decoded.errors;
    match check_pool(&decoded.message) {
        Ok(plan) if errors.is_empty() => return Ok((decoded.message, plan)),
        Ok(_) => {}
        Err(FieldErrors(found)) => {
            let unreadable: Vec<String> = errors.iter().map(|e| e.path.clone()).collect();
            let consequence = |e: &FieldError| unreadable.iter().any(|path| covers(path, &e.path));
            errors.extend(found.into_iter().filter(|e| !consequence(e)));
        }
    }
    Err(FieldErrors(errors))
}

/// Whether a mistake at `outer` explains one at `inner`.
fn covers(outer: &str, inner: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Collects mistakes.
#[derive(Default)]
struct Check {
    errors: Vec<FieldError>,
}

impl Check {
    fn fail(&mut self, path: &str, cause: impl Into<String>) {
        self.errors.push(FieldError::new(path.trim_start_matches('.'), cause));
    }

    fn header(&mut self, pool: &v1::Pool) {
        if pool.api_version != API_VERSION {
            self.fail("apiVersion", format!("expected {API_VERSION}, got {:?}", pool.api_version));
        }
        if pool.kind != KIND {
            self.fail("kind", format!("expected {KIND}, got {:?}", pool.kind));
        }
    }

    fn name(&mut self, pool: &v1::Pool) -> Option<PoolName> {
        let name = pool.metadata.as_ref().map_or("", |m| m.name.as_str());
        match name.parse() {
            Ok(name) => Some(name),
            Err(e) => {
                self.fail("metadata.name", format!("{e}"));
                None
            }
        }
    }

    fn template(&mut self, path: &str, template: &v1::PoolTemplate) -> Plan {
        let bytes = codec::to_json(template).len();
        if bytes > MAX_TEMPLATE_BYTES {
            self.fail(path, format!("{bytes} bytes as JSON; at most {MAX_TEMPLATE_BYTES} fit an assignment"));
        }
        let busy_poll = self.duration(&format!("{path}.busyPoll"), template.busy_poll, Duration::ZERO);
        if busy_poll > MAX_BUSY_POLL {
            self.fail(&format!("{path}.busyPoll"), format!("must be at most {MAX_BUSY_POLL:?}"));
        }
        Plan {
            listeners: self.listeners(&format!("{path}.listeners"), &template.listeners),
            limits: self.limits(&format!("{path}.limits"), &template.limits.unwrap_or_default()),
            drain: self.drain(&format!("{path}.drain"), &template.drain.unwrap_or_default()),
            busy_poll,
        }
    }

    fn at_most(&mut self, path: &str, value: u64, max: u64) {
        if value > max {
            self.fail(path, format!("{value} is too large; at most {max}"));
        }
    }

    fn duration(&mut self, path: &str, given: Option<prost_types::Duration>, default: Duration) -> Duration {
        let Some(given) = given else { return default };
        match Duration::try_from(given) {
            Ok(duration) if duration <= MAX_DURATION => duration,
            _ => {
                self.fail(path, format!("must be between 0s and {MAX_DURATION:?}"));
                default
            }
        }
    }
}

#[cfg(test)]
mod tests;
