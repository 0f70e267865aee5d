//! `[decision_point.exploration]`, `tie_break`, and what an action says of its successes.
//!
//! Not here: whether a decision point's actions fit its exploration (`check_exploration`).

use toml::Spanned;
use toml::de::DeValue;

use super::payload::{float_value, integer_value};
use super::section::{Section, wrong_type};
use super::{Complaints, Located, Written};
use crate::explore::{Exploration, Method, TieBreak};

const KEYS: &[&str] = &["kind", "epsilon", "temperature"];
const MAX_TEMPERATURE: f64 = 1e12;
const MIN_TEMPERATURE: f64 = 1e-12;
const MAX_COUNT: f64 = 1e12;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Epsilon,
    Softmax,
    Thompson,
}

/// How many successes or failures there were: a number, or an expression.
#[derive(Debug)]
pub(crate) enum CountEntry {
    Number(f64),
    Written(Written),
}

/// What an action says of its earlier successes.
#[derive(Debug)]
pub(crate) struct EvidenceEntry {
    /// Where it stands.
    pub(crate) offset: usize,
    pub(crate) successes: CountEntry,
    pub(crate) failures: CountEntry,
}

/// The exploration of a decision point, and where it stands.
pub(super) fn exploration(
    section: &Section<'_>,
    complaints: &mut Complaints<'_>,
) -> Option<Located<Exploration>> {
    let value = section.get("exploration")?;
    let offset = value.span().start;
    let DeValue::Table(table) = value.get_ref() else {
        wrong_type(
            "exploration",
            value,
            "a table, like `{ kind = \"epsilon\", epsilon = 0.05 }`",
            complaints,
        );
        return None;
    };
    let section = Section::new(table, offset, "exploration", KEYS, complaints);
    section.required("kind", "one of `epsilon`, `softmax`, `thompson`", complaints);
    let kinds = [("epsilon", Kind::Epsilon), ("softmax", Kind::Softmax), ("thompson", Kind::Thompson)];
    let kind = section.choice("kind", &kinds, complaints)?;
    let (method, words) = match kind {
        Kind::Epsilon => {
            let epsilon = number(&section, "epsilon", 0.0, 1.0, complaints)?;
            (Method::Epsilon(epsilon), format!("epsilon {epsilon}"))
        }
        Kind::Softmax => {
            let temperature = number(&section, "temperature", MIN_TEMPERATURE, MAX_TEMPERATURE, complaints)?;
            (Method::Softmax { temperature }, format!("softmax {temperature}"))
        }
        Kind::Thompson => (Method::Thompson, "thompson".to_owned()),
    };
    for (key, of) in [("epsilon", Kind::Epsilon), ("temperature", Kind::Softmax)] {
        if let Some(other) = section.get(key).filter(|_| kind != of) {
            let message = format!("`{key}` with another `kind`");
            complaints.add(other.span().start, message, "no such key here", "");
        }
    }
    Some(Located { value: Exploration { method, words: words.into() }, offset })
}

fn number(
    section: &Section<'_>,
    key: &str,
    least: f64,
    most: f64,
    complaints: &mut Complaints<'_>,
) -> Option<f64> {
    let expected = format!("a number from {least} to {most}");
    section.required(key, &expected, complaints);
    let number = section.number(key, complaints)?;
    if !(least..=most).contains(&number.value) {
        complaints.add(number.offset, format!("`{key}` is the number `{}`", number.value), expected, "");
        return None;
    }
    Some(number.value)
}

/// `tie_break` of a decision point.
pub(super) fn tie_break(section: &Section<'_>, complaints: &mut Complaints<'_>) -> TieBreak {
    let choices = [("declared", TieBreak::Declared), ("random", TieBreak::Random)];
    section.choice("tie_break", &choices, complaints).unwrap_or_default()
}

/// `successes` and `failures` of an action: both or none.
pub(super) fn evidence(section: &Section<'_>, complaints: &mut Complaints<'_>) -> Option<EvidenceEntry> {
    let (successes, failures) = (section.get("successes"), section.get("failures"));
    let offset = successes.or(failures)?.span().start;
    let mut read = |key: &str, value: Option<&Spanned<DeValue<'_>>>| match value {
        Some(value) => count(section, key, value, complaints),
        None => {
            let message = format!("the action has no `{key}`");
            complaints.add(offset, message, "`successes` and `failures`, or neither", "");
            None
        }
    };
    let (successes, failures) = (read("successes", successes), read("failures", failures));
    Some(EvidenceEntry { offset, successes: successes?, failures: failures? })
}

fn count(
    section: &Section<'_>,
    key: &str,
    value: &Spanned<DeValue<'_>>,
    complaints: &mut Complaints<'_>,
) -> Option<CountEntry> {
    let number = match value.get_ref() {
        DeValue::Float(float) => float_value(float),
        DeValue::Integer(integer) => integer_value(integer).map(|integer| integer as f64),
        _ => return section.expression(key, complaints).map(CountEntry::Written),
    };
    let fits = number.filter(|number| (0.0..=MAX_COUNT).contains(number));
    if fits.is_none() {
        wrong_type(key, value, "a number from 0 to 10^12, or an expression in quotes", complaints);
    }
    fits.map(CountEntry::Number)
}
