//! Which tables and keys a file of policy tests has.
//!
//! Not here: whether the names in it are the policy's (`test_file`), or how a test is run.

use augur_domain::value::Finite;
use augur_domain::{Timestamp, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::payload::{float_value, integer_value};
use super::section::{Section, shortened, text, wrong_type};
use super::{Complaints, Located, MAX_FILE_BYTES};

/// Tests of one file.
pub(crate) const MAX_TESTS: usize = 1_000;
/// Events, and exposures, of one test.
const MAX_HISTORY: usize = 1_000;
/// Values under one key of a test.
const MAX_VALUES: usize = 1_000;
/// Characters of a test's name.
const MAX_NAME_CHARS: usize = 200;

const FILE_KEYS: &[&str] = &["version", "test"];
const TEST_KEYS: &[&str] = &["name", "decision_point", "given", "expect"];
const GIVEN_KEYS: &[&str] = &[
    "now",
    "seed",
    "features",
    "features_unavailable",
    "scores",
    "previous_scores",
    "time_left",
    "segments",
    "context",
    "events",
    "exposures",
    "budgets",
    "user",
];
const EVENT_KEYS: &[&str] = &["event", "ago", "at", "properties"];
const EXPOSURE_KEYS: &[&str] = &["action", "channel", "category", "ago", "at"];
const EXPECT_KEYS: &[&str] = &["action", "reason", "reasons", "refused", "rung", "value", "arms", "shadow"];
const USER_KEYS: &[&str] = &["id", "time_zone", "traits", "consents", "suppressed"];

/// `[[test]]`
#[derive(Debug)]
pub(crate) struct TestEntry {
    pub(crate) name: Located<String>,
    pub(crate) decision_point: Located<String>,
    pub(crate) given: GivenEntry,
    pub(crate) expect: ExpectEntry,
}

/// Values by name, in the order of the file's keys.
pub(crate) type Values = Vec<(Located<String>, Located<Value>)>;

/// `[test.given]`
#[derive(Debug, Default)]
pub(crate) struct GivenEntry {
    pub(crate) now: Option<Timestamp>,
    pub(crate) seed: u64,
    pub(crate) features: Values,
    pub(crate) features_unavailable: bool,
    pub(crate) scores: Values,
    pub(crate) previous_scores: Values,
    pub(crate) time_left_ms: Option<i64>,
    pub(crate) segments: Values,
    pub(crate) context: Values,
    pub(crate) events: Vec<EventEntry>,
    pub(crate) exposures: Vec<ExposureEntry>,
    /// How much of an action's budget is spent.
    pub(crate) budgets: Values,
    pub(crate) user: UserEntry,
}

/// When something was, as written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum When {
    /// So many milliseconds before the test's `now`.
    Ago(i64),
    At(Timestamp),
}

/// One of `events`.
#[derive(Debug)]
pub(crate) struct EventEntry {
    pub(crate) name: Located<String>,
    pub(crate) when: When,
    pub(crate) properties: Values,
}

/// One of `exposures`.
#[derive(Debug)]
pub(crate) struct ExposureEntry {
    pub(crate) action: Located<String>,
    pub(crate) channel: Option<String>,
    pub(crate) category: Option<String>,
    pub(crate) when: When,
}

/// `[test.expect]`
#[derive(Debug, Default)]
pub(crate) struct ExpectEntry {
    pub(crate) action: Option<Located<String>>,
    /// Words of `reason` and `reasons`.
    pub(crate) reasons: Vec<String>,
    /// Why an action was not given.
    pub(crate) refused: Vec<(Located<String>, String)>,
    pub(crate) rung: Option<Located<String>>,
    pub(crate) value: Option<f64>,
    /// The arm of each experiment.
    pub(crate) arms: Vec<(Located<String>, String)>,
    /// What a rule on trial would have done.
    pub(crate) shadow: Option<String>,
}

/// Reads a whole file. A file that is not TOML yields no tests and its syntax errors.
pub(crate) fn parse(text: &str, complaints: &mut Complaints<'_>) -> Vec<TestEntry> {
    if text.len() > MAX_FILE_BYTES {
        let message = format!("the file has {} bytes", text.len());
        complaints.add(0, message, format!("at most {MAX_FILE_BYTES}"), "");
        return Vec::new();
    }
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let offset = error.span().map_or(0, |span| span.start);
        complaints.add(offset, error.message(), "", "");
    }
    if !errors.is_empty() {
        return Vec::new();
    }
    let root = Section::new(document.get_ref(), 0, "a file of tests", FILE_KEYS, complaints);
    let expected = "`version = 1`";
    if root.required("version", expected, complaints).is_some()
        && let Some(version) = root.integer("version", complaints)
        && version.value != 1
    {
        let message = format!("version {} of the format of tests is not known", version.value);
        complaints.add(version.offset, message, expected, "");
    }
    tables(&root, "test", MAX_TESTS, complaints, test)
}

