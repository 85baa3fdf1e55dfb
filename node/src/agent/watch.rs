//! Follows the keys that concern this node: its pool's assignment, its own intent, and the fleet's ports.
//!
//! Driven by the session; what is found goes into cells that hold the newest value. A deletion is only what etcd's history
//! tells: a key that is missing after a restored backup was not deleted by anyone, so that neither the config nor a drain
//! goes with it; an assignment that is missing behind a compaction was not seen to be deleted either. A watch can
//! be silently dead, so the keys are read again from time to time; and what history should tell but does not, within a
//! limit, belongs to another history, such as that of a restored backup whose revisions have passed ours.

mod followed;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use echo_proto::v1;
use etcd_client::{KeyValue, Txn, TxnOp, TxnOpResponse, WatchOptions, WatchResponse, WatchStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use super::etcd::{Etcd, EtcdError};
use super::intent;
use super::patience::insist;
use super::ports::{self, FleetPorts};
use echo_proto::backoff::jittered;
use followed::{Compared, Followed, change};

/// How soon the keys are read again while they differ from what the watch has told: it tells within milliseconds, if it
/// ever will.
const TOLD_WITHIN: Duration = Duration::from_secs(10);

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

/// Follows the keys over the sessions with etcd.
#[derive(Debug)]
pub struct Watcher {
    assignment: Followed,
    intent: Followed,
    ports: Followed,
    /// How often the keys are read though nothing was heard, a tenth more or less.
    reread: Duration,
    /// The etcd cluster whose history this is.
    cluster: Option<u64>,
    assigned: watch::Sender<Assigned>,
    intents: watch::Sender<Option<v1::Intent>>,
    fleet_ports: watch::Sender<Option<FleetPorts>>,
}

/// The keys to follow.
#[derive(Debug)]
pub struct Followable {
    /// Of the pool's assignment.
    pub assignment: String,
    /// Of this node's intent.
    pub intent: String,
    /// Of the fleet's ports.
    pub ports: String,
}

/// All keys at one revision.
struct Listed {
    cluster: u64,
    revision: i64,
    values: Vec<KeyValue>,
}

impl Listed {
    fn find(&self, key: &str) -> Option<&KeyValue> {
        self.values.iter().find(|kv| kv.key() == key.as_bytes())
    }
}

impl Watcher {
    /// A watcher that knows nothing yet.
    pub fn new(
        keys: Followable,
        reread: Duration,
        assigned: watch::Sender<Assigned>,
        intents: watch::Sender<Option<v1::Intent>>,
        fleet_ports: watch::Sender<Option<FleetPorts>>,
    ) -> Self {
        let [assignment, intent, ports] = [keys.assignment, keys.intent, keys.ports].map(Followed::new);
        Self { assignment, intent, ports, reread, cluster: None, assigned, intents, fleet_ports }
    }

    fn followed(&mut self) -> [&mut Followed; 3] {
        [&mut self.assignment, &mut self.intent, &mut self.ports]
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

    /// Follows the keys; returns only when etcd does not answer.
    ///
    /// # Errors
    /// Always: why it ended. The next call goes on where this one ended.
    pub async fn run(&mut self, etcd: &Etcd) -> Result<Infallible, EtcdError> {
        let mut stream = None;
        etcd.patience().come_apart().await;
        // What differed before has not been asked for on this connection.
        self.followed().into_iter().for_each(|followed| followed.differed = None);
        loop {
            let listed = insist(etcd, |_| self.read(etcd), late).await?;
            debug!(revision = listed.revision, "read our keys");
            let read_again = match self.compare(&listed) {
                Compared::Same => self.reread,
                Compared::Newer => {
                    // Asked from where it is known, whatever became of the watch before.
                    stream = None;
                    TOLD_WITHIN.min(self.reread)
                }
                Compared::Foreign => {
                    self.take(listed);
                    stream = None;
                    self.reread
                }
            };
            let open = match stream.take() {
                Some(open) => open,
                None => insist(etcd, |_| self.open(etcd), late).await?,
            };
            stream = self.follow(etcd, open, Instant::now() + jittered(read_again)).await?;
        }
    }

    /// Whether `listed` is a later moment of the history that we know; notes up to where nothing was missed.
    fn compare(&mut self, listed: &Listed) -> Compared {
        let Some(cluster) = self.cluster else { return Compared::Foreign };
        let mut compared = if cluster == listed.cluster { Compared::Same } else { Compared::Foreign };
        for followed in self.followed() {
            compared = compared.max(followed.compare(listed.revision, listed.find(&followed.key).map(change)));
        }
        if compared == Compared::Foreign {
            warn!(revision = listed.revision, "etcd is another one, or was restored: reading everything again");
        }
        compared
    }

    /// Takes what is there as the start of a history.
    fn take(&mut self, listed: Listed) {
        let foreign = self.cluster.replace(listed.cluster).is_some();
        for followed in self.followed() {
            (followed.seen, followed.differed) = (listed.revision, None);
            followed.hold(listed.find(&followed.key).map(change));
        }
        // First: a node that an operator drained must not open its sockets.
        match listed.find(&self.intent.key) {
            // Another history does not tell that anyone took it back.
            None if foreign => {}
            found => self.want(found.map(KeyValue::value)),
        }
        self.keep_from(listed.find(&self.ports.key).map(KeyValue::value));
        let assignment = self.assignment.value.clone();
        self.assigned.send_replace(assignment.map_or(Assigned::Absent, Assigned::Value));
    }

    /// Takes events until it is time to read the keys again; gives the watch back, unless it has ended.
    async fn follow(
        &mut self,
        etcd: &Etcd,
        mut watch: WatchStream,
        until: Instant,
    ) -> Result<Option<WatchStream>, EtcdError> {
        loop {
            tokio::select! {
                message = watch.message() => match message {
                    Ok(Some(message)) if message.canceled() => {
                        compacted(etcd, &message)?;
                        self.cluster = None;
                        return Ok(None);
                    }
                    Ok(Some(message)) => self.events(&message),
                    Ok(None) => return Err(etcd.ended("watch", "")),
                    Err(error) => return etcd.answer("watch", std::future::ready(Err(error))).await,
                },
                () = sleep_until(until) => return Ok(Some(watch)),
            }
        }
    }

    async fn open(&self, etcd: &Etcd) -> Result<WatchStream, EtcdError> {
        let options =
            |followed: &Followed| Some(WatchOptions::new().with_start_revision(followed.seen + 1).with_fragment());
        let mut client = etcd.client();
        let opened = client.watch(self.assignment.key.as_str(), options(&self.assignment));
        let mut stream = etcd.answer("watch", opened).await?;
        for other in [&self.intent, &self.ports] {
            etcd.answer("watch", stream.watch(other.key.as_str(), options(other))).await?;
        }
        Ok(stream)
    }

    fn events(&mut self, message: &WatchResponse) {
        for kv in message.events().iter().filter_map(|event| event.kv()) {
            // A deletion has no version. The event's own type would panic on one that it does not know.
            let found = Some(kv).filter(|kv| kv.version() > 0);
            if self.assignment.news(kv, found) {
                let assignment = self.assignment.value.clone();
                self.assigned.send_replace(assignment.map_or(Assigned::Deleted, Assigned::Value));
            } else if self.intent.news(kv, found) {
                self.want(found.map(KeyValue::value));
            } else if self.ports.news(kv, found) {
                self.keep_from(found.map(KeyValue::value));
            }
        }
    }

    /// Passes the fleet's ports on, if they are others: all shards take them anew. While nobody tells them, those that
    /// are known hold: the guard must not fail open.
    fn keep_from(&self, found: Option<&[u8]>) {
        match found.map(ports::read).transpose() {
            Ok(None) => {}
            Ok(Some(ports)) => {
                self.fleet_ports.send_if_modified(|known| {
                    let others = known.as_ref().is_none_or(|known| known.sockets != ports.sockets);
                    if others {
                        *known = Some(ports);
                    }
                    others
                });
            }
            Err(reason) => warn!(reason, "the fleet's ports can't be read; going by the last ones"),
        }
    }

    /// Passes the intent on; what this version can't make sense of leaves the last one as it is.
    fn want(&self, found: Option<&[u8]>) {
        match found.map(intent::read).transpose() {
            Ok(intent) => drop(self.intents.send_replace(intent)),
            Err(reason) => warn!(reason, "the intent for this node can't be read; going by the last one"),
        }
    }

    async fn read(&self, etcd: &Etcd) -> Result<Listed, EtcdError> {
        let gets =
            [&self.assignment, &self.intent, &self.ports].map(|followed| TxnOp::get(followed.key.as_str(), None));
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

/// The record stands meanwhile, and what is followed is as it was.
fn late(error: &EtcdError) {
    debug!(%error, "asking again for our keys");
}

/// Whether a watch was canceled for a compaction only.
fn compacted(etcd: &Etcd, message: &WatchResponse) -> Result<(), EtcdError> {
    if message.compact_revision() == 0 {
        return Err(etcd.ended("watch", message.cancel_reason()));
    }
    info!(compacted = message.compact_revision(), "etcd's history was compacted; reading our keys again");
    Ok(())
}

#[cfg(test)]
mod tests;
