//! `[[table]]`: rows that become rules. Each names its own file of comma-separated values, or holds its rows itself.
//!
//! Not here: how cells become conditions (`cell`), or what rules mean (`compile`).

use std::collections::BTreeSet;
use std::sync::Arc;

use augur_domain::Timestamp;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::cell::{always, condition, whole};
use super::csv::{Cell, next_row};
use super::entries::{amount, checked_amount, checked_code};
use super::payload::write_text;
use super::rule::{RuleEntry, checked_owner, checked_priority, checked_validity, instant, instant_of};
use super::section::{NAME_FORM, Section, is_name, one_of, shortened, text, wrong_type};
use super::{Complaints, Located, MAX_ACTIONS, MAX_FILE_BYTES, MAX_POINTS, Written, suggestion};
use crate::rule::{Boost, Effect, Hit, Mode};
use crate::source::{SourceFile, Sources};

const KEYS: &[&str] = &[
    "name",
    "file",
    "columns",
    "rows",
    "hit",
    "when",
    "then",
    "actions",
    "points",
    "factor",
    "add",
    "reason",
    "priority",
    "valid_from",
    "valid_until",
    "owner",
    "mode",
    "complete",
];
/// Columns that say what a row does. Every other title is a value to ask about.
const COLUMNS: [&str; 11] = [
    "when",
    "then",
    "actions",
    "points",
    "factor",
    "add",
    "reason",
    "priority",
    "valid_from",
    "valid_until",
    "owner",
];

/// Tables of a policy.
pub(super) const MAX_TABLES: usize = 64;
/// Columns of one table.
const MAX_COLUMNS: usize = 64;
/// Rows of all tables together.
const MAX_ROWS: usize = 10_000;
/// Bytes of one cell.
const MAX_CELL_BYTES: usize = 1_024;
/// Faults that are told of one table; many rows share one mistake.
pub(crate) const MAX_TABLE_FAULTS: usize = 100;

const FILE_FORM: &str = "the plain name of a file beside the policy, like `\"shipping.csv\"`: lower-case letters, \
                         digits, `_` and `-`, at most 64, then `.csv`";

/// `[[table]]`
#[derive(Debug)]
pub(crate) struct TableEntry {
    pub(crate) name: Located<String>,
    /// The file that it names, if it names one that can be.
    pub(crate) file: Option<String>,
    pub(crate) hit: Hit,
    /// Whether some row is meant to hold for all values, if the author says; it changes nothing.
    pub(crate) complete: Option<bool>,
    /// Its rows as rules, in order.
    pub(crate) rows: Vec<RuleEntry>,
}

/// The names of the files that the policy in `text` names, each once; nothing of a text that is not TOML.
pub fn named_files(text: &str) -> BTreeSet<String> {
    if text.len() > MAX_FILE_BYTES {
        return BTreeSet::new();
    }
    let (document, _) = DeTable::parse_recoverable(text);
    let tables = document.get_ref().get("table").map(Spanned::get_ref);
    let DeValue::Array(tables) = tables.unwrap_or(&DeValue::Boolean(false)) else { return BTreeSet::new() };
    let file = |table: &Spanned<DeValue<'_>>| {
        let DeValue::Table(table) = table.get_ref() else { return None };
        let DeValue::String(name) = table.get("file")?.get_ref() else { return None };
        is_file_name(name).then(|| name.to_string())
    };
    tables.iter().take(MAX_TABLES).filter_map(file).collect()
}

fn is_file_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    let stem = name.strip_suffix(".csv").unwrap_or_default();
    !stem.is_empty() && stem.len() <= 64 && stem.chars().all(plain)
}

