//! Cordon, drain and retire: how a wish for one node is stored and taken back.
//!
//! Part of the Nodes service. A wish is only stored while the node has the record that was looked at, and together with
//! its event; the node reads it by itself. Nothing here waits for the node.

use std::time::{Duration, SystemTime};

use echo_proto::ids::{NodeId, PoolName};
use echo_proto::spec::MAX_DURATION;
use echo_proto::telemetry::context;
use echo_proto::v1::{self, IntentKind};

use super::super::Api;
use super::super::error::ApiError;
use super::super::request::asked;
use super::super::write::ATTEMPTS;
use super::find::Named;
use crate::event;
use crate::plan::intent::{self, Clear};
use crate::present;
use crate::store::{Change, Entry, Stored};

/// One node and what is stored about it.
struct Target {
    pool: PoolName,
    id: NodeId,
    intent_key: String,
    /// As stored, readable or not.
    intent: Option<Entry>,
}

impl Api {
    pub(super) async fn put_intent(&self, request: v1::SetIntentRequest) -> Result<v1::SetIntentResponse, ApiError> {
        let named = Named::parse(&request.node, &request.pool)?;
        let wanted = wanted(&request)?;
        self.current()?;
        for _ in 0..ATTEMPTS {
            let target = self.target(&named).await?;
            let record = self.living(&target).await?;
            let incarnation = record.value.status.as_ref().map_or("", |s| s.incarnation.as_str());
            // One that can't be read is replaced: nobody carries it out.
            let stored = target.intent.as_ref().and_then(|entry| entry.decode::<v1::Intent>().ok()).map(|i| i.value);
            let mut wanted = wanted.clone();
            if wanted.kind() == IntentKind::Retire {
                incarnation.clone_into(&mut wanted.incarnation);
            }
            let planned = intent::set(target.id.as_str(), incarnation, stored.as_ref(), wanted);
            let previous = stored.as_ref().map_or(0, |stored| stored.kind);
            let done = |unchanged| v1::SetIntentResponse { node: self.node(&target), previous, unchanged };
            let Some(intent) = planned.map_err(|text| target.refused(text))? else { return Ok(done(true)) };
            if request.dry_run {
                return Ok(done(false));
            }
            let node_key = self.store.keys().node(&target.pool, &target.id);
            let change = target.change().require_life(&node_key, record.create_revision);
            let change = change.put(&target.intent_key, &intent);
            let change = change.event(self.store.keys(), told(&target, &intent, stored.as_ref()));
            if self.store.commit(change).await?.is_some() {
                return Ok(done(false));
            }
        }
        Err(ApiError::contended(&format!("node/{}", named.id)))
    }

    pub(super) async fn take_intent_back(
        &self,
        request: v1::ClearIntentRequest,
    ) -> Result<v1::ClearIntentResponse, ApiError> {
        let named = Named::parse(&request.node, &request.pool)?;
        let kind = request.kind();
        if !matches!(kind, IntentKind::Cordon | IntentKind::Drain) {
            return Err(ApiError::argument("kind", "only CORDON and DRAIN can be taken back"));
        }
        let asked = asked(&request.author, "", false)?;
        self.current()?;
        for _ in 0..ATTEMPTS {
            let target = self.target(&named).await?;
            let stored = target.intent.as_ref().map(Entry::decode::<v1::Intent>).transpose()?.map(|i| i.value);
            let status = match stored {
                Some(_) => v1::NodeStatus::default(),
                None => self.record(&target).await?.and_then(|record| record.value.status).unwrap_or_default(),
            };
            let clear = intent::clear(target.id.as_str(), stored.as_ref(), &status, kind);
            let (left, change) = match clear.map_err(|text| target.refused(text))? {
                Clear::Nothing => (None, None),
                Clear::Delete => (None, Some(target.change().delete(&target.intent_key))),
                Clear::Put(left) => (Some(left.clone()), Some(target.change().put(&target.intent_key, &left))),
            };
            let cordon = left.filter(|left| left.kind() == IntentKind::Cordon);
            let cordoned_by = cordon.map(|cordon| cordon.author).unwrap_or_default();
            let unchanged = change.is_none();
            let done =
                || v1::ClearIntentResponse { node: self.node(&target), unchanged, cordoned_by: cordoned_by.clone() };
            let Some(change) = change.filter(|_| !request.dry_run) else { return Ok(done()) };
            let event = taken_back(&target, kind, &cordoned_by);
            let event = v1::Event { actor: asked.who().to_owned(), ..event };
            if self.store.commit(change.event(self.store.keys(), event)).await?.is_some() {
                return Ok(done());
            }
        }
        Err(ApiError::contended(&format!("node/{}", named.id)))
    }

    async fn target(&self, named: &Named) -> Result<Target, ApiError> {
        let pool = self.view.read(|state| named.pool(state).cloned())?;
        let id = named.id.clone();
        let intent_key = self.store.keys().intent(&pool, &id);
        let intent = self.store.get_entry(&intent_key).await?;
        Ok(Target { pool, id, intent_key, intent })
    }

    async fn record(&self, target: &Target) -> Result<Option<Stored<v1::NodeRecord>>, ApiError> {
        Ok(self.store.get(&self.store.keys().node(&target.pool, &target.id)).await?)
    }

    /// The record of a node that can be told something.
    async fn living(&self, target: &Target) -> Result<Stored<v1::NodeRecord>, ApiError> {
        self.record(target).await?.ok_or_else(|| {
            let id = target.id.as_str();
            target.refused(format!(
                "node/{id} has no record in etcd and can't be told anything; it leaves the list by itself 15 min after it \
                 vanished; `echoctl describe node/{id}` tells more"
            ))
        })
    }

