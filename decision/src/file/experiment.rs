//! `[[holdout]]`, `[[layer]]` and `[[experiment]]`: who is held out, and who is in which arm.
//!
//! Not here: whether names refer to anything and ranges keep apart (`check`).

use augur_domain::assignment::BUCKETS;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::entries::payload;
use super::payload::{fields, float_value, integer_value};
use super::rule::{INSTANT_FORM, instant, owner, validity};
use super::section::{Section, text, wrong_type};
use super::{Complaints, Located, MAX_ACTIONS, MAX_POINTS, Written};
use crate::rule::Validity;

const HOLDOUT_KEYS: &[&str] = &["name", "share", "salt", "hash", "points", "until", "owner"];
const LAYER_KEYS: &[&str] = &["name", "salt", "hash"];
const EXPERIMENT_KEYS: &[&str] = &[
    "name",
    "layer",
    "share",
    "from",
    "buckets",
    "arm",
    "salt",
    "hash",
    "when",
    "points",
    "valid_from",
    "valid_until",
    "owner",
    "pre",
];
const ARM_KEYS: &[&str] = &["name", "weight", "payload", "factor"];

/// Ranges of buckets of one experiment.
const MAX_RANGES: usize = 16;
/// Arms of one experiment.
pub(crate) const MAX_ARMS: usize = 16;
const MAX_SALT_BYTES: usize = 128;
const MAX_WEIGHT: f64 = 1e6;

/// `[[holdout]]`
#[derive(Debug)]
pub(crate) struct HoldoutEntry {
    pub(crate) name: Located<String>,
    /// Buckets below it are held out.
    pub(crate) below: u32,
    pub(crate) salt: Located<String>,
    /// `None`: every decision point.
    pub(crate) points: Option<Vec<Located<String>>>,
    pub(crate) validity: Validity,
}

/// `[[layer]]`
#[derive(Debug)]
pub(crate) struct LayerEntry {
    pub(crate) name: Located<String>,
    pub(crate) salt: Located<String>,
}

/// `[[experiment]]`
#[derive(Debug)]
pub(crate) struct ExperimentEntry {
    pub(crate) name: Located<String>,
    pub(crate) layer: Option<Located<String>>,
    /// Buckets from the first to before the second.
    pub(crate) ranges: Vec<Located<(u32, u32)>>,
    pub(crate) arms: Vec<ArmEntry>,
    pub(crate) salt: Located<String>,
    pub(crate) when: Option<Written>,
    /// `None`: every decision point.
    pub(crate) points: Option<Vec<Located<String>>>,
    pub(crate) validity: Validity,
    pub(crate) owner: Option<String>,
    /// The feature whose value from before is taken off in reports: its name, without `features.`.
    pub(crate) pre: Option<Located<String>>,
}

/// `[[experiment.arm]]`
#[derive(Debug)]
pub(crate) struct ArmEntry {
    pub(crate) name: Located<String>,
    pub(crate) weight: f64,
    pub(crate) payloads: Vec<PayloadEntry>,
    /// By action.
    pub(crate) factors: Vec<(Located<String>, f64)>,
}

/// What an arm gives in place of an action's payload.
#[derive(Debug)]
pub(crate) struct PayloadEntry {
    pub(crate) action: Located<String>,
    pub(crate) json: String,
    /// The payload's keys with their JSON texts, in order; empty if it is no table.
    pub(crate) fields: Vec<(String, String)>,
}

pub(super) fn holdout(table: &DeTable<'_>, offset: usize, complaints: &mut Complaints<'_>) -> HoldoutEntry {
    let section = Section::new(table, offset, "holdout", HOLDOUT_KEYS, complaints);
    check_hash(&section, complaints);
    section.required("share", SHARE_FORM, complaints);
    let name = section.name("name", complaints);
    if let Some(value) = section.get("owner") {
        owner(value, complaints);
    }
    HoldoutEntry {
        below: share(&section, "share", complaints).map_or(0, |share| share.value),
        salt: salt(&section, &name, complaints),
        points: points(&section, complaints),
        validity: Validity { from: None, until: until(&section, complaints) },
        name,
    }
}

fn until(section: &Section<'_>, complaints: &mut Complaints<'_>) -> Option<augur_domain::Timestamp> {
    let value = section.get("until")?;
    let written = match value.get_ref() {
        DeValue::String(text) => text.to_string(),
        DeValue::Datetime(datetime) => datetime.to_string(),
        _ => {
            wrong_type("until", value, INSTANT_FORM, complaints);
            return None;
        }
    };
    instant("until", &written, value.span().start, complaints)
}

