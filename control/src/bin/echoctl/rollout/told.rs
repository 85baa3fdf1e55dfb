//! What `rollout status` says while it waits: lines for people, or for programs what control answers, as it changes.
//!
//! Used by `rollout status`. Programs get no words that are made for people: how it ended is the exit code, and why it
//! failed goes to stderr, as for every command.

use std::cell::RefCell;

use echo_proto::v1::{WatchRolloutResponse, WatchType};

use super::progress::News;
use crate::failure::Failure;
use crate::output::console::Console;
use crate::output::{Format, TreeForm, change, document, print, value};

/// Where it is told, and to whom.
pub(super) struct Told {
    console: Console,
    /// For programs; `None`: for people.
    form: Option<TreeForm>,
    /// Changes are told too, and not only how it stands.
    watch: bool,
    /// The answer told last.
    last: RefCell<Option<WatchRolloutResponse>>,
}

impl Told {
    pub(super) fn new(form: Option<TreeForm>, watch: bool) -> Self {
        Self { console: Console::new(), form, watch, last: RefCell::default() }
    }

    pub(super) fn for_people(&self) -> bool {
        self.form.is_none()
    }

    /// What control answers, for programs.
    ///
    /// # Errors
    /// Stdout is closed or full.
    pub(super) fn answer(&self, answer: &WatchRolloutResponse) -> Result<(), Failure> {
        match self.form.and_then(|form| self.document(answer, form.into())) {
            Some(text) => print(&text),
            None => Ok(()),
        }
    }

    /// The answer's text, if it is news: a broken stream begins anew with what is known. An empty one says that the pool
    /// is gone, which is an error.
    fn document(&self, answer: &WatchRolloutResponse, format: Format) -> Option<String> {
        if *answer == WatchRolloutResponse::default() {
            return None;
        }
        let before = self.last.replace(Some(answer.clone()));
        let tree = value(answer, format);
        match before {
            Some(before) if before == *answer => None,
            _ if !self.watch => Some(document(&tree, format)),
            None => Some(change(WatchType::Added, &tree, format)),
            Some(_) => Some(change(WatchType::Modified, &tree, format)),
        }
    }

    /// How far it got, for people.
    pub(super) fn news(&self, news: &News) {
        match news.share {
            _ if !self.for_people() => {}
            Some((done, total)) => self.console.gauge(done, total, &news.line),
            None => self.console.progress(&news.line),
        }
    }

    /// A line to stay, for people.
    pub(super) fn line(&self, line: &str) {
        if self.for_people() {
            self.console.line(line);
        }
    }

    /// Lets stay what was shown last.
    pub(super) fn settle(&self) {
        self.console.settle();
    }

    /// How it ended well, for people.
    ///
    /// # Errors
    /// Stdout is closed or full.
    pub(super) fn result(&self, line: &str) -> Result<(), Failure> {
        if self.for_people() { print(&format!("{line}\n")) } else { Ok(()) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use echo_proto::v1;

    use super::*;

    fn answer(acked: u32) -> WatchRolloutResponse {
        let rollout = Some(v1::Rollout { pool: "edge".into(), acked, ..Default::default() });
        WatchRolloutResponse { rollout, pending: false, newest: None }
    }

    #[test]
    fn each_change_is_one_line_and_what_is_known_is_none() {
        let told = Told::new(Some(TreeForm::Json), true);
        let line = |acked| told.document(&answer(acked), Format::Json);
        let first: serde_json::Value = serde_json::from_str(&line(1).unwrap()).unwrap();
        assert_eq!(first.pointer("/type"), Some(&"ADDED".into()));
        assert_eq!(first.pointer("/object/rollout/acked"), Some(&1.into()));
        assert_eq!(first.pointer("/object/pending"), Some(&false.into()), "what is false too");
        assert_eq!(line(1), None, "the stream began anew");
        let second = line(2).unwrap();
        assert!(second.starts_with('{') && second.contains("\"MODIFIED\"") && second.lines().count() == 1, "{second}");
        assert_eq!(told.document(&WatchRolloutResponse::default(), Format::Json), None);
    }

    #[test]
    fn who_looks_once_gets_one_document() {
        let told = |form| Told::new(Some(form), false).document(&answer(1), form.into()).unwrap();
        let tree: serde_json::Value = serde_json::from_str(&told(TreeForm::Json)).unwrap();
        assert_eq!(tree.pointer("/rollout/pool"), Some(&"edge".into()));
        assert!(told(TreeForm::Yaml).contains("pool: edge"), "{}", told(TreeForm::Yaml));
    }
}
