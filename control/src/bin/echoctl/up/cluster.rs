//! The running cluster: its processes, from the first start to the last restart.
//!
//! Used by `up`. Dropping it drops the lifeline, which ends what was not ended in order.

use std::time::Duration;

use tokio::time::timeout;

use super::children::Children;
use super::control::{self, Lifeline};
use super::service::Service;
use super::settings::Settings;
use super::{Began, deaths, report, start};
use crate::connect::io_cause;
use crate::failure::Failure;
use crate::output::console::Console;

/// From a broken connection to the end of the process that held its other end.
const PART_ENDS: Duration = Duration::from_millis(500);
const ETCD_ADVICE: &str = "if its data is damaged, begin afresh with another --state-dir";
const CONTROL_ADVICE: &str = "its log tells why";

/// All parts of a cluster.
pub(super) struct Cluster<'a> {
    pub(super) settings: Settings,
    pub(super) began: Began,
    pub(super) console: &'a Console,
    pub(super) children: Children,
    /// Absent when another etcd is used.
    pub(super) etcd: Option<Service>,
    pub(super) control: Service,
}

impl<'a> Cluster<'a> {
    /// Prepares everything and starts nothing.
    ///
    /// # Errors
    /// The kernel refuses to make this process the reaper, or to make the lifeline.
    pub(super) fn new(settings: Settings, began: Began, console: &'a Console) -> Result<Self, Failure> {
        let failed = |e| Failure::Up(format!("cannot prepare to start processes: {}", io_cause(&e)));
        let children = Children::new().map_err(failed)?;
        let lifeline = Lifeline::new().map_err(failed)?;
        let etcd = settings.etcd.clone().map(|etcd| {
            let recipe = Box::new(move || Ok(etcd.command()));
            Service::new("etcd", ETCD_ADVICE, settings.state.log("etcd"), recipe)
        });
        let (program, line) = control::command(&settings);
        let recipe = Box::new(move || control::process(&program, &line, &lifeline));
        let control = Service::new("echo-control", CONTROL_ADVICE, settings.state.log("control"), recipe);
        Ok(Self { settings, began, console, children, etcd, control })
    }

    /// Starts everything, tells how it stands, then keeps it running for ever.
    ///
    /// # Errors
    /// A part did not come up.
    pub(super) async fn run(&mut self) -> Result<(), Failure> {
        let standing = start::run(self).await?;
        let client = standing.control.clone();
        // Even a failed report does not stop a cluster that serves.
        if let Err(failure) = report::tell(self, standing).await {
            failure.tell();
        }
        let Self { etcd, control, children, console, .. } = self;
        let etcd = async {
            match etcd {
                Some(etcd) => etcd.keep(children, console).await,
                None => std::future::pending().await,
            }
        };
        tokio::join!(etcd, control.keep(children, console), deaths::tell(client, console));
        Ok(())
    }

    /// Waits for `work`, unless a part ends first.
    ///
    /// # Errors
    /// Why the work failed, or what ended, and why.
    pub(super) async fn while_alive<T>(
        &mut self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let failure = tokio::select! {
            result = work => match result {
                Err(failure @ (Failure::Lost { .. } | Failure::NoControl { .. })) => failure,
                other => return other,
            },
            failure = self.failed() => return Err(failure),
        };
        // The connection to a part that ended breaks a moment before its end is known.
        Err(timeout(PART_ENDS, self.failed()).await.unwrap_or(failure))
    }

    /// Waits for the end of a part.
    async fn failed(&mut self) -> Failure {
        let etcd = async {
            match &mut self.etcd {
                Some(etcd) => etcd.failed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            failure = etcd => failure,
            failure = self.control.failed() => failure,
        }
    }
}
