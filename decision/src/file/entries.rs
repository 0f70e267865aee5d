//! Which tables and keys a policy file has.
//!
//! Not here: how a single value is read (`section`).

use augur_domain::time::MINUTE_MS;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::declared::{DeclaredEntry, declarations};
use super::payload::{MAX_PAYLOAD_BYTES, fields, write_json};
use super::section::{Section, shortened, text, wrong_type};
use super::{
    ActionEntry, Complaints, Located, MAX_ACTIONS, MAX_CHANNELS, MAX_CONTEXT_PER_POINT, MAX_EXPERIMENTS,
    MAX_FILE_BYTES, MAX_HOLDOUTS, MAX_LAYERS, MAX_MODELS, MAX_MODELS_PER_POINT, MAX_POINTS, MAX_RULES,
    MAX_SEGMENTS, MAX_SEGMENTS_PER_POINT, MAX_TEST_FILES, MAX_TRAITS, MAX_WORDS, MAX_WORDS_PER_DECISION,
    ModelEntry, PointEntry, Policy, SegmentEntry, WordEntry,
};
use super::{diversity, experiment, exploration, ladder, limits, person, rule, table};
use crate::names::TIME_ZONE;
use crate::snapshot::WhenFeaturesUnavailable;
use crate::source::Sources;

/// The one version of the format.
const VERSION: i64 = 1;
/// A decision that may take longer than this is not one made while someone waits.
const MAX_DEADLINE_MS: i64 = MINUTE_MS;
/// Values, factors and addends beyond this are mistakes.
const MAX_AMOUNT: f64 = 1e12;

const POLICY_KEYS: &[&str] = &[
    "version",
    "decision_point",
    "model",
    "segment",
    "action",
    "channel",
    "time",
    "rule",
    "table",
    "user",
    "explain",
    "tests",
    "holdout",
    "layer",
    "experiment",
    "consent_from_request",
];
const POINT_KEYS: &[&str] = &[
    "name",
    "actions",
    "default_action",
    "deadline",
    "models",
    "segments",
    "context",
    "on_features_unavailable",
    "exploration",
    "tie_break",
    "fallback",
    "time_needed",
    "diversity",
];
const MODEL_KEYS: &[&str] = &["name", "model", "alias", "explain_most", "prior", "prior_by_segment"];
const SEGMENT_KEYS: &[&str] = &["name", "model", "alias"];
const EXPLAIN_KEYS: &[&str] = &["model", "feature", "raises", "lowers"];
const ACTION_KEYS: [&str; 10] = [
    "name",
    "channel",
    "payload",
    "value",
    "value_fallback",
    "eligible_when",
    "expires_after",
    "successes",
    "failures",
    "requires_consent",
];

/// Reads a whole file. A file that is not TOML yields an empty policy and its syntax errors.
pub(crate) fn parse<'a>(source: Sources<'a>, complaints: &mut Complaints<'a>) -> Policy {
    let text = &source.policy.text;
    if text.len() > MAX_FILE_BYTES {
        let message = format!("the file has {} bytes", text.len());
        complaints.add(0, message, format!("at most {MAX_FILE_BYTES}"), "");
        return Policy::default();
    }
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let offset = error.span().map_or(0, |span| span.start);
        complaints.add(offset, error.message(), "", "");
    }
    if !errors.is_empty() {
        return Policy::default();
    }
    let root = Section::new(document.get_ref(), 0, "the policy", POLICY_KEYS, complaints);
    check_version(&root, complaints);
    Policy {
        points: tables(&root, "decision_point", MAX_POINTS, complaints, point),
        models: tables(&root, "model", MAX_MODELS, complaints, model),
        segments: tables(&root, "segment", MAX_SEGMENTS, complaints, segment),
        actions: tables(&root, "action", MAX_ACTIONS, complaints, action),
        channels: tables(&root, "channel", MAX_CHANNELS, complaints, limits::channel),
        unknown_zone: limits::unknown_zone(&root, complaints),
        rules: tables(&root, "rule", MAX_RULES, complaints, rule::rule),
        tables: {
            let mut reader = table::Reader::new(source);
            tables(&root, "table", table::MAX_TABLES, complaints, |entry, offset, complaints| {
                reader.table(entry, offset, complaints)
            })
        },
        traits: root.get("user").map_or_else(Vec::new, |value| traits(value, complaints)),
        words: tables(&root, "explain", MAX_WORDS, complaints, word),
        tests: test_files(&root, complaints),
        holdouts: tables(&root, "holdout", MAX_HOLDOUTS, complaints, experiment::holdout),
        layers: tables(&root, "layer", MAX_LAYERS, complaints, experiment::layer),
        experiments: tables(&root, "experiment", MAX_EXPERIMENTS, complaints, experiment::experiment),
        consent_from_request: person::consent_from_request(&root, complaints),
    }
}

