//! `echo-node`: reads its settings, starts telemetry and the node, and says why it ended.
//!
//! Exit codes: 0 after a drain, 1 when it could not start or had to stop, 2 for wrong usage.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use echo_node::app;
use echo_node::pool_file::{self, PoolFile};
use echo_node::settings::{Args, Settings};
use echo_proto::telemetry::{self, Logs};
use opentelemetry::KeyValue;

/// Exit code of wrong usage, as clap's own.
const USAGE: u8 = 2;
/// Threads of the control side; the shards have their own.
const CONTROL_THREADS: usize = 1;

fn main() -> ExitCode {
    let host = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
    let settings = match Settings::read(Args::parse(), host) {
        Ok(settings) => settings,
        Err(error) => {
            error.0.iter().for_each(|line| eprintln!("echo-node: {line}"));
            return ExitCode::from(USAGE);
        }
    };
    match start(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.to_string().lines().for_each(|line| eprintln!("echo-node: {line}"));
            ExitCode::FAILURE
        }
    }
}

fn start(mut settings: Settings) -> Result<(), Box<dyn std::error::Error>> {
    let file = pool_file::of(&settings.source)?;
    if let Some(file) = &file {
        // It says itself which pool it is; logs, metrics and the Agent tell that name.
        settings.pool = file.pool.clone();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(CONTROL_THREADS).enable_all().build()?;
    let ended = runtime.block_on(run(settings, file));
    // A collector that does not answer must not hold the process up.
    runtime.shutdown_background();
    ended
}

fn attributes(settings: &Settings) -> Vec<KeyValue> {
    let mut attributes = vec![KeyValue::new(telemetry::names::POOL, settings.pool.to_string())];
    if !settings.zone.is_empty() {
        attributes.push(KeyValue::new("cloud.availability_zone", settings.zone.clone()));
    }
    attributes
}

async fn run(settings: Settings, file: Option<PoolFile>) -> Result<(), Box<dyn std::error::Error>> {
    let identity = telemetry::Identity {
        service: "echo-node",
        cluster: settings.cluster.to_string(),
        instance: settings.id.to_string(),
        attributes: attributes(&settings),
    };
    let telemetry = telemetry::start(identity, Logs::Stderr)?;
    let app = app::build(settings, file, telemetry.metrics()).await;
    let ended = match app {
        Ok(app) => app.run().await.map_err(Into::into),
        Err(error) => Err(error.into()),
    };
    telemetry.shutdown().await;
    ended
}
