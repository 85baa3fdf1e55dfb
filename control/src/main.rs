//! `echo-control`: reads its settings, starts telemetry and the control plane, and says why it ended.
//!
//! Exit codes: 0 after SIGTERM or SIGINT, 1 when it could not start or had to stop, 2 for wrong usage.
#![forbid(unsafe_code)]

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
            error.0.iter().for_each(|line| eprintln!("echo-control: {line}"));
            return ExitCode::from(USAGE);
        }
    };
    match start(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.to_string().lines().for_each(|line| eprintln!("echo-control: {line}"));
            ExitCode::FAILURE
        }
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
