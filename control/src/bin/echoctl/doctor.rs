//! `echoctl doctor`: looks for what is wrong, or soon will be, on this machine and in the cluster.
//!
//! Called by `main`. It only asks and reads. Where control is away it still tells what it found here, and what to do.

mod checks;

use echo_proto::v1::{Finding, Severity};
use echo_proto::{API_VERSION, codec};
use serde_json::json;

use crate::args::Global;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::console::{Colour, Console};
use crate::output::table::{Widths, plain};
use crate::output::{TreeForm, document, print};

/// Shown at the end of `--help`.
const EXAMPLES: &str = "\
Examples:
  echoctl doctor
  echoctl doctor --context lab --strict
  echoctl doctor -o json | jq '.items[] | select(.severity != \"SEVERITY_OK\")'";

/// Flags of `doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Exit with 1 on warnings too, not only on errors.
    #[arg(long)]
    strict: bool,
    /// Form of the result.
    #[arg(short, long, value_enum, value_name = "FORM")]
    output: Option<TreeForm>,
}

/// Looks at everything and tells what was found.
///
/// # Errors
/// Something is wrong; it was told.
pub(crate) async fn run(global: &Global, args: Args) -> Result<(), Failure> {
    let mut findings = vec![checks::open_files()];
    match Context::resolve(global) {
        Err(Failure::Usage(cause)) => return Err(Failure::Usage(cause)),
        Err(failure) => findings.push(checks::broken_config(&failure)),
        Ok(context) => {
            findings.push(checks::context(&context));
            findings.extend(checks::control(&context).await);
        }
    }
    match args.output {
        None => print(&text(&findings, &Console::new()))?,
        Some(form) => print(&document(&tree(&findings), form.into()))?,
    }
    let bad = |finding: &Finding| match finding.severity() {
        Severity::Error => true,
        Severity::Warning => args.strict,
        Severity::Ok | Severity::Unspecified => false,
    };
    if findings.iter().any(bad) { Err(Failure::Partly) } else { Ok(()) }
}

fn tree(findings: &[Finding]) -> serde_json::Value {
    let items: Vec<_> = findings.iter().map(codec::to_value).collect();
    json!({"apiVersion": API_VERSION, "kind": "FindingList", "items": items})
}

/// One line a finding, and below it what more there is to say and what to do about it; then the verdict.
fn text(findings: &[Finding], console: &Console) -> String {
    let rows: Vec<_> = findings.iter().map(row).collect();
    let mut widths = Widths::default();
    widths.fit(&["RESULT", "CHECK", "OBJECT"]);
    // The message is the last column: it needs no room beyond its own.
    rows.iter().filter_map(|row| row.get(..3)).for_each(|cells| widths.fit(cells));
    widths.fit(&["", "", "", "MESSAGE"]);
    let mut text = widths.line(&["RESULT", "CHECK", "OBJECT", "MESSAGE"]);
    for (finding, row) in findings.iter().zip(&rows) {
        let (word, colour) = result(finding.severity());
        let line = widths.line(row);
        text += &console.coloured(colour, word);
        text += line.strip_prefix(word).unwrap_or(&line);
        text.extend(finding.message.lines().skip(1).map(|line| format!("    {}\n", plain(line.trim_start()))));
        if finding.severity() != Severity::Ok && !finding.hint.is_empty() {
            text += &format!("    {}\n", plain(&finding.hint));
        }
    }
    let count = |severity| findings.iter().filter(|finding| finding.severity() == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let verdict = match (errors, warnings) {
        (0, 0) => "all is well".to_owned(),
        (0, _) => format!("nothing failed, {warnings} to be warned of"),
        _ => format!("{errors} failed, {warnings} to be warned of"),
    };
    text + &format!("{} looked at: {verdict}\n", findings.len())
}

fn row(finding: &Finding) -> [String; 4] {
    let (word, _) = result(finding.severity());
    [
        word.to_owned(),
        finding.check.clone(),
        finding.object.clone(),
        finding.message.lines().next().unwrap_or_default().to_owned(),
    ]
}

fn result(severity: Severity) -> (&'static str, Colour) {
    match severity {
        Severity::Ok => ("ok", Colour::Green),
        Severity::Error => ("FAIL", Colour::Red),
        // What a newer control may tell is worth a look.
        Severity::Warning | Severity::Unspecified => ("warn", Colour::Yellow),
    }
}

/// A finding that is as it should be.
fn fine(check: &str, object: &str, message: impl Into<String>) -> Finding {
    finding(check, Severity::Ok, object, message, "")
}

fn finding(check: &str, severity: Severity, object: &str, message: impl Into<String>, hint: &str) -> Finding {
    Finding {
        check: check.to_owned(),
        severity: severity.into(),
        object: object.to_owned(),
        message: message.into(),
        hint: hint.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_well_stands_out_with_its_hint_below() {
        let findings = [
            fine("OpenFiles", "client", "1024"),
            finding("ControlAnswers", Severity::Error, "control/http://a:1", "refused", "start one"),
            finding("ClockSkew", Severity::Warning, "client", "2s\n  a: more", "set the clock"),
        ];
        let expected = "RESULT   CHECK            OBJECT               MESSAGE\n\
                        ok       OpenFiles        client               1024\n\
                        FAIL     ControlAnswers   control/http://a:1   refused\n    start one\n\
                        warn     ClockSkew        client               2s\n    a: more\n    set the clock\n\
                        3 looked at: 1 failed, 1 to be warned of\n";
        assert_eq!(text(&findings, &Console::plain()), expected);
        let verdict = |n| text(findings.get(n).map(std::slice::from_ref).unwrap_or_default(), &Console::plain());
        assert!(verdict(0).ends_with("\n1 looked at: all is well\n"), "{}", verdict(0));
        assert!(verdict(2).ends_with("\n1 looked at: nothing failed, 1 to be warned of\n"), "{}", verdict(2));
    }
}
