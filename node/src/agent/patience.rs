//! How patient a node is with etcd: how long it waits for an answer, and when it asks again what was not done.
//!
//! Used by the session's parts. Thousands of nodes that come back at once keep etcd busy for longer than one of them waits
//! at first. Each must then wait longer and ask that one thing again; it must never give up what it has got already, its
//! lease, its record and its watch, only to ask for all of it anew: so etcd would never come to an end.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use echo_proto::backoff::Backoff;
use tokio::time::sleep;

use super::etcd::{CALL_TIMEOUT, Etcd, EtcdError, RETRY, Refusal};

/// Longest wait for an answer: etcd itself gives up after 7 s, with an answer that tells so.
const LONGEST_LIMIT: Duration = Duration::from_secs(12);
/// An answer that takes so long tells of a crowd; one by itself has it in milliseconds.
const CROWDED: Duration = Duration::from_secs(1);
/// A crowd comes apart over this part of the life of a lease: operators give large fleets long ones, and it leaves time
/// for a heartbeat.
const WINDOW_OF_LEASE: u32 = 2;
/// The same where no lease is known.
const WINDOW: Duration = Duration::from_secs(5);
/// Longest step of the waits before an overloaded etcd is asked again, which are twice that window: a small fleet, with
/// its short leases, is soon back.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How often an overloaded member is asked the same, within a minute or two, before another one may do better.
const TRIES: u32 = 8;

/// How patient a node is; kept over its sessions.
#[derive(Debug)]
pub struct Patience {
    /// How long it waits for an answer, in milliseconds.
    limit: AtomicU64,
    /// The last answer told of a crowd.
    crowded: AtomicBool,
    window: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { limit: AtomicU64::new(millis(CALL_TIMEOUT)), crowded: AtomicBool::new(false), window: WINDOW }
    }
}

impl Patience {
    /// Of a node whose leases live for `ttl`.
    pub fn new(ttl: Duration) -> Self {
        Self { window: ttl / WINDOW_OF_LEASE, ..Self::default() }
    }

    /// How long to wait for an answer.
    pub fn limit(&self) -> Duration {
        Duration::from_millis(self.limit.load(Ordering::Relaxed))
    }

    /// An answer came after this time: the next may take twice as long.
    pub fn answered(&self, took: Duration) {
        self.set((took * 2).max(self.limit() / 2));
        self.crowded.store(took >= CROWDED, Ordering::Relaxed);
    }

    /// No answer came within this time.
    pub fn missed(&self, waited: Duration) {
        self.set((waited * 2).max(self.limit()));
        self.crowded.store(true, Ordering::Relaxed);
    }

    fn set(&self, limit: Duration) {
        self.limit.store(millis(limit.clamp(CALL_TIMEOUT, LONGEST_LIMIT)), Ordering::Relaxed);
    }

    /// Waits before what may as well be asked later, if etcd was slow: then many nodes ask at the same time, and all of
    /// them have it sooner if each asks at another time.
    pub async fn come_apart(&self) {
        if self.crowded.swap(false, Ordering::Relaxed) {
            sleep(self.crowd().next_wait()).await;
        }
    }

    /// Notes such a wait of another's.
    pub fn came_apart(&self) {
        self.crowded.store(false, Ordering::Relaxed);
    }

    /// Waits before an overloaded etcd is asked again. Each is anything up to its step: those who were refused together
    /// must not come back together.
    pub fn crowd(&self) -> Backoff {
        Backoff::spread(self.window.min(LONGEST_WAIT), (self.window * 2).min(LONGEST_WAIT))
    }
}

/// An error that etcd may be the cause of.
pub trait Cause {
    /// etcd's own error.
    fn etcd(&self) -> Option<&EtcdError>;
}

impl Cause for EtcdError {
    fn etcd(&self) -> Option<&EtcdError> {
        Some(self)
    }
}

/// What to do about a call that etcd did not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    /// Ask again until it does.
    Again,
    /// Ask again so often.
    AgainSome,
    /// It will not be done here.
    GiveUp,
}

/// Repeats `call` while etcd is late, overloaded or full; `note` hears of each time. For who has a heartbeat beside it,
/// which tells a member that is late from one that is gone. `call` is told whether it may have been done already: who
/// looks first does not have an overloaded etcd do it twice.
///
/// # Errors
/// Anything else; or a member that was late or overloaded too often.
pub async fn insist<T, E, F>(etcd: &Etcd, call: impl FnMut(bool) -> F, note: impl Fn(&EtcdError)) -> Result<T, E>
where
    E: Cause,
    F: Future<Output = Result<T, E>>,
{
    repeat(etcd.patience(), call, note, course).await
}

