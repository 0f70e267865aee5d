//! HTML and SVG that cannot be broken out of: markup is written only by the program, everything else goes through
//! escaping or is a number.
//!
//! Not here: what a page says, or how plots are laid out (`plot`).

use std::fmt::Write as _;

/// A page in the making. Only `&'static str` is taken as markup, so text from outside can only be escaped.
#[derive(Debug, Default)]
pub struct Markup {
    out: String,
}

impl Markup {
    /// Markup, as it is.
    pub fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.out.push_str(markup);
        self
    }

    /// Text, escaped for content and for quoted attributes alike. Control characters become spaces.
    pub fn text(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            match c {
                '&' => self.out.push_str("&amp;"),
                '<' => self.out.push_str("&lt;"),
                '>' => self.out.push_str("&gt;"),
                '"' => self.out.push_str("&quot;"),
                '\'' => self.out.push_str("&#39;"),
                c if c.is_control() => self.out.push(' '),
                c => self.out.push(c),
            }
        }
        self
    }

    /// A template whose `{}` are filled with numbers, two digits after the point.
    pub fn shape(&mut self, template: &'static str, numbers: &[f64]) -> &mut Self {
        let mut numbers = numbers.iter();
        for (index, part) in template.split("{}").enumerate() {
            if index > 0 {
                self.number(numbers.next().copied().unwrap_or(0.0));
            }
            self.out.push_str(part);
        }
        self
    }

    /// A coordinate. What is not finite is 0: a plot may be wrong then, but never malformed.
    pub fn number(&mut self, value: f64) -> &mut Self {
        let value = if value.is_finite() { value } else { 0.0 };
        // Writing to a String does not fail.
        let _written = write!(self.out, "{value:.2}");
        self
    }

    /// A cell of a table body.
    pub fn cell(&mut self, text: &str) -> &mut Self {
        self.raw("<td>").text(text).raw("</td>")
    }

    /// A table with a header row and a caption; the first cell of a row heads it.
    pub fn table(&mut self, caption: &str, header: &[&str], rows: &[Vec<String>]) {
        self.begin_table(caption, header);
        for row in rows {
            self.raw("<tr>");
            for (index, cell) in row.iter().enumerate() {
                if index == 0 {
                    self.heading(cell);
                } else {
                    self.cell(cell);
                }
            }
            self.raw("</tr>");
        }
        self.end_table();
    }

    /// Begins a table whose rows the caller writes; [`Self::end_table`] ends it.
    pub fn begin_table(&mut self, caption: &str, header: &[&str]) {
        self.raw("<div class=\"scroll\" tabindex=\"0\"><table><caption>").text(caption);
        self.raw("</caption><thead><tr>");
        for cell in header {
            self.raw("<th scope=\"col\">").text(cell).raw("</th>");
        }
        self.raw("</tr></thead><tbody>");
    }

    /// Ends a table.
    pub fn end_table(&mut self) {
        self.raw("</tbody></table></div>");
    }

    /// The cell that heads a row.
    pub fn heading(&mut self, text: &str) -> &mut Self {
        self.raw("<th scope=\"row\">");
        // Names are one long word: they may break behind what parts them.
        for part in text.split_inclusive(['_', '.', '/', '=']) {
            self.text(part);
            if part.len() < text.len() {
                self.raw("<wbr>");
            }
        }
        self.raw("</th>")
    }

    /// A cell of words, which may be long.
    pub fn words(&mut self, text: &str) -> &mut Self {
        self.raw("<td class=\"words\">").text(text).raw("</td>")
    }

    /// The page.
    pub fn finish(self) -> String {
        self.out
    }
}

/// A number for people: so many digits after the point, none from 10 000 on, `–` when absent.
pub fn figure(value: Option<f64>, digits: usize) -> String {
    value.filter(|value| value.is_finite()).map_or_else(
        || "–".to_owned(),
        |value| {
            let digits = if value.abs() >= 10_000.0 { 0 } else { digits };
            format!("{value:.digits$}")
        },
    )
}

/// A share as per cent.
pub fn percent(share: f64) -> String {
    figure(Some(share * 100.0), if share < 0.1 { 2 } else { 1 }) + " %"
}

/// A whole number in groups of three digits.
pub fn whole(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}
