//! One run: everything that the plan wants, one after the other, and what was noticed on the way.
//!
//! Called by `main`. What goes wrong ends its own part only; it must never be forgotten at the end.

use std::fmt;

use crate::case::CASES;
use crate::features::FEATURES;
use crate::kind::Kind;
use crate::result::Result;
use crate::{Failure, Plan, busy, features, figures, idle, steady};

/// Part of the name of all features, for `--only`.
const FEATURE: &str = "feature";

/// What was noticed on the way.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) left_out: Vec<LeftOut>,
    /// Parts that failed, and wrong bytes of anybody.
    pub(crate) faults: Vec<String>,
}

/// A rival that was not measured.
#[derive(Debug)]
pub(crate) struct LeftOut {
    pub(crate) case: &'static str,
    pub(crate) server: &'static str,
    pub(crate) why: String,
}

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Met,
    /// A number of the project was missed.
    Missed,
    /// A byte was wrong, or a part could not be measured.
    Faulty,
}

impl Log {
    pub(crate) fn leave_out(&mut self, case: &'static str, kind: Kind, why: impl fmt::Display) {
        // What a server said may have many lines.
        let why = why.to_string().lines().next().unwrap_or_default().to_owned();
        eprintln!("LEFT OUT: {} of {case}: {why}", kind.title());
        self.left_out.push(LeftOut { case, server: kind.title(), why });
    }

    pub(crate) fn fault(&mut self, part: &str, what: impl fmt::Display) {
        eprintln!("FAILED: {part}: {what}");
        self.faults.push(format!("{part}: {what}"));
    }

    /// What a part showed, if it did not fail.
    fn done<T>(&mut self, part: &str, result: std::result::Result<T, Failure>) -> Option<T> {
        result.map_err(|e| self.fault(part, e)).ok()
    }
}

/// Measures what is wanted. Written down after each part, so that a run that is broken off leaves what it has.
pub(crate) fn run(plan: &Plan) -> std::result::Result<Verdict, Failure> {
    let (mut result, mut log) = (Result::new(plan), Log::default());
    for case in CASES.iter().filter(|case| plan.wants(case.name)) {
        let figures = figures::measure(case, plan, &mut log);
        if let Some(figures) = log.done(case.name, figures) {
            figures.print();
            result.cases.push(figures);
        }
        result.write(plan, &log)?;
    }
    if plan.wants(busy::NAME) {
        result.busy = log.done(busy::NAME, busy::measure(plan));
    }
    let features: Vec<_> =
        FEATURES.iter().filter(|feature| plan.wants(&format!("{FEATURE}-{}", feature.name))).collect();
    if !features.is_empty() {
        println!("\nServer CPU time for one echo with a feature, and without");
    }
    for feature in features {
        if let Some(cost) = log.done(feature.name, features::measure(feature, plan)) {
            cost.print();
            result.features.push(cost);
        }
    }
    result.write(plan, &log)?;
    if plan.idle > 0 && plan.wants(idle::NAME) {
        result.idle = log.done(idle::NAME, idle::measure(plan));
        result.write(plan, &log)?;
    }
    if plan.minutes > 0.0 && plan.wants(steady::NAME) {
        result.steady = log.done(steady::NAME, steady::measure(plan));
    }
    result.write(plan, &log)?;
    Ok(judge(&result, &log, plan))
}

/// Prints what is asked and what was seen, and all that a reader of the figures has to know.
fn judge(result: &Result, log: &Log, plan: &Plan) -> Verdict {
    println!("\nThe project's numbers");
    let targets = result.targets();
    targets.iter().for_each(|target| println!("{target}"));
    for LeftOut { case, server, why } in &log.left_out {
        println!("LEFT OUT: {server} of {case}: {why}");
    }
    for fault in &log.faults {
        println!("FAILED: {fault}");
    }
    println!("\nwritten: {}/bench.json and bench.svg", plan.out.display());
    if targets.is_empty() && result.features.is_empty() {
        println!("nothing was measured: --only names no part");
        return Verdict::Faulty;
    }
    match targets.iter().filter(|target| !target.is_met()).count() {
        _ if !log.faults.is_empty() => Verdict::Faulty,
        0 => Verdict::Met,
        missed => {
            println!("{missed} of {} numbers MISSED", targets.len());
            Verdict::Missed
        }
    }
}