fn check_version(root: &Section<'_>, complaints: &mut Complaints<'_>) {
    let expected = format!("`version = {VERSION}`");
    if root.required("version", &expected, complaints).is_none() {
        return;
    }
    if let Some(version) = root.integer("version", complaints)
        && version.value != VERSION
    {
        let message = format!("version {} of the policy format is not known", version.value);
        complaints.add(version.offset, message, expected, "");
    }
}

/// Names of files beside the policy: no path leads anywhere else.
fn test_files(root: &Section<'_>, complaints: &mut Complaints<'_>) -> Vec<String> {
    const FORM: &str =
        "the name of a file beside the policy that ends with `.toml`, like `\"policy_tests.toml\"`";
    let Some(value) = root.get("tests") else { return Vec::new() };
    let mut files = Vec::new();
    for element in root.list("tests", value, "a list of files", MAX_TEST_FILES, complaints) {
        let Some(name) = text("tests", element, FORM, complaints) else { continue };
        let fits = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        let is_name = name.value.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.value.ends_with(".toml")
            && name.value.len() <= 100
            && name.value.chars().all(fits);
        if is_name && !files.contains(&name.value) {
            files.push(name.value);
        } else {
            let message = format!("`{}` in `tests` cannot be used", shortened(&name.value));
            complaints.add(name.offset, message, FORM, "");
        }
    }
    files
}

/// `[user]`: what people say of themselves.
fn traits(value: &Spanned<DeValue<'_>>, complaints: &mut Complaints<'_>) -> Vec<DeclaredEntry> {
    let traits = declarations("user", value, MAX_TRAITS, complaints);
    if let Some(taken) = traits.iter().find(|entry| entry.name.value == TIME_ZONE) {
        let message = format!("`{TIME_ZONE}` is known without being declared");
        complaints.add(taken.name.offset, message, "no such line", "");
    }
    traits
}

