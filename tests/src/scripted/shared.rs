//! What the services and the test share: the store, the script, and what becomes of open streams and connections.
//!
//! No lock is held while anything is waited for.

use std::future::pending;
use std::net::{Shutdown, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tonic::{Response, Status};

use super::refusal::Refusal;
use super::script::{self, Call, Fault, Script, Verdict};
use super::store::Store;

/// What has become of watches and connections, told by the test.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fate {
    /// Streams opened before this one say nothing any more.
    pub(super) silenced: u64,
    /// Streams opened before this one end: etcd has no leader.
    pub(super) ended: u64,
    /// No watch is told anything for now.
    pub(super) held: bool,
    /// How many streams there were.
    pub(super) streams: u64,
    /// On connections up to this one nothing passes any more.
    pub(super) muted: u64,
    /// How many connections there were.
    pub(super) connections: u64,
}

/// One scripted etcd.
#[derive(Debug)]
pub(super) struct Shared {
    store: Mutex<Store>,
    script: Mutex<Script>,
    fate: Mutex<Fate>,
    connections: Mutex<Vec<TcpStream>>,
    /// Counts what a watch may have to look at.
    changed: watch::Sender<u64>,
}

impl Shared {
    pub(super) fn new(store: Store) -> Self {
        Self {
            store: Mutex::new(store),
            script: Mutex::default(),
            fate: Mutex::default(),
            connections: Mutex::default(),
            changed: watch::Sender::new(0),
        }
    }

    /// Looks at the store.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Store) -> T) -> T {
        look(&lock(&self.store))
    }

    /// Changes the store, and lets the watches know.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Store) -> T) -> T {
        let answer = change(&mut lock(&self.store));
        self.tell();
        answer
    }

    pub(super) fn script<T>(&self, write: impl FnOnce(&mut Script) -> T) -> T {
        write(&mut lock(&self.script))
    }

    pub(super) fn fate(&self) -> Fate {
        *lock(&self.fate)
    }

    pub(super) fn decide(&self, decide: impl FnOnce(&mut Fate)) {
        decide(&mut lock(&self.fate));
        self.tell();
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The number of a new stream.
    pub(super) fn stream(&self) -> u64 {
        let mut fate = lock(&self.fate);
        fate.streams += 1;
        fate.streams
    }

    /// Keeps a new connection's handle; its number.
    pub(super) fn connected(&self, connection: TcpStream) -> u64 {
        lock(&self.connections).push(connection);
        let mut fate = lock(&self.fate);
        fate.connections += 1;
        fate.connections
    }

    /// Resets every connection.
    pub(super) fn drop_connections(&self) {
        for connection in lock(&self.connections).drain(..) {
            // Closed by the client already is as good.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// One call: it meets its fault, is done, and is answered or not.
    pub(super) async fn call<T>(
        &self,
        call: Call,
        apply: impl FnOnce(&mut Store) -> Result<T, Refusal>,
    ) -> Result<Response<T>, Status> {
        self.call_with(call, &[], apply).await
    }

    /// The same of one that puts these keys.
    pub(super) async fn call_with<T>(
        &self,
        call: Call,
        puts: &[&[u8]],
        apply: impl FnOnce(&mut Store) -> Result<T, Refusal>,
    ) -> Result<Response<T>, Status> {
        let fault = self.script(|script| script.meet(call, puts));
        if let Some(Fault::Queued(each)) = fault {
            let (due, answer) = (self.script(|script| script.queue(each)), self.change(apply)?);
            tokio::time::sleep_until(due.into()).await;
            return Ok(Response::new(answer));
        }
        match script::meet(fault).await? {
            Verdict::Answer => Ok(Response::new(self.change(apply)?)),
            Verdict::DoInSilence => {
                drop(self.change(apply));
                pending().await
            }
            Verdict::DoInVain => {
                drop(self.change(apply));
                Err(Refusal::TookTooLong.into())
            }
            Verdict::Ignore => pending().await,
        }
    }

    fn tell(&self) {
        self.changed.send_modify(|changes| *changes += 1);
    }
}

/// A test that failed elsewhere must not hide behind a second panic here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
