//! The client of etcd, made anew when its connection falls silent.
//!
//! Used by [`super::Store`] and its parts. After a path was cut and mended, a connection of before waits until the kernel
//! repeats a packet, which may take as long again as the cut took; a new one works at once. It must never wait itself: a
//! client connects when it is first used.

use etcd_client::{Client, ConnectOptions, Error};
use tokio::sync::watch;
use tokio::time::{Duration, Instant};

/// Longest wait for a TCP connection to etcd.
const CONNECT_DEADLINE: Duration = Duration::from_secs(1);
/// How often an idle connection is probed, and how long the answer may take; etcd drops clients that probe more often
/// than every 5 s.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));

/// The client of some endpoints.
pub(super) struct Dial {
    endpoints: Vec<String>,
    dialled: watch::Sender<Dialled>,
}

struct Dialled {
    client: Client,
    since: Instant,
}

impl Dial {
    /// A client that connects when it is first used.
    ///
    /// # Errors
    /// An endpoint that is no URL.
    pub(super) async fn new(endpoints: Vec<String>) -> Result<Self, Error> {
        let dialled = watch::Sender::new(Dialled::new(&endpoints).await?);
        Ok(Self { endpoints, dialled })
    }

    /// For the next call.
    pub(super) fn client(&self) -> Client {
        self.dialled.borrow().client.clone()
    }

    /// Replaces a client that was there at `then` already, when nothing was heard since; streams of the old one go on.
    pub(super) async fn renew(&self, then: Instant) {
        if self.dialled.borrow().since > then {
            return;
        }
        // The endpoints were read before: this can't fail.
        let Ok(fresh) = Dialled::new(&self.endpoints).await else { return };
        // Another call may have done it meanwhile.
        self.dialled.send_if_modified(|dialled| {
            let stale = dialled.since <= then;
            if stale {
                *dialled = fresh;
            }
            stale
        });
    }
}

impl Dialled {
    async fn new(endpoints: &[String]) -> Result<Self, Error> {
        let options = ConnectOptions::new()
            .with_connect_timeout(CONNECT_DEADLINE)
            .with_keep_alive(KEEP_ALIVE.0, KEEP_ALIVE.1)
            .with_require_leader(true);
        let client = Client::connect(endpoints, Some(options)).await?;
        Ok(Self { client, since: Instant::now() })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_client_that_was_silent_all_the_time_is_replaced() {
        let dial = Dial::new(vec!["http://127.0.0.1:1".to_owned()]).await.unwrap();
        let since = || dial.dialled.borrow().since;
        let (begun, second) = (Instant::now(), Duration::from_secs(1));
        tokio::time::advance(second).await;
        dial.renew(begun).await;
        assert_eq!(since(), begun + second);
        tokio::time::advance(second).await;
        dial.renew(begun).await;
        assert_eq!(since(), begun + second, "another call that began with it has replaced it already");
        dial.renew(begun + second).await;
        assert_eq!(since(), begun + second * 2);
    }
}
