//! From a column's title and a cell to a condition: `context.cart_value` and `>= 10 && < 20` make
//! `context.cart_value >= 10 && context.cart_value < 20`.
//!
//! Not here: columns that say what a row does (`table`), or the expression language.

use std::sync::Arc;

use super::Written;
use super::csv::Cell;

/// Where the parts of a condition stand in the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spelling {
    /// The title of the column.
    pub(crate) column: Arc<str>,
    /// First byte in the source, first byte in the files, and whether the bytes behind are spelled there as they are.
    pieces: Vec<(usize, usize, bool)>,
}

impl Spelling {
    /// The byte of the files at which the byte `offset` of the source is spelled, or the cell that it came of.
    pub(super) fn offset_in_file(&self, offset: usize) -> usize {
        let index = self.pieces.partition_point(|(start, ..)| *start <= offset).saturating_sub(1);
        self.pieces.get(index).map_or(
            0,
            |(start, place, exact)| {
                if *exact { place + offset.saturating_sub(*start) } else { *place }
            },
        )
    }
}

/// Whether the cell says nothing.
pub(super) fn is_any(cell: &Cell) -> bool {
    cell.text.is_empty() || cell.text == "*"
}

/// What `cell` asks of the column's `title`; `None` if it asks nothing.
pub(super) fn condition(title: &Cell, column: &Arc<str>, cell: &Cell) -> Option<Written> {
    if is_any(cell) {
        return None;
    }
    let mut writer = Writer { title, cell, source: String::new(), pieces: Vec::new() };
    for part in parts(&cell.text) {
        match part {
            Part::Junction(from, to) => {
                writer.glue(" ");
                writer.cell(from, to);
                writer.glue(" ");
            }
            Part::Test(from, to) => writer.test(from, to),
        }
    }
    let Writer { source, pieces, .. } = writer;
    let span = cell.offset..cell.offset + cell.text.len();
    Some(Written { source, span, cell: Some(Spelling { column: Arc::clone(column), pieces }) })
}

/// A whole condition, as a column called `when` and the table's own `when` hold it.
pub(super) fn whole(column: &Arc<str>, cell: &Cell) -> Option<Written> {
    let pieces = vec![(0, cell.offset, cell.exact)];
    let span = cell.offset..cell.offset + cell.text.len();
    let spelling = Spelling { column: Arc::clone(column), pieces };
    (!is_any(cell)).then(|| Written { source: cell.text.clone(), span, cell: Some(spelling) })
}

/// The condition of a row that asks nothing, which stands at `offset`.
pub(super) fn always(offset: usize) -> Written {
    let spelling = Spelling { column: "when".into(), pieces: vec![(0, offset, false)] };
    Written { source: "true".to_owned(), span: offset..offset, cell: Some(spelling) }
}

/// Bytes of a cell.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// `&&` or `||`
    Junction(usize, usize),
    /// One test.
    Test(usize, usize),
}

/// Cuts a cell at `&&` and `||` outside texts and brackets.
fn parts(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let (mut start, mut depth, mut quote) = (0, 0_usize, None);
    let mut characters = text.char_indices().peekable();
    while let Some((index, character)) = characters.next() {
        match (quote, character) {
            (Some(_), '\\') => {
                characters.next();
            }
            (Some(open), _) if character == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(character),
            (None, '(' | '[') => depth += 1,
            (None, ')' | ']') => depth = depth.saturating_sub(1),
            (None, '&' | '|')
                if depth == 0 && characters.peek().is_some_and(|(_, next)| *next == character) =>
            {
                characters.next();
                parts.extend([Part::Test(start, index), Part::Junction(index, index + 2)]);
                start = index + 2;
            }
            (None, _) => {}
        }
    }
    parts.push(Part::Test(start, text.len()));
    parts
}

struct Writer<'a> {
    title: &'a Cell,
    cell: &'a Cell,
    source: String,
    pieces: Vec<(usize, usize, bool)>,
}

