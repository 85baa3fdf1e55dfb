//! The text of a description: fields with their values, and tables below them.
//!
//! Used by the descriptions of each type. What a peer sent never drives the terminal.

use std::fmt::Write as _;

use crate::output::human::NONE;
use crate::output::table::{plain, render};

/// Columns of a field's name.
const NAME_WIDTH: usize = 16;

/// A description in the making.
#[derive(Debug, Default)]
pub(super) struct Sheet(String);

impl Sheet {
    /// `Name:           value`; an empty value is `-`.
    pub(super) fn field(&mut self, name: &str, value: impl AsRef<str>) {
        let value = plain(value.as_ref());
        let value = if value.is_empty() { NONE } else { &value };
        // Writing into a String does not fail.
        let _ = writeln!(self.0, "{:NAME_WIDTH$}{value}", format!("{name}:"));
    }

    /// As [`Self::field`], where there is a value.
    pub(super) fn optional(&mut self, name: &str, value: impl AsRef<str>) {
        if !value.as_ref().is_empty() {
            self.field(name, value);
        }
    }

    /// A field of several values, one a line.
    pub(super) fn fields(&mut self, name: &str, values: impl IntoIterator<Item = String>) {
        let mut values = values.into_iter();
        self.field(name, values.next().unwrap_or_default());
        for value in values {
            let _ = writeln!(self.0, "{:NAME_WIDTH$}{}", "", plain(&value));
        }
    }

    /// A table below its title, or that it has no rows.
    pub(super) fn table(&mut self, name: &str, titles: &[&str], rows: &[Vec<String>]) {
        if rows.is_empty() {
            return self.field(name, "<none>");
        }
        let _ = writeln!(self.0, "{name}:");
        for line in render(titles, rows).lines() {
            let _ = writeln!(self.0, "  {line}");
        }
    }

    /// The whole description.
    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_line_up_and_tables_are_indented() {
        let mut sheet = Sheet::default();
        sheet.field("Name", "node-1\u{1b}[2J");
        sheet.fields("Labels", ["a=1".to_owned(), "b=2".to_owned()]);
        sheet.field("Zone", "");
        sheet.optional("Cordoned by", "");
        sheet.table("Listeners", &["NAME", "PORT"], &[vec!["echo".to_owned(), "7".to_owned()]]);
        sheet.table("Events", &["TYPE"], &[]);
        let expected = "\
Name:           node-1\u{fffd}[2J
Labels:         a=1
                b=2
Zone:           -
Listeners:
  NAME   PORT
  echo   7
Events:         <none>
";
        assert_eq!(sheet.text(), expected);
    }
}