pub(super) fn layer(table: &DeTable<'_>, offset: usize, complaints: &mut Complaints<'_>) -> LayerEntry {
    let section = Section::new(table, offset, "layer", LAYER_KEYS, complaints);
    check_hash(&section, complaints);
    let name = section.name("name", complaints);
    LayerEntry { salt: salt(&section, &name, complaints), name }
}

pub(super) fn experiment(
    table: &DeTable<'_>,
    offset: usize,
    complaints: &mut Complaints<'_>,
) -> ExperimentEntry {
    let section = Section::new(table, offset, "experiment", EXPERIMENT_KEYS, complaints);
    check_hash(&section, complaints);
    let name = section.name("name", complaints);
    ExperimentEntry {
        layer: section.optional_name("layer", complaints),
        ranges: ranges(&section, complaints),
        arms: arms(&section, complaints),
        salt: salt(&section, &name, complaints),
        when: section.expression("when", complaints),
        points: points(&section, complaints),
        validity: validity(&section, complaints),
        owner: section.get("owner").and_then(|value| owner(value, complaints)),
        pre: pre(&section, complaints),
        name,
    }
}

/// `pre`, as expressions would read it.
fn pre(section: &Section<'_>, complaints: &mut Complaints<'_>) -> Option<Located<String>> {
    const FORM: &str = "a feature, like `\"features.revenue_30d\"`";
    let written = text("pre", section.get("pre")?, FORM, complaints)?;
    let Some(name) = written.value.strip_prefix("features.") else {
        complaints.add(written.offset, format!("`pre` is `{}`", written.value), FORM, "");
        return None;
    };
    Some(Located { value: name.to_owned(), offset: written.offset })
}

fn points(section: &Section<'_>, complaints: &mut Complaints<'_>) -> Option<Vec<Located<String>>> {
    section.get("points").map(|_| section.names("points", MAX_POINTS, complaints))
}

/// Version 1 is the only hash there is; whoever leaves it out gets it for ever.
fn check_hash(section: &Section<'_>, complaints: &mut Complaints<'_>) {
    section.choice("hash", &[("v1", ())], complaints);
}

/// The salt; left out, the name.
fn salt(
    section: &Section<'_>,
    otherwise: &Located<String>,
    complaints: &mut Complaints<'_>,
) -> Located<String> {
    const FORM: &str = "a text of 1 to 128 bytes";
    let Some(value) = section.get("salt") else { return otherwise.clone() };
    let Some(salt) = text("salt", value, FORM, complaints) else { return otherwise.clone() };
    if salt.value.is_empty() || salt.value.len() > MAX_SALT_BYTES {
        complaints.add(salt.offset, format!("`salt` has {} bytes", salt.value.len()), FORM, "");
    }
    salt
}

const SHARE_FORM: &str = "a share from 0 to 1, like `0.05`, of at most six decimals";

/// A share in buckets.
fn share(section: &Section<'_>, key: &str, complaints: &mut Complaints<'_>) -> Option<Located<u32>> {
    let number = section.number(key, complaints)?;
    let buckets = number.value * f64::from(BUCKETS);
    let whole = buckets.round();
    if !(0.0..=1.0).contains(&number.value) || (buckets - whole).abs() > 1e-6 {
        let message = format!("`{key}` is the number `{}`", number.value);
        complaints.add(number.offset, message, SHARE_FORM, "");
        return None;
    }
    // From 0 to a million.
    Some(Located { value: whole as u32, offset: number.offset })
}

/// `buckets`, or `share` with `from`.
fn ranges(section: &Section<'_>, complaints: &mut Complaints<'_>) -> Vec<Located<(u32, u32)>> {
    const EXPECTED: &str =
        "ranges of buckets, each the first and the one after the last, like `[[0, 100_000]]`";
    let Some(value) = section.get("buckets") else { return share_range(section, complaints) };
    for key in ["share", "from"] {
        if let Some(other) = section.get(key) {
            let message = format!("`{key}` beside `buckets`");
            complaints.add(other.span().start, message, "one or the other", "");
        }
    }
    let mut ranges = Vec::new();
    for element in section.list("buckets", value, EXPECTED, MAX_RANGES, complaints) {
        let bounds = match element.get_ref() {
            DeValue::Array(list) => list.iter().map(bucket).collect::<Option<Vec<u32>>>(),
            _ => None,
        };
        let offset = element.span().start;
        match bounds.as_deref() {
            Some([first, end]) if first < end => ranges.push(Located { value: (*first, *end), offset }),
            _ => complaints.add(offset, "an element of `buckets` is no range of buckets", EXPECTED, ""),
        }
    }
    ranges
}

