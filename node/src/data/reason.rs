//! Why things end, are refused or dropped: small enums with stable names for metrics.
//!
//! Counted by reason in [`super::slot`]. A name must never change or hold a value of the moment: dashboards depend on it.

use std::io;

/// Most members of a reason.
pub(crate) const MAX_REASONS: usize = 16;

/// Why something was counted: a small enum with names for metrics.
pub(crate) trait Reason: Copy + 'static {
    /// All members; a member's place here is its place in the counts.
    const ALL: &'static [(Self, &'static str)];
    /// Its place in [`Self::ALL`].
    fn place(self) -> usize;
    /// Its name.
    fn label(self) -> &'static str {
        Self::ALL.get(self.place()).map_or("", |(_, label)| label)
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
        /// It had lived for as long as it may.
        Lifetime = "max_lifetime",
        /// The node closed it before it was served; why stands among the refusals.
        Refused = "refused",
        /// The node stopped.
        Stopped = "stopped",
        /// The peer reset it.
        Reset = "connection_reset",
        /// Another error of the kernel, such as a path that stayed silent.
        Failed = "io_error",
        /// What it sent on a stamped connection was no message.
        Broken = "broken_message",
        /// A bug of ours: what served it panicked.
        Panicked = "panic",
    }
}

impl End {
    /// Whether the service came to its end in order.
    pub(crate) fn in_order(self) -> bool {
        matches!(self, Self::Peer | Self::Served)
    }

    /// Whether neither the peer nor we closed it in order: what clients notice as a fault.
    pub(crate) fn is_broken(self) -> bool {
        matches!(self, Self::Reset | Self::Failed | Self::Broken | Self::Panicked)
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
        /// Its source has as many as it may.
        Source = "max_connections_per_source",
        /// It did not begin with a PROXY protocol header, or not in time.
        ProxyHeader = "proxy_header",
        /// It is none of the load balancers that may write such a header.
        ProxySource = "proxy_source",
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
        /// Its source could be answering, too: both would go on for ever.
        LoopGuard = "loop_guard",
        /// Its source is none of those that the listener answers.
        Acl = "acl",
        /// Its source, or all of the listener's together, send more than they may.
        RateLimit = "rate_limit",
        /// Longer than our buffer.
        Truncated = "truncated",
        /// The kernel had no room to send.
        SendBuffer = "sndbuf",
        /// The kernel had no room to receive: we were too slow.
        ReceiveBuffer = "rcvbuf",
        /// It is longer than the limit, or the answer too long for the way back.
        Oversize = "oversize",
        /// The kernel refused to send: no route, a firewall.
        Unsendable = "unsendable",
    }
}
