//! etcd, member by member: reachable, fast enough, with room, with a leader, in step.
//!
//! Part of the diagnosis. What is asked is bounded by the number of endpoints and by the store's deadlines; what it means
//! is judged by pure functions.

use std::collections::BTreeSet;
use std::time::Duration;

use echo_proto::v1::Finding;
use tokio::task::JoinSet;

use super::finding::{error, ok, warning};
use crate::store::{Member, Store, StoreError};

/// Endpoints that are looked at.
const MAX_ENDPOINTS: usize = 16;
/// Reads that take longer delay every change and every registration.
const SLOW: Duration = Duration::from_millis(100);
/// Leases of a few seconds are in danger.
const TOO_SLOW: Duration = Duration::from_millis(1_000);
/// What etcd allows itself unless told otherwise; before 3.6 it does not say what it was told.
const DEFAULT_QUOTA: u64 = 2 << 30;
/// Part of the quota, in percent, from which on it should be looked at.
const NEARLY_FULL: u64 = 80;
/// Log entries that a member may be behind the others.
const MAX_LAG: u64 = 1_000;

/// Looks at every endpoint, and at the alarms.
pub(super) async fn look(store: &Store, endpoints: &[String]) -> Vec<Finding> {
    let mut asked = JoinSet::new();
    for endpoint in endpoints.iter().take(MAX_ENDPOINTS).cloned() {
        let store = store.clone();
        asked.spawn(async move {
            let member = store.member(&endpoint).await;
            (endpoint, member)
        });
    }
    let mut members = Vec::new();
    while let Some(answer) = asked.join_next().await {
        members.extend(answer);
    }
    members.sort_by(|a, b| a.0.cmp(&b.0));
    judge(&members)
}

fn judge(members: &[(String, Result<Member, StoreError>)]) -> Vec<Finding> {
    let newest = members.iter().filter_map(|(_, m)| m.as_ref().ok()).map(|m| m.applied).max().unwrap_or(0);
    let mut findings = Vec::new();
    for (endpoint, member) in members {
        let object = format!("etcd/{endpoint}");
        match member {
            Ok(member) => findings.extend(of_member(&object, member, newest)),
            Err(failure) => findings.push(error(
                "EtcdEndpoint",
                object,
                failure.to_string(),
                "start it, open the way to it, or take it out of --etcd",
            )),
        }
    }
    let answered: Vec<&Member> = members.iter().filter_map(|(_, member)| member.as_ref().ok()).collect();
    findings.extend(alarms(&answered));
    let versions: BTreeSet<&str> = answered.iter().map(|member| member.version.as_str()).collect();
    if versions.len() > 1 {
        let text = format!("its members run different versions: {}", Vec::from_iter(versions).join(", "));
        findings.push(warning("EtcdVersion", "etcd", text, "finish the upgrade of etcd"));
    }
    findings
}

fn of_member(object: &str, member: &Member, newest: u64) -> Vec<Finding> {
    let mut findings = vec![latency(object, member), space(object, member)];
    if member.leader == 0 {
        let text = "it knows no leader: nothing can be changed";
        let hint = "bring back the other members; `etcdctl endpoint status --cluster -w table` shows them";
        findings.push(error("EtcdLeader", object, text, hint));
    }
    let behind = newest.saturating_sub(member.applied);
    if behind > MAX_LAG {
        let text = format!("it is {behind} entries behind the others");
        findings.push(warning("EtcdLag", object, text, "look at its disk and its network"));
    }
    findings
}

fn latency(object: &str, member: &Member) -> Finding {
    let (read, status, version) = (millis(member.read), millis(member.status), &member.version);
    let text = format!("a read takes {read} ms (median of 5), its status {status} ms; version {version}");
    let hint = "give etcd a faster disk and a nearer network, or the nodes a longer --lease-ttl";
    match member.read {
        read if read >= TOO_SLOW => error("EtcdLatency", object, text, hint),
        read if read >= SLOW => warning("EtcdLatency", object, text, hint),
        _ => ok("EtcdLatency", object, text),
    }
}

