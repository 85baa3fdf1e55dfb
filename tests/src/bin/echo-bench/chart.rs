//! The run as a chart: for each case a bar a server, as long as an echo costs it, and the interval of its ratio.
//!
//! Drawn as SVG with colours that can be read on light and on dark pages. Pure.

use std::fmt::Write;

use crate::figures::{Figure, Figures};
use crate::server::Kind;

const WIDTH: f64 = 760.0;
/// Where bars begin, and how long the longest that is drawn whole is.
const LEFT: f64 = 170.0;
const LONGEST: f64 = 330.0;
const ROW: f64 = 18.0;
/// Above each case, for its title.
const TITLE: f64 = 26.0;
/// Bars that are longer than so many times the base's are cut: Python would hide all else.
const CUT: f64 = 4.0;
/// GitHub shows an image on both kinds of page; these greys and blues keep their contrast on either.
const STYLE: &str = "text{font:12px sans-serif;fill:#57606a}.t{font-weight:bold}.o{fill:#0a7bd8}.r{fill:#8c959f}\
.b{stroke:#bf8700;stroke-width:1.5}@media(prefers-color-scheme:dark){text{fill:#b1bac4}.o{fill:#58a6ff}.r{fill:#6e7681}}";

/// The whole chart.
pub(crate) fn draw(cases: &[Figures], caption: &str) -> String {
    let height = TITLE * 2.0 + cases.iter().map(|case| TITLE + ROW * case.servers.len() as f64).sum::<f64>();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n<style>{STYLE}</style>\n"
    );
    text(&mut svg, 4.0, 16.0, "", "Server CPU time for one echo, in microseconds, and its ratio to the first (95 %)");
    let mut y = TITLE;
    for case in cases {
        text(&mut svg, 4.0, y + 18.0, "t", case.case.title);
        y += TITLE;
        let base = case.servers.first().map_or(1.0, |figure| figure.cpu.median);
        for figure in &case.servers {
            bar(&mut svg, y, figure, base);
            y += ROW;
        }
    }
    text(&mut svg, 4.0, y + 18.0, "", caption);
    svg + "</svg>\n"
}

fn bar(svg: &mut String, y: f64, figure: &Figure, base: f64) {
    let ratio = figure.cpu.median / base;
    let width = (ratio / CUT).min(1.0) * LONGEST;
    let class = if figure.kind == Kind::Node { "o" } else { "r" };
    text(svg, 12.0, y + 12.0, "", figure.kind.title());
    // Writing to a string cannot fail.
    let _ = writeln!(svg, r#"<rect class="{class}" x="{LEFT}" y="{y}" width="{width:.1}" height="14"/>"#);
    let base_x = LEFT + LONGEST / CUT;
    let _ = writeln!(svg, r#"<line class="b" x1="{base_x}" x2="{base_x}" y1="{y}" y2="{}"/>"#, y + ROW);
    let cut = if ratio > CUT { " (cut)" } else { "" };
    let ratio = figure.ratio;
    let label = format!("{:.2}  x{:.2} [{:.2}, {:.2}]{cut}", figure.cpu.median, ratio.median, ratio.low, ratio.high);
    text(svg, LEFT + width + 6.0, y + 12.0, "", &label);
}

fn text(svg: &mut String, x: f64, y: f64, class: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, r#"<text class="{class}" x="{x:.1}" y="{y}">{words}</text>"#);
}
