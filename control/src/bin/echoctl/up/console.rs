//! What `up` says while it works: lines, and on a terminal one line that is written over.
//!
//! Used by `up` only. A terminal that is gone must not end the cluster: what can't be written is not written.

use std::cell::RefCell;
use std::io::{IsTerminal as _, Write as _};

use crate::output::table::plain;

/// Back to the first column, and clear the line.
const CLEAR: &str = "\r\x1b[K";

/// Standard output, as `up` uses it.
#[derive(Debug)]
pub(super) struct Console {
    terminal: bool,
    colour: bool,
    /// The progress shown last.
    shown: RefCell<String>,
}

impl Console {
    /// Colours only on a terminal, and not against <https://no-color.org>.
    pub(super) fn new() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { terminal, colour, shown: RefCell::default() }
    }

    /// A line, or several, to stay.
    pub(super) fn line(&self, text: &str) {
        let clear = if self.terminal && !self.shown.borrow().is_empty() { CLEAR } else { "" };
        self.shown.borrow_mut().clear();
        self.write(&format!("{clear}{}\n", text.trim_end_matches('\n')));
    }

    /// How far something got: written over by what comes next on a terminal, a line elsewhere.
    pub(super) fn progress(&self, text: &str) {
        let text = plain(text);
        if *self.shown.borrow() == text {
            return;
        }
        self.write(&if self.terminal { format!("{CLEAR}{text}") } else { format!("{text}\n") });
        *self.shown.borrow_mut() = text;
    }

    /// Lets the progress shown last stay.
    pub(super) fn settle(&self) {
        if self.terminal && !self.shown.take().is_empty() {
            self.write("\n");
        }
    }

    /// What the eye should find.
    pub(super) fn bold(&self, text: &str) -> String {
        if self.colour { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn write(&self, text: &str) {
        let mut stdout = std::io::stdout().lock();
        let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    }
}
