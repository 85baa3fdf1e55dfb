//! What long work says while it goes on: lines, and on a terminal one line that is written over.
//!
//! Used by `up`, `rollout status` and, for its colours, `doctor`. A terminal that is gone must not end the work: what
//! can't be written is not written.

use std::cell::RefCell;
use std::io::{IsTerminal as _, Write as _};

use super::table::plain;

/// Back to the first column, and clear the line.
const CLEAR: &str = "\r\x1b[K";

/// A line longer than the terminal is cut at its margin (DECAWM off), since [`CLEAR`] clears one row only; then wrap
/// again.
const ONE_ROW: (&str, &str) = ("\x1b[?7l", "\x1b[?7h");

/// Characters of a full progress bar.
const BAR: usize = 20;

/// Colours of a terminal, by their ANSI codes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Colour {
    Red = 31,
    Green = 32,
    Yellow = 33,
    Cyan = 36,
}

/// Standard output, as long work uses it.
#[derive(Debug)]
pub(crate) struct Console {
    terminal: bool,
    colour: bool,
    /// The progress shown last.
    shown: RefCell<String>,
}

impl Console {
    /// Colours only on a terminal, and not against <https://no-color.org>.
    pub(crate) fn new() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { terminal, colour, shown: RefCell::default() }
    }

    /// One that is no terminal.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self { terminal: false, colour: false, shown: RefCell::default() }
    }

    /// A line, or several, to stay.
    pub(crate) fn line(&self, text: &str) {
        let clear = if self.terminal && !self.shown.borrow().is_empty() { CLEAR } else { "" };
        self.shown.borrow_mut().clear();
        self.write(&format!("{clear}{}\n", text.trim_end_matches('\n')));
    }

    /// How far something got: written over by what comes next on a terminal, a line elsewhere.
    pub(crate) fn progress(&self, text: &str) {
        let text = plain(text);
        if *self.shown.borrow() == text {
            return;
        }
        let (cut, wrap) = ONE_ROW;
        self.write(&if self.terminal { format!("{CLEAR}{cut}{text}{wrap}") } else { format!("{text}\n") });
        *self.shown.borrow_mut() = text;
    }

    /// How far something got, with a bar on a terminal.
    pub(crate) fn gauge(&self, done: u32, total: u32, text: &str) {
        self.progress(&if self.terminal { format!("{} {text}", bar(done, total)) } else { text.to_owned() });
    }

    /// Whether progress is written over, so that it may change every second.
    pub(crate) fn rewrites(&self) -> bool {
        self.terminal
    }

    /// Lets the progress shown last stay.
    pub(crate) fn settle(&self) {
        if self.terminal && !self.shown.take().is_empty() {
            self.write("\n");
        }
    }

    /// A part that stands out by its colour.
    pub(crate) fn coloured(&self, colour: Colour, text: &str) -> String {
        if self.colour { format!("\x1b[{}m{text}\x1b[0m", colour as u8) } else { text.to_owned() }
    }

    /// What the eye should find.
    pub(crate) fn bold(&self, text: &str) -> String {
        if self.colour { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn write(&self, text: &str) {
        let mut stdout = std::io::stdout().lock();
        let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    }
}

/// `[##########..........]`; full when there is nothing to do.
fn bar(done: u32, total: u32) -> String {
    let full = if total == 0 { BAR } else { BAR * done.min(total) as usize / total as usize };
    format!("[{}{}]", "#".repeat(full), ".".repeat(BAR - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_full_only_at_the_end() {
        assert_eq!(bar(0, 3), format!("[{}]", ".".repeat(20)));
        assert_eq!(bar(2, 3), format!("[{}{}]", "#".repeat(13), ".".repeat(7)));
        assert_eq!(bar(9_999, 10_000).matches('.').count(), 1);
        for (done, total) in [(3, 3), (4, 3), (0, 0), (u32::MAX, u32::MAX)] {
            assert_eq!(bar(done, total), format!("[{}]", "#".repeat(20)), "{done} of {total}");
        }
    }
}
