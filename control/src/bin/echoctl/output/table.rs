//! Tables as kubectl prints them: upper-case titles, columns three blanks apart, nothing after the last one.
//!
//! Used by everything that lists. Cells may hold what a peer sent, so that control characters never reach the terminal.

/// Blanks between two columns.
const GAP: usize = 3;

/// Widths of the columns, as a terminal counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Widths(Vec<usize>);

impl Widths {
    /// Makes room for a row.
    pub(crate) fn fit<S: AsRef<str>>(&mut self, cells: &[S]) {
        if self.0.len() < cells.len() {
            self.0.resize(cells.len(), 0);
        }
        for (width, cell) in self.0.iter_mut().zip(cells) {
            *width = (*width).max(columns(&plain(cell.as_ref())));
        }
    }

    /// One line, with its end.
    pub(crate) fn line<S: AsRef<str>>(&self, cells: &[S]) -> String {
        let mut line = String::new();
        for (width, cell) in self.0.iter().zip(cells) {
            let cell = plain(cell.as_ref());
            line.push_str(&cell);
            line.extend(std::iter::repeat_n(' ', (width + GAP).saturating_sub(columns(&cell))));
        }
        line.truncate(line.trim_end().len());
        line + "\n"
    }
}

/// The whole table; without rows only the titles.
pub(crate) fn render<R: AsRef<[String]>>(titles: &[&str], rows: &[R]) -> String {
    render_in(&mut Widths::default(), titles, rows)
}

/// As [`render`], in columns that are at least as wide as `widths`, which go on below the table.
pub(crate) fn render_in<R: AsRef<[String]>>(widths: &mut Widths, titles: &[&str], rows: &[R]) -> String {
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

/// Columns that a text takes on a terminal: two for what East Asian scripts and pictographs are drawn with, else one.
fn columns(text: &str) -> usize {
    // The wide and fullwidth blocks of Unicode's EastAsianWidth.txt, rounded to whole blocks.
    let wide = |c: char| {
        matches!(u32::from(c), 0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f
            | 0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1f64f | 0x1f900..=0x1f9ff | 0x2_0000..=0x3_fffd)
    };
    text.chars().map(|c| if wide(c) { 2 } else { 1 }).sum()
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
    fn columns_keep_the_room_they_were_given() {
        let mut widths = Widths::default();
        widths.fit(&["", "DRAINING"]);
        let row = |phase: &str| ["n".to_owned(), phase.to_owned(), "0s".to_owned()];
        let table = render_in(&mut widths, &["NAME", "PHASE", "AGE"], &[row("READY")]);
        assert_eq!(table, "NAME   PHASE      AGE\nn      READY      0s\n");
        assert_eq!(widths.line(&row("DRAINING")), "n      DRAINING   0s\n", "the next row lines up");
    }

    #[test]
    fn wide_characters_keep_the_columns() {
        let rows = [vec!["欢迎".to_owned(), "1s".to_owned()], vec!["hi".to_owned(), "2s".to_owned()]];
        assert_eq!(render(&["MESSAGE", "AGE"], &rows), "MESSAGE   AGE\n欢迎      1s\nhi        2s\n");
    }

    #[test]
    fn a_peer_cannot_drive_the_terminal() {
        let rows = [vec!["a\u{1b}[2Jb\nc".to_owned()]];
        assert_eq!(render(&["M"], &rows), "M\na\u{fffd}[2Jb c\n");
    }
}