/// As [`insist`], for who knows nothing else of this member: one that does not answer is left.
///
/// # Errors
/// As those, and a call without an answer.
pub async fn insist_if_refused<T, E, F>(
    etcd: &Etcd,
    call: impl FnMut(bool) -> F,
    note: impl Fn(&EtcdError),
) -> Result<T, E>
where
    E: Cause,
    F: Future<Output = Result<T, E>>,
{
    repeat(etcd.patience(), call, note, |error| if error.refusal().is_some() { course(error) } else { Course::GiveUp })
        .await
}

async fn repeat<T, E, F>(
    patience: &Patience,
    mut call: impl FnMut(bool) -> F,
    note: impl Fn(&EtcdError),
    course: impl Fn(&EtcdError) -> Course,
) -> Result<T, E>
where
    E: Cause,
    F: Future<Output = Result<T, E>>,
{
    let (mut full, mut crowd) = (Backoff::new(RETRY.0, RETRY.1), patience.crowd());
    let (mut left, mut unclear) = (TRIES, false);
    loop {
        let error = match call(unclear).await {
            Err(error) => error,
            done => return done,
        };
        let wait = match error.etcd().map_or(Course::GiveUp, &course) {
            Course::Again => full.next_wait(),
            Course::AgainSome if left > 0 => crowd.next_wait(),
            Course::AgainSome | Course::GiveUp => return Err(error),
        };
        left = left.saturating_sub(1);
        unclear |= error.etcd().is_some_and(EtcdError::is_unclear);
        error.etcd().into_iter().for_each(&note);
        sleep(wait).await;
    }
}

fn course(error: &EtcdError) -> Course {
    match error.refusal() {
        Some(Refusal::NoSpace) => Course::Again,
        _ if error.is_late() => Course::AgainSome,
        _ => Course::GiveUp,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn late() -> EtcdError {
        EtcdError::Timeout { endpoint: "http://a:1".into(), call: "x", after: CALL_TIMEOUT }
    }

    fn told(status: tonic::Status) -> EtcdError {
        let source = Box::new(etcd_client::Error::GRpcStatus(status));
        EtcdError::Call { endpoint: "http://a:1".into(), call: "x", source }
    }

    fn busy() -> EtcdError {
        told(tonic::Status::resource_exhausted("etcdserver: too many requests"))
    }

    /// How often it is asked before it is given up or, of these errors, none is left.
    async fn asked(errors: Vec<EtcdError>, insisting: bool) -> (usize, bool) {
        let (all, left) = (errors.len(), RefCell::new(errors));
        let call = |_| async { left.borrow_mut().pop().map_or(Ok(()), Err) };
        let etcd = Etcd::connect("http://a:1").await.unwrap();
        let done = match insisting {
            true => insist(&etcd, call, |_| {}).await,
            false => insist_if_refused(&etcd, call, |_| {}).await,
        };
        (all - left.borrow().len(), done.is_ok())
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_late_or_refused_is_asked_again_and_what_is_lost_is_not() {
        let slow = || told(tonic::Status::unavailable("etcdserver: request timed out"));
        let full = || told(tonic::Status::resource_exhausted("etcdserver: mvcc: database space exceeded"));
        let lost = told(tonic::Status::unavailable("tcp connect error"));
        assert_eq!(asked(vec![busy(), late(), slow(), full()], true).await, (4, true));
        assert_eq!(asked(vec![busy(), slow(), full()], false).await, (3, true));
        assert_eq!(asked(vec![lost], true).await, (1, false));
        assert_eq!(asked(vec![late()], false).await, (1, false), "it may be gone, and another may be there");
    }

    #[tokio::test(start_paused = true)]
    async fn another_member_may_do_better_than_one_that_is_always_late() {
        let tries = TRIES as usize + 1;
        assert_eq!(asked((0..20).map(|_| late()).collect(), true).await, (tries, false));
        assert_eq!(asked((0..20).map(|_| busy()).collect(), false).await, (tries, false));
    }

    #[test]
    fn who_waited_in_vain_waits_longer_until_answers_are_quick_again() {
        let patience = Patience::default();
        let waits: Vec<_> = (0..4).map(|_| (patience.limit(), patience.missed(patience.limit())).0.as_secs()).collect();
        assert_eq!(waits, [3, 6, 12, 12]);
        patience.answered(Duration::from_secs(4));
        assert_eq!(patience.limit(), Duration::from_secs(8), "as long as such an answer takes, and again");
        for _ in 0..2 {
            patience.answered(Duration::from_millis(5));
        }
        assert_eq!(patience.limit(), CALL_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_comes_apart_only_where_there_is_one() {
        let patience = Patience::new(Duration::from_secs(10));
        let waited = async || {
            let began = tokio::time::Instant::now();
            patience.come_apart().await;
            began.elapsed()
        };
        patience.answered(CROWDED / 2);
        assert_eq!(waited().await, Duration::ZERO, "a node alone loses no time");
        patience.answered(CROWDED);
        let apart = waited().await;
        assert!(apart > Duration::ZERO && apart <= Duration::from_secs(5), "{apart:?}");
        assert_eq!(waited().await, Duration::ZERO, "once is enough");
    }
}