/// Reads tables one after another, since rows are bounded over all of them.
pub(super) struct Reader<'a> {
    source: Sources<'a>,
    rows_left: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: Sources<'a>) -> Self {
        Self { source, rows_left: MAX_ROWS }
    }

    pub(super) fn table(
        &mut self,
        table: &DeTable<'_>,
        offset: usize,
        complaints: &mut Complaints<'a>,
    ) -> TableEntry {
        let section = Section::new(table, offset, "table", KEYS, complaints);
        let name = section.name("name", complaints);
        let hit = section.choice("hit", &Hit::WORDS, complaints);
        if section.get("hit").is_none() {
            section.required("hit", &one_of(&Hit::WORDS.map(|(word, _)| word)), complaints);
        }
        let complete = section.boolean("complete", complaints);
        let usual = usual(&section, complaints);
        let lines = self.lines(&section, complaints);
        let mut rows = Vec::new();
        if let Some(((_, titles), lines)) = lines.split_first() {
            let heads = heads(titles, complaints);
            let faults = complaints.len();
            for (index, (offset, cells)) in lines.iter().enumerate() {
                if self.rows_left == 0 {
                    let message = format!("the tables have more than {MAX_ROWS} rows");
                    complaints.add(*offset, message, format!("at most {MAX_ROWS} over all tables"), "");
                    break;
                }
                if complaints.len() - faults >= MAX_TABLE_FAULTS {
                    break;
                }
                self.rows_left -= 1;
                let id = format!("{}[{}]", name.value, index + 1);
                let mut row = Row { heads: &heads, cells, offset: *offset, usual: &usual, complaints };
                rows.push(row.read(id));
            }
        }
        let file = match table.get("file").map(Spanned::get_ref) {
            Some(DeValue::String(file)) if is_file_name(file) => Some(file.to_string()),
            _ => None,
        };
        TableEntry { name, file, hit: hit.unwrap_or(Hit::Collect), complete, rows }
    }

    /// The titles and the rows, each with the place where it begins.
    fn lines(&self, section: &Section<'_>, complaints: &mut Complaints<'a>) -> Vec<(usize, Vec<Cell>)> {
        match (section.get("file"), section.get("rows")) {
            (Some(file), None) => {
                if let Some(columns) = section.get("columns") {
                    let message = "`columns` beside `file`";
                    complaints.add(columns.span().start, message, "titles in the first line of the file", "");
                }
                self.file_lines(file, complaints)
            }
            (None, Some(rows)) => inline_lines(section, rows, complaints),
            (None, None) => {
                section.required("file", "`file`, or `columns` and `rows`", complaints);
                Vec::new()
            }
            (Some(_), Some(rows)) => {
                complaints.add(rows.span().start, "`rows` beside `file`", "one of both", "");
                Vec::new()
            }
        }
    }

    fn file_lines(
        &self,
        value: &Spanned<DeValue<'_>>,
        complaints: &mut Complaints<'a>,
    ) -> Vec<(usize, Vec<Cell>)> {
        let Some(name) = text("file", value, FILE_FORM, complaints) else { return Vec::new() };
        if !is_file_name(&name.value) {
            let message = format!("`{}` in `file` cannot be the file of a table", shortened(&name.value));
            complaints.add(name.offset, message, FILE_FORM, "");
            return Vec::new();
        }
        let Some(file) = self.source.file(&name.value) else {
            let message = format!("there is no file `{}` beside the policy", name.value);
            complaints.add(name.offset, message, "a file that goes with the policy", "");
            return Vec::new();
        };
        if file.text.len() > MAX_FILE_BYTES {
            let message = format!("`{}` has {} bytes", name.value, file.text.len());
            complaints.add(name.offset, message, format!("at most {MAX_FILE_BYTES}"), "");
            return Vec::new();
        }
        csv_lines(file, complaints)
    }
}