impl Writer<'_> {
    /// Text that stands nowhere; complaints about it go to the cell.
    fn glue(&mut self, text: &str) {
        self.pieces.push((self.source.len(), self.cell.offset, false));
        self.source.push_str(text);
    }

    fn title(&mut self) {
        let path = self.title.text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
        if !path {
            self.glue("(");
        }
        self.pieces.push((self.source.len(), self.title.offset, self.title.exact));
        self.source.push_str(&self.title.text);
        self.glue(if path { " " } else { ") " });
    }

    /// The bytes of the cell as they are.
    fn cell(&mut self, from: usize, to: usize) {
        let place = if self.cell.exact { self.cell.offset + from } else { self.cell.offset };
        self.pieces.push((self.source.len(), place, self.cell.exact));
        self.source.push_str(self.cell.text.get(from..to).unwrap_or_default());
    }

    /// A text in quotes of its own.
    fn quoted(&mut self, from: usize, to: usize) {
        let text = self.cell.text.get(from..to).unwrap_or_default();
        let quoted = format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
        let place = if self.cell.exact { self.cell.offset + from } else { self.cell.offset };
        self.pieces.push((self.source.len(), place, false));
        self.source.push_str(&quoted);
    }

    /// One test between junctions.
    fn test(&mut self, from: usize, to: usize) {
        const COMPARISONS: [&str; 7] = [">=", "<=", "==", "!=", ">", "<", "="];
        let whole = self.cell.text.get(from..to).unwrap_or_default();
        let (from, text) = (from + (whole.len() - whole.trim_start().len()), whole.trim());
        let to = from + text.len();
        if let Some(operator) = COMPARISONS.iter().find(|operator| text.starts_with(**operator)) {
            self.title();
            let value = text.get(operator.len()..).unwrap_or_default();
            let value_from = to - value.trim_start().len();
            if matches!(*operator, "==" | "!=") && is_bare_text(value.trim()) {
                self.cell(from, value_from);
                self.quoted(value_from, to);
            } else {
                self.cell(from, to);
            }
        } else if is_membership(text) {
            self.title();
            self.cell(from, to);
        } else if let Some(list) = text.strip_prefix("not ").filter(|rest| is_membership(rest.trim_start())) {
            self.glue("!(");
            self.title();
            self.cell(to - list.trim_start().len(), to);
            self.glue(")");
        } else if let Some((low, high)) = range(text) {
            self.glue("(");
            self.title();
            self.glue(">= ");
            self.cell(from, from + low);
            self.glue(" && ");
            self.title();
            self.glue("< ");
            self.cell(to - high, to);
            self.glue(")");
        } else {
            self.title();
            self.glue("== ");
            if is_literal(text) { self.cell(from, to) } else { self.quoted(from, to) }
        }
    }
}

fn is_membership(text: &str) -> bool {
    text.strip_prefix("in").is_some_and(|rest| rest.trim_start().starts_with('['))
}

/// The lengths of both ends of `10..20`.
fn range(text: &str) -> Option<(usize, usize)> {
    let (low, high) = text.split_once("..")?;
    let (low, high) = (low.trim_end(), high.trim_start());
    (is_number(low) && is_number(high)).then_some((low.len(), high.len()))
}

fn is_number(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '.')) && text.parse::<f64>().is_ok()
}

fn is_literal(text: &str) -> bool {
    matches!(text, "true" | "false") || is_number(text) || text.starts_with(['\'', '"'])
}

/// Whether it is a text without quotes and not the name of another value.
fn is_bare_text(text: &str) -> bool {
    !text.is_empty()
        && !is_literal(text)
        && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | ' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(text: &str, offset: usize) -> Cell {
        Cell { text: text.to_owned(), offset, exact: true }
    }

    fn source(title: &str, text: &str) -> String {
        condition(&cell(title, 0), &"c".into(), &cell(text, 50)).map_or_else(String::new, |made| made.source)
    }

    #[test]
    fn cells_become_conditions() {
        for (text, expected) in [
            ("", ""),
            ("*", ""),
            ("> 2", "a.b > 2"),
            (">= 10 && < 20", "a.b >= 10 && a.b < 20"),
            ("10..20", "(a.b >= 10 && a.b < 20)"),
            ("-5 .. 2.5", "(a.b >= -5 && a.b < 2.5)"),
            ("< 5 || 10..20", "a.b < 5 || (a.b >= 10 && a.b < 20)"),
            ("in ['DE', 'AT']", "a.b in ['DE', 'AT']"),
            ("not in ['DE']", "!(a.b in ['DE'])"),
            ("DE", "a.b == 'DE'"),
            ("!= DE", "a.b != 'DE'"),
            ("== features.x", "a.b == features.x"),
            ("'DE && AT'", "a.b == 'DE && AT'"),
            ("it's", "a.b == 'it\\'s'"),
            ("true", "a.b == true"),
            ("12", "a.b == 12"),
            ("> duration('24h')", "a.b > duration('24h')"),
            ("inside", "a.b == 'inside'"),
        ] {
            assert_eq!(source("a.b", text), expected, "{text}");
        }
        assert_eq!(source("now - a.b", "> 2"), "(now - a.b) > 2");
    }

    #[test]
    fn places_lead_to_the_title_or_into_the_cell() {
        let made = condition(&cell("a.bb", 7), &"c".into(), &cell("> 1 && < xx", 50)).unwrap();
        let spelling = made.cell.unwrap();
        let place = |needle: &str| spelling.offset_in_file(made.source.find(needle).unwrap());
        assert_eq!((place("bb"), place("> 1"), place("&&"), place("xx")), (9, 50, 54, 59));
    }
}