    fn node(&self, target: &Target) -> Option<v1::Node> {
        self.view.read(|state| {
            let pool = state.pools.get(&target.pool)?;
            pool.fleet.get(&target.id).map(|node| present::node(pool, node))
        })
    }
}

impl Target {
    /// Something else holds of the node.
    fn refused(&self, text: String) -> ApiError {
        ApiError::unmet("NODE_STATE", event::of_node(&self.id), text)
    }

    /// Only while the intent is the one that was looked at.
    fn change(&self) -> Change {
        Change::new().require(&self.intent_key, self.intent.as_ref().map_or(0, |entry| entry.mod_revision))
    }
}

/// The intent that a request asks for, without the life that it is for.
fn wanted(request: &v1::SetIntentRequest) -> Result<v1::Intent, ApiError> {
    let kind = request.kind();
    if matches!(kind, IntentKind::Unspecified | IntentKind::Serve) {
        return Err(ApiError::argument("kind", "expected CORDON, DRAIN or RETIRE"));
    }
    if kind == IntentKind::Cordon && (request.force || request.deadline.is_some()) {
        return Err(ApiError::argument("deadline", "a cordon has none, nor force; only a drain has"));
    }
    let too_long = |deadline: &Duration| *deadline > MAX_DURATION;
    if let Some(given) = request.deadline
        && Duration::try_from(given).ok().is_none_or(|deadline| too_long(&deadline))
    {
        return Err(ApiError::argument("deadline", format!("must be between 0s and {}s", MAX_DURATION.as_secs())));
    }
    Ok(v1::Intent {
        kind: kind.into(),
        deadline: request.deadline,
        author: asked(&request.author, "", false)?.who().to_owned(),
        trace: context::current(),
        incarnation: String::new(),
        force: request.force,
        create_time: Some(SystemTime::now().into()),
        cordoned_by: String::new(),
    })
}

/// The event of a new intent.
fn told(target: &Target, intent: &v1::Intent, previous: Option<&v1::Intent>) -> v1::Event {
    let (reason, what) = match intent.kind() {
        IntentKind::Cordon => ("NodeCordoned", "not ready any more; it serves on"),
        IntentKind::Retire => ("NodeRetireRequested", "told to drain and to end"),
        IntentKind::Drain | IntentKind::Serve | IntentKind::Unspecified => ("NodeDrainRequested", "told to drain"),
    };
    let deadline = intent.deadline.and_then(|d| Duration::try_from(d).ok());
    let within = deadline.map_or_else(String::new, |deadline| format!(" within {deadline:?}"));
    let at_once = if intent.force { ", without any wait" } else { "" };
    let event = event::normal(reason, event::of_node(&target.id), format!("{what}{within}{at_once}"));
    let event = event::in_pool(&target.pool, event);
    let from = previous.map_or("", |previous| name(previous.kind())).to_owned();
    v1::Event { actor: intent.author.clone(), from, to: name(intent.kind()).to_owned(), ..event }
}

/// The event of an intent that is taken back, under which a cordon may be left.
fn taken_back(target: &Target, kind: IntentKind, cordoned_by: &str) -> v1::Event {
    let (reason, message) = match kind {
        IntentKind::Cordon => ("NodeUncordoned", "ready again, if nothing else keeps it from that"),
        _ => ("NodeUndrained", "told to serve again"),
    };
    let (message, to) = match cordoned_by {
        "" => (message.to_owned(), ""),
        author => (format!("{message}; still cordoned by {author}"), name(IntentKind::Cordon)),
    };
    let event = event::in_pool(&target.pool, event::normal(reason, event::of_node(&target.id), message));
    v1::Event { from: name(kind).to_owned(), to: to.to_owned(), ..event }
}

/// As in files and tables.
fn name(kind: IntentKind) -> &'static str {
    kind.as_str_name().strip_prefix("INTENT_KIND_").unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn request(kind: IntentKind, seconds: Option<i64>, force: bool) -> v1::SetIntentRequest {
        let deadline = seconds.map(|seconds| prost_types::Duration { seconds, nanos: 0 });
        v1::SetIntentRequest { kind: kind.into(), deadline, force, ..Default::default() }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let bad = [
            request(IntentKind::Unspecified, None, false),
            request(IntentKind::Serve, None, false),
            request(IntentKind::Cordon, Some(1), false),
            request(IntentKind::Cordon, None, true),
            request(IntentKind::Drain, Some(-1), false),
            request(IntentKind::Drain, Some(86_401), false),
        ];
        for request in bad {
            assert!(matches!(wanted(&request), Err(ApiError::Argument(_))), "{request:?}");
        }
        assert_eq!(wanted(&request(IntentKind::Drain, Some(30), true)).unwrap().author, "unknown");
    }

    #[test]
    fn the_event_tells_who_wants_what_and_how() {
        let target = Target {
            pool: "edge".parse().unwrap(),
            id: "node-1".parse().unwrap(),
            intent_key: String::new(),
            intent: None,
        };
        let intent = wanted(&request(IntentKind::Drain, Some(30), true)).unwrap();
        let held = wanted(&request(IntentKind::Cordon, None, false)).unwrap();
        let event = told(&target, &intent, Some(&held));
        assert_eq!((event.reason.as_str(), event.object.as_str()), ("NodeDrainRequested", "node/node-1"));
        assert_eq!(event.message, "told to drain within 30s, without any wait");
        assert_eq!((event.from.as_str(), event.to.as_str()), ("CORDON", "DRAIN"));
    }
}
