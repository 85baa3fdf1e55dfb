//! What `doctor` looks at from here: this machine, the way to control, and what control says of the rest.
//!
//! Used by `doctor`. Each check gives findings and never fails itself; each wait has a limit.

use std::time::{Duration, SystemTime};

use echo_proto::VERSION;
use echo_proto::v1::{self, Finding, Severity};
use rustix::process::{Resource, getrlimit};
use tokio::time::{Instant, timeout};

use super::{finding, fine};
use crate::connect::{Control, io_cause};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::human::round_trip;
use crate::server::Server;

/// What these findings are about, where it is this command itself.
const CLIENT: &str = "client";
/// Fewer open files than this are soon used up by `up` or a load generator.
const FEW_FILES: u64 = 1024;
/// An answer that takes longer is worth a look: control asks nobody for it.
const SLOW: Duration = Duration::from_millis(250);
/// Clocks that differ by more make ages and events hard to read.
const SKEW: Duration = Duration::from_secs(1);
/// Longest wait for the address of a name.
const LOOKUP: Duration = Duration::from_secs(3);

/// The open-file limit of this command, and of what `up` would start.
pub(super) fn open_files() -> Finding {
    let limit = getrlimit(Resource::Nofile);
    let told = |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    let message = format!("limit {}, can be raised to {}", told(limit.current), told(limit.maximum));
    match limit.current {
        Some(few) if few < FEW_FILES => {
            finding("OpenFiles", Severity::Warning, CLIENT, message, "raise it with `ulimit -n`")
        }
        _ => fine("OpenFiles", CLIENT, message),
    }
}

/// Which control is meant, and why.
pub(super) fn context(context: &Context) -> Finding {
    fine("Config", CLIENT, format!("uses {}, from {}", context.servers, context.origin))
}

/// The config file can't be used, so that it is not known which control is meant.
pub(super) fn broken_config(failure: &Failure) -> Finding {
    finding("Config", Severity::Error, CLIENT, failure.to_string(), "`echoctl config --help` tells what a context is")
}

/// The way to each server, and what the first that answers finds.
pub(super) async fn control(context: &Context) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut answering = None;
    for server in context.servers.iter() {
        findings.extend(name(server).await);
        let limit = context.timeout();
        match reach(server, limit).await {
            Ok((control, info, took)) => {
                findings.extend(answer(server, &info, took));
                answering = answering.or(Some(control));
            }
            Err(failure) => findings.push(away(server, &failure)),
        }
    }
    match answering {
        Some(mut control) => {
            // A server that is away is no error while another one stands in for it.
            let spared = findings.iter_mut().filter(|f| f.check == "ControlAnswers" && f.severity() == Severity::Error);
            spared.for_each(|finding| finding.set_severity(Severity::Warning));
            findings.extend(diagnosis(&mut control).await);
        }
        None => findings.push(finding(
            "Cluster",
            Severity::Error,
            "cluster",
            "not looked at: no control answers",
            "start one with `echoctl up`, or name another with --server or --context",
        )),
    }
    findings
}

/// The addresses of a server that is given by name.
async fn name(server: &Server) -> Option<Finding> {
    let authority = server.authority();
    if authority.parse::<std::net::SocketAddr>().is_ok() {
        return None;
    }
    let cause = match timeout(LOOKUP, tokio::net::lookup_host(authority)).await {
        Ok(Ok(found)) => {
            let mut ips: Vec<_> = found.map(|address| address.ip().to_string()).collect();
            ips.dedup();
            return Some(fine("NameLookup", authority, ips.join(", ")));
        }
        Ok(Err(e)) => io_cause(&e),
        Err(_) => format!("no answer within {LOOKUP:?}"),
    };
    let hint = "see with `getent hosts` whether this machine knows the name";
    Some(finding("NameLookup", Severity::Error, authority, cause, hint))
}

