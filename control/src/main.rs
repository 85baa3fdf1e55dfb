//! `echo-control`: reads its settings, starts telemetry and the control plane, and says why it ended.
//!
//! Exit codes: 0 after SIGTERM or SIGINT, 1 when it could not start or had to stop, 2 for wrong usage.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use echo_control::app;
use echo_control::settings::{Flags, Settings};
use echo_proto::ids::random_hex;
use echo_proto::telemetry::{self, Logs};

/// Exit code of wrong usage, as clap's own.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let settings = match Flags::parse().check() {
        Ok(settings) => settings,
        Err(error) => {
            tell(&error.to_string());
            return ExitCode::from(USAGE);
        }
    };
    match start(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// One line each on standard error; where nobody reads that, there is nobody to tell.
fn tell(text: &str) {
    for line in text.lines() {
        let _ = writeln!(std::io::stderr(), "echo-control: {line}");
    }
}

fn start(settings: Settings) -> Result<(), Box<dyn std::error::Error>> {
    if settings.lifeline {
        app::lifeline::watch()?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(run(settings));
    // Whatever still blocks a thread (a file, a name) must not hold up the exit.
    runtime.shutdown_background();
    ended
}

async fn run(settings: Settings) -> Result<(), Box<dyn std::error::Error>> {
    let instance = random_hex::<8>();
    let telemetry = telemetry::start(
        telemetry::Identity {
            service: "echo-control",
            cluster: settings.cluster.to_string(),
            instance: instance.clone(),
            attributes: Vec::new(),
        },
        Logs::Stderr,
    )?;
    let ended = match app::build(settings, instance, telemetry.metrics()).await {
        Ok(bound) => bound.run().await.map_err(Into::into),
        Err(error) => Err(error.into()),
    };
    telemetry.shutdown().await;
    ended
}
