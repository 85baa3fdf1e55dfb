//! The last good config in the state directory, so that a node can start while etcd is gone, and the fleet's ports, so
//! that its guard does not fail open then.
//!
//! Used by the applier. Both are as in etcd, read by the same rules. A damaged config is as good as none.

use std::net::SocketAddr;
use std::sync::Arc;

use echo_proto::codec::{self, MAX_DOCUMENT_BYTES};
use echo_proto::ids::NodeId;
use echo_proto::v1;

use super::assignment::{Assignment, Offer};
use super::ports;
use super::state_dir::{CONFIG, PORTS, StateDir, StateDirError};
use super::trial::Trials;

/// Largest file that is read, in bytes: what the codec takes, and the end of a line.
const MAX_BYTES: u64 = MAX_DOCUMENT_BYTES as u64 + 1;

/// The files of one node.
#[derive(Debug, Clone)]
pub struct SavedConfig {
    dir: Arc<StateDir>,
}

impl SavedConfig {
    /// The files in `dir`.
    pub fn new(dir: Arc<StateDir>) -> Self {
        Self { dir }
    }

    /// The note of what is tried, which lies beside them.
    pub fn trials(&self) -> Trials {
        Trials::new(Arc::clone(&self.dir))
    }

    /// What was saved, if it is valid.
    pub async fn load(&self, node: &NodeId) -> Option<Assignment> {
        let text = self.blocking(|dir| dir.read(CONFIG, MAX_BYTES)).await.ok().flatten()?;
        let saved = Assignment::read(text.as_bytes(), node, None).ok()?;
        saved.stable.plan.is_ok().then_some(saved)
    }

    /// Saves `offer` as what to start with.
    ///
    /// # Errors
    /// The file system refuses; what was saved before is still there.
    pub async fn store(&self, offer: &Offer) -> Result<(), StateDirError> {
        let v1::RevisionRef { uid, n, digest } = offer.revision.clone();
        let stable = v1::AssignedRevision { n, digest, config: Some(offer.config.clone()) };
        let assignment = v1::Assignment { uid, stable: Some(stable), ..Default::default() };
        let text = codec::to_json(&assignment) + "\n";
        self.blocking(move |dir| dir.replace(CONFIG, &text)).await?
    }

    /// Removes what was saved.
    ///
    /// # Errors
    /// The file system refuses.
    pub async fn remove(&self) -> Result<(), StateDirError> {
        self.blocking(|dir| dir.remove(CONFIG)).await?
    }

    /// The fleet's ports, as they were last told; `None` if there is no such file of this node.
    ///
    /// # Errors
    /// In words: the file system refuses or is slow, or the file is damaged.
    pub async fn load_ports(&self) -> Result<Option<Vec<SocketAddr>>, String> {
        let text = self.blocking(|dir| dir.read(PORTS, MAX_BYTES)).await.map_err(|error| error.to_string())?;
        let read = |text: String| ports::read(text.as_bytes()).map(|ports| ports.sockets);
        text.map(read).transpose().map_err(|error| format!("{PORTS} of the state directory: {error}"))
    }

    /// Saves the fleet's ports.
    ///
    /// # Errors
    /// The file system refuses; those that were saved before are still there.
    pub async fn store_ports(&self, ports: &[SocketAddr]) -> Result<(), StateDirError> {
        let text = ports::write(ports) + "\n";
        self.blocking(move |dir| dir.replace(PORTS, &text)).await?
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&StateDir) -> T + Send + 'static,
    ) -> Result<T, StateDirError> {
        StateDir::wait(Arc::clone(&self.dir), work).await
    }
}