/// Asks a server for its name; only the answer is timed, not the connection.
async fn reach(server: &Server, limit: Duration) -> Result<(Control, v1::GetInfoResponse, Duration), Failure> {
    let mut control = Control::open(server, limit).await?;
    let asked = Instant::now();
    match timeout(limit, control.cluster.get_info(v1::GetInfoRequest {})).await {
        Ok(Ok(response)) => Ok((control, response.into_inner(), asked.elapsed())),
        Ok(Err(status)) => Err(control.explain(status)),
        Err(_) => Err(Failure::Late { server: server.to_string(), timeout: limit }),
    }
}

fn away(server: &Server, failure: &Failure) -> Finding {
    let message = match failure {
        Failure::NoControl { cause, .. } => cause.clone(),
        other => other.to_string(),
    };
    let hint = "is it running, and is this its address?";
    finding("ControlAnswers", Severity::Error, &object(server), message, hint)
}

/// What an answer tells of the way, of the clocks and of the versions.
fn answer(server: &Server, info: &v1::GetInfoResponse, took: Duration) -> Vec<Finding> {
    let object = object(server);
    let message = format!("{} of cluster {} answers in {}", info.instance, info.cluster, round_trip(took));
    let answers = if took > SLOW {
        finding("ControlAnswers", Severity::Warning, &object, message, "the network to it or its machine is slow")
    } else {
        fine("ControlAnswers", &object, message)
    };
    let version = format!("client {VERSION}, control {}", info.version);
    let versions = if info.version == VERSION {
        fine("VersionSkew", &object, version)
    } else {
        finding("VersionSkew", Severity::Warning, &object, version, "use the echoctl of the cluster's version")
    };
    let theirs = info.time.and_then(|time| SystemTime::try_from(time).ok());
    let clocks = theirs.map(|theirs| clocks(&object, SystemTime::now(), theirs, took));
    [Some(answers), clocks, Some(versions)].into_iter().flatten().collect()
}

/// Compares two clocks; the answer may have been under way for as long as the call took.
fn clocks(object: &str, ours: SystemTime, theirs: SystemTime, took: Duration) -> Finding {
    let (apart, word) = match ours.duration_since(theirs) {
        Ok(behind) => (behind.saturating_sub(took), "behind"),
        Err(e) => (e.duration(), "ahead"),
    };
    if apart <= SKEW {
        return fine("ClockSkew", object, format!("within {} of ours", round_trip(apart.max(took))));
    }
    let message = format!("its clock is {} {word} of ours", round_trip(apart));
    finding("ClockSkew", Severity::Warning, object, message, "synchronise both machines' clocks, as with chrony")
}

/// What control finds in the cluster.
async fn diagnosis(control: &mut Control) -> Vec<Finding> {
    match control.cluster.diagnose(v1::DiagnoseRequest {}).await {
        Ok(response) => response.into_inner().findings,
        Err(status) => {
            let object = object(control.server());
            let failure = control.explain(status);
            let (severity, hint) = match failure {
                Failure::Unimplemented { .. } => (Severity::Warning, "update control: this one does not look itself"),
                _ => (Severity::Error, "its log may tell why"),
            };
            vec![finding("Cluster", severity, &object, failure.to_string(), hint)]
        }
    }
}

fn object(server: &Server) -> String {
    format!("control/{server}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_differ_are_told_and_the_way_is_not_held_against_them() {
        let at = |ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
        let took = Duration::from_secs(3);
        assert_eq!(clocks("c", at(100_000), at(97_500), took).severity(), Severity::Ok);
        assert_eq!(clocks("c", at(100_000), at(95_000), took).message, "its clock is 2.0 s behind of ours");
        assert_eq!(clocks("c", at(100_000), at(102_000), took).message, "its clock is 2.0 s ahead of ours");
    }

    #[test]
    fn another_version_and_a_slow_answer_are_warned_of() {
        let server: Server = "a:1".parse().unwrap();
        let info = v1::GetInfoResponse { version: "9.9".to_owned(), ..Default::default() };
        let found = answer(&server, &info, SLOW * 2);
        let warned: Vec<_> = found.iter().map(|f| (f.check.as_str(), f.severity())).collect();
        assert_eq!(warned, [("ControlAnswers", Severity::Warning), ("VersionSkew", Severity::Warning)]);
    }
}
