//! Comma-separated values with the place of every cell, which complaints need.
//!
//! Not here: what cells mean (`cell`, `table`).

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    /// Without quotes and surrounding blanks.
    pub(super) text: String,
    /// The byte of `text` in all files of the policy.
    pub(super) offset: usize,
    /// Whether the file spells `text` byte for byte.
    pub(super) exact: bool,
}

/// A quote that is never closed, or something behind a closing one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) offset: usize,
    pub(super) message: &'static str,
    pub(super) expected: &'static str,
}

/// The cells of the next line that has any, and the rest of the file. Cells stand in double quotes, or extend to the next
/// comma or line break; a doubled quote within quotes is one quote. Lines that are blank or begin with `#` are no rows.
pub(super) fn next_row(
    text: &str,
    base: usize,
    mut from: usize,
) -> Result<Option<(Vec<Cell>, usize)>, Fault> {
    loop {
        let rest = text.get(from..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(None);
        }
        let line = rest.split('\n').next().unwrap_or_default();
        if !line.trim().is_empty() && !line.trim_start().starts_with('#') {
            break;
        }
        from += (line.len() + 1).min(rest.len());
    }
    let mut cells = Vec::new();
    loop {
        let (cell, end) = cell(text, base, from)?;
        cells.push(cell);
        match text.as_bytes().get(end) {
            Some(b',') => from = end + 1,
            Some(_) => return Ok(Some((cells, end + 1))),
            None => return Ok(Some((cells, end))),
        }
    }
}

/// The cells of every line that has any, for whoever does not complain of places.
///
/// # Errors
/// What is wrong with the form of the file, and the byte at which it is.
pub(crate) fn all_rows(text: &str) -> Result<Vec<Vec<String>>, (usize, &'static str)> {
    let (mut rows, mut from) = (Vec::new(), 0);
    loop {
        match next_row(text, 0, from) {
            Ok(Some((cells, next))) => {
                rows.push(cells.into_iter().map(|cell| cell.text).collect());
                from = next;
            }
            Ok(None) => return Ok(rows),
            Err(fault) => return Err((fault.offset, fault.message)),
        }
    }
}

/// The cell that begins at `from`, and where its comma, its line break or the file's end stands.
fn cell(text: &str, base: usize, from: usize) -> Result<(Cell, usize), Fault> {
    let rest = text.get(from..).unwrap_or_default();
    let blank = rest.len() - rest.trim_start_matches([' ', '\t']).len();
    let quoted = rest.get(blank..).and_then(|rest| rest.strip_prefix('"'));
    let Some(quoted) = quoted else {
        let end = rest.find([',', '\n']).unwrap_or(rest.len());
        let text = rest.get(blank.min(end)..end).unwrap_or_default().trim();
        let offset = base + from + blank.min(end);
        return Ok((Cell { text: text.to_owned(), offset, exact: true }, from + end));
    };
    let start = from + blank + 1;
    let mut value = String::new();
    let mut position = 0;
    loop {
        let rest = quoted.get(position..).unwrap_or_default();
        let Some(quote) = rest.find('"') else {
            let (message, expected) = ("the quote that opens here is not closed", "`\"`");
            return Err(Fault { offset: base + start - 1, message, expected });
        };
        value.push_str(rest.get(..quote).unwrap_or_default());
        position += quote + 1;
        if quoted.as_bytes().get(position) != Some(&b'"') {
            break;
        }
        value.push('"');
        position += 1;
    }
    let tail = quoted.get(position..).unwrap_or_default();
    let end = tail.find([',', '\n']).unwrap_or(tail.len());
    if !tail.get(..end).unwrap_or_default().trim().is_empty() {
        let blank = tail.len() - tail.trim_start().len();
        let (message, expected) =
            ("something stands behind the closing quote", "a comma or the end of the line");
        return Err(Fault { offset: base + start + position + blank, message, expected });
    }
    let trimmed = value.trim();
    let lead = value.len() - value.trim_start().len();
    let exact = position == value.len() + 1;
    let cell = Cell { text: trimmed.to_owned(), offset: base + start + if exact { lead } else { 0 }, exact };
    Ok((cell, start + position + end))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(text: &str) -> Result<Vec<Vec<String>>, Fault> {
        let (mut rows, mut from) = (Vec::new(), 0);
        while let Some((row, next)) = next_row(text, 0, from)? {
            rows.push(row.into_iter().map(|cell| cell.text).collect());
            from = next;
        }
        Ok(rows)
    }

    #[test]
    fn cells_are_plain_or_quoted() {
        let text = "a, b ,\"c,d\"\r\n\n# nothing\n\"say \"\"hi\"\"\",,\"x\ny\"\n";
        assert_eq!(rows(text).unwrap(), [vec!["a", "b", "c,d"], vec!["say \"hi\"", "", "x\ny"]]);
        assert_eq!(rows("").unwrap(), Vec::<Vec<String>>::new());
        assert_eq!(rows("a").unwrap(), [vec!["a"]]);
        assert_eq!(rows("a,").unwrap(), [vec!["a", ""]]);
    }

    #[test]
    fn places_are_exact() {
        let text = "a, bb ,\" c\"\n";
        let (cells, _) = next_row(text, 100, 0).unwrap().unwrap();
        for cell in cells {
            let start = cell.offset - 100;
            assert_eq!(&text[start..start + cell.text.len()], cell.text);
            assert!(cell.exact);
        }
    }

    #[test]
    fn quotes_must_close_and_end_the_cell() {
        assert_eq!(rows("a,\"b\nc").unwrap_err().offset, 2);
        assert_eq!(rows("\"b\" c,d").unwrap_err().offset, 4);
    }

    proptest! {
        #[test]
        fn no_text_panics_and_every_row_goes_on(text in "[a\", \n\r#é]{0,60}") {
            let mut from = 0;
            while let Ok(Some((row, next))) = next_row(&text, 0, from) {
                prop_assert!(next > from && next <= text.len() && !row.is_empty());
                from = next;
            }
        }
    }
}
