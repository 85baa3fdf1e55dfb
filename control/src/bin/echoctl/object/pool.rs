//! Pools: their columns, and where they come from.
//!
//! Used through the traits of `object`.

use echo_proto::v1;
use tonic::{Status, Streaming};

use super::source::{Change, Filter, PAGE_SIZE, Page, Source, Watched, single};
use super::{Object, View, created, labels, revision, short_name, text};
use crate::connect::Control;
use crate::failure::Failure;
use crate::output::human::NONE;

impl Object for v1::Pool {
    const TYPE: &'static str = "pool";
    const LIST: &'static str = "pools";

    fn titles(view: &View) -> Vec<&'static str> {
        let mut titles = vec!["NAME", "REPLICAS", "READY", "SYNCED", "REVISION", "ROLLOUT", "AGE"];
        if view.wide {
            titles.extend(["PINS", "OWNER", "LISTENERS", "LABELS"]);
        }
        titles
    }

    fn cells(&self, view: &View) -> Vec<String> {
        let status = self.status.clone().unwrap_or_default();
        let stable = revision(status.stable.as_ref());
        let mut cells = vec![
            self.name().to_owned(),
            replicas(self).map_or_else(|| NONE.to_owned(), |r| r.to_string()),
            status.ready.to_string(),
            status.synced.to_string(),
            status.next.as_ref().map_or_else(|| stable.clone(), |next| format!("{stable}->{}", next.n)),
            short_name(status.rollout().as_str_name(), "ROLLOUT_PHASE_"),
            created(self.meta(), view),
        ];
        if view.wide {
            let owner = text(self.meta().map_or("", |meta| &meta.owner));
            cells.extend([status.pins.len().to_string(), owner, listeners(self)]);
            cells.push(text(&labels(self.meta()).join(",")));
        }
        cells
    }

    fn widest(title: &str) -> &'static str {
        if title == "ROLLOUT" { "PROGRESSING" } else { "" }
    }

    fn meta(&self) -> Option<&v1::ObjectMeta> {
        self.metadata.as_ref()
    }

    /// A pool's first revision is stable, and its rollout completed, before any node runs it.
    fn note(&self) -> Option<String> {
        let status = self.status.as_ref()?;
        let none = status.nodes > 0 && status.ready == 0 && status.synced == 0;
        let completed = status.rollout() == v1::RolloutPhase::Completed;
        let (name, n) = (self.name(), revision(status.stable.as_ref()));
        let told =
            || format!("{name}: no node serves revision {n} yet; `echoctl rollout status pool/{name}` tells why");
        (none && completed).then(told)
    }
}

/// Nodes wanted: as the pool says, or as its autoscaler decided.
pub(crate) fn replicas(pool: &v1::Pool) -> Option<u32> {
    let spec = pool.spec.as_ref()?;
    spec.autoscale.as_ref().map_or(spec.replicas, |_| Some(pool.status.as_ref()?.desired))
}

/// `echo-tcp:7007/TCP,echo-udp:7007/UDP`.
fn listeners(pool: &v1::Pool) -> String {
    let template = pool.spec.as_ref().and_then(|spec| spec.template.as_ref());
    let one =
        |l: &v1::Listener| format!("{}:{}/{}", l.name, l.port, short_name(l.protocol().as_str_name(), "PROTOCOL_"));
    text(&template.map(|t| t.listeners.iter().map(one).collect::<Vec<_>>().join(",")).unwrap_or_default())
}

impl Source for v1::Pool {
    async fn page(control: &mut Control, filter: &Filter, token: String) -> Result<Page<Self>, Status> {
        let selector = filter.selector.clone();
        let request = v1::PoolsListRequest { page_size: PAGE_SIZE, page_token: token, selector };
        let list = control.pools.list(request).await?.into_inner();
        let (next, version) = (list.next_page_token, list.resource_version);
        Ok(Page { items: list.pools, next, version, unreadable: list.unreadable })
    }

    async fn find(control: &mut Control, name: &str, _: &Filter) -> Result<Self, Failure> {
        let request = v1::PoolsGetRequest { name: name.to_owned() };
        let answer = control.pools.get(request).await.map(|r| r.into_inner().pool);
        single(control, name, answer)
    }
}

impl Watched for v1::Pool {
    type Message = v1::PoolsWatchResponse;

    async fn watch(control: &mut Control, filter: &Filter, since: &str) -> Result<Streaming<Self::Message>, Status> {
        let (selector, resource_version) = (filter.selector.clone(), since.to_owned());
        let request = v1::PoolsWatchRequest { selector, resource_version, ..Default::default() };
        Ok(control.pools.watch(request).await?.into_inner())
    }

    fn change(message: Self::Message) -> Change<Self> {
        Change { kind: message.r#type(), object: message.pool, version: message.resource_version }
    }
}
