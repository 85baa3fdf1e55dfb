//! `echoctl`: the admin command line of an echo cluster, a gRPC client shaped like kubectl, and `up`, which runs a
//! whole cluster on this machine.
//!
//! Started by people and scripts. It must never talk to etcd itself: control is its only source and target. What went
//! wrong goes to stderr as `error: ...` with the next step; exit codes are 0 (done), 1 (failed) and 2 (wrong usage).
#![deny(unsafe_code)]

mod apply;
mod args;
mod author;
mod backup;
mod bench;
mod chosen;
mod completion;
mod config;
mod connect;
mod context;
mod cordon;
mod delete;
mod describe;
mod diff;
mod doctor;
mod documents;
mod drain;
mod dry_run;
mod failure;
mod files;
mod follow;
mod get;
mod help;
mod intent;
mod object;
mod output;
mod pin;
mod probe;
mod reflector;
mod rollout;
mod scale;
mod server;
mod stops;
mod target;
mod up;
mod version;

use std::process::ExitCode;

use echo_proto::ids::random_hex;
use echo_proto::telemetry::{self, Identity, Logs};
use tracing::Instrument as _;

use args::{Cli, Verb};
use cordon::Wish;
use failure::Failure;

fn main() -> ExitCode {
    if completion::answer() {
        return ExitCode::SUCCESS;
    }
    let cli = Cli::read();
    // Everything runs on the main thread: `up` must start its children from it (see up/children.rs).
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            output::tell(&format!("error: cannot start: {e}"));
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(traced(cli));
    // Does not wait for a blocked read of stdin.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Runs the verb under a span of its own: what one command causes anywhere in the cluster is one trace.
async fn traced(cli: Cli) -> Result<(), Failure> {
    let instance = format!("echoctl-{}", random_hex::<4>());
    let identity = Identity { service: "echoctl", cluster: String::new(), instance, attributes: Vec::new() };
    // A command does its work also where nobody can be told of it.
    let telemetry = telemetry::start(identity, Logs::Off);
    if let Err(e) = &telemetry {
        output::tell(&format!("warning: {e}; this command is not traced"));
    }
    let span = tracing::info_span!("echoctl", otel.name = cli.verb.span(), error.r#type = tracing::field::Empty);
    let outcome = run(cli).instrument(span.clone()).await;
    if let Err(failure) = &outcome {
        span.record("error.type", failure.label());
    }
    drop(span);
    if let Ok(telemetry) = telemetry {
        telemetry.shutdown().await;
    }
    outcome
}

async fn run(cli: Cli) -> Result<(), Failure> {
    match cli.verb {
        Verb::Up(args) => up::run(&cli.global, args).await,
        Verb::Apply(args) => apply::run(&cli.global, args).await,
        Verb::Get(args) => get::run(&cli.global, args).await,
        Verb::Describe(args) => describe::run(&cli.global, args).await,
        Verb::Diff(args) => diff::run(&cli.global, args).await,
        Verb::Backup(args) => backup::backup(&cli.global, args).await,
        Verb::Restore(args) => backup::restore(&cli.global, args).await,
        Verb::Delete(args) => delete::run(&cli.global, args).await,
        Verb::Cordon(args) => cordon::run(&cli.global, args, Wish::Cordon).await,
        Verb::Uncordon(args) => cordon::run(&cli.global, args, Wish::Uncordon).await,
        Verb::Drain(args) => drain::run(&cli.global, args).await,
        Verb::Undrain(args) => cordon::run(&cli.global, args, Wish::Undrain).await,
        Verb::Pin(args) => pin::pin(&cli.global, args).await,
        Verb::Unpin(args) => pin::unpin(&cli.global, args).await,
        Verb::Scale(args) => scale::run(&cli.global, args).await,
        Verb::Rollout(args) => rollout::run(&cli.global, args).await,
        Verb::Probe(args) => probe::run(&cli.global, args).await,
        Verb::Bench(args) => bench::run(&cli.global, args).await,
        Verb::Doctor(args) => doctor::run(&cli.global, args).await,
        Verb::Version(args) => version::run(&cli.global, args).await,
        Verb::Config(args) => config::verbs::run(&cli.global, &args),
        Verb::Completion(args) => completion::run(&args),
    }
}
