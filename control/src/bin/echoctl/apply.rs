//! `echoctl apply`: creates or changes pools from files.
//!
//! Called by `main`. Nothing is sent unless every document of every file is valid. It returns once the pools are
//! stored; `rollout status` follows what the nodes make of them.

use echo_proto::v1::{self, ApplyOutcome};

use crate::args::Global;
use crate::author::author;
use crate::chosen::{line, one_of_several};
use crate::connect::Control;
use crate::documents::read_pools;
use crate::dry_run::DryRunArgs;
use crate::failure::Failure;
use crate::object::{Object as _, View};
use crate::output::{Format, OutputArgs, print, print_list, print_object, warn};

/// Shown at the end of `--help`.
const EXAMPLES: &str = "\
Examples:
  echoctl apply -f edge.yaml -m 'add a greeting'
  echoctl apply -f edge.yaml --dry-run=server
  echoctl get pool/edge -o yaml | sed s/7007/7008/ | echoctl apply -f -";

/// A pool file with every field that may be given, for `--help`.
const POOL_FILE: &str = include_str!("apply/pool.yaml");

/// Flags of `apply`.
#[derive(Debug, clap::Args)]
// Not wrapped: the pool file is there to be copied.
#[command(term_width = 0, after_help = EXAMPLES)]
#[command(after_long_help = format!("{EXAMPLES}\n\nA pool file, with every field it may have:\n\n{}", POOL_FILE.trim_end()))]
pub(crate) struct Args {
    /// A file of one or more pools, YAML or JSON; `-` is standard input. May be given several times.
    #[arg(short, long = "filename", required = true, value_name = "FILE")]
    files: Vec<String>,
    #[command(flatten)]
    dry_run: DryRunArgs,
    /// Change the whole pool in one step, whatever its rollout policy says.
    #[arg(long)]
    now: bool,
    /// Why, for the history.
    #[arg(short, long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    message: String,
    #[command(flatten)]
    output: OutputArgs,
}

/// Applies the files' pools in order. A pool that control refuses does not keep the others from being applied.
///
/// # Errors
/// A file has mistakes, control is away, or it refused a pool.
pub(crate) async fn run(global: &Global, args: Args) -> Result<(), Failure> {
    let pools = read_pools(&args.files)?;
    let format = args.output.output;
    if args.dry_run.client() {
        let lines = pools.iter().map(|pool| line(&pool.path(), "valid", &args.dry_run)).collect::<String>();
        return if is_table(format) { print(&lines) } else { show(&pools, format) };
    }
    let mut control = Control::connect(global).await?;
    let mut applied = Vec::new();
    let mut refused = false;
    for pool in pools {
        let how = How { dry_run: args.dry_run.any(), now: args.now, message: &args.message, keep_nodes: false };
        let answer = send(&mut control, &pool, how).await;
        let Some(response) = one_of_several(&pool.path(), answer)? else {
            refused = true;
            continue;
        };
        warn(&response.warnings);
        if is_table(format) {
            print(&line(&pool.path(), outcome(response.outcome()), &args.dry_run))?;
        }
        applied.push(response.pool.unwrap_or(pool));
    }
    if !is_table(format) {
        show(&applied, format)?;
    }
    if refused { Err(Failure::Partly) } else { Ok(()) }
}

/// How pools are applied.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How<'a> {
    /// Everything is checked, nothing stored.
    pub(crate) dry_run: bool,
    pub(crate) now: bool,
    pub(crate) message: &'a str,
    /// No pool gets fewer nodes than it has.
    pub(crate) keep_nodes: bool,
}

/// Asks control to apply one pool.
///
/// # Errors
/// Control is away or refuses.
pub(crate) async fn send(control: &mut Control, pool: &v1::Pool, how: How<'_>) -> Result<v1::ApplyResponse, Failure> {
    let request = v1::ApplyRequest {
        pool: Some(pool.clone()),
        dry_run: how.dry_run,
        now: how.now,
        author: author(),
        message: how.message.to_owned(),
        keep_nodes: how.keep_nodes,
    };
    let answer = control.pools.apply(request).await;
    answer.map(tonic::Response::into_inner).map_err(|status| control.explain_change(status, "pools"))
}

fn is_table(format: Format) -> bool {
    matches!(format, Format::Table | Format::Wide)
}

fn show(pools: &[v1::Pool], format: Format) -> Result<(), Failure> {
    let view = View::now(false);
    match pools {
        [pool] => print_object(pool, format, &view),
        pools => print_list(pools, "", format, &view),
    }
}

/// What was done, in kubectl's words.
pub(crate) fn outcome(outcome: ApplyOutcome) -> &'static str {
    match outcome {
        ApplyOutcome::Created => "created",
        ApplyOutcome::Unchanged => "unchanged",
        ApplyOutcome::Configured | ApplyOutcome::Unspecified => "configured",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use echo_proto::codec::{self, Strictness};
    use echo_proto::spec;
    use serde_json::Value;

    use super::*;

    fn document() -> Value {
        codec::parse_yaml(POOL_FILE).unwrap().remove(0)
    }

    #[test]
    fn the_pool_file_of_the_help_is_valid_and_shows_the_defaults() {
        let (_, shown) = spec::read_pool(&document()).unwrap();
        let mut bare = document();
        let pool = bare.get_mut("spec").and_then(Value::as_object_mut).unwrap();
        pool.remove("replicas");
        pool.remove("rollout");
        let template = pool.get_mut("template").and_then(Value::as_object_mut).unwrap();
        template.remove("limits");
        template.remove("drain");
        *template.get_mut("listeners").unwrap().pointer_mut("/0/service/echo").unwrap() = serde_json::json!({});
        assert_eq!(spec::read_pool(&bare).unwrap().1, shown);
    }

    #[test]
    fn the_pool_file_of_the_help_has_every_field_that_may_be_given() {
        let wrong = serde_json::json!({"spec": {"?": 0, "autoscale": {"?": 0, "target": {"?": 0}, "up": {"?": 0}}, "rollout": {"?": 0}, "template": {
            "?": 0, "limits": {"?": 0}, "drain": {"?": 0},
            "listeners": [{"?": 0, "guard": {"?": 0}, "proxyProtocol": {"?": 0}, "service": {"?": 0, "echo": {"?": 0}}}, {"service": {"greet": {"?": 0}}}],
        }}});
        let errors = codec::decode::<v1::Pool>(&wrong, Strictness::Strict).errors;
        assert_eq!(errors.len(), 14);
        for error in errors {
            let told = error.cause.replace("there is only", "there are");
            let known = told.strip_prefix("unknown field; there are ").unwrap();
            for field in known.split(", ") {
                assert!(POOL_FILE.contains(&format!("{field}:")), "{}: {field}", error.path);
            }
        }
    }
}