fn bucket(bound: &Spanned<DeValue<'_>>) -> Option<u32> {
    let DeValue::Integer(integer) = bound.get_ref() else { return None };
    let number = u32::try_from(integer_value(integer)?).ok()?;
    (number <= BUCKETS).then_some(number)
}

fn share_range(section: &Section<'_>, complaints: &mut Complaints<'_>) -> Vec<Located<(u32, u32)>> {
    if section.required("share", "`share`, or `buckets`", complaints).is_none() {
        return Vec::new();
    }
    let Some(share) = share(section, "share", complaints) else { return Vec::new() };
    let from = self::share(section, "from", complaints).map_or(0, |from| from.value);
    let end = from + share.value;
    if end > BUCKETS {
        let message = "`from` and `share` together are more than the whole";
        complaints.add(share.offset, message, "at most 1 together", "");
        return Vec::new();
    }
    vec![Located { value: (from, end), offset: share.offset }]
}

fn arms(section: &Section<'_>, complaints: &mut Complaints<'_>) -> Vec<ArmEntry> {
    const EXPECTED: &str = "at least two tables under `[[experiment.arm]]`";
    let Some(value) = section.required("arm", EXPECTED, complaints) else { return Vec::new() };
    let mut arms = Vec::new();
    for element in section.list("arm", value, EXPECTED, MAX_ARMS, complaints) {
        match element.get_ref() {
            DeValue::Table(table) => arms.push(arm(table, element.span().start, complaints)),
            _ => wrong_type("arm", element, EXPECTED, complaints),
        }
    }
    if matches!(value.get_ref(), DeValue::Array(list) if list.len() < 2) {
        complaints.add(value.span().start, "the experiment has fewer than two arms", EXPECTED, "");
    }
    if arms.len() > 1 && arms.iter().all(|arm| arm.weight == 0.0) {
        complaints.add(value.span().start, "no arm has a weight above 0", "at least one", "");
    }
    arms
}

fn arm(table: &DeTable<'_>, offset: usize, complaints: &mut Complaints<'_>) -> ArmEntry {
    let section = Section::new(table, offset, "arm", ARM_KEYS, complaints);
    let mut weight = 1.0;
    if let Some(number) = section.number("weight", complaints) {
        if !(0.0..=MAX_WEIGHT).contains(&number.value) {
            let message = format!("`weight` is the number `{}`", number.value);
            complaints.add(number.offset, message, format!("a number from 0 to {MAX_WEIGHT}"), "");
        }
        weight = number.value;
    }
    let mut factors = Vec::new();
    for (action, value) in by_action(&section, "factor", complaints) {
        match factor(value) {
            Some(factor) => factors.push((action, factor)),
            None => wrong_type(&action.value, value, "a number from 0 to 1000000", complaints),
        }
    }
    let payloads = by_action(&section, "payload", complaints);
    ArmEntry {
        name: section.name("name", complaints),
        weight,
        payloads: payloads
            .into_iter()
            .map(|(action, value)| PayloadEntry {
                action,
                json: payload(value, complaints),
                fields: fields(value).ok().flatten().unwrap_or_default(),
            })
            .collect(),
        factors,
    }
}

fn factor(value: &Spanned<DeValue<'_>>) -> Option<f64> {
    let number = match value.get_ref() {
        DeValue::Float(float) => float_value(float),
        DeValue::Integer(integer) => integer_value(integer).map(|integer| integer as f64),
        _ => None,
    };
    number.filter(|number| (0.0..=MAX_WEIGHT).contains(number))
}

/// The entries of a table whose keys are names of actions.
fn by_action<'t>(
    section: &Section<'t>,
    key: &'static str,
    complaints: &mut Complaints<'_>,
) -> Vec<(Located<String>, &'t Spanned<DeValue<'t>>)> {
    let expected = "a value for each action, like `{ free_shipping = .. }`";
    let Some(value) = section.get(key) else { return Vec::new() };
    let DeValue::Table(table) = value.get_ref() else {
        wrong_type(key, value, expected, complaints);
        return Vec::new();
    };
    let entries = table.iter().take(MAX_ACTIONS);
    entries
        .map(|(action, value)| {
            let offset = action.span().start;
            (Located { value: action.get_ref().to_string(), offset }, value)
        })
        .collect()
}
