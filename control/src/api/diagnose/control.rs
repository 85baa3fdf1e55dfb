//! Control itself: its open files, what it could not read, and whether the leader is in step with it.
//!
//! Part of the diagnosis. The leader is asked once, with a deadline; one whose address only means something on its own
//! host is not.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use echo_proto::v1::{self, Finding, cluster_client::ClusterClient};
use tonic::transport::Endpoint;

use super::super::Api;
use super::super::files::MAX_FILE_FINDINGS;
use super::finding::{error, ok, warning};
use super::{clock, files};
use crate::scaler;

/// Longest wait for the leader.
const LEADER_DEADLINE: Duration = Duration::from_secs(1);
/// Unreadable keys that are told.
const MAX_INVALID: usize = 20;

pub(super) async fn look(api: &Api) -> Vec<Finding> {
    let own = format!("control/{}", api.about.instance);
    let mut findings = vec![files::judge(&own, files::own())];
    let (invalid, leader, away) = api.view.read(|state| {
        let told = state.invalid.iter().take(MAX_INVALID).map(|(key, invalid)| (key.clone(), invalid.cause.clone()));
        let leader = state.leader.as_ref().map(|leader| leader.value.clone());
        (told.collect::<Vec<_>>(), leader, state.away.as_ref().map(ToString::to_string))
    });
    findings.extend(invalid.into_iter().map(|(key, cause)| {
        let hint = format!("repair it, or delete it with `etcdctl del {key}`");
        warning("InvalidRecord", format!("key/{key}"), cause, hint)
    }));
    let leads = api.leadership.borrow().is_some();
    if leads {
        findings.extend(api.file_findings());
    }
    findings.extend(leader.as_ref().and_then(|leader| idle(leader, api.about.scaler.acts())));
    match (away, leader) {
        (None, Some(leader)) if leader.instance != api.about.instance => findings.extend(of_leader(&leader).await),
        (away, leader) => findings.push(own_part(own, leads, away, leader.is_some())),
    }
    findings
}

/// That the leader starts no nodes, where this control would.
fn idle(leader: &v1::LeaderRecord, acts: bool) -> Option<Finding> {
    (acts && leader.scaler == scaler::NONE).then(|| {
        let text = format!("{}, and this control, which would, does not lead", scaler::idle(leader));
        let hint = "give all controls the same --scaler, or end that one: then another leads";
        warning("Scaler", format!("control/{}", leader.instance), text, hint)
    })
}

/// Who drives, where there is no other to ask; `away`: why etcd does not answer, `recorded`: etcd has this control as the
/// leader.
fn own_part(own: String, leads: bool, away: Option<String>, recorded: bool) -> Finding {
    match (away, recorded) {
        (Some(cause), _) => {
            let text = format!("it is not known who drives, if anybody does: {cause}");
            warning("Leader", "cluster", text, "bring etcd back; until then nothing can be changed")
        }
        (None, false) => error(
            "Leader",
            "cluster",
            "nobody drives: pools are not scaled, and changes reach no node",
            "see whether etcd answers, and look at the log of control",
        ),
        (None, true) if leads => ok("Leader", own, "this control drives"),
        (None, true) => {
            let text = "etcd has it as the leader, but it does not drive: it could not renew its term";
            warning("Leader", own, text, "see whether etcd answers, and ask again in a few seconds")
        }
    }
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
    findings.extend(info.file_findings.into_iter().take(MAX_FILE_FINDINGS));
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
    fn nobody_is_said_to_drive_while_that_is_not_known() {
        let told = |leads, away: Option<&str>, recorded| {
            let finding = own_part("control/c".into(), leads, away.map(ToOwned::to_owned), recorded);
            (finding.severity(), finding.message)
        };
        assert_eq!(told(true, None, true), (v1::Severity::Ok, "this control drives".to_owned()));
        assert_eq!(told(false, None, true).0, v1::Severity::Warning, "its term is over, which etcd has not noticed");
        assert_eq!(told(false, None, false).0, v1::Severity::Error);
        let (severity, text) = told(true, Some("no answer"), true);
        assert!(
            severity == v1::Severity::Warning && text.contains("not known") && text.contains("no answer"),
            "{text}"
        );
    }

    #[test]
    fn a_leader_that_starts_no_nodes_is_told_by_who_would() {
        let leader = |scaler: &str| v1::LeaderRecord { scaler: scaler.to_owned(), ..Default::default() };
        assert!(idle(&leader(scaler::NONE), true).is_some_and(|told| told.message.contains("--scaler none")));
        assert_eq!((idle(&leader(scaler::NONE), false), idle(&leader(scaler::PROCESS), true)), (None, None));
    }

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
