//! Events: their columns, and where they come from.
//!
//! Used through the traits of `object`.

use echo_proto::v1;
use tonic::{Status, Streaming};

use super::source::{Change, Filter, PAGE_SIZE, Page, Source, Watched};
use super::{Object, View, short_name, text};
use crate::connect::Control;
use crate::output::human::{age, clock};

/// Most events that a watch keeps for comparison; control keeps 20,000, and removes more than that once a minute.
const MAX_KEPT: usize = 30_000;

impl Object for v1::Event {
    const TYPE: &'static str = "event";
    const LIST: &'static str = "events";
    const AGE: &'static str = "LAST SEEN";

    fn titles(view: &View) -> Vec<&'static str> {
        let mut titles = vec!["LAST SEEN"];
        if view.clock {
            titles.push("TIME");
        }
        titles.extend(["TYPE", "REASON", "OBJECT", "COUNT", "MESSAGE"]);
        if view.wide {
            titles.extend(["FIRST TIME", "ACTOR", "NAME"]);
        }
        titles
    }

    fn cells(&self, view: &View) -> Vec<String> {
        let mut cells = vec![age(last_seen(self), view.now)];
        if view.clock {
            cells.push(clock(last_seen(self)));
        }
        let count = self.count.max(1).to_string();
        cells.extend([severity(self), text(&self.reason), text(&self.object), count, message(self)]);
        if view.wide {
            cells.extend([clock(self.first_time), text(&self.actor), self.name().to_owned()]);
        }
        cells
    }

    /// The newest last. Control has them by when they began, and counts a repeat where it first stood.
    fn rank(&self) -> (i64, i32) {
        last_seen(self).map_or((0, 0), |time| (time.seconds, time.nanos))
    }

    fn widest(title: &str) -> &'static str {
        if title == "TYPE" { "Warning" } else { "" }
    }

    fn meta(&self) -> Option<&v1::ObjectMeta> {
        self.metadata.as_ref()
    }
}

/// When it happened, or the last of its repeats.
pub(crate) fn last_seen(event: &v1::Event) -> Option<prost_types::Timestamp> {
    event.last_time.or(event.first_time)
}

/// The message, with the states before and after where it does not name them.
fn message(event: &v1::Event) -> String {
    let v1::Event { message, from, to, .. } = event;
    let lower = message.to_lowercase();
    let said = |state: &str| lower.contains(&state.to_lowercase());
    match (from.is_empty(), to.is_empty()) {
        (true, true) => message.clone(),
        _ if said(from) && said(to) => message.clone(),
        (_, true) => format!("{message} (was {from})"),
        (true, _) => format!("{message} (now {to})"),
        _ => format!("{message} ({from} -> {to})"),
    }
}

/// `Normal` or `Warning`.
pub(crate) fn severity(event: &v1::Event) -> String {
    let kind = short_name(event.r#type().as_str_name(), "EVENT_TYPE_").to_lowercase();
    kind.chars().take(1).flat_map(char::to_uppercase).chain(kind.chars().skip(1)).collect()
}

impl Source for v1::Event {
    async fn page(control: &mut Control, filter: &Filter, token: String) -> Result<Page<Self>, Status> {
        let object = filter.about.clone();
        let request = v1::EventsListRequest { object, page_size: PAGE_SIZE, page_token: token, ..Default::default() };
        let list = control.events.list(request).await?.into_inner();
        let (next, version) = (list.next_page_token, list.resource_version);
        Ok(Page { items: list.events, next, version, unreadable: Vec::new() })
    }
}

impl Watched for v1::Event {
    /// Names begin with the time. What is missing from a list was removed for its age, which is no news.
    const KEPT: Option<usize> = Some(MAX_KEPT);

    type Message = v1::EventsWatchResponse;

    async fn watch(control: &mut Control, filter: &Filter, since: &str) -> Result<Streaming<Self::Message>, Status> {
        let request = v1::EventsWatchRequest { object: filter.about.clone(), resource_version: since.to_owned() };
        Ok(control.events.watch(request).await?.into_inner())
    }

    fn change(message: Self::Message) -> Change<Self> {
        Change { kind: message.r#type(), object: message.event, version: message.resource_version }
    }
}
