//! What is different between two files of a decision table: columns, then rows, cell by cell.
//!
//! Rows have no names. Those that are alike in all common columns are matched, in order, as many as can be; what is left
//! between two matches is paired off as changed rows, and the rest came or went. Not here: what rows mean (`file::table`).

use crate::diff::{Difference, DifferenceKind};
use crate::file::all_rows;

/// Pairs of rows that are compared to match as many as can be; beyond it rows are paired off by their place.
const MAX_PAIRS: usize = 4_000_000;

/// Every difference from the table file `before` to `after`: columns first, then rows by their number in the newer file, those
/// that went by the one in the older.
///
/// # Errors
/// What is wrong with the form of a file: `(true, ..)` of `before`, `(false, ..)` of `after`.
pub fn diff_tables(before: &str, after: &str) -> Result<Vec<Difference>, (bool, String)> {
    let read = |text: &str, is_before: bool| {
        all_rows(text).map_err(|(offset, problem)| {
            let line = text.get(..offset).unwrap_or_default().matches('\n').count() + 1;
            (is_before, format!("line {line}: {problem}"))
        })
    };
    let (before, after) = (Table::new(read(before, true)?), Table::new(read(after, false)?));
    let mut differences = before.columns_against(&after);
    let common: Vec<&str> = before.titles().filter(|title| after.column(title).is_some()).collect();
    let (old, new) = (before.cells(&common), after.cells(&common));
    let mut at = (0, 0);
    for (one, two) in matches(&old, &new).into_iter().chain([(old.len(), new.len())]) {
        rows_between(&old, at.0..one, &new, at.1..two, &common, &mut differences);
        at = (one + 1, two + 1);
    }
    Ok(differences)
}

/// Titles and rows.
struct Table {
    titles: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(rows: Vec<Vec<String>>) -> Self {
        let mut rows = rows.into_iter();
        Self { titles: rows.next().unwrap_or_default(), rows: rows.collect() }
    }

    fn titles(&self) -> impl Iterator<Item = &str> {
        self.titles.iter().map(String::as_str)
    }

    fn column(&self, title: &str) -> Option<usize> {
        self.titles.iter().position(|known| known == title)
    }

    fn columns_against(&self, after: &Self) -> Vec<Difference> {
        let column = |kind, title: &str| Difference::whole(kind, &format!("column {title}"));
        let gone = self.titles().filter(|title| after.column(title).is_none());
        let gone = gone.map(|title| column(DifferenceKind::Removed, title));
        let come = after.titles().filter(|title| self.column(title).is_none());
        let mut differences: Vec<_> =
            gone.chain(come.map(|title| column(DifferenceKind::Added, title))).collect();
        let kept: Vec<&str> = self.titles().filter(|title| after.column(title).is_some()).collect();
        if !kept.iter().copied().eq(after.titles().filter(|title| self.column(title).is_some())) {
            differences.push(Difference::whole(DifferenceKind::Moved, "columns"));
        }
        differences
    }

    /// The rows, with the cells of these columns alone.
    fn cells(&self, columns: &[&str]) -> Vec<Vec<&str>> {
        let places: Vec<Option<usize>> = columns.iter().map(|title| self.column(title)).collect();
        let mut rows = Vec::with_capacity(self.rows.len());
        for row in &self.rows {
            let cell =
                |place: &Option<usize>| place.and_then(|place| row.get(place)).map_or("", String::as_str);
            rows.push(places.iter().map(cell).collect());
        }
        rows
    }
}

/// Pairs of equal rows, as many as can be, ascending on both sides.
fn matches(old: &[Vec<&str>], new: &[Vec<&str>]) -> Vec<(usize, usize)> {
    let alike = |pair: &(&Vec<&str>, &Vec<&str>)| pair.0 == pair.1;
    let head = old.iter().zip(new).take_while(alike).count();
    let (old_rest, new_rest) = (old.get(head..).unwrap_or_default(), new.get(head..).unwrap_or_default());
    let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(alike).count();
    let old_rest = old_rest.get(..old_rest.len() - tail).unwrap_or_default();
    let new_rest = new_rest.get(..new_rest.len() - tail).unwrap_or_default();
    let between = longest_common(old_rest, new_rest).into_iter().map(|(one, two)| (head + one, head + two));
    let ends = (0..tail).map(|from| (head + old_rest.len() + from, head + new_rest.len() + from));
    (0..head).map(|place| (place, place)).chain(between).chain(ends).collect()
}

