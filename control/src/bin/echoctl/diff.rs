//! `echoctl diff`: what applying a file would change.
//!
//! Called by `main`. Changes nothing: control tells what it would store, by a dry run. Both sides are shown as files,
//! without what belongs to the cluster alone, such as versions and status.

use echo_proto::{codec, v1};
use similar::TextDiff;
use tonic::Code;

use crate::apply::{How, send};
use crate::args::Global;
use crate::connect::Control;
use crate::documents::{as_file, read_pools};
use crate::failure::Failure;
use crate::object::Object as _;
use crate::output::console::{Colour, Console};
use crate::output::print;

/// Shown at the end of `--help`.
const EXAMPLES: &str = "\
Exits with 0 when nothing differs, with 1 when something does, and with 2 when that can't be told.

Examples:
  echoctl diff -f edge.yaml
  echoctl get pool/edge -o yaml | sed s/7007/7008/ | echoctl diff -f -";

/// Unchanged lines around a change.
const CONTEXT: usize = 3;

/// Flags of `diff`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A file of one or more pools, YAML or JSON; `-` is standard input. May be given several times.
    #[arg(short, long = "filename", required = true, value_name = "FILE")]
    files: Vec<String>,
}

/// Prints the differences.
///
/// # Errors
/// There are some; or, with another exit code, a file has mistakes, or control is away or refuses.
pub(crate) async fn run(global: &Global, args: Args) -> Result<(), Failure> {
    match differs(global, &args.files).await {
        Ok(false) => Ok(()),
        Ok(true) => Err(Failure::Differs),
        Err(failure) => Err(Failure::NoDiff(Box::new(failure))),
    }
}

async fn differs(global: &Global, files: &[String]) -> Result<bool, Failure> {
    let pools = read_pools(files)?;
    let mut control = Control::connect(global).await?;
    let console = Console::new();
    let mut some = false;
    for pool in pools {
        let stored = match control.pools.get(v1::PoolsGetRequest { name: pool.name().to_owned() }).await {
            Ok(response) => response.into_inner().pool,
            Err(status) if status.code() == Code::NotFound => None,
            Err(status) => return Err(control.explain(status)),
        };
        let applied = send(&mut control, &pool, How { dry_run: true, now: false, message: "" }).await?.pool;
        let diff = unified(&pool.path(), &text(stored.as_ref()), &text(applied.as_ref()));
        some |= !diff.is_empty();
        print(&coloured(&diff, &console))?;
    }
    Ok(some)
}

/// The pool as a file; empty where there is none.
fn text(pool: Option<&v1::Pool>) -> String {
    pool.map(|pool| codec::yaml(&codec::to_human_value(&as_file(pool)))).unwrap_or_default()
}

/// The differences as `diff -u` tells them; empty where there is none.
fn unified(path: &str, stored: &str, applied: &str) -> String {
    let header = (format!("{path} (stored)"), format!("{path} (applied)"));
    let diff = TextDiff::from_lines(stored, applied);
    diff.unified_diff().context_radius(CONTEXT).header(&header.0, &header.1).to_string()
}

fn coloured(diff: &str, console: &Console) -> String {
    let line = |line: &str| {
        let (text, end) = line.strip_suffix('\n').map_or((line, ""), |text| (text, "\n"));
        let colour = match text.chars().next() {
            Some('-') => Colour::Red,
            Some('+') => Colour::Green,
            Some('@') => Colour::Cyan,
            _ => return line.to_owned(),
        };
        console.coloured(colour, text) + end
    };
    diff.split_inclusive('\n').map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_a_unified_diff_and_none_is_nothing() {
        assert_eq!(unified("pool/a", "x: 1\n", "x: 1\n"), "");
        let expected = "--- pool/a (stored)\n+++ pool/a (applied)\n@@ -1,2 +1,2 @@\n x: 1\n-y: 2\n+y: 3\n";
        assert_eq!(unified("pool/a", "x: 1\ny: 2\n", "x: 1\ny: 3\n"), expected);
        let new = unified("pool/a", "", "x: 1\n");
        assert!(new.ends_with("+x: 1\n") && !new.contains("\n-x"), "{new}");
    }

    #[test]
    fn only_what_a_file_can_say_is_compared() {
        let meta = |generation, uid: &str| v1::ObjectMeta {
            name: "a".into(),
            generation,
            uid: uid.into(),
            resource_version: uid.into(),
            ..Default::default()
        };
        let pool = |meta, ready| v1::Pool {
            metadata: Some(meta),
            status: Some(v1::PoolStatus { ready, ..Default::default() }),
            ..Default::default()
        };
        assert_eq!(text(Some(&pool(meta(1, "x"), 1))), text(Some(&pool(meta(2, "y"), 3))));
    }
}
