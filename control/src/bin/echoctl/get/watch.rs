//! `get --watch`: the list, then what changes, as it changes.
//!
//! Called by `get`. It prints what differs from what was printed before, whatever was sent.

use std::cell::RefCell;
use std::ops::ControlFlow;

use echo_proto::v1::WatchType;

use super::known::{Delta, Known};
use crate::connect::Control;
use crate::failure::Failure;
use crate::follow::follow;
use crate::object::source::{Filter, Watched};
use crate::object::{Object, View};
use crate::output::table::{Widths, render_in};
use crate::output::{Format, change, notes, print, value};

/// What an AGE says of an object that is gone.
const GONE: &str = "deleted";

/// Prints the list and its changes, until the stream is beyond hope.
///
/// # Errors
/// Stdout is closed, or control stays away.
pub(super) async fn run<T: Watched>(
    control: &mut Control,
    names: &[String],
    filter: &Filter,
    format: Format,
) -> Result<(), Failure> {
    // `follow` opens the stream and takes its messages in turn.
    let known = RefCell::new(Known::<T>::new(T::KEPT));
    let mut printer = Printer::new(format);
    follow(
        control,
        async |control| {
            known.borrow_mut().reopened();
            let since = known.borrow().version().to_owned();
            T::watch(control, filter, &since).await
        },
        |message| {
            let (deltas, complete) = known.borrow_mut().take(T::change(message));
            let wanted = |d: &Delta<T>| names.is_empty() || names.iter().any(|name| d.object.name() == name);
            printer.show(deltas.into_iter().filter(wanted).collect(), complete)?;
            Ok(ControlFlow::Continue(()))
        },
    )
    .await
}

/// Prints changes in the form that was asked for.
struct Printer<T> {
    format: Format,
    widths: Widths,
    /// The first list, kept until it is complete, so that it comes in its order and its columns line up.
    first: Option<Vec<Delta<T>>>,
}

impl<T: Object> Printer<T> {
    fn new(format: Format) -> Self {
        Self { format, widths: Widths::default(), first: Some(Vec::new()) }
    }

    fn show(&mut self, deltas: Vec<Delta<T>>, complete: bool) -> Result<(), Failure> {
        let is_table = matches!(self.format, Format::Table | Format::Wide);
        if let Some(first) = &mut self.first {
            first.extend(deltas);
            let Some(mut first) = (if complete { self.first.take() } else { None }) else { return Ok(()) };
            first.sort_by_key(|delta| delta.object.rank());
            return if is_table { self.table(&first) } else { first.iter().try_for_each(|delta| self.stream(delta)) };
        }
        deltas.iter().try_for_each(|delta| if is_table { self.row(delta) } else { self.stream(delta) })
    }

    /// One JSON line, YAML document or name a change.
    fn stream(&self, delta: &Delta<T>) -> Result<(), Failure> {
        if self.format == Format::Name {
            return print(&format!("{}\n", delta.object.path()));
        }
        print(&change(delta.kind, &value(&delta.object, self.format), self.format))
    }

    /// The first list. Its columns have room for what they will say, so that later rows stand below them.
    fn table(&mut self, deltas: &[Delta<T>]) -> Result<(), Failure> {
        let view = self.view();
        let titles = T::titles(&view);
        let widest = |title: &&str| if *title == T::AGE { GONE } else { T::widest(title) };
        self.widths.fit(&titles.iter().map(widest).collect::<Vec<_>>());
        let rows: Vec<_> = deltas.iter().map(|delta| delta.object.cells(&view)).collect();
        let table = render_in(&mut self.widths, &titles, &rows);
        print(&(table + &notes(deltas.iter().map(|delta| &delta.object))))
    }

    /// A row again, if more of it changed than its age.
    fn row(&mut self, delta: &Delta<T>) -> Result<(), Failure> {
        let view = self.view();
        let mut cells = delta.object.cells(&view);
        let before = delta.before.as_ref().map(|before| lasting::<T>(&before.cells(&view), &view));
        if delta.kind == WatchType::Deleted {
            let age = T::titles(&view).iter().position(|title| *title == T::AGE);
            if let Some(cell) = age.and_then(|i| cells.get_mut(i)) {
                *cell = GONE.to_owned();
            }
        } else if before.is_some_and(|before| before == lasting::<T>(&cells, &view)) {
            return Ok(());
        }
        self.widths.fit(&cells);
        print(&(self.widths.line(&cells) + &notes([&delta.object])))
    }

    fn view(&self) -> View {
        View { live: false, clock: true, ..View::now(self.format == Format::Wide) }
    }
}

/// The cells that do not change by themselves.
fn lasting<T: Object>(cells: &[String], view: &View) -> Vec<String> {
    let titles = T::titles(view);
    cells.iter().zip(titles).filter(|(_, title)| *title != T::AGE).map(|(cell, _)| cell.clone()).collect()
}