fn csv_lines<'a>(file: &'a SourceFile, complaints: &mut Complaints<'a>) -> Vec<(usize, Vec<Cell>)> {
    let base = complaints.begin_file(file);
    let (mut lines, mut from) = (Vec::new(), 0);
    loop {
        match next_row(&file.text, base, from) {
            Ok(Some((cells, next))) => {
                let offset = cells.first().map_or(base, |cell| cell.offset);
                lines.push((offset, cells));
                from = next;
            }
            Ok(None) => break,
            Err(fault) => {
                complaints.add(fault.offset, fault.message, fault.expected, "");
                break;
            }
        }
        // The titles, every row that there may be, and one too many.
        if lines.len() > MAX_ROWS + 1 {
            break;
        }
    }
    if lines.is_empty() {
        complaints.add(base, "the file has no line", "the titles of columns, then rows", "");
    }
    lines
}

fn inline_lines(
    section: &Section<'_>,
    rows: &Spanned<DeValue<'_>>,
    complaints: &mut Complaints<'_>,
) -> Vec<(usize, Vec<Cell>)> {
    const COLUMNS_FORM: &str = "a list of titles, like `[\"context.country\", \"reason\"]`";
    const ROWS_FORM: &str = "a list of rows, each a list of cells, like `[[\"DE\", \"SHIPS\"]]`";
    let Some(columns) = section.required("columns", COLUMNS_FORM, complaints) else { return Vec::new() };
    let read = |key: &str, value: &Spanned<DeValue<'_>>, expected: &str, complaints: &mut Complaints<'_>| {
        let cells = section.list(key, value, expected, MAX_COLUMNS, complaints);
        let cells = cells.into_iter().map(|cell| inline_cell(key, cell, complaints));
        (value.span().start, cells.collect::<Vec<Cell>>())
    };
    let mut lines = vec![read("columns", columns, COLUMNS_FORM, complaints)];
    for row in section.list("rows", rows, ROWS_FORM, MAX_ROWS, complaints) {
        lines.push(read("rows", row, ROWS_FORM, complaints));
    }
    lines
}

fn inline_cell(key: &str, value: &Spanned<DeValue<'_>>, complaints: &mut Complaints<'_>) -> Cell {
    let offset = value.span().start;
    let (text, exact) = match value.get_ref() {
        DeValue::String(text) => {
            let lead = text.len() - text.trim_start().len();
            let text = text.trim();
            // Without escapes and with one quote on each side, bytes stand as they are.
            let plain = value.span().len() == lead + text.len() + 2;
            return Cell {
                text: text.to_owned(),
                offset: offset + usize::from(plain) * (lead + 1),
                exact: plain,
            };
        }
        DeValue::Integer(integer) => (integer.to_string(), true),
        DeValue::Float(float) => (float.to_string(), true),
        DeValue::Boolean(boolean) => (boolean.to_string(), true),
        DeValue::Datetime(datetime) => (datetime.to_string(), true),
        DeValue::Array(_) | DeValue::Table(_) => {
            wrong_type(key, value, "a text, a number, `true` or `false` in each cell", complaints);
            (String::new(), true)
        }
    };
    Cell { text, offset, exact }
}

