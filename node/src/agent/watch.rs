//! Follows the two keys that concern this node: its pool's assignment and its own intent.
//!
//! Driven by the session; what is found goes into cells that hold the newest value. A deletion is only what etcd's history
//! tells: a key that is missing after a restored backup, or behind a compaction, was not deleted by anyone. A watch can
//! be silently dead, so both keys are read again from time to time.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use echo_proto::codec::{self, Strictness};
use echo_proto::v1;
use etcd_client::{KeyValue, Txn, TxnOp, TxnOpResponse, WatchOptions, WatchResponse, WatchStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use super::etcd::{Etcd, EtcdError};
use echo_proto::backoff::jittered;

/// How often the keys are read though nothing was heard, a tenth more or less.
const READ_AGAIN: Duration = Duration::from_secs(60);

/// What is known of the assignment key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assigned {
    /// Not looked yet.
    Unknown,
    /// Not to be looked for yet: another process holds this node's id.
    Withheld,
    /// Not there, and nobody was seen to delete it.
    Absent,
    /// Somebody deleted it.
    Deleted,
    /// Its value.
    Value(Arc<[u8]>),
}

/// One key, and up to where its history is known.
#[derive(Debug)]
struct Followed {
    key: String,
    /// Everything that happened to the key up to this revision of etcd is known.
    seen: i64,
    /// Revision of its last change; 0 where there is no value.
    changed: i64,
}

/// Follows the keys over the sessions with etcd.
#[derive(Debug)]
pub struct Watcher {
    assignment: Followed,
    intent: Followed,
    /// The etcd cluster whose history this is.
    cluster: Option<u64>,
    assigned: watch::Sender<Assigned>,
    intents: watch::Sender<Option<v1::Intent>>,
}

/// Why a watch is opened anew.
enum Again {
    /// History goes on where it was left.
    Resume,
    /// There is no history to go on from.
    List,
}

/// Both keys at one revision.
struct Listed {
    cluster: u64,
    revision: i64,
    values: Vec<KeyValue>,
}

impl Watcher {
    /// A watcher that knows nothing yet.
    pub fn new(
        assignment: String,
        intent: String,
        assigned: watch::Sender<Assigned>,
        intents: watch::Sender<Option<v1::Intent>>,
    ) -> Self {
        let followed = |key| Followed { key, seen: 0, changed: 0 };
        Self { assignment: followed(assignment), intent: followed(intent), cluster: None, assigned, intents }
    }

    /// Says that this node has no id yet, where nothing else was said before.
    pub fn withhold(&self) {
        self.assigned.send_if_modified(|assigned| {
            let unknown = *assigned == Assigned::Unknown;
            if unknown {
                *assigned = Assigned::Withheld;
            }
            unknown
        });
    }

    /// Follows both keys; returns only when etcd does not answer.
    ///
    /// # Errors
    /// Always: why it ended. The next call goes on where this one ended.
    pub async fn run(&mut self, etcd: &Etcd) -> Result<Infallible, EtcdError> {
        loop {
            let listed = self.read(etcd).await?;
            if !self.continues(&listed) {
                self.take(listed);
            }
            match self.follow(etcd).await? {
                Again::Resume => info!("the watch missed a change; watching again"),
                Again::List => self.cluster = None,
            }
        }
    }

    /// Whether `listed` is a later moment of the history that we know.
    fn continues(&self, listed: &Listed) -> bool {
        let known = self.assignment.seen.max(self.intent.seen);
        match self.cluster {
            None => false,
            Some(cluster) if cluster == listed.cluster && listed.revision >= known => true,
            Some(_) => {
                warn!(known, found = listed.revision, "etcd is another one, or was restored: reading everything again");
                false
            }
        }
    }

    /// Takes what is there as the start of a history.
    fn take(&mut self, listed: Listed) {
        let find = |key: &str| listed.values.iter().find(|kv| kv.key() == key.as_bytes());
        self.cluster = Some(listed.cluster);
        for followed in [&mut self.assignment, &mut self.intent] {
            followed.seen = listed.revision;
            followed.changed = find(&followed.key).map_or(0, KeyValue::mod_revision);
        }
        let assignment = find(&self.assignment.key);
        self.assigned.send_replace(assignment.map_or(Assigned::Absent, |kv| Assigned::Value(kv.value().into())));
        self.intents.send_replace(find(&self.intent.key).and_then(intent));
    }