/// The longest common subsequence.
fn longest_common(old: &[Vec<&str>], new: &[Vec<&str>]) -> Vec<(usize, usize)> {
    let width = new.len() + 1;
    if old.is_empty() || new.is_empty() || old.len().saturating_mul(new.len()) > MAX_PAIRS {
        return Vec::new();
    }
    // By how many of each are left: the length of the longest from there on.
    let mut longest = vec![0_u32; (old.len() + 1) * width];
    let at = |one: usize, two: usize| one * width + two;
    let of = |longest: &[u32], place: usize| longest.get(place).copied().unwrap_or(0);
    for (one, old_row) in old.iter().enumerate().rev() {
        for (two, new_row) in new.iter().enumerate().rev() {
            let length = if old_row == new_row {
                of(&longest, at(one + 1, two + 1)) + 1
            } else {
                of(&longest, at(one + 1, two)).max(of(&longest, at(one, two + 1)))
            };
            if let Some(cell) = longest.get_mut(at(one, two)) {
                *cell = length;
            }
        }
    }
    let (mut one, mut two, mut pairs) = (0, 0, Vec::new());
    while let (Some(old_row), Some(new_row)) = (old.get(one), new.get(two)) {
        if old_row == new_row {
            pairs.push((one, two));
            (one, two) = (one + 1, two + 1);
        } else if of(&longest, at(one + 1, two)) >= of(&longest, at(one, two + 1)) {
            one += 1;
        } else {
            two += 1;
        }
    }
    pairs
}

/// Tells rows without a match: pairs of them as changed, the rest as gone or come.
fn rows_between(
    old: &[Vec<&str>],
    gone: std::ops::Range<usize>,
    new: &[Vec<&str>],
    come: std::ops::Range<usize>,
    columns: &[&str],
    differences: &mut Vec<Difference>,
) {
    let paired = gone.len().min(come.len());
    for (one, two) in gone.clone().zip(come.clone()) {
        let (Some(before), Some(after)) = (old.get(one), new.get(two)) else { continue };
        let cells = columns.iter().zip(before.iter().zip(after));
        for (column, (before, after)) in cells.filter(|(_, (before, after))| before != after) {
            differences.push(Difference {
                key: (*column).to_owned(),
                before: quoted(before),
                after: quoted(after),
                ..Difference::whole(DifferenceKind::Changed, &format!("row {}", two + 1))
            });
        }
    }
    let whole = |kind, number: usize, row: Option<&Vec<&str>>| {
        let cells = row.map_or_else(String::new, |row| row.join(", "));
        Difference::whole(kind, &format!("row {} ({cells})", number + 1))
    };
    let gone = gone.skip(paired).map(|place| whole(DifferenceKind::Removed, place, old.get(place)));
    let come = come.skip(paired).map(|place| whole(DifferenceKind::Added, place, new.get(place)));
    differences.extend(gone.chain(come));
}

fn quoted(cell: &str) -> String {
    if cell.is_empty() { "blank".to_owned() } else { format!("`{cell}`") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(before: &str, after: &str) -> Vec<String> {
        diff_tables(before, after).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn cells_rows_and_columns_are_told() {
        let before = "country,value,reason\nDE,< 20,A\nAT,,B\nCH,> 5,C\n";
        assert_eq!(told(before, before), [] as [&str; 0]);
        assert_eq!(told(before, &format!("# a comment\n\n{before}")), [] as [&str; 0]);
        assert_eq!(told(before, &before.replace("< 20", "< 30")), ["row 1: value was `< 20`, is now `< 30`"]);
        assert_eq!(told(before, &before.replace("AT,,B\n", "")), ["row 2 (AT, , B) was removed"]);
        assert_eq!(told(before, &before.replace("AT,,B\n", "FR,,X\nAT,,B\n")), ["row 2 (FR, , X) was added"]);
        assert_eq!(
            told(before, &before.replace("AT,,B", "AT,1..2,B")),
            ["row 2: value was blank, is now `1..2`"]
        );
        assert_eq!(
            told(before, "value,country,reason,priority\n< 20,DE,A,1\n,AT,B,\n> 5,CH,C,\n"),
            ["column priority was added", "columns stands in another order"]
        );
        assert_eq!(told(before, "country,value\nDE,< 20\nAT,\nCH,> 5\n"), ["column reason was removed"]);
        assert_eq!(
            diff_tables("a\n\"b", "a\n").unwrap_err(),
            (true, "line 2: the quote that opens here is not closed".to_owned())
        );
    }

    #[test]
    fn as_many_rows_as_can_be_are_matched() {
        let rows = |numbers: &[u32]| numbers.iter().map(|n| format!("{n}\n")).collect::<String>();
        let before = format!("n\n{}", rows(&[1, 2, 3, 4, 5, 6]));
        let after = format!("n\n{}", rows(&[1, 3, 4, 9, 5, 6, 7]));
        assert_eq!(
            told(&before, &after),
            ["row 2 (2) was removed", "row 4 (9) was added", "row 7 (7) was added"]
        );
    }
}
