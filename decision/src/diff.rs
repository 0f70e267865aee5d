//! What is different between two policies as written: entries added, removed and changed, by name and key.
//!
//! Works on the files' form alone, so every section is compared, whether or not the policies would load. Not here: what a
//! difference means for decisions.

use toml::{Table, Value};

/// Names by which the tables of a list are told apart, the first that a table has.
const NAMES: [&str; 2] = ["id", "name"];

/// One difference.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The file beside the policy that it is in; empty of the policy itself.
    pub file: String,
    /// How it came about.
    pub kind: DifferenceKind,
    /// The entry, e.g. `rule vip_pays_full`, or a section or key of the file.
    pub entry: String,
    /// The key in it; empty when the whole entry came or went.
    pub key: String,
    /// What was written before, as TOML; empty of what was added.
    pub before: String,
    /// What is written now, as TOML; empty of what was removed.
    pub after: String,
}

/// How two policies differ in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DifferenceKind {
    /// It is in the second alone.
    Added,
    /// It is in the first alone.
    Removed,
    /// It is in both, with other values.
    Changed,
    /// The same entries stand in another order.
    Moved,
}

impl DifferenceKind {
    /// The word used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
            Self::Moved => "moved",
        }
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { file, kind, entry, key, before, after } = self;
        let place = if key.is_empty() { entry.clone() } else { format!("{entry}: {key}") };
        let place = match (file.is_empty(), place.is_empty()) {
            (true, _) => place,
            (false, true) => file.clone(),
            (false, false) => format!("{file}: {place}"),
        };
        match (kind, key.is_empty()) {
            (DifferenceKind::Moved, _) => write!(formatter, "{place} stands in another order"),
            (DifferenceKind::Added | DifferenceKind::Removed, true) => {
                write!(formatter, "{place} was {}", kind.as_str())
            }
            (DifferenceKind::Added, false) => write!(formatter, "{place} is now {after}"),
            (DifferenceKind::Removed, false) => write!(formatter, "{place} was {before} and is gone"),
            (DifferenceKind::Changed, _) => write!(formatter, "{place} was {before}, is now {after}"),
        }
    }
}

impl Difference {
    /// A whole file, entry or row that came or went, or a list that stands in another order.
    pub fn whole(kind: DifferenceKind, entry: &str) -> Self {
        let entry = entry.to_owned();
        Self {
            file: String::new(),
            kind,
            entry,
            key: String::new(),
            before: String::new(),
            after: String::new(),
        }
    }

    /// The same in the file `file` beside the policy.
    #[must_use]
    pub fn in_file(self, file: &str) -> Self {
        Self { file: file.to_owned(), ..self }
    }
}

/// Every difference from `before` to `after`, section by section in the order of their names. The files may be policies, or
/// feature definitions or tests: whatever lists tables that have an `id` or a `name`.
///
/// # Errors
/// The first mistake of a text that is not TOML, with its line: `(true, ..)` of `before`, `(false, ..)` of `after`.
pub fn diff_policies(before: &str, after: &str) -> Result<Vec<Difference>, (bool, String)> {
    let parse = |text: &str, is_before: bool| {
        text.parse::<Table>().map_err(|error| (is_before, error.to_string().trim_end().to_owned()))
    };
    let (before, after) = (parse(before, true)?, parse(after, false)?);
    let mut differences = Vec::new();
    for section in keys(&before, &after) {
        match (entries(section, before.get(section)), entries(section, after.get(section))) {
            (Some(before), Some(after)) => compare_lists(section, &before, &after, &mut differences),
            _ => {
                compare_values("policy", section, (before.get(section), after.get(section)), &mut differences)
            }
        }
    }
    Ok(differences)
}

/// The keys of both, each once, ascending.
fn keys<'t>(before: &'t Table, after: &'t Table) -> Vec<&'t str> {
    let mut keys: Vec<&str> = before.keys().chain(after.keys()).map(String::as_str).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// The tables of a section by what each is called; `None` if it is no list of tables. No section is an empty one.
fn entries<'t>(section: &str, value: Option<&'t Value>) -> Option<Vec<(String, &'t Table)>> {
    let Some(value) = value else { return Some(Vec::new()) };
    let list = value.as_array()?;
    let named = list.iter().map(|entry| Some((called(section, entry.as_table()?), entry.as_table()?)));
    named.collect()
}

/// `rule vip_pays_full`; of tables without a name, all texts in them that are not long.
fn called(section: &str, entry: &Table) -> String {
    let name = NAMES.iter().find_map(|key| entry.get(*key)?.as_str());
    match name {
        Some(name) => format!("{section} {name}"),
        None => {
            let texts = ["model", "feature", "action", "channel", "point"]
                .iter()
                .filter_map(|key| entry.get(*key)?.as_str());
            format!("{section} {}", texts.collect::<Vec<_>>().join(" "))
        }
    }
}

fn compare_lists(
    section: &str,
    before: &[(String, &Table)],
    after: &[(String, &Table)],
    differences: &mut Vec<Difference>,
) {
    let has = |list: &[(String, &Table)], name: &str| list.iter().any(|(known, _)| known == name);
    let whole = Difference::whole;
    for (name, _) in before.iter().filter(|(name, _)| !has(after, name)) {
        differences.push(whole(DifferenceKind::Removed, name));
    }
    for (name, entry) in after {
        match before.iter().find(|(known, _)| known == name) {
            None => differences.push(whole(DifferenceKind::Added, name)),
            Some((_, earlier)) => {
                for key in keys(earlier, entry) {
                    compare_values(name, key, (earlier.get(key), entry.get(key)), differences);
                }
            }
        }
    }
    let common = |list: &[(String, &Table)], other: &[(String, &Table)]| -> Vec<String> {
        list.iter().map(|(name, _)| name.clone()).filter(|name| has(other, name)).collect()
    };
    if common(before, after) != common(after, before) {
        differences.push(whole(DifferenceKind::Moved, section));
    }
}

fn compare_values(
    entry: &str,
    key: &str,
    (before, after): (Option<&Value>, Option<&Value>),
    differences: &mut Vec<Difference>,
) {
    let kind = match (before, after) {
        (None, Some(_)) => DifferenceKind::Added,
        (Some(_), None) => DifferenceKind::Removed,
        (Some(before), Some(after)) if before != after => DifferenceKind::Changed,
        _ => return,
    };
    let written = |value: Option<&Value>| value.map_or_else(String::new, ToString::to_string);
    let (entry, key) = (entry.to_owned(), key.to_owned());
    let (before, after) = (written(before), written(after));
    differences.push(Difference { file: String::new(), kind, entry, key, before, after });
}
