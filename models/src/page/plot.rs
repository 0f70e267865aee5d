//! Plots as inline SVG: axes, lines, bars, dots with whiskers, each with a title and a description in words.
//!
//! Not here: what is plotted.

use super::markup::Markup;

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 270.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 40.0;

/// The frame of a plot: what its axes span and how they are called.
pub struct Frame {
    /// From where to where, left to right.
    pub x: (f64, f64),
    /// From where to where, bottom to top.
    pub y: (f64, f64),
    /// Below the horizontal axis.
    pub x_label: &'static str,
    /// Beside the vertical axis.
    pub y_label: &'static str,
}

/// How something drawn looks; the words are classes of the style sheet.
#[derive(Clone, Copy)]
pub enum Ink {
    /// What the plot is about.
    Main,
    /// What it is compared with.
    Second,
    /// A line to go by.
    Guide,
}

impl Ink {
    /// The class of the style sheet.
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Second => "second",
            Self::Guide => "guide",
        }
    }
}

/// Draws a plot: `title` and `description` are read out in its place.
pub fn plot(
    page: &mut Markup,
    title: &str,
    description: &str,
    frame: &Frame,
    draw: impl FnOnce(&mut Drawing<'_>),
) {
    page.raw("<figure><figcaption>").text(title).raw("</figcaption>");
    page.shape("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"", &[WIDTH, HEIGHT]);
    page.text(title).raw(". ").text(description).raw("\"><title>").text(title).raw("</title><desc>");
    page.text(description).raw("</desc>");
    let mut drawing = Drawing { page, frame };
    drawing.axes();
    draw(&mut drawing);
    page.raw("</svg>");
}

/// Ends the figure that [`plot`] began.
pub fn end(page: &mut Markup) {
    page.raw("</figure>");
}

/// A plot being drawn into.
pub struct Drawing<'a> {
    page: &'a mut Markup,
    frame: &'a Frame,
}

impl Drawing<'_> {
    fn x(&self, value: f64) -> f64 {
        LEFT + share(value, self.frame.x) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - share(value, self.frame.y) * (HEIGHT - TOP - BOTTOM)
    }

    fn axes(&mut self) {
        let (left, right, bottom, top) = (LEFT, WIDTH - RIGHT, HEIGHT - BOTTOM, TOP);
        for tick in ticks(self.frame.y) {
            let at = self.y(tick);
            self.page.shape(
                "<line class=\"grid\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"/>",
                &[left, at, right, at],
            );
            self.page.shape(
                "<text class=\"tick\" text-anchor=\"end\" x=\"{}\" y=\"{}\">",
                &[left - 5.0, at + 3.5],
            );
            self.page.text(&label(tick, self.frame.y)).raw("</text>");
        }
        for tick in ticks(self.frame.x) {
            let at = self.x(tick);
            self.page.shape(
                "<line class=\"grid\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"/>",
                &[at, bottom, at, top],
            );
            self.page.shape(
                "<text class=\"tick\" text-anchor=\"middle\" x=\"{}\" y=\"{}\">",
                &[at, bottom + 14.0],
            );
            self.page.text(&label(tick, self.frame.x)).raw("</text>");
        }
        let middle = (left + right) / 2.0;
        self.page
            .shape("<text class=\"axis\" text-anchor=\"middle\" x=\"{}\" y=\"{}\">", &[middle, HEIGHT - 6.0]);
        self.page.text(self.frame.x_label).raw("</text>");
        let middle = (top + bottom) / 2.0;
        self.page.shape(
            "<text class=\"axis\" text-anchor=\"middle\" transform=\"translate(12 {}) rotate(-90)\">",
            &[middle],
        );
        self.page.text(self.frame.y_label).raw("</text>");
    }

    /// A line through points.
    pub fn line(&mut self, points: &[(f64, f64)], ink: Ink) {
        self.page.raw("<polyline class=\"line ").raw(ink.class()).raw("\" points=\"");
        for (x, y) in points {
            let (x, y) = (self.x(*x), self.y(*y));
            self.page.shape("{},{} ", &[x, y]);
        }
        self.page.raw("\"/>");
    }

    /// The surface between a line and the bottom.
    pub fn area(&mut self, points: &[(f64, f64)]) {
        let (Some(first), Some(last)) = (points.first(), points.last()) else { return };
        let bottom = HEIGHT - BOTTOM;
        let (from, to) = (self.x(first.0), self.x(last.0));
        self.page.shape("<polygon class=\"area\" points=\"{},{} ", &[from, bottom]);
        for (x, y) in points {
            let (x, y) = (self.x(*x), self.y(*y));
            self.page.shape("{},{} ", &[x, y]);
        }
        self.page.shape("{},{}\"/>", &[to, bottom]);
    }

    /// A dot.
    pub fn dot(&mut self, x: f64, y: f64, ink: Ink) {
        let (x, y) = (self.x(x), self.y(y));
        self.page.raw("<circle class=\"dot ").raw(ink.class());
        self.page.shape("\" cx=\"{}\" cy=\"{}\" r=\"3.4\"/>", &[x, y]);
    }

    /// A whisker from `low` to `high`.
    pub fn whisker(&mut self, x: f64, low: f64, high: f64, ink: Ink) {
        let (x, low, high) = (self.x(x), self.y(low), self.y(high));
        self.page.raw("<line class=\"whisker ").raw(ink.class());
        self.page.shape("\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"/>", &[x, low, x, high]);
    }

    /// A bar from the bottom of the plot.
    pub fn bar(&mut self, from: f64, to: f64, height: f64, ink: Ink) {
        let (left, right) = (self.x(from), self.x(to));
        let (top, bottom) = (self.y(height), HEIGHT - BOTTOM);
        self.page.raw("<rect class=\"bar ").raw(ink.class());
        let numbers = [left, top, (right - left).max(0.5), (bottom - top).max(0.0)];
        self.page.shape("\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>", &numbers);
    }
}

/// Bars that lie, one a row, from a zero in the middle when some values are below it; the names stand to the left.
pub fn lying_bars(page: &mut Markup, title: &str, description: &str, bars: &[(String, f64)]) {
    const ROW: f64 = 19.0;
    const NAMES: f64 = 230.0;
    const ALL: f64 = 760.0;
    let most = bars.iter().fold(0.0, |most, (_, value)| f64::max(most, value.abs()));
    let least = bars.iter().fold(0.0, |least, (_, value)| f64::min(least, *value));
    let room = ALL - NAMES - 70.0;
    let scale = if most > 0.0 { room / (most - least.max(-most)) } else { 0.0 };
    let zero = NAMES - least * scale;
    page.raw("<figure class=\"wide\"><figcaption>").text(title).raw("</figcaption>");
    page.shape(
        "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"",
        &[ALL, bars.len() as f64 * ROW + 8.0],
    );
    page.text(title).raw(". ").text(description).raw("\"><title>").text(title).raw("</title><desc>");
    page.text(description).raw("</desc>");
    for (row, (name, value)) in bars.iter().enumerate() {
        let top = row as f64 * ROW + 4.0;
        page.shape("<text class=\"name\" text-anchor=\"end\" x=\"{}\" y=\"{}\">", &[NAMES - 8.0, top + 12.5]);
        page.text(&shortened(name)).raw("</text>");
        let (left, width) = (zero + value.min(0.0) * scale, value.abs() * scale);
        page.raw(if *value < 0.0 { "<rect class=\"bar second" } else { "<rect class=\"bar main" });
        page.shape(
            "\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"2\"/>",
            &[left, top, width.max(0.5), ROW - 5.0],
        );
        page.shape(
            "<text class=\"tick\" x=\"{}\" y=\"{}\">",
            &[zero + value.max(0.0) * scale + 6.0, top + 12.0],
        );
        page.text(&super::markup::figure(Some(*value), 3)).raw("</text>");
    }
    page.raw("</svg>");
}

/// A table cell with a value and its interval drawn on an axis of `span`, and a line at `guide`. The figures stand
/// in other cells of the row, so this one is not read out.
pub fn span_cell(
    page: &mut Markup,
    (low, value, high): (f64, f64, f64),
    span: (f64, f64),
    guide: Option<f64>,
) {
    const LENGTH: f64 = 160.0;
    let x = |value: f64| 4.0 + share(value, span) * (LENGTH - 8.0);
    page.raw("<td class=\"span\"><svg viewBox=\"0 0 160 16\" aria-hidden=\"true\">");
    page.raw("<line class=\"grid\" x1=\"4\" y1=\"15\" x2=\"156\" y2=\"15\"/>");
    if let Some(guide) = guide {
        let at = x(guide);
        page.shape("<line class=\"line guide\" x1=\"{}\" y1=\"0\" x2=\"{}\" y2=\"16\"/>", &[at, at]);
    }
    page.shape("<line class=\"whisker main\" x1=\"{}\" y1=\"8\" x2=\"{}\" y2=\"8\"/>", &[x(low), x(high)]);
    page.shape("<circle class=\"dot main\" cx=\"{}\" cy=\"8\" r=\"3.4\"/></svg></td>", &[x(value)]);
}

/// A table cell with two bars above each other on an axis from 0 to `most`: what was, and what is now. The figures stand in
/// other cells of the row, so this one is not read out.
pub fn bars_cell(page: &mut Markup, (was, now): (f64, f64), most: f64) {
    let width = |value: f64| (share(value, (0.0, most)) * 152.0).max(0.5);
    page.raw("<td class=\"span\"><svg viewBox=\"0 0 160 16\" aria-hidden=\"true\">");
    page.shape("<rect class=\"bar second\" x=\"4\" y=\"1\" width=\"{}\" height=\"6\"/>", &[width(was)]);
    page.shape(
        "<rect class=\"bar main\" x=\"4\" y=\"9\" width=\"{}\" height=\"6\"/></svg></td>",
        &[width(now)],
    );
}

/// A table cell whose colour tells how much of the whole `share_of_row` is; the figure stands in it.
pub fn heat_cell(page: &mut Markup, share_of_row: f64, text: &str) {
    // Never so strong that text on it is hard to read.
    let strength = share_of_row.clamp(0.0, 1.0) * 45.0;
    page.shape("<td style=\"background:color-mix(in srgb,var(--main) {}%,transparent)\">", &[strength]);
    page.text(text).raw("</td>");
}

/// A name that fits beside its bar.
fn shortened(name: &str) -> String {
    const MOST: usize = 34;
    let mut short: String = name.chars().take(MOST).collect();
    if name.chars().nth(MOST).is_some() {
        short.push('…');
    }
    short
}

fn share(value: f64, (low, high): (f64, f64)) -> f64 {
    if high > low { ((value - low) / (high - low)).clamp(0.0, 1.0) } else { 0.0 }
}

/// Round numbers inside a span: steps of 1, 2 or 5 times a power of ten.
fn ticks((low, high): (f64, f64)) -> Vec<f64> {
    let span = high - low;
    if !span.is_finite() || span <= 0.0 {
        return vec![low];
    }
    let mut power = 1.0_f64;
    while power * 10.0 <= span {
        power *= 10.0;
    }
    while power > span {
        power /= 10.0;
    }
    let step = [0.1, 0.2, 0.5, 1.0, 2.0].into_iter().map(|of| of * power).find(|step| span / step <= 6.0);
    let step = step.unwrap_or(span);
    let first = (low / step).ceil() as i64;
    (first..=first + 6)
        .map(|number| number as f64 * step)
        .take_while(|tick| *tick <= high + step * 1e-9)
        .collect()
}

fn label(tick: f64, (low, high): (f64, f64)) -> String {
    let span = high - low;
    let digits = if span <= 0.02 {
        4
    } else if span <= 0.2 {
        3
    } else if span <= 2.0 {
        1
    } else {
        0
    };
    let digits = if digits == 1 && span < 0.6 { 2 } else { digits };
    format!("{tick:.digits$}")
}
