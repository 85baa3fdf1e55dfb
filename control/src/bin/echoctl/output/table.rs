//! Tables as kubectl prints them: upper-case titles, columns three blanks apart, nothing after the last one.
//!
//! Used by everything that lists. Cells may hold what a peer sent, so that control characters never reach the terminal.

use std::fmt::Write as _;

/// Blanks between two columns.
const GAP: usize = 3;

/// Widths of the columns, in characters.
#[derive(Debug, Clone, Default)]
pub(crate) struct Widths(Vec<usize>);

impl Widths {
    /// Makes room for a row.
    pub(crate) fn fit<S: AsRef<str>>(&mut self, cells: &[S]) {
        if self.0.len() < cells.len() {
            self.0.resize(cells.len(), 0);
        }
        for (width, cell) in self.0.iter_mut().zip(cells) {
            *width = (*width).max(plain(cell.as_ref()).chars().count());
        }
    }

    /// One line, with its end.
    pub(crate) fn line<S: AsRef<str>>(&self, cells: &[S]) -> String {
        let mut line = String::new();
        for (width, cell) in self.0.iter().zip(cells) {
            // Writing to a String cannot fail.
            let _ = write!(line, "{:<1$}", plain(cell.as_ref()), width + GAP);
        }
        line.truncate(line.trim_end().len());
        line + "\n"
    }
}

/// The whole table; without rows only the titles.
pub(crate) fn render<R: AsRef<[String]>>(titles: &[&str], rows: &[R]) -> String {
    let mut widths = Widths::default();
    widths.fit(titles);
    rows.iter().for_each(|row| widths.fit(row.as_ref()));
    let lines = rows.iter().map(|row| widths.line(row.as_ref()));
    widths.line(titles) + &lines.collect::<String>()
}

/// The text without control characters: a line break becomes a blank, anything else a replacement character.
pub(crate) fn plain(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.trim_end().chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_end_clean() {
        let rows = [vec!["node-1".to_owned(), "READY".to_owned()], vec!["n".to_owned(), "-".to_owned()]];
        assert_eq!(render(&["NAME", "PHASE"], &rows), "NAME     PHASE\nnode-1   READY\nn        -\n");
    }

    #[test]
    fn a_peer_cannot_drive_the_terminal() {
        let rows = [vec!["a\u{1b}[2Jb\nc".to_owned()]];
        assert_eq!(render(&["M"], &rows), "M\na\u{fffd}[2Jb c\n");
    }
}