/// What a column says.
enum Head {
    /// Asks about the value in its title.
    Value(Cell, Arc<str>),
    /// Says what a row does.
    Effect(&'static str),
    /// Sets the key of the payload.
    Set(String),
    /// Already complained about.
    Unknown,
}

fn heads(titles: &[Cell], complaints: &mut Complaints<'_>) -> Vec<Head> {
    if titles.len() > MAX_COLUMNS {
        let offset = titles.last().map_or(0, |title| title.offset);
        let message = format!("the table has {} columns", titles.len());
        complaints.add(offset, message, format!("at most {MAX_COLUMNS}"), "");
    }
    let mut seen = BTreeSet::new();
    let mut heads = Vec::with_capacity(titles.len());
    for title in titles.iter().take(MAX_COLUMNS) {
        if !seen.insert(&title.text) && !title.text.is_empty() {
            let message = format!("the column `{}` stands twice", shortened(&title.text));
            complaints.add(title.offset, message, "each column once", "");
        }
        heads.push(head(title, complaints));
    }
    heads
}

fn head(title: &Cell, complaints: &mut Complaints<'_>) -> Head {
    if let Some(known) = COLUMNS.into_iter().find(|known| *known == title.text) {
        return Head::Effect(known);
    }
    if let Some(key) = title.text.strip_prefix("set.").filter(|key| !key.is_empty()) {
        return Head::Set(key.to_owned());
    }
    let is_value = title.text.contains(['.', '(']) && title.text.len() <= MAX_CELL_BYTES;
    if is_value {
        return Head::Value(title.clone(), title.text.as_str().into());
    }
    let hint = suggestion(&title.text, COLUMNS.into_iter());
    let message = format!("`{}` is not a column", shortened(&title.text));
    let expected = format!("a value such as `context.country`, `set.<key>`, or {}", one_of(&COLUMNS));
    complaints.add(title.offset, message, expected, hint);
    Head::Unknown
}

/// What the table says for every row that does not say otherwise.
struct Usual {
    when: Option<Written>,
    then: Option<Effect>,
    actions: Vec<Located<String>>,
    points: Option<Vec<Located<String>>>,
    factor: Option<f64>,
    add: Option<f64>,
    reason: Option<String>,
    priority: i64,
    valid_from: Option<Located<Timestamp>>,
    valid_until: Option<Located<Timestamp>>,
    owner: Option<String>,
    mode: Mode,
}

fn usual(section: &Section<'_>, complaints: &mut Complaints<'_>) -> Usual {
    let mut names = |key: &str, most| section.get(key).map(|_| section.names(key, most, complaints));
    let (actions, points) = (names("actions", MAX_ACTIONS), names("points", MAX_POINTS));
    let mut written = |key: &str| text(key, section.get(key)?, "text", complaints);
    let (reason, owner) = (written("reason"), written("owner"));
    Usual {
        when: section.expression("when", complaints),
        then: section.choice("then", &Effect::WORDS, complaints),
        actions: actions.unwrap_or_default(),
        points,
        factor: amount(section, "factor", complaints),
        add: amount(section, "add", complaints),
        reason: reason.map(|reason| checked_code(reason, complaints)),
        priority: section
            .integer("priority", complaints)
            .map_or(0, |priority| checked_priority(priority, complaints)),
        valid_from: instant_of(section, "valid_from", complaints),
        valid_until: instant_of(section, "valid_until", complaints),
        owner: owner.and_then(|owner| checked_owner(owner, complaints)),
        mode: section.choice("mode", &Mode::WORDS, complaints).unwrap_or_default(),
    }
}

/// One row on its way to a rule.
struct Row<'r, 'c, 'f> {
    heads: &'r [Head],
    cells: &'r [Cell],
    offset: usize,
    usual: &'r Usual,
    complaints: &'c mut Complaints<'f>,
}