fn space(object: &str, member: &Member) -> Finding {
    let (quota, told) = match member.quota {
        0 => (DEFAULT_QUOTA, ", if its quota is the default one, which this version does not tell"),
        quota => (quota, ""),
    };
    let percent = member.size.saturating_mul(100) / quota;
    let text = format!("{} of {} MiB used ({percent} %{told})", member.size >> 20, quota >> 20);
    if percent < NEARLY_FULL {
        return ok("EtcdSpace", object, text);
    }
    let hint = "compact and defragment etcd, or raise --quota-backend-bytes; when it is full it takes no change";
    warning("EtcdSpace", object, text, hint)
}

/// Every member tells the alarms of all.
fn alarms(members: &[&Member]) -> Vec<Finding> {
    // That one has its own finding.
    let errors = members.iter().flat_map(|member| &member.errors).filter(|text| !text.contains("no leader"));
    let raised: BTreeSet<&str> = errors.map(|text| text.trim()).collect();
    if raised.is_empty() && !members.is_empty() {
        return vec![ok("EtcdAlarm", "etcd", "no alarm is raised")];
    }
    let tell = |text: &str| {
        let hint = if text.contains("NOSPACE") {
            "compact and defragment etcd, then run `etcdctl alarm disarm`; until then it takes no change"
        } else if text.contains("CORRUPT") {
            "replace this member: remove it, delete its data, add it again"
        } else {
            "look at the log of etcd"
        };
        error("EtcdAlarm", "etcd", text, hint)
    };
    raised.into_iter().map(tell).collect()
}

fn millis(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64() * 1_000.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use echo_proto::v1::Severity;

    fn member() -> Member {
        Member { id: 7, leader: 7, version: "3.4.23".into(), size: 1 << 20, applied: 9_000, ..Default::default() }
    }

    fn checks(member: Member) -> Vec<(String, Severity)> {
        let healthy = ("http://a".to_owned(), Ok(self::member()));
        let findings = judge(&[healthy, ("http://b".to_owned(), Ok(member))]);
        let bad = findings.into_iter().filter(|f| f.severity() != Severity::Ok);
        bad.map(|f| (format!("{} {}", f.check, f.object), f.severity())).collect()
    }

    #[test]
    fn each_fault_is_told_with_its_member() {
        assert_eq!(checks(member()), []);
        let found = |member: Member| checks(member).first().unwrap().clone();
        let (warning, error) = (Severity::Warning, Severity::Error);
        let slow = |read| Member { read, ..member() };
        assert_eq!(found(slow(SLOW)), ("EtcdLatency etcd/http://b".into(), warning));
        assert_eq!(found(slow(TOO_SLOW)), ("EtcdLatency etcd/http://b".into(), error));
        assert_eq!(found(Member { leader: 0, ..member() }), ("EtcdLeader etcd/http://b".into(), error));
        assert_eq!(found(Member { size: 1_700 << 20, ..member() }), ("EtcdSpace etcd/http://b".into(), warning));
        assert_eq!(found(Member { size: 9 << 20, quota: 10 << 20, ..member() }).0, "EtcdSpace etcd/http://b");
        assert_eq!(found(Member { applied: 1, ..member() }), ("EtcdLag etcd/http://b".into(), warning));
        assert_eq!(found(Member { version: "3.5.0".into(), ..member() }), ("EtcdVersion etcd".into(), warning));
    }

    #[test]
    fn who_does_not_answer_is_an_error() {
        let gone = StoreError::Unavailable { endpoints: "http://b".into(), cause: "refused".into() };
        let members = [("http://a".to_owned(), Ok(member())), ("http://b".to_owned(), Err(gone))];
        assert!(judge(&members).iter().any(|f| f.check == "EtcdEndpoint" && f.object == "etcd/http://b"));
    }

    #[test]
    fn an_alarm_that_all_members_tell_is_one() {
        let errors = vec!["memberID:7 alarm:NOSPACE ".to_owned(), "etcdserver: no leader".to_owned()];
        let member = Member { errors, ..member() };
        let found = alarms(&[&member, &member]);
        assert_eq!(found.len(), 1);
        let found = found.first().unwrap();
        assert_eq!((found.message.as_str(), found.severity()), ("memberID:7 alarm:NOSPACE", Severity::Error));
        assert!(found.hint.contains("alarm disarm"));
    }
}