    /// Takes events until the watch has to be opened anew.
    async fn follow(&mut self, etcd: &Etcd) -> Result<Again, EtcdError> {
        let mut stream = self.open(etcd).await?;
        let mut read_again = Instant::now() + jittered(READ_AGAIN);
        loop {
            tokio::select! {
                message = stream.message() => match message {
                    Ok(Some(message)) if message.canceled() => return canceled(etcd, &message),
                    Ok(Some(message)) => self.events(&message),
                    Ok(None) => return Err(etcd.ended("watch", "")),
                    Err(error) => return etcd.answer("watch", std::future::ready(Err(error))).await,
                },
                () = sleep_until(read_again) => {
                    let listed = self.read(etcd).await?;
                    debug!(revision = listed.revision, "read our keys again");
                    if let Some(again) = self.missed(&listed) {
                        return Ok(again);
                    }
                    read_again = Instant::now() + jittered(READ_AGAIN);
                }
            }
        }
    }

    async fn open(&self, etcd: &Etcd) -> Result<WatchStream, EtcdError> {
        let options =
            |followed: &Followed| Some(WatchOptions::new().with_start_revision(followed.seen + 1).with_fragment());
        let mut client = etcd.client();
        let (assignment, intent) = (&self.assignment, &self.intent);
        let opened = client.watch(assignment.key.as_str(), options(assignment));
        let mut stream = etcd.answer("watch", opened).await?;
        etcd.answer("watch", stream.watch(intent.key.as_str(), options(intent))).await?;
        Ok(stream)
    }

    fn events(&mut self, message: &WatchResponse) {
        for kv in message.events().iter().filter_map(|event| event.kv()) {
            // A deletion has no version. The event's own type would panic on one that it does not know.
            let there = kv.version() > 0;
            if self.assignment.news(kv, there) {
                let value = if there { Assigned::Value(kv.value().into()) } else { Assigned::Deleted };
                self.assigned.send_replace(value);
            } else if self.intent.news(kv, there) {
                self.intents.send_replace(Some(kv).filter(|_| there).and_then(intent));
            }
        }
    }

    /// Compares what is there with what the watch told; notes up to where nothing was missed.
    fn missed(&mut self, listed: &Listed) -> Option<Again> {
        if !self.continues(listed) {
            return Some(Again::List);
        }
        let mut again = None;
        for followed in [&mut self.assignment, &mut self.intent] {
            let found = listed.values.iter().find(|kv| kv.key() == followed.key.as_bytes());
            if found.map_or(0, KeyValue::mod_revision) == followed.changed {
                followed.seen = followed.seen.max(listed.revision);
            } else if followed.seen < listed.revision {
                again = Some(Again::Resume);
            }
        }
        again
    }

    async fn read(&self, etcd: &Etcd) -> Result<Listed, EtcdError> {
        let gets = [&self.assignment, &self.intent].map(|followed| TxnOp::get(followed.key.as_str(), None));
        let mut client = etcd.client();
        let answer = etcd.answer("read our assignment", client.txn(Txn::new().and_then(gets))).await?;
        let values = answer.op_responses().into_iter().flat_map(|response| match response {
            TxnOpResponse::Get(mut got) => got.take_kvs(),
            _ => Vec::new(),
        });
        let (cluster, revision) = answer.header().map_or((0, 0), |h| (h.cluster_id(), h.revision()));
        Ok(Listed { cluster, revision, values: values.collect() })
    }
}

impl Followed {
    /// Whether `kv` is a change of this key that was not seen before; notes it.
    fn news(&mut self, kv: &KeyValue, there: bool) -> bool {
        if kv.key() != self.key.as_bytes() || kv.mod_revision() <= self.seen {
            return false;
        }
        self.seen = kv.mod_revision();
        self.changed = if there { kv.mod_revision() } else { 0 };
        true
    }
}

fn canceled(etcd: &Etcd, message: &WatchResponse) -> Result<Again, EtcdError> {
    if message.compact_revision() > 0 {
        info!(compacted = message.compact_revision(), "etcd's history was compacted; reading our keys again");
        return Ok(Again::List);
    }
    Err(etcd.ended("watch", message.cancel_reason()))
}

fn intent(kv: &KeyValue) -> Option<v1::Intent> {
    codec::from_json(kv.value(), Strictness::Lenient)
        .inspect_err(|errors| warn!(reason = %errors, "the intent for this node can't be read; passing over it"))
        .ok()
}

#[cfg(test)]
mod tests;
