//! What commands print, and in which form.
//!
//! Used by the verbs. Only results go to stdout, through [`print()`], which a closed pipe ends quietly.

pub(crate) mod console;
pub(crate) mod human;
pub(crate) mod table;

use std::io::Write as _;

use clap::ValueEnum;
use echo_proto::codec::Message;
use echo_proto::v1::WatchType;
use echo_proto::{API_VERSION, codec};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::object::{Object, View};

/// The form of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people, about 80 columns.
    #[default]
    Table,
    /// For people, with more columns.
    Wide,
    /// Canonical protobuf JSON, with what is zero or false.
    Json,
    /// The form of pool files: what is shown can be applied again.
    Yaml,
    /// One TYPE/NAME a line.
    Name,
}

/// The form of a result that is no object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// For people.
    Table,
    /// One document.
    Json,
}

/// The form of what people read as text, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TreeForm {
    Json,
    Yaml,
}

impl From<TreeForm> for Format {
    fn from(form: TreeForm) -> Self {
        match form {
            TreeForm::Json => Self::Json,
            TreeForm::Yaml => Self::Yaml,
        }
    }
}

/// The flag of every command that shows objects.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct OutputArgs {
    /// Form of the result.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    pub(crate) output: Format,
}

/// Writes text to stdout at once.
///
/// # Errors
/// Stdout is closed or full.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Failure::Output)
}

/// Writes a line to stderr, which is for what is no result. A stderr that is gone has nobody to tell.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Tells what a person should know though it was done.
pub(crate) fn warn(warnings: &[String]) {
    for warning in warnings {
        tell(&format!("warning: {}", table::plain(warning)));
    }
}

/// Prints one object by itself.
///
/// # Errors
/// Stdout is closed or full.
pub(crate) fn print_object<T: Object>(object: &T, format: Format, view: &View) -> Result<(), Failure> {
    match format {
        Format::Json | Format::Yaml => print(&document(&value(object, format), format)),
        _ => print_rows(std::slice::from_ref(object), format, view),
    }
}

/// Prints a list of objects.
///
/// # Errors
/// Stdout is closed or full.
pub(crate) fn print_list<T: Object>(items: &[T], version: &str, format: Format, view: &View) -> Result<(), Failure> {
    match format {
        Format::Json | Format::Yaml => {
            let items: Vec<Value> = items.iter().map(|item| value(item, format)).collect();
            let list = json!({
                "apiVersion": API_VERSION, "kind": "List", "metadata": {"resourceVersion": version}, "items": items,
            });
            print(&document(&list, format))
        }
        _ => print_rows(items, format, view),
    }
}

fn print_rows<T: Object>(items: &[T], format: Format, view: &View) -> Result<(), Failure> {
    if format == Format::Name {
        return print(&items.iter().map(|item| format!("{}\n", item.path())).collect::<String>());
    }
    print(&table_of(items, view))
}

/// The table of objects, and below it what their rows have no room for.
pub(crate) fn table_of<T: Object>(items: &[T], view: &View) -> String {
    let rows: Vec<_> = items.iter().map(|item| item.cells(view)).collect();
    table::render(&T::titles(view), &rows) + &notes(items)
}

/// What rows have no room for, a line each.
pub(crate) fn notes<'a, T: Object + 'a>(items: impl IntoIterator<Item = &'a T>) -> String {
    items.into_iter().filter_map(Object::note).map(|note| format!("{}\n", table::plain(&note))).collect()
}

/// The message as a tree, in the words of the format.
pub(crate) fn value<T: Message>(object: &T, format: Format) -> Value {
    if format == Format::Yaml { codec::to_human_value(object) } else { codec::to_full_value(object) }
}

/// The text of a change that a watch tells: a JSON line, or a YAML document.
pub(crate) fn change(kind: WatchType, object: &Value, format: Format) -> String {
    let kind = kind.as_str_name().trim_start_matches("WATCH_TYPE_");
    let change = json!({"type": kind, "object": object});
    match format {
        Format::Yaml => format!("---\n{}", document(&change, Format::Yaml)),
        _ => format!("{change}\n"),
    }
}

/// The text of a tree.
pub(crate) fn document(value: &Value, format: Format) -> String {
    if format == Format::Yaml {
        return codec::yaml(value);
    }
    // `{:#}` of a tree is pretty-printed JSON.
    format!("{value:#}\n")
}