/// Every table of the list under `key`.
fn tables<'t, T>(
    section: &Section<'t>,
    key: &str,
    most: usize,
    complaints: &mut Complaints<'_>,
    mut read: impl FnMut(&'t DeTable<'t>, usize, &mut Complaints<'_>) -> T,
) -> Vec<T> {
    let Some(value) = section.get(key) else { return Vec::new() };
    let expected = format!("a list of tables under `{key}`");
    let mut entries = Vec::new();
    for element in section.list(key, value, &expected, most, complaints) {
        match element.get_ref() {
            DeValue::Table(table) => entries.push(read(table, element.span().start, complaints)),
            _ => wrong_type(key, element, &expected, complaints),
        }
    }
    entries
}

/// The table under `key`, if there is one.
fn subsection<'t>(
    section: &Section<'t>,
    key: &'static str,
    known: &[&str],
    complaints: &mut Complaints<'_>,
) -> Option<Section<'t>> {
    let value = section.get(key)?;
    let DeValue::Table(table) = value.get_ref() else {
        wrong_type(key, value, "a table", complaints);
        return None;
    };
    Some(Section::new(table, value.span().start, key, known, complaints))
}

fn test(table: &DeTable<'_>, offset: usize, complaints: &mut Complaints<'_>) -> TestEntry {
    let section = Section::new(table, offset, "test", TEST_KEYS, complaints);
    let given = subsection(&section, "given", GIVEN_KEYS, complaints);
    section.required("expect", "`[test.expect]`, what the decision must be", complaints);
    let expect = subsection(&section, "expect", EXPECT_KEYS, complaints);
    TestEntry {
        name: test_name(&section, offset, complaints),
        decision_point: section.name("decision_point", complaints),
        given: given.map_or_else(GivenEntry::default, |section| given_entry(&section, complaints)),
        expect: expect.map_or_else(ExpectEntry::default, |section| expect_entry(&section, complaints)),
    }
}

fn test_name(section: &Section<'_>, offset: usize, complaints: &mut Complaints<'_>) -> Located<String> {
    let expected = format!("a sentence of at most {MAX_NAME_CHARS} characters, in quotes");
    let found = section.required("name", &expected, complaints);
    let found = found.and_then(|value| text("name", value, &expected, complaints));
    let name = found.unwrap_or(Located { value: String::new(), offset });
    if name.value.chars().count() > MAX_NAME_CHARS || name.value.chars().any(char::is_control) {
        complaints.add(name.offset, "`name` is too long, or more than a line", expected, "");
    }
    name
}

fn given_entry(section: &Section<'_>, complaints: &mut Complaints<'_>) -> GivenEntry {
    let seed = section.integer("seed", complaints).map_or(0, |seed| seed.value);
    let user = subsection(section, "user", USER_KEYS, complaints);
    GivenEntry {
        now: section.get("now").and_then(|value| instant("now", value, complaints)),
        seed: u64::from_le_bytes(seed.to_le_bytes()),
        features: values(section, "features", complaints),
        features_unavailable: flag(section, "features_unavailable", complaints),
        scores: values(section, "scores", complaints),
        previous_scores: values(section, "previous_scores", complaints),
        time_left_ms: section.duration_ms("time_left", complaints).map(|left| left.value),
        segments: values(section, "segments", complaints),
        context: values(section, "context", complaints),
        events: tables(section, "events", MAX_HISTORY, complaints, event),
        exposures: tables(section, "exposures", MAX_HISTORY, complaints, exposure),
        budgets: values(section, "budgets", complaints),
        user: user.map_or_else(UserEntry::default, |section| user_entry(&section, complaints)),
    }
}

fn event(table: &DeTable<'_>, offset: usize, complaints: &mut Complaints<'_>) -> EventEntry {
    let section = Section::new(table, offset, "event", EVENT_KEYS, complaints);
    EventEntry {
        name: section.name("event", complaints),
        when: when(&section, offset, complaints),
        properties: values(&section, "properties", complaints),
    }
}

fn exposure(table: &DeTable<'_>, offset: usize, complaints: &mut Complaints<'_>) -> ExposureEntry {
    let section = Section::new(table, offset, "exposure", EXPOSURE_KEYS, complaints);
    ExposureEntry {
        action: section.name("action", complaints),
        channel: section.optional_name("channel", complaints).map(|channel| channel.value),
        category: section.optional_name("category", complaints).map(|category| category.value),
        when: when(&section, offset, complaints),
    }
}

fn when(section: &Section<'_>, offset: usize, complaints: &mut Complaints<'_>) -> When {
    let ago = section.duration_ms("ago", complaints).map(|length| When::Ago(length.value));
    let at = section.get("at").and_then(|value| instant("at", value, complaints)).map(When::At);
    if section.get("ago").is_some() == section.get("at").is_some() {
        let message = "when it was is not said once";
        complaints.add(offset, message, "`ago = \"2d\"`, or `at` with an instant", "");
    }
    ago.or(at).unwrap_or(When::Ago(0))
}

