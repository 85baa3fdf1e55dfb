//! Control itself: its open files, what it could not read, and whether the leader is in step with it.
//!
//! Part of the diagnosis. The leader is asked once, with a deadline; one whose address only means something on its own
//! host is not.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use echo_proto::v1::{self, Finding, cluster_client::ClusterClient};
use tonic::transport::Endpoint;

use super::super::Api;
use super::finding::{error, ok, warning};
use super::{clock, files};

/// Longest wait for the leader.
const LEADER_DEADLINE: Duration = Duration::from_secs(1);
/// Unreadable keys that are told.
const MAX_INVALID: usize = 20;

pub(super) async fn look(api: &Api) -> Vec<Finding> {
    let own = format!("control/{}", api.about.instance);
    let mut findings = vec![files::judge(&own, files::own())];
    let (invalid, leader) = api.view.read(|state| {
        let told = state.invalid.iter().take(MAX_INVALID).map(|(key, invalid)| (key.clone(), invalid.cause.clone()));
        (told.collect::<Vec<_>>(), state.leader.as_ref().map(|leader| leader.value.clone()))
    });
    findings.extend(invalid.into_iter().map(|(key, cause)| {
        let hint = format!("repair it, or delete it with `etcdctl del {key}`");
        warning("InvalidRecord", format!("key/{key}"), cause, hint)
    }));
    match leader {
        None => findings.push(error(
            "Leader",
            "cluster",
            "nobody drives: pools are not scaled, and changes reach no node",
            "see whether etcd answers, and look at the log of control",
        )),
        Some(leader) if leader.instance == api.about.instance => {
            findings.push(ok("Leader", own, "this control drives"));
        }
        Some(leader) => findings.extend(of_leader(&leader).await),
    }
    findings
}

async fn of_leader(leader: &v1::LeaderRecord) -> Vec<Finding> {
    let object = format!("control/{}", leader.instance);
    if !is_reachable(leader) {
        let text = format!("it drives, on {}; its address {} is of that host only", leader.host, leader.address);
        return vec![ok("Leader", object, text)];
    }
    let sent = (SystemTime::now(), tokio::time::Instant::now());
    let Some(info) = ask(&leader.address).await else {
        let text = format!("it drives, but does not answer at {}", leader.address);
        return vec![warning("Leader", object, text, "open the way from control to control, or look at its log")];
    };
    let took = sent.1.elapsed();
    let mut findings = vec![ok("Leader", object.as_str(), format!("it drives, at {}", leader.address))];
    findings.extend(super::version(&object, &info.version));
    let skew = info.time.and_then(|time| clock::skew(time, sent.0, took));
    findings.extend(skew.map(|skew| clock::judge(&object, &skew)));
    findings
}

/// Whether the leader's address means the leader from here.
fn is_reachable(leader: &v1::LeaderRecord) -> bool {
    let here = nix::unistd::gethostname().is_ok_and(|host| host.to_string_lossy() == leader.host);
    let address = leader.address.parse::<SocketAddr>();
    here || address.is_ok_and(|address| !address.ip().is_loopback() && !address.ip().is_unspecified())
}

async fn ask(address: &str) -> Option<v1::GetInfoResponse> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).ok()?.connect_timeout(LEADER_DEADLINE);
    let mut client = ClusterClient::new(endpoint.connect_lazy());
    let answer = tokio::time::timeout(LEADER_DEADLINE, client.get_info(v1::GetInfoRequest {})).await;
    Some(answer.ok()?.ok()?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loopback_address_of_another_host_is_not_asked() {
        let leader = |host: &str, address: &str| v1::LeaderRecord {
            host: host.to_owned(),
            address: address.to_owned(),
            ..Default::default()
        };
        assert!(!is_reachable(&leader("no-such-host", "127.0.0.1:7400")));
        assert!(!is_reachable(&leader("no-such-host", "0.0.0.0:7400")));
        assert!(is_reachable(&leader("no-such-host", "10.0.0.5:7400")));
    }
}
