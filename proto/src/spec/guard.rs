//! Whom a UDP listener answers, and which load balancers a TCP listener believes: as written -> ranges of addresses.
//!
//! Called by [`super::listener`]; asked by nodes for each listener. Pure.

use ipnet::IpNet;

use super::{Check, Protocol};
use crate::v1;
use v1::service::Kind;

/// Most ranges of each kind.
pub const MAX_RANGES: usize = 64;
/// Sources that are trusted where none are given: those that no stranger on the Internet can have.
const NEAR: [&str; 9] = [
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
];

/// The fixed UDP ports at which a node that runs `template` answers; also of one that this version would refuse.
pub fn answering_ports(template: &v1::PoolTemplate) -> impl Iterator<Item = u32> {
    let answering = template.listeners.iter().filter(|listener| answers_datagrams(listener));
    answering.map(|listener| listener.port).filter(|port| (1..=65_535).contains(port))
}

/// Whether datagrams that come to `listener` are answered; what this version does not know may answer.
pub fn answers_datagrams(listener: &v1::Listener) -> bool {
    let discards = |service: &v1::Service| matches!(service.kind, Some(Kind::Discard(_)));
    listener.protocol() == v1::Protocol::Udp && !listener.service.as_ref().is_some_and(discards)
}

/// Whom a UDP listener answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardPlan {
    /// Sources that are answered; `None` is everybody.
    pub allow: Option<Vec<IpNet>>,
    /// Sources that may send from ports below 1024 and from those of known services.
    pub allow_service_ports: Vec<IpNet>,
}

impl Default for GuardPlan {
    fn default() -> Self {
        Self { allow: Some(near()), allow_service_ports: Vec::new() }
    }
}

fn near() -> Vec<IpNet> {
    NEAR.iter().filter_map(|range| range.parse().ok()).collect()
}

impl Check {
    pub(super) fn guard(&mut self, path: &str, guard: Option<&v1::Guard>, protocol: Option<Protocol>) -> GuardPlan {
        let (default, Some(guard)) = (GuardPlan::default(), guard) else { return GuardPlan::default() };
        if protocol == Some(Protocol::Tcp) {
            self.fail(path, "only for UDP");
        }
        let allow = self.ranges(&format!("{path}.allow"), &guard.allow);
        let allow_service_ports = self.ranges(&format!("{path}.allowServicePorts"), &guard.allow_service_ports);
        let allow = match (guard.allow_public, allow.is_empty()) {
            (true, _) => None,
            (false, true) => default.allow,
            (false, false) => Some(allow),
        };
        GuardPlan { allow, allow_service_ports }
    }

    /// Who may write PROXY protocol headers.
    pub(super) fn balancers(
        &mut self,
        path: &str,
        given: &v1::ProxyProtocol,
        protocol: Option<Protocol>,
    ) -> Vec<IpNet> {
        if protocol == Some(Protocol::Udp) {
            self.fail(path, "only for TCP");
        }
        let from = self.ranges(&format!("{path}.from"), &given.from);
        if from.is_empty() { near() } else { from }
    }

    fn ranges(&mut self, path: &str, given: &[String]) -> Vec<IpNet> {
        if given.len() > MAX_RANGES {
            self.fail(path, format!("{} ranges; at most {MAX_RANGES}", given.len()));
        }
        let mut ranges = Vec::with_capacity(given.len().min(MAX_RANGES));
        for (index, text) in given.iter().enumerate().take(MAX_RANGES) {
            match range(text) {
                Ok(range) => ranges.push(range),
                Err(cause) => self.fail(&format!("{path}[{index}]"), cause),
            }
        }
        ranges
    }
}

fn range(text: &str) -> Result<IpNet, String> {
    let range: IpNet = text.parse().map_err(|_| format!("expected a range such as 10.0.0.0/8, got {text:?}"))?;
    if range != range.trunc() {
        return Err(format!("{range} names a host; did you mean {}, or {}?", range.trunc(), IpNet::from(range.addr())));
    }
    match range {
        IpNet::V6(v6) if v6.addr().to_ipv4_mapped().is_some() => {
            Err(format!("{range}: write a range of IPv4 addresses as such"))
        }
        range => Ok(range),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(guard: v1::Guard) -> (GuardPlan, Vec<String>) {
        let mut check = Check::default();
        let plan = check.guard("guard", Some(&guard), Some(Protocol::Udp));
        (plan, check.errors.iter().map(ToString::to_string).collect())
    }

    fn allow(ranges: &[&str]) -> v1::Guard {
        v1::Guard { allow: ranges.iter().map(|range| (*range).to_owned()).collect(), ..Default::default() }
    }

    #[test]
    fn by_default_no_public_address_is_answered() {
        let (plan, errors) = check(v1::Guard::default());
        assert!(errors.is_empty() && plan == GuardPlan::default());
        let ranges = plan.allow.unwrap();
        assert_eq!(ranges.len(), NEAR.len(), "each of them can be read");
        let answered =
            |address: &str| ranges.iter().any(|range| range.contains(&address.parse::<std::net::IpAddr>().unwrap()));
        assert!(
            ["10.1.2.3", "127.0.0.1", "100.64.0.1", "172.31.0.1", "::1", "fd00::1", "fe80::1"]
                .into_iter()
                .all(answered)
        );
        assert!(!["8.8.8.8", "172.32.0.1", "100.128.0.1", "2001:db8::1", "0.0.0.0"].into_iter().any(answered));
    }

    #[test]
    fn ranges_replace_the_default_and_everybody_replaces_ranges() {
        let (plan, _) = check(allow(&["198.51.100.0/24"]));
        assert_eq!(plan.allow, Some(vec!["198.51.100.0/24".parse().unwrap()]));
        let (plan, _) = check(v1::Guard { allow_public: true, ..allow(&["198.51.100.0/24"]) });
        assert_eq!(plan.allow, None);
    }

    #[test]
    fn what_is_no_range_is_refused_with_its_place() {
        let (_, errors) = check(allow(&["10.0.0.0/8", "10.0.0.1/8", "here", "::ffff:10.0.0.0/104"]));
        let expected = [
            "guard.allow[1]: 10.0.0.1/8 names a host; did you mean 10.0.0.0/8, or 10.0.0.1/32?",
            "guard.allow[2]: expected a range such as 10.0.0.0/8, got \"here\"",
            "guard.allow[3]: ::ffff:10.0.0.0/104: write a range of IPv4 addresses as such",
        ];
        assert_eq!(errors, expected);
        assert_eq!(check(allow(&["::/0"; 65])).1, ["guard.allow: 65 ranges; at most 64"]);
    }
}
