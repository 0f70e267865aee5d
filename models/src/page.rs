//! Pages for people: one HTML file each, with its plots inside, to be mailed, printed and kept. No script, no font, no
//! address outside of it; light or dark as the reader has it.
//!
//! Not here: what a page says. That is written by whoever knows it: model cards ([`crate::card`]), reports on replays.

mod markup;
mod plot;

pub use markup::{Markup, figure, percent, whole};
pub use plot::{Drawing, Frame, Ink, bars_cell, end, heat_cell, lying_bars, plot, span_cell};

/// Everything that a page looks like; colours follow the reader's light or dark setting.
const STYLE: &str = include_str!("page/style.css");

/// Begins a page: `kind` says what sort of page it is, and stands above its title in `<header>`. The caller writes the
/// header's contents and closes it, and ends the page with [`close`].
pub fn open(page: &mut Markup, title: &str, kind: &str) {
    page.raw("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    page.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    // Nothing may be loaded or run, whatever a page might come to hold.
    page.raw("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">");
    page.raw("<meta name=\"color-scheme\" content=\"light dark\"><title>").text(title).raw("</title><style>");
    page.raw(STYLE).raw("</style></head><body><main><header><p class=\"kind\">").text(kind).raw("</p>");
}

/// Ends a page that [`open`] began.
pub fn close(page: &mut Markup) {
    page.raw("</main></body></html>\n");
}

/// What the colours of a plot mean.
pub fn legend(page: &mut Markup, entries: &[(Ink, &str)]) {
    page.raw("<p class=\"legend\">");
    for (ink, name) in entries {
        page.raw("<span class=\"").raw(ink.class()).raw("\"></span>").text(name).raw(" ");
    }
    page.raw("</p>");
}

/// A box that is read first: `class` is `promote`, `hold`, `reject`, `plain` or `warnings`.
pub fn begin_box(page: &mut Markup, class: &'static str, title: &str) {
    page.raw("<section class=\"notice ").raw(class).raw("\"><h2>").text(title).raw("</h2>");
}

/// Ends a box.
pub fn end_box(page: &mut Markup) {
    page.raw("</section>");
}

/// A list of sentences; nothing when there are none.
pub fn list(page: &mut Markup, items: &[String]) {
    if items.is_empty() {
        return;
    }
    page.raw("<ul>");
    for item in items {
        page.raw("<li>").text(item).raw("</li>");
    }
    page.raw("</ul>");
}

/// Short facts as chips: name and value; those without a value are left out.
pub fn chips(page: &mut Markup, facts: &[(&str, &str)]) {
    page.raw("<ul class=\"chips\">");
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        page.raw("<li><span>").text(name).raw("</span> ").text(value).raw("</li>");
    }
    page.raw("</ul>");
}

/// A table that is folded away until it is asked for.
pub fn details(page: &mut Markup, caption: &str, header: &[&str], rows: &[Vec<String>]) {
    page.raw("<details><summary>The figures</summary>");
    page.table(caption, header, rows);
    page.raw("</details>");
}

/// Key figures as tiles: name, value, and a note below.
pub fn tiles(page: &mut Markup, tiles: &[(&str, String, String)]) {
    page.raw("<dl class=\"tiles\">");
    for (name, value, note) in tiles {
        page.raw("<div><dt>").text(name).raw("</dt><dd>").text(value).raw("</dd><dd class=\"note\">");
        page.text(note).raw("</dd></div>");
    }
    page.raw("</dl>");
}
