//! This process as a client: the threads that carry a load, what they had to do, and the files that it may open.
//!
//! Used by `bench`. A load runs on threads of its own, so that a terminal or a signal takes no time from it.

use std::time::Duration;

use echo_probe::load::{Load, Report};
use procfs::process::Process;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

use crate::failure::Failure;

/// What the threads are called.
const THREADS: &str = "bench-load";
/// A client whose threads have this share of the time something to do is what limits a closed loop.
const BUSY: f64 = 0.95;
/// An open loop in which this share of the messages is sent late is limited by its client as well.
const LATE: f64 = 0.01;

/// The threads of a load.
#[derive(Debug)]
pub(super) struct Client {
    /// Until it is dropped.
    runtime: Option<Runtime>,
    handle: Handle,
    threads: usize,
    /// What the threads had done when the load began.
    before: (Duration, Duration),
}

/// What the threads had to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Effort {
    pub(super) threads: usize,
    /// Share of the time in which they ran; `None` where the kernel does not tell.
    pub(super) running: Option<f64>,
    /// Share of the time in which they could have run, had a core been free.
    pub(super) waiting: Option<f64>,
    /// Whether more could not be seen for them.
    pub(super) was_limit: bool,
}

impl Client {
    /// As many threads as there are cores, and as can have something to do.
    pub(super) fn start(load: &Load) -> Result<Self, Failure> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = cores.min(load.connections).max(1);
        let runtime = Builder::new_multi_thread().worker_threads(threads).thread_name(THREADS).enable_all().build();
        let runtime = runtime.map_err(|error| Failure::Bench(format!("cannot start {threads} threads: {error}")))?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime), threads, before: Default::default() })
    }

    /// Runs it on these threads.
    pub(super) fn spawn<T: Send + 'static>(&self, load: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.handle.spawn(load)
    }

    /// All connections are made: what the threads did for that is none of the load's time.
    pub(super) fn begins(&mut self) {
        self.before = times().unwrap_or_default();
    }

    /// What the threads had to do since then.
    fn spent(&self) -> Option<(Duration, Duration)> {
        let ((ran, waited), before) = (times()?, self.before);
        Some((ran.saturating_sub(before.0), waited.saturating_sub(before.1)))
    }

    /// What the threads had to do in the time of this load.
    pub(super) fn effort(&self, load: &Load, report: &Report) -> Effort {
        let whole = report.elapsed().as_secs_f64() * self.threads as f64;
        let share = |time: Duration| (time.as_secs_f64() / whole).min(1.0);
        // What never began was limited by nobody here.
        let times = self.spent().filter(|_| whole > 0.0 && report.sent > 0);
        let (running, waiting) = times.map(|(ran, waited)| (share(ran), share(waited))).unzip();
        Effort { threads: self.threads, running, waiting, was_limit: was_limit(load, report, running, waiting) }
    }
}

/// A runtime must not wait for its threads within another.
impl Drop for Client {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// How long the threads of the load have run, and how long they waited for a core.
fn times() -> Option<(Duration, Duration)> {
    let threads = Process::myself().and_then(|own| own.tasks()).ok()?;
    let own = threads.flatten().filter(|thread| thread.stat().is_ok_and(|stat| stat.comm == THREADS));
    let sum = own.flat_map(|thread| thread.schedstat()).fold((0, 0), |(ran, waited), thread| {
        (thread.sum_exec_runtime.saturating_add(ran), thread.run_delay.saturating_add(waited))
    });
    // A kernel that keeps no such times has zeros.
    (sum.0 > 0).then(|| (Duration::from_nanos(sum.0), Duration::from_nanos(sum.1)))
}

/// The threads of an open loop look at the clock while they wait: they are always busy, and only lateness tells.
fn was_limit(load: &Load, report: &Report, running: Option<f64>, waiting: Option<f64>) -> bool {
    match load.rate {
        Some(_) => report.late_sends as f64 >= LATE * report.sent.max(1) as f64,
        None => running.zip(waiting).is_some_and(|(running, waiting)| running + waiting >= BUSY),
    }
}

/// Raises the limit of open files to what this process may have; returns that. Each connection is a file.
pub(super) fn raise_file_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    if raised.is_ok() { limit.maximum } else { limit.current }.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use echo_probe::load::{ANSWER_TIMEOUT, Transport};

    use super::*;

    fn load(rate: Option<u32>) -> Load {
        Load {
            transport: Transport::Tcp,
            connections: 4,
            reconnect: false,
            size: 64,
            in_flight: 1,
            duration: Duration::from_secs(1),
            timeout: ANSWER_TIMEOUT,
            rate: rate.and_then(NonZeroU32::new),
        }
    }

    #[test]
    fn a_client_that_always_has_something_to_do_or_sends_late_is_the_limit() {
        let told = |rate, late_sends, running, waiting| {
            let mut report = Report::default();
            (report.sent, report.late_sends) = (1_000, late_sends);
            was_limit(&load(rate), &report, running, waiting)
        };
        assert!(!told(None, 0, Some(0.6), Some(0.3)));
        assert!(told(None, 0, Some(0.6), Some(0.35)), "waiting for a core is as bad as having one");
        assert!(!told(None, 0, None, None), "nobody knows");
        assert!(!told(Some(5), 9, Some(1.0), Some(0.0)), "an open loop is always busy");
        assert!(told(Some(5), 10, Some(0.1), Some(0.0)));
    }

    #[test]
    #[allow(clippy::expect_used)]
    fn threads_tell_what_they_did() {
        let load = load(None);
        let mut client = Client::start(&load).expect("threads can be started");
        // By its own time, and not by the clock: on a busy machine it waits for a core.
        let enough = |told: Option<(Duration, Duration)>| told.is_some_and(|(ran, _)| ran >= Duration::from_millis(5));
        let spin = move || async move {
            let begin = std::time::Instant::now();
            while !enough(times()) && begin.elapsed() < Duration::from_secs(30) {}
        };
        let (done, wait) = std::sync::mpsc::channel();
        client.spawn(async move {
            spin().await;
            let _ = done.send(());
        });
        wait.recv().expect("it ends");
        let (ran, _) = times().expect("this kernel tells");
        assert!(ran >= Duration::from_millis(5), "{ran:?}");
        assert!(client.spent() >= Some((ran, Duration::ZERO)), "before it began, all counts");
        client.begins();
        let (since, _) = client.spent().expect("it still tells");
        assert!(since < ran, "{since:?} of {ran:?}: what was done before does not count");
        assert_eq!(client.effort(&load, &Report::default()).running, None, "nothing was sent");
    }
}
