//! The run as a chart: for each case a bar a server, as long as an echo costs it, and the interval of its ratio.
//!
//! Drawn as SVG with colours that can be read on light and on dark pages. Pure.

use std::fmt::Write;

use crate::figures::{Figure, Figures};
use crate::kind::Kind;
use crate::stats::Middle;

const COLUMNS: usize = 2;
const COLUMN: f64 = 500.0;
/// Where bars begin in their column, and how long the longest that is drawn whole is.
const LEFT: f64 = 154.0;
const LONGEST: f64 = 150.0;
const ROW: f64 = 19.0;
const BAR: f64 = 14.0;
/// Above each case, for its title.
const TITLE: f64 = 34.0;
/// Bars that are longer than so many times the base's are cut: a process for each connection would hide all else.
const CUT: f64 = 3.0;
/// Of text, two above all and one below.
const LINE: f64 = 20.0;
/// Pages show an image on white or on black; these keep their contrast on either.
const STYLE: &str = "text{font:12px sans-serif;fill:#424a53}.t{font-weight:bold}.n{font-weight:bold;fill:#0969da}\
.o{fill:#0969da}.r{fill:#8c959f}.b{stroke:#bc4c00;stroke-width:1.5;stroke-dasharray:3 2}\
@media(prefers-color-scheme:dark){text{fill:#c9d1d9}.n,.o{fill:#58a6ff}.r{fill:#6e7681}.b{stroke:#f0883e}}";

/// The whole chart.
pub(crate) fn draw(cases: &[Figures], caption: &str) -> String {
    let rows: f64 = cases.chunks(COLUMNS).map(height).sum();
    let (width, height_of_all) = (COLUMN * COLUMNS as f64, rows + 3.5 * LINE);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height_of_all}\" role=\"img\">\n\
         <style>{STYLE}</style>\n"
    );
    text(&mut svg, (4.0, 16.0), "t", "Server CPU time for one echo, in microseconds: the shorter the better");
    let beside = "beside it, over that of the first of each group (dashed line): median and 95 % interval";
    text(&mut svg, (4.0, 16.0 + LINE), "", beside);
    let mut y = 2.0 * LINE;
    for row in cases.chunks(COLUMNS) {
        for (column, case) in row.iter().enumerate() {
            group(&mut svg, (COLUMN * column as f64, y), case);
        }
        y += height(row);
    }
    text(&mut svg, (4.0, y + LINE + 4.0), "", caption);
    svg + "</svg>\n"
}

/// Of cases side by side.
fn height(row: &[Figures]) -> f64 {
    TITLE + ROW * row.iter().map(|case| case.servers.len()).max().unwrap_or(0) as f64
}

fn group(svg: &mut String, (x, y): (f64, f64), case: &Figures) {
    text(svg, (x + 4.0, y + TITLE - 9.0), "t", case.case.title);
    for (place, figure) in case.servers.iter().enumerate() {
        bar(svg, (x, y + TITLE + ROW * place as f64), figure);
    }
    let (at, top) = (x + LEFT + LONGEST / CUT, y + TITLE - 2.0);
    let bottom = y + TITLE + ROW * case.servers.len() as f64 - 3.0;
    // Writing to a string cannot fail.
    let _ = writeln!(svg, r#"<line class="b" x1="{at}" x2="{at}" y1="{top}" y2="{bottom}"/>"#);
}

fn bar(svg: &mut String, (x, y): (f64, f64), figure: &Figure) {
    let width = (figure.ratio.median / CUT).min(1.0) * LONGEST;
    let ours = matches!(figure.kind, Kind::Node(_));
    let (name, class) = if ours { ("n", "o") } else { ("", "r") };
    text(svg, (x + 12.0, y + 11.5), name, figure.kind.title());
    let left = x + LEFT;
    let _ = writeln!(svg, r#"<rect class="{class}" x="{left}" y="{y}" width="{width:.1}" height="{BAR}" rx="1"/>"#);
    // Right of the dashed line, whatever the bar.
    let label_x = left + width.max(LONGEST / CUT) + 6.0;
    text(svg, (label_x, y + 11.5), name, &label(figure));
}

fn label(figure: &Figure) -> String {
    let (cpu, Middle { median, low, high }) = (short(figure.cpu.median), figure.ratio);
    if low >= high {
        return cpu;
    }
    let cut = if median > CUT { "\u{2026} " } else { "" };
    format!("{cut}{cpu}  \u{d7}{} [{}, {}]", short(median), short(low), short(high))
}

/// In about three digits.
fn short(value: f64) -> String {
    let decimals = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.decimals$}")
}

fn text(svg: &mut String, (x, y): (f64, f64), class: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, r#"<text class="{class}" x="{x:.1}" y="{y:.1}">{words}</text>"#);
}
