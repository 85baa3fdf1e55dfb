//! The shards' threads: starting, ordering, watching and ending them.
//!
//! Used by [`super::Live`] only. A shard that ends by itself, a panic included, is a failure of the process and must
//! never go unseen; a shard that does not answer counts as one.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use super::{ApplyError, ShardFailure, StartError};
use crate::data::flows::Flows;
use crate::data::gate::Gate;
use crate::data::order::Order;
use crate::data::shard;

/// Orders that may wait for a shard; there is one at a time, one question for sessions, and the word to stop.
const ORDERS: usize = 4;
/// How long all shards together may take for one step of an order. They answer within microseconds; one that does not
/// is stuck.
pub(super) const STEP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the shards may take to end; they only have to close sockets.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// All shards' threads.
#[derive(Debug)]
pub(super) struct Threads {
    shards: Vec<Thread>,
    failure: watch::Sender<Option<ShardFailure>>,
}

#[derive(Debug)]
struct Thread {
    orders: mpsc::Sender<Order>,
    handle: JoinHandle<()>,
    /// Closed once the thread has ended.
    ended: oneshot::Receiver<()>,
}

impl Threads {
    /// One for each of `flows`, which it fills.
    pub(super) fn start(flows: &[Arc<Flows>], gate: &Arc<Gate>) -> Result<Self, StartError> {
        let failure = watch::Sender::new(None);
        let mut threads = Self { shards: Vec::with_capacity(flows.len()), failure };
        for (shard, flows) in flows.iter().enumerate() {
            let thread = spawn(shard, Arc::clone(gate), Arc::clone(flows), threads.failure.clone());
            threads.shards.push(thread.map_err(|source| StartError { shard, source })?);
        }
        Ok(threads)
    }

    pub(super) fn count(&self) -> usize {
        self.shards.len()
    }

    /// Where questions go, by shard; they do not keep a shard from ending.
    pub(super) fn inboxes(&self) -> Vec<mpsc::WeakSender<Order>> {
        self.shards.iter().map(|thread| thread.orders.downgrade()).collect()
    }

    /// Hands an order to one shard, until `deadline`, which is [`STEP_TIMEOUT`] after the order was made.
    pub(super) async fn order(&self, shard: usize, order: Order, deadline: Instant) -> Result<(), ApplyError> {
        let gone = || ApplyError::Shard { shard, cause: "has ended".to_owned() };
        let Some(thread) = self.shards.get(shard) else { return Err(gone()) };
        match timeout_at(deadline, thread.orders.send(order)).await {
            Ok(sent) => sent.map_err(|_| gone()),
            Err(_) => Err(self.stuck(shard)),
        }
    }

    /// Gives every shard an order, and waits until all have carried it out.
    pub(super) async fn order_all(&self, order: impl Fn(oneshot::Sender<()>) -> Order) {
        let deadline = Instant::now() + STEP_TIMEOUT;
        let mut steps = Vec::with_capacity(self.count());
        for shard in 0..self.count() {
            let (done, finished) = oneshot::channel();
            // A shard that is gone, or stuck, is reported by `failure`.
            let _ = self.order(shard, order(done), deadline).await;
            steps.push(finished);
        }
        let _ = self.all(steps).await;
    }

    /// Waits until every shard has dropped its side of these, which are in the order of the shards.
    pub(super) async fn all(&self, steps: Vec<oneshot::Receiver<()>>) -> Result<(), ApplyError> {
        let deadline = Instant::now() + STEP_TIMEOUT;
        for (shard, step) in steps.into_iter().enumerate() {
            if timeout_at(deadline, step).await.is_err() {
                return Err(self.stuck(shard));
            }
        }
        Ok(())
    }

    /// A shard did not answer: nobody knows what it serves, so the process must not go on with it.
    fn stuck(&self, shard: usize) -> ApplyError {
        let error = ApplyError::Timeout { shard, waited: STEP_TIMEOUT };
        self.failure.send_replace(Some(ShardFailure { shard, cause: error.to_string() }));
        error
    }

    pub(super) async fn stop(self) {
        let deadline = Instant::now() + STOP_TIMEOUT;
        for thread in &self.shards {
            let _ = timeout_at(deadline, thread.orders.send(Order::Stop)).await;
        }
        for Thread { handle, ended, .. } in self.shards {
            if timeout_at(deadline, ended).await.is_ok() {
                // It is past its last statement; a panic of it has been reported.
                let _ = handle.join();
            }
        }
    }