/// Every `[[key]]` table of the file.
fn tables<'t, 'c, T>(
    root: &Section<'t>,
    key: &str,
    most: usize,
    complaints: &mut Complaints<'c>,
    mut read: impl FnMut(&'t DeTable<'t>, usize, &mut Complaints<'c>) -> T,
) -> Vec<T> {
    let Some(value) = root.get(key) else { return Vec::new() };
    let expected = format!("tables under `[[{key}]]`");
    let mut entries = Vec::new();
    for element in root.list(key, value, &expected, most, complaints) {
        match element.get_ref() {
            DeValue::Table(table) => entries.push(read(table, element.span().start, complaints)),
            _ => wrong_type(key, element, &expected, complaints),
        }
    }
    entries
}

fn point(table: &DeTable<'_>, offset: usize, complaints: &mut Complaints<'_>) -> PointEntry {
    let section = Section::new(table, offset, "decision_point", POINT_KEYS, complaints);
    let deadline_expected = "a length of time up to `1m`, like `\"50ms\"`";
    section.required("deadline", deadline_expected, complaints);
    let deadline = section.duration_ms("deadline", complaints);
    if let Some(deadline) = deadline.as_ref().filter(|deadline| deadline.value > MAX_DEADLINE_MS) {
        complaints.add(deadline.offset, "`deadline` is longer than a minute", deadline_expected, "");
    }
    let mut optional_names = |key: &str, most: usize| match section.get(key) {
        Some(value) if !is_empty_list(value) => section.names(key, most, complaints),
        _ => Vec::new(),
    };
    let models = optional_names("models", MAX_MODELS_PER_POINT);
    let segments = optional_names("segments", MAX_SEGMENTS_PER_POINT);
    let default_action = section.name("default_action", complaints);
    let choices = [("rules", WhenFeaturesUnavailable::Rules), ("default", WhenFeaturesUnavailable::Default)];
    let when_features_unavailable = section.choice("on_features_unavailable", &choices, complaints);
    PointEntry {
        name: section.name("name", complaints),
        actions: section.names("actions", MAX_ACTIONS, complaints),
        default_action: Some(default_action).filter(|name| !name.value.is_empty()),
        deadline_ms: deadline.map_or(MAX_DEADLINE_MS, |deadline| deadline.value),
        models,
        segments,
        context: section
            .get("context")
            .map_or_else(Vec::new, |value| declarations("context", value, MAX_CONTEXT_PER_POINT, complaints)),
        when_features_unavailable: when_features_unavailable.unwrap_or(WhenFeaturesUnavailable::Rules),
        exploration: exploration::exploration(&section, complaints),
        tie_break: exploration::tie_break(&section, complaints),
        fallback: ladder::ladder(&section, complaints),
        diversity: diversity::diversity(&section, complaints),
    }
}

fn is_empty_list(value: &Spanned<DeValue<'_>>) -> bool {
    matches!(value.get_ref(), DeValue::Array(list) if list.is_empty())
}

fn model(table: &DeTable<'_>, offset: usize, complaints: &mut Complaints<'_>) -> ModelEntry {
    let section = Section::new(table, offset, "model", MODEL_KEYS, complaints);
    let name = section.name("name", complaints);
    let champion = || Located { value: "champion".to_owned(), offset };
    ModelEntry {
        registered_name: section.optional_name("model", complaints).unwrap_or_else(|| name.clone()),
        alias: section.optional_name("alias", complaints).unwrap_or_else(champion),
        explain_most: explain_most(&section, complaints),
        prior: ladder::prior(&section, complaints),
        prior_by_segment: ladder::prior_by_segment(&section, complaints),
        name,
    }
}

fn segment(table: &DeTable<'_>, offset: usize, complaints: &mut Complaints<'_>) -> SegmentEntry {
    let section = Section::new(table, offset, "segment", SEGMENT_KEYS, complaints);
    let name = section.name("name", complaints);
    let champion = || Located { value: "champion".to_owned(), offset };
    SegmentEntry {
        registered_name: section.optional_name("model", complaints).unwrap_or_else(|| name.clone()),
        alias: section.optional_name("alias", complaints).unwrap_or_else(champion),
        name,
    }
}

fn explain_most(section: &Section<'_>, complaints: &mut Complaints<'_>) -> usize {
    const USUAL: usize = 3;
    let Some(most) = section.integer("explain_most", complaints) else { return USUAL };
    if !(1..=MAX_WORDS_PER_DECISION).contains(&most.value) {
        let message = format!("`explain_most` is the number `{}`", most.value);
        complaints.add(most.offset, message, format!("1 to {MAX_WORDS_PER_DECISION}"), "");
        return USUAL;
    }
    usize::try_from(most.value).unwrap_or(USUAL)
}

fn word(table: &DeTable<'_>, offset: usize, complaints: &mut Complaints<'_>) -> WordEntry {
    let section = Section::new(table, offset, "explain", EXPLAIN_KEYS, complaints);
    if section.get("raises").is_none() && section.get("lowers").is_none() {
        section.required("raises", "`raises`, `lowers` or both", complaints);
    }
    let mut code = |key: &str| section.get(key).map(|value| reason_code(key, value, complaints));
    let (raises, lowers) = (code("raises"), code("lowers"));
    WordEntry {
        model: section.name("model", complaints),
        feature: section.name("feature", complaints),
        raises,
        lowers,
    }
}

fn action(table: &DeTable<'_>, offset: usize, complaints: &mut Complaints<'_>) -> ActionEntry {
    let keys = [ACTION_KEYS.as_slice(), limits::LIMIT_KEYS.as_slice()].concat();
    let section = Section::new(table, offset, "action", &keys, complaints);
    let mut action = ActionEntry {
        name: section.name("name", complaints),
        channel: section.optional_name("channel", complaints),
        payload: section.get("payload").map_or_else(String::new, |value| payload(value, complaints)),
        fields: section.get("payload").map_or_else(|| Some(Vec::new()), |value| fields(value).ok().flatten()),
        value: section.expression("value", complaints),
        value_fallback: amount(&section, "value_fallback", complaints).unwrap_or(0.0),
        declares_value: section.get("value").or(section.get("value_fallback")).is_some(),
        evidence: exploration::evidence(&section, complaints),
        eligible_when: section.expression("eligible_when", complaints),
        expires_after_ms: section.duration_ms("expires_after", complaints).map(|length| length.value),
        requires_consent: person::requires_consent(&section, complaints),
        category: None,
        caps: Vec::new(),
        quiet: None,
        budget: None,
        confirm_within: None,
    };
    limits::limits(&section, &mut action, complaints);
    action
}

pub(super) fn payload(value: &Spanned<DeValue<'_>>, complaints: &mut Complaints<'_>) -> String {
    let mut json = String::new();
    if let Err(unwritable) = write_json(value, &mut json) {
        complaints.add(unwritable.offset, unwritable.message, unwritable.expected, "");
    } else if json.len() > MAX_PAYLOAD_BYTES {
        let message = format!("the payload has {} bytes as JSON", json.len());
        complaints.add(value.span().start, message, format!("at most {MAX_PAYLOAD_BYTES}"), "");
    }
    json
}

/// A number of a size that can be meant.
pub(super) fn amount(section: &Section<'_>, key: &str, complaints: &mut Complaints<'_>) -> Option<f64> {
    checked_amount(key, section.number(key, complaints)?, complaints)
}

pub(super) fn checked_amount(
    key: &str,
    number: Located<f64>,
    complaints: &mut Complaints<'_>,
) -> Option<f64> {
    if number.value.abs() <= MAX_AMOUNT {
        return Some(number.value);
    }
    let message = format!("`{key}` is the number `{}`", number.value);
    complaints.add(number.offset, message, format!("a number between -{MAX_AMOUNT} and {MAX_AMOUNT}"), "");
    None
}

const CODE_FORM: &str = "upper-case letters, digits and underscores, at most 64, like `VIP_PAYS_FULL`";

pub(super) fn reason(section: &Section<'_>, complaints: &mut Complaints<'_>) -> String {
    let written = section.required("reason", CODE_FORM, complaints);
    written.map_or_else(String::new, |value| reason_code("reason", value, complaints))
}

/// A code in the form of codes; empty when it is no text.
pub(super) fn reason_code(
    key: &str,
    value: &Spanned<DeValue<'_>>,
    complaints: &mut Complaints<'_>,
) -> String {
    let written = text(key, value, CODE_FORM, complaints);
    written.map_or_else(String::new, |written| checked_code(written, complaints))
}

pub(super) fn checked_code(written: Located<String>, complaints: &mut Complaints<'_>) -> String {
    let word = &written.value;
    let upper = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let starts = word.starts_with(|c: char| c.is_ascii_uppercase());
    if !(starts && word.len() <= 64 && word.chars().all(upper)) {
        complaints.add(written.offset, format!("`{}` is not a reason code", shortened(word)), CODE_FORM, "");
    }
    written.value
}