/// An instant as TOML writes it, or as text.
fn instant(key: &str, value: &Spanned<DeValue<'_>>, complaints: &mut Complaints<'_>) -> Option<Timestamp> {
    const EXPECTED: &str = "an instant with its offset, like `2026-01-15T12:00:00Z`";
    let written = match value.get_ref() {
        DeValue::Datetime(datetime) => datetime.to_string(),
        _ => text(key, value, EXPECTED, complaints)?.value,
    };
    let found = Timestamp::parse_rfc3339(&written);
    if found.is_none() {
        let message = format!("`{}` in `{key}` is not an instant", shortened(&written));
        complaints.add(value.span().start, message, EXPECTED, "");
    }
    found
}

fn flag(section: &Section<'_>, key: &str, complaints: &mut Complaints<'_>) -> bool {
    section.boolean(key, complaints).unwrap_or_default()
}

/// The values of the table under `key`.
fn values(section: &Section<'_>, key: &str, complaints: &mut Complaints<'_>) -> Values {
    let Some(value) = section.get(key) else { return Vec::new() };
    let DeValue::Table(table) = value.get_ref() else {
        wrong_type(key, value, "names with their values, like `{ cart_value = 60 }`", complaints);
        return Vec::new();
    };
    if table.len() > MAX_VALUES {
        let message = format!("`{key}` has {} values", table.len());
        complaints.add(value.span().start, message, format!("at most {MAX_VALUES}"), "");
    }
    let mut found = Vec::new();
    for (name, value) in table.iter().take(MAX_VALUES) {
        let offset = value.span().start;
        match scalar(value.get_ref()) {
            Some(scalar) => found.push((
                Located { value: name.get_ref().to_string(), offset: name.span().start },
                Located { value: scalar, offset },
            )),
            None => wrong_type(name.get_ref(), value, "a number, `true`, `false` or text", complaints),
        }
    }
    found
}

fn scalar(value: &DeValue<'_>) -> Option<Value> {
    match value {
        DeValue::Boolean(boolean) => Some(Value::Boolean(*boolean)),
        DeValue::String(text) => Some(Value::Text(text.as_ref().into())),
        DeValue::Float(float) => float_value(float).and_then(Finite::new).map(Value::Number),
        DeValue::Integer(integer) => {
            integer_value(integer).and_then(|integer| Finite::new(integer as f64)).map(Value::Number)
        }
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

fn expect_entry(section: &Section<'_>, complaints: &mut Complaints<'_>) -> ExpectEntry {
    const CODE: &str = "a reason code, like `\"RULE_DENIED\"` or a rule's own";
    let mut reasons = Vec::new();
    if let Some(value) = section.get("reason") {
        reasons.extend(text("reason", value, CODE, complaints).map(|code| code.value));
    }
    if let Some(value) = section.get("reasons") {
        for element in section.list("reasons", value, "a list of reason codes", MAX_VALUES, complaints) {
            reasons.extend(text("reasons", element, CODE, complaints).map(|code| code.value));
        }
    }
    let rung = section.get("rung").and_then(|value| text("rung", value, "the name of a rung", complaints));
    ExpectEntry {
        action: section.optional_name("action", complaints),
        reasons,
        refused: words(section, "refused", CODE, complaints),
        rung,
        value: section.number("value", complaints).map(|number| number.value),
        arms: words(section, "arms", "the name of an arm, in quotes", complaints),
        shadow: section
            .get("shadow")
            .and_then(|value| text("shadow", value, CODE, complaints))
            .map(|w| w.value),
    }
}

/// Words by name under `key`.
fn words(
    section: &Section<'_>,
    key: &str,
    expected: &str,
    complaints: &mut Complaints<'_>,
) -> Vec<(Located<String>, String)> {
    let mut found = Vec::new();
    for (name, value) in values(section, key, complaints) {
        match value.value {
            Value::Text(word) => found.push((name, word.to_string())),
            Value::Boolean(_) | Value::Number(_) => {
                complaints.add(value.offset, format!("`{}` in `{key}` is no text", name.value), expected, "");
            }
        }
    }
    found
}

/// `[test.given.user]`
#[derive(Debug, Default)]
pub(crate) struct UserEntry {
    /// Tells users apart that are drawn for by their id.
    pub(crate) id: String,
    pub(crate) time_zone: Option<String>,
    pub(crate) traits: Values,
    pub(crate) consents: Values,
    pub(crate) suppressed: Vec<String>,
}

fn user_entry(section: &Section<'_>, complaints: &mut Complaints<'_>) -> UserEntry {
    let id = section.get("id").and_then(|value| text("id", value, "an id, in quotes", complaints));
    let zone = "the name of a time zone, like `\"Europe/Berlin\"`";
    let time_zone = section.get("time_zone").and_then(|value| text("time_zone", value, zone, complaints));
    let mut suppressed = Vec::new();
    if let Some(value) = section.get("suppressed") {
        let expected = "a list of channels, `*` for all of them";
        for element in section.list("suppressed", value, expected, MAX_VALUES, complaints) {
            suppressed.extend(text("suppressed", element, expected, complaints).map(|channel| channel.value));
        }
    }
    UserEntry {
        id: id.map_or_else(String::new, |id| id.value),
        time_zone: time_zone.map(|zone| zone.value),
        traits: values(section, "traits", complaints),
        consents: values(section, "consents", complaints),
        suppressed,
    }
}