    pub(super) fn failure(&self) -> impl Future<Output = ShardFailure> + Send + 'static {
        let mut failure = self.failure.subscribe();
        async move {
            let failed = failure.wait_for(Option::is_some).await.ok().and_then(|failure| failure.clone());
            match failed {
                Some(failure) => failure,
                // All shards have ended as they were told to.
                None => std::future::pending().await,
            }
        }
    }
}

/// Waits until all shards are ready.
pub(super) async fn agreed(
    answers: Vec<oneshot::Receiver<Result<(), String>>>,
    deadline: Instant,
) -> Result<(), ApplyError> {
    for (shard, answer) in answers.into_iter().enumerate() {
        match timeout_at(deadline, answer).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(cause))) => return Err(ApplyError::Shard { shard, cause }),
            Ok(Err(_)) => return Err(ApplyError::Shard { shard, cause: "has ended".to_owned() }),
            Err(_) => return Err(ApplyError::Timeout { shard, waited: STEP_TIMEOUT }),
        }
    }
    Ok(())
}

fn spawn(
    shard: usize,
    gate: Arc<Gate>,
    flows: Arc<Flows>,
    failure: watch::Sender<Option<ShardFailure>>,
) -> std::io::Result<Thread> {
    let (orders, inbox) = mpsc::channel(ORDERS);
    let (end, ended) = oneshot::channel();
    let (started, start) = std::sync::mpsc::sync_channel(1);
    let body = move || {
        let _end: oneshot::Sender<()> = end;
        let runtime = Builder::new_current_thread().enable_io().enable_time().build_local(LocalOptions::default());
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(e) => return drop(started.send(Err(e))),
        };
        let _ = started.send(Ok(()));
        report(shard, &failure, || shard::run(&runtime, gate, flows, inbox));
        // By itself, so that connections that end with the runtime do not look as if each of them had panicked.
        report(shard, &failure, || {
            drop(runtime);
            Ok(())
        });
    };
    let handle = std::thread::Builder::new().name(format!("shard-{shard}")).spawn(body)?;
    start.recv().unwrap_or_else(|_| Err(std::io::Error::other("the thread ended at once")))?;
    Ok(Thread { orders, handle, ended })
}

/// Runs a shard and tells when it ends other than it should.
fn report(shard: usize, failure: &watch::Sender<Option<ShardFailure>>, run: impl FnOnce() -> Result<(), String>) {
    let cause = match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(())) => return,
        Ok(Err(cause)) => cause,
        Err(panic) => text_of(panic.as_ref()),
    };
    failure.send_replace(Some(ShardFailure { shard, cause }));
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("it panicked: {}", text.unwrap_or("without a text"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    fn start() -> Threads {
        Threads::start(&[Arc::default()], &Arc::default()).unwrap()
    }

    #[tokio::test]
    async fn a_shard_that_ends_by_itself_is_a_failure() {
        let threads = start();
        let failure = threads.failure();
        report(7, &threads.failure, || panic!("a bug"));
        assert_eq!(failure.await.to_string(), "shard 7 ended: it panicked: a bug");
        report(8, &threads.failure, || Err("no reason".to_owned()));
        assert_eq!(threads.failure().await.to_string(), "shard 8 ended: no reason");
        threads.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_shard_that_does_not_answer_is_a_failure() {
        let threads = start();
        let failure = threads.failure();
        let (_never, step) = oneshot::channel();
        let error = threads.all(vec![step]).await.unwrap_err();
        assert_eq!(error.to_string(), "shard 0: no answer within 5 s; the node is overloaded or stuck");
        assert_eq!(failure.await.shard, 0);
        threads.stop().await;
    }

    #[tokio::test]
    async fn orders_to_a_shard_that_is_gone_fail() {
        let threads = start();
        let deadline = Instant::now() + STOP_TIMEOUT;
        threads.order(0, Order::Stop, deadline).await.unwrap();
        while threads.order(0, Order::Stop, deadline).await.is_ok() {
            tokio::task::yield_now().await;
        }
        let error = threads.order(0, Order::Stop, deadline).await.unwrap_err();
        assert_eq!((error.to_string().as_str(), error.label()), ("shard 0: has ended", "shard"));
    }
}