impl Row<'_, '_, '_> {
    fn read(&mut self, id: String) -> RuleEntry {
        self.check_shape();
        let usual = self.usual;
        let then = self.choice("then").or(usual.then);
        if then.is_none() && self.said("then").is_none() {
            self.lacks("then", &one_of(&Effect::WORDS.map(|(word, _)| word)));
        }
        let actions = self.names("actions", MAX_ACTIONS).unwrap_or_else(|| usual.actions.clone());
        if actions.is_empty() && self.said("actions").is_none() {
            self.lacks("actions", "the names of actions, with blanks between them");
        }
        let reason = self.said("reason").map(|cell| checked_code(located(cell), self.complaints));
        let reason = reason.or_else(|| usual.reason.clone());
        if reason.is_none() {
            self.lacks("reason", "a reason code, like `VIP_PAYS_FULL`");
        }
        let from = self.instant("valid_from").or_else(|| usual.valid_from.clone());
        let until = self.instant("valid_until").or_else(|| usual.valid_until.clone());
        let owner = self.said("owner").and_then(|cell| checked_owner(located(cell), self.complaints));
        RuleEntry {
            id: Located { value: id, offset: self.offset },
            when: Some(self.when()),
            then,
            actions,
            points: self.names("points", MAX_POINTS).or_else(|| usual.points.clone()),
            boost: self.boost(then),
            set: self.set(then),
            reason: reason.unwrap_or_default(),
            priority: self.priority().unwrap_or(usual.priority),
            validity: checked_validity(from, until, self.complaints),
            owner: owner.or_else(|| usual.owner.clone()),
            mode: usual.mode,
        }
    }

    fn check_shape(&mut self) {
        if self.cells.len() != self.heads.len() {
            let message = format!("the row has {} cells", self.cells.len());
            let expected = format!("{}, one for each column", self.heads.len());
            self.complaints.add(self.offset, message, expected, "");
        }
        let long = |cell: &&Cell| cell.text.len() > MAX_CELL_BYTES;
        for cell in self.cells.iter().filter(long) {
            let message = format!("the cell has {} bytes", cell.text.len());
            self.complaints.add(cell.offset, message, format!("at most {MAX_CELL_BYTES}"), "");
        }
    }

    /// The cells with their columns; of one that is too long nothing but the complaint.
    fn both(&self) -> impl Iterator<Item = (&Head, &Cell)> {
        self.heads.iter().zip(self.cells).filter(|(_, cell)| cell.text.len() <= MAX_CELL_BYTES)
    }

    /// What the row says in the column `column`.
    fn said(&self, column: &str) -> Option<Cell> {
        let mut both = self.both();
        let (_, cell) = both.find(|(head, _)| matches!(head, Head::Effect(known) if *known == column))?;
        (!cell.text.is_empty()).then(|| cell.clone())
    }

    fn lacks(&mut self, column: &str, expected: &str) {
        let message = format!("the row has no `{column}`, and the table says none for all");
        self.complaints.add(self.offset, message, expected, "");
    }

    /// Everything that must hold.
    fn when(&self) -> Vec<Written> {
        let cells = self.both().filter_map(|(head, cell)| match head {
            Head::Value(title, column) => condition(title, column, cell),
            Head::Effect("when") => whole(&"when".into(), cell),
            Head::Effect(_) | Head::Set(_) | Head::Unknown => None,
        });
        let all: Vec<Written> = self.usual.when.iter().cloned().chain(cells).collect();
        if all.is_empty() { vec![always(self.offset)] } else { all }
    }

    fn choice(&mut self, column: &str) -> Option<Effect> {
        let cell = self.said(column)?;
        let words = Effect::WORDS.map(|(word, _)| word);
        let found = Effect::WORDS.into_iter().find(|(word, _)| *word == cell.text);
        if found.is_none() {
            let message = format!("`{}` is not a value of `{column}`", shortened(&cell.text));
            self.complaints.add(
                cell.offset,
                message,
                one_of(&words),
                suggestion(&cell.text, words.into_iter()),
            );
        }
        found.map(|(_, effect)| effect)
    }

    /// Names with blanks, commas or semicolons between them.
    fn names(&mut self, column: &str, most: usize) -> Option<Vec<Located<String>>> {
        let cell = self.said(column)?;
        let mut names: Vec<Located<String>> = Vec::new();
        for word in cell.text.split([' ', ',', ';']).filter(|word| !word.is_empty()) {
            let offset = place_in(&cell, word);
            if !is_name(word) {
                let message = format!("`{}` in `{column}` is not a name", shortened(word));
                self.complaints.add(offset, message, NAME_FORM, "");
            } else if names.iter().any(|name| name.value == word) {
                let message = format!("`{word}` stands twice in `{column}`");
                self.complaints.add(offset, message, "each name once", "");
            } else if names.len() == most {
                let message = format!("`{column}` names more than {most}");
                self.complaints.add(offset, message, format!("at most {most}"), "");
                break;
            } else {
                names.push(Located { value: word.to_owned(), offset });
            }
        }
        Some(names)
    }

    fn number(&mut self, column: &str) -> Option<f64> {
        let cell = self.said(column)?;
        let number = cell.text.parse::<f64>().ok().filter(|number| number.is_finite());
        if number.is_none() {
            let message = format!("`{}` in `{column}` is not a number", shortened(&cell.text));
            self.complaints.add(cell.offset, message, "a finite number", "");
        }
        checked_amount(column, Located { value: number? + 0.0, offset: cell.offset }, self.complaints)
    }

    fn boost(&mut self, then: Option<Effect>) -> Boost {
        let (factor, add) = (self.number("factor"), self.number("add"));
        let boosts = then == Some(Effect::Boost);
        let (factor, add) = (factor.or(self.usual.factor), add.or(self.usual.add));
        if boosts && factor.is_none() && add.is_none() {
            self.lacks("factor", "`factor`, `add` or both with `boost`");
        }
        for column in ["factor", "add"] {
            if let Some(cell) = self.said(column).filter(|_| !boosts && then.is_some()) {
                let message = format!("`{column}` in a row that does not `boost`");
                self.complaints.add(cell.offset, message, "a blank cell", "");
            }
        }
        Boost { factor: factor.unwrap_or(1.0), add: add.unwrap_or(0.0) }
    }

    fn set(&mut self, then: Option<Effect>) -> Located<Vec<(String, String)>> {
        let cells: Vec<(String, Cell)> = self
            .both()
            .filter_map(|(head, cell)| match head {
                Head::Set(key) if !cell.text.is_empty() => Some((key.clone(), cell.clone())),
                _ => None,
            })
            .collect();
        let offset = cells.first().map_or(self.offset, |(_, cell)| cell.offset);
        match (then, cells.first()) {
            (Some(Effect::Set), None) => self.lacks("set.<key>", "a value in one of the columns `set.<key>`"),
            (Some(Effect::Set) | None, _) | (_, None) => {}
            (_, Some((key, _))) => {
                let message = format!("`set.{key}` in a row that does not `set`");
                self.complaints.add(offset, message, "a blank cell", "");
            }
        }
        let mut set: Vec<_> = cells.iter().map(|(key, cell)| (key.clone(), json(&cell.text))).collect();
        set.sort_unstable();
        Located { value: set, offset }
    }

    fn priority(&mut self) -> Option<i64> {
        let cell = self.said("priority")?;
        let Ok(value) = cell.text.parse() else {
            let message = format!("`{}` in `priority` is not a whole number", shortened(&cell.text));
            self.complaints.add(cell.offset, message, "a whole number", "");
            return None;
        };
        Some(checked_priority(Located { value, offset: cell.offset }, self.complaints))
    }

    fn instant(&mut self, column: &str) -> Option<Located<Timestamp>> {
        let cell = self.said(column)?;
        let value = instant(column, &cell.text, cell.offset, self.complaints)?;
        Some(Located { value, offset: cell.offset })
    }
}

fn located(cell: Cell) -> Located<String> {
    Located { value: cell.text, offset: cell.offset }
}

/// Where `word`, a part of the cell's text, stands.
fn place_in(cell: &Cell, word: &str) -> usize {
    let within = (word.as_ptr() as usize).saturating_sub(cell.text.as_ptr() as usize);
    cell.offset + if cell.exact { within } else { 0 }
}

/// A cell as a JSON value: `true`, `false`, numbers, else text, which may stand in single quotes.
fn json(text: &str) -> String {
    if matches!(text, "true" | "false") {
        return text.to_owned();
    }
    if let Ok(integer) = text.parse::<i64>() {
        return integer.to_string();
    }
    let digits = text.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    if let Some(number) = text.parse::<f64>().ok().filter(|number| digits && number.is_finite()) {
        return format!("{:?}", number + 0.0);
    }
    let bare = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')).unwrap_or(text);
    let mut json = String::new();
    write_text(bare, &mut json);
    json
}
