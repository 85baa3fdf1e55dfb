//! What one shard counts of one listener.
//!
//! Written by its shard only, read by [`super::counters`] at any time. It must never be shared by two writers: a count
//! is a load and a store, not an atomic addition, and a slot has cache lines of its own.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A number that only grows; one thread adds to it.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// For the owning shard only.
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// For anybody.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts by reason; `R` is one of the enums below.
#[derive(Debug)]
pub(crate) struct CountBy<R: Reason>([Count; MAX_REASONS], std::marker::PhantomData<R>);

/// Most members of a reason.
const MAX_REASONS: usize = 6;

/// Why something was counted: a small enum with names for metrics.
pub(crate) trait Reason: Copy + 'static {
    /// All members; a member's place here is its place in the counts.
    const ALL: &'static [(Self, &'static str)];
    /// Its place in [`Self::ALL`].
    fn place(self) -> usize;
}

impl<R: Reason> Default for CountBy<R> {
    fn default() -> Self {
        Self(Default::default(), std::marker::PhantomData)
    }
}

impl<R: Reason> CountBy<R> {
    /// For the owning shard only.
    pub(crate) fn add(&self, reason: R, n: u64) {
        if let Some(count) = self.0.get(reason.place()) {
            count.add(n);
        }
    }

    /// Reasons that ever occurred, with their counts.
    pub(crate) fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
        R::ALL.iter().zip(&self.0).map(|((_, label), count)| (*label, count.get())).filter(|(_, n)| *n > 0)
    }

    /// All reasons together.
    pub(crate) fn sum(&self) -> u64 {
        self.0.iter().map(Count::get).sum()
    }
}

macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[$member_doc:meta])* $member:ident = $label:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $name { $($(#[$member_doc])* $member,)+ }
        impl Reason for $name {
            const ALL: &'static [(Self, &'static str)] = &[$((Self::$member, $label),)+];
            fn place(self) -> usize {
                self as usize
            }
        }
        const _: () = assert!($name::ALL.len() <= MAX_REASONS);
    };
}

reasons! {
    /// How a connection ended.
    End {
        /// The peer closed its side and got everything.
        Peer = "peer",
        /// The service was done: greet, or echo with `once`.
        Served = "served",
        /// No traffic for the idle timeout.
        Idle = "idle_timeout",
        /// The node stopped.
        Stopped = "stopped",
        /// The peer reset it.
        Reset = "connection_reset",
        /// Another error of the kernel, such as a path that stayed silent.
        Failed = "io_error",
    }
}

impl End {
    /// Whether the service came to its end in order.
    pub(crate) fn in_order(self) -> bool {
        matches!(self, Self::Peer | Self::Served)
    }

    /// The end that an error on a connection means.
    pub(crate) fn of(error: &io::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
        match error.kind() {
            ConnectionReset | ConnectionAborted | BrokenPipe | NotConnected => Self::Reset,
            _ => Self::Failed,
        }
    }
}

reasons! {
    /// Why a connection was not served.
    Refusal {
        /// The node has as many as it may.
        Limit = "max_connections",
        /// No file descriptor was left; the connection waits in the kernel's queue.
        Files = "file_limit",
        /// No memory was left; the connection waits in the kernel's queue.
        Memory = "no_memory",
        /// The peer gave up before it was accepted, or the network did.
        Aborted = "aborted",
        /// Another error of the kernel.
        Failed = "io_error",
    }
}

impl Refusal {
    /// What an error of accept(2) means; the network's errors are those of its manual page.
    pub(crate) fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE) => Self::Files,
            Some(libc::ENOMEM | libc::ENOBUFS) => Self::Memory,
            Some(libc::ECONNABORTED | libc::EPROTO | libc::ENOPROTOOPT | libc::EPERM | libc::EOPNOTSUPP) => {
                Self::Aborted
            }
            Some(libc::ENETDOWN | libc::ENETUNREACH | libc::EHOSTDOWN | libc::EHOSTUNREACH | libc::ENONET) => {
                Self::Aborted
            }
            _ => Self::Failed,
        }
    }

    /// Whether trying again at once would only fail again.
    pub(crate) fn lasts(self) -> bool {
        matches!(self, Self::Files | Self::Memory | Self::Failed)
    }
}

reasons! {
    /// Why a datagram of ours, in or out, was lost by us (`echo.drop.reason`).
    Drop {
        /// Longer than our buffer.
        Truncated = "truncated",
        /// The kernel had no room to send.
        SendBuffer = "sndbuf",
        /// The kernel had no room to receive: we were too slow.
        ReceiveBuffer = "rcvbuf",
        /// The answer is too long for the way back.
        Oversize = "oversize",
        /// The kernel refused to send: no route, a firewall.
        Unsendable = "unsendable",
    }
}

/// Upper bounds of the classes that a connection's life falls into, in seconds; there is one class more.
pub(crate) const LIFE_BOUNDS: [f64; 12] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 3600.0];

/// How long connections lived, by class: how many, and their nanoseconds together.
#[derive(Debug, Default)]
pub(crate) struct Lives([(Count, Count); LIFE_BOUNDS.len() + 1]);

impl Lives {
    /// For the owning shard only.
    fn add(&self, life: Duration) {
        let class = LIFE_BOUNDS.partition_point(|bound| *bound < life.as_secs_f64());
        if let Some((count, nanos)) = self.0.get(class) {
            count.add(1);
            nanos.add(u64::try_from(life.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    /// Each class, shortest first: how many, and their nanoseconds together.
    pub(crate) fn each(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().map(|(count, nanos)| (count.get(), nanos.get()))
    }
}

/// What one shard counts of one listener. Aligned to two cache lines, since processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Slot {
    pub(crate) accepted: Count,
    pub(crate) ended: CountBy<End>,
    /// By how they ended, in the order of [`End::ALL`].
    pub(crate) lives: [Lives; End::ALL.len()],
    pub(crate) refused: CountBy<Refusal>,
    pub(crate) received_bytes: Count,
    pub(crate) transmitted_bytes: Count,
    pub(crate) received_packets: Count,
    pub(crate) transmitted_packets: Count,
    pub(crate) exchanges: Count,
    pub(crate) dropped: CountBy<Drop>,
}

impl Slot {
    /// A connection has ended after `life`.
    pub(crate) fn end(&self, end: End, life: Duration) {
        self.ended.add(end, 1);
        if let Some(lives) = self.lives.get(end.place()) {
            lives.add(life);
        }
    }
}
