//! Nodes: their columns, the line below the table that tells a rejection, and where they come from.
//!
//! Used through the traits of `object`.

use std::collections::{BTreeMap, BTreeSet};

use echo_proto::v1;
use tonic::{Status, Streaming};

use super::source::{Change, Filter, PAGE_SIZE, Page, Source, Watched, single};
use super::{Object, View, cause, created, phase, revision, short_name, text};
use crate::connect::Control;
use crate::failure::Failure;
use crate::output::human::{NONE, rate};

impl Object for v1::Node {
    const TYPE: &'static str = "node";
    const LIST: &'static str = "nodes";

    fn titles(view: &View) -> Vec<&'static str> {
        let mut titles = vec!["NAME", "POOL", "ZONE", "PHASE", "REVISION", "SYNC"];
        if view.live {
            titles.extend(["CONNS", "RATE"]);
        }
        titles.push("AGE");
        if view.wide {
            titles.extend(["HOST", "ADDRESS", "VERSION", "CONDITIONS"]);
        }
        titles
    }

    fn cells(&self, view: &View) -> Vec<String> {
        let status = self.status.clone().unwrap_or_default();
        let live = status.live.as_ref();
        let mut cells = vec![
            self.name().to_owned(),
            text(&status.pool),
            text(&status.zone),
            phase(&status),
            running(&status),
            short_name(status.sync().as_str_name(), "SYNC_STATE_"),
        ];
        if view.live {
            cells.push(live.map_or_else(|| NONE.to_owned(), |l| l.connections.to_string()));
            cells.push(live.map_or_else(|| NONE.to_owned(), |l| rate(l.rate)));
        }
        cells.push(created(self.meta(), view));
        if view.wide {
            cells.extend([text(&status.host), addresses(&status), text(&status.version), conditions(&status)]);
        }
        cells
    }

    fn widest(title: &str) -> &'static str {
        if matches!(title, "PHASE" | "SYNC") { "REJECTED" } else { "" }
    }

    fn meta(&self) -> Option<&v1::ObjectMeta> {
        self.metadata.as_ref()
    }

    fn key(&self) -> String {
        let pool = self.status.as_ref().map_or("", |s| &s.pool);
        format!("{pool}/{}", self.name())
    }

    fn note(&self) -> Option<String> {
        let status = self.status.as_ref()?;
        if let Some(reason) = vanished(status) {
            return Some(format!("{}: {reason}", self.name()));
        }
        let refused = matches!(status.sync(), v1::SyncState::Rejected) || status.phase() == v1::NodePhase::Rejected;
        let rejection = status.rejection.as_ref().filter(|_| refused)?;
        let n = revision(rejection.revision.as_ref());
        let cause = cause(&rejection.listener, &rejection.cause);
        Some(format!("{}: rejected revision {n}: {cause}", self.name()))
    }
}

/// `4`, or `3 (pinned)`, or `4 (pin 3)` where it does not follow its pin.
fn running(status: &v1::NodeStatus) -> String {
    let runs = revision(status.applied.as_ref());
    match status.pinned_revision {
        0 => runs,
        pin if status.applied.as_ref().is_some_and(|applied| applied.n == pin) => format!("{runs} (pinned)"),
        pin => format!("{runs} (pin {pin})"),
    }
}

impl Source for v1::Node {
    async fn page(control: &mut Control, filter: &Filter, token: String) -> Result<Page<Self>, Status> {
        let request = v1::NodesListRequest {
            pool: filter.pool.clone(),
            page_size: PAGE_SIZE,
            page_token: token,
            selector: filter.selector.clone(),
            skip_live: filter.skip_live,
        };
        let list = control.nodes.list(request).await?.into_inner();
        let (next, version) = (list.next_page_token, list.resource_version);
        Ok(Page { items: list.nodes, next, version, unreadable: Vec::new() })
    }

    async fn find(control: &mut Control, name: &str, filter: &Filter) -> Result<Self, Failure> {
        let request = v1::NodesGetRequest { name: name.to_owned(), pool: filter.pool.clone() };
        let answer = control.nodes.get(request).await.map(|r| r.into_inner().node);
        let of_pool = |failure| match failure {
            Failure::NotFound { what, list } if !filter.pool.is_empty() => {
                Failure::NotFound { what: format!("{what} of pool {:?}", filter.pool), list }
            }
            other => other,
        };
        single(control, name, answer).map_err(of_pool)
    }
}

impl Watched for v1::Node {
    type Message = v1::NodesWatchResponse;

    async fn watch(control: &mut Control, filter: &Filter, since: &str) -> Result<Streaming<Self::Message>, Status> {
        let request = v1::NodesWatchRequest {
            pool: filter.pool.clone(),
            selector: filter.selector.clone(),
            resource_version: since.to_owned(),
        };
        Ok(control.nodes.watch(request).await?.into_inner())
    }

    fn change(message: Self::Message) -> Change<Self> {
        Change { kind: message.r#type(), object: message.node, version: message.resource_version }
    }
}

/// What is not as it should be, in short.
fn conditions(status: &v1::NodeStatus) -> String {
    let wrong: Vec<&str> = status.conditions.iter().filter(|c| !c.status).map(|c| c.reason.as_str()).collect();
    text(&wrong.join(","))
}

/// Why a node is LOST, as far as its last record tells.
fn vanished(status: &v1::NodeStatus) -> Option<String> {
    if status.sync() != v1::SyncState::Lost {
        return None;
    }
    // The conditions that are last words; any other, such as a wrong clock, is no cause of death.
    let last_word = |c: &&v1::Condition| !c.status && matches!(c.r#type.as_str(), "DataPath" | "Process");
    let wrong = status.conditions.iter().filter(last_word);
    let reasons: Vec<_> = wrong.map(|c| format!("{}: {}", c.reason, c.message)).collect();
    Some(match reasons.as_slice() {
        [] => "lost: its record went away and its Agent does not answer".to_owned(),
        reasons => format!("lost after {}", reasons.join("; ")),
    })
}

/// Where the listeners are: `127.0.0.1:7001,7007` for each IP address, with commas between them.
fn addresses(status: &v1::NodeStatus) -> String {
    let mut ports: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (ip, port) in status.listeners.iter().filter_map(|l| l.address.rsplit_once(':')) {
        ports.entry(ip).or_default().insert(port);
    }
    let one = |(ip, ports): (&str, BTreeSet<&str>)| format!("{ip}:{}", Vec::from_iter(ports).join(","));
    text(&ports.into_iter().map(one).collect::<Vec<_>>().join(","))
}
