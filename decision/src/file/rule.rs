//! `[[rule]]`: what one rule may say.
//!
//! Not here: tables of rules (`table`), or whether names refer to anything (`check`).

use augur_domain::Timestamp;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::entries::{amount, reason};
use super::payload::fields;
use super::section::{Section, shortened, text, wrong_type};
use super::{Complaints, Located, MAX_ACTIONS, MAX_POINTS, Written};
use crate::rule::{Boost, Effect, Mode, Validity};

const KEYS: &[&str] = &[
    "id",
    "when",
    "then",
    "actions",
    "points",
    "factor",
    "add",
    "set",
    "reason",
    "priority",
    "valid_from",
    "valid_until",
    "owner",
    "mode",
];

/// Bytes of an owner's name.
const MAX_OWNER_BYTES: usize = 128;

/// `[[rule]]`
#[derive(Debug, Clone)]
pub(crate) struct RuleEntry {
    pub(crate) id: Located<String>,
    /// What must hold, all of it; `None` after a complaint.
    pub(crate) when: Option<Vec<Written>>,
    /// `None` after a complaint.
    pub(crate) then: Option<Effect>,
    pub(crate) actions: Vec<Located<String>>,
    /// `None`: every decision point that offers one of the actions.
    pub(crate) points: Option<Vec<Located<String>>>,
    pub(crate) boost: Boost,
    /// The keys that a rule that sets gives the payload, with their JSON texts, and where they stand.
    pub(crate) set: Located<Vec<(String, String)>>,
    pub(crate) reason: String,
    pub(crate) priority: i64,
    pub(crate) validity: Validity,
    pub(crate) owner: Option<String>,
    pub(crate) mode: Mode,
}

impl RuleEntry {
    /// How complaints call it: ``rule `vip` `` or ``row 3 of table `shipping` ``.
    pub(crate) fn title(&self) -> String {
        match self.row() {
            Some((table, row)) => format!("row {row} of table `{table}`"),
            None => format!("rule `{}`", self.id.value),
        }
    }

    /// Its table and its number there, from 1, if it is a row: they are its id.
    pub(crate) fn row(&self) -> Option<(&str, usize)> {
        let (table, row) = self.id.value.strip_suffix(']')?.split_once('[')?;
        Some((table, row.parse().ok()?))
    }
}

pub(super) fn rule(table: &DeTable<'_>, offset: usize, complaints: &mut Complaints<'_>) -> RuleEntry {
    let section = Section::new(table, offset, "rule", KEYS, complaints);
    section.required("when", "a condition, in quotes", complaints);
    section.required("then", "one of `allow`, `deny`, `force`, `boost`, `set`", complaints);
    let then = section.choice("then", &Effect::WORDS, complaints);
    let points = section.get("points").map(|_| section.names("points", MAX_POINTS, complaints));
    RuleEntry {
        id: section.name("id", complaints),
        when: section.expression("when", complaints).map(|when| vec![when]),
        then,
        actions: section.names("actions", MAX_ACTIONS, complaints),
        points,
        boost: boost(&section, then, complaints),
        set: set(&section, then, complaints),
        reason: reason(&section, complaints),
        priority: priority(&section, complaints),
        validity: validity(&section, complaints),
        owner: section.get("owner").and_then(|value| owner(value, complaints)),
        mode: section.choice("mode", &Mode::WORDS, complaints).unwrap_or_default(),
    }
}

fn boost(section: &Section<'_>, then: Option<Effect>, complaints: &mut Complaints<'_>) -> Boost {
    let factor = amount(section, "factor", complaints);
    let add = amount(section, "add", complaints);
    let given = ["factor", "add"].into_iter().filter_map(|key| Some((key, section.get(key)?)));
    match then {
        Some(Effect::Boost) if given.clone().next().is_none() => {
            section.required("factor", "`factor`, `add` or both with `then = \"boost\"`", complaints);
        }
        Some(Effect::Allow | Effect::Deny | Effect::Force | Effect::Set) => {
            for (key, value) in given {
                let message = format!("`{key}` without `then = \"boost\"`");
                complaints.add(value.span().start, message, "no such key here", "");
            }
        }
        Some(Effect::Boost) | None => {}
    }
    Boost { factor: factor.unwrap_or(1.0), add: add.unwrap_or(0.0) }
}

fn set(
    section: &Section<'_>,
    then: Option<Effect>,
    complaints: &mut Complaints<'_>,
) -> Located<Vec<(String, String)>> {
    const EXPECTED: &str = "keys with their values, like `{ percent = 15 }`";
    let value = match then {
        Some(Effect::Set) => section.required("set", EXPECTED, complaints),
        _ => section.get("set"),
    };
    let Some(value) = value else { return Located { value: Vec::new(), offset: section.offset() } };
    let offset = value.span().start;
    if !matches!(then, Some(Effect::Set) | None) {
        complaints.add(offset, "`set` without `then = \"set\"`", "no such key here", "");
    }
    let set = match fields(value) {
        Ok(Some(fields)) if fields.is_empty() => {
            complaints.add(offset, "`set` is empty", "at least one key", "");
            fields
        }
        Ok(Some(fields)) => fields,
        Ok(None) => {
            wrong_type("set", value, EXPECTED, complaints);
            Vec::new()
        }
        Err(unwritable) => {
            complaints.add(unwritable.offset, unwritable.message, unwritable.expected, "");
            Vec::new()
        }
    };
    Located { value: set, offset }
}

fn priority(section: &Section<'_>, complaints: &mut Complaints<'_>) -> i64 {
    section.integer("priority", complaints).map_or(0, |priority| checked_priority(priority, complaints))
}

/// A priority within its bounds.
pub(super) fn checked_priority(priority: Located<i64>, complaints: &mut Complaints<'_>) -> i64 {
    const MOST: i64 = 1_000_000;
    if priority.value.abs() > MOST {
        let message = format!("`priority` is the number `{}`", priority.value);
        complaints.add(priority.offset, message, format!("a whole number between -{MOST} and {MOST}"), "");
    }
    priority.value
}

pub(super) fn validity(section: &Section<'_>, complaints: &mut Complaints<'_>) -> Validity {
    let from = instant_of(section, "valid_from", complaints);
    let until = instant_of(section, "valid_until", complaints);
    checked_validity(from, until, complaints)
}

/// The instant or date under `key`, as text or as TOML spells dates.
pub(super) fn instant_of(
    section: &Section<'_>,
    key: &str,
    complaints: &mut Complaints<'_>,
) -> Option<Located<Timestamp>> {
    let value = section.get(key)?;
    let written = match value.get_ref() {
        DeValue::String(text) => text.to_string(),
        DeValue::Datetime(datetime) => datetime.to_string(),
        _ => {
            wrong_type(key, value, INSTANT_FORM, complaints);
            return None;
        }
    };
    let offset = value.span().start;
    instant(key, &written, offset, complaints).map(|value| Located { value, offset })
}

pub(super) fn checked_validity(
    from: Option<Located<Timestamp>>,
    until: Option<Located<Timestamp>>,
    complaints: &mut Complaints<'_>,
) -> Validity {
    if let (Some(from), Some(until)) = (&from, &until)
        && until.value <= from.value
    {
        let message = format!("`valid_until` {} is not after `valid_from` {}", until.value, from.value);
        complaints.add(until.offset, message, "a later instant", "");
    }
    Validity { from: from.map(|from| from.value), until: until.map(|until| until.value) }
}

pub(super) const INSTANT_FORM: &str = "a date like `2026-11-30`, which means its first instant in UTC, or an instant like \
                            `2026-11-30T18:00:00+01:00`";

/// An instant as RFC 3339 spells it, or the first one of a date in UTC.
pub(super) fn instant(
    key: &str,
    written: &str,
    offset: usize,
    complaints: &mut Complaints<'_>,
) -> Option<Timestamp> {
    let instant = Timestamp::parse_rfc3339(written)
        .or_else(|| Timestamp::parse_rfc3339(&format!("{written}T00:00:00Z")));
    if instant.is_none() {
        let without_zone = Timestamp::parse_rfc3339(&format!("{written}Z")).is_some();
        let hint = if without_zone { "say the time zone, e.g. with `Z` at the end" } else { "" };
        let message = format!("`{}` in `{key}` is not an instant", shortened(written));
        complaints.add(offset, message, INSTANT_FORM, hint);
    }
    instant
}

pub(super) fn owner(value: &Spanned<DeValue<'_>>, complaints: &mut Complaints<'_>) -> Option<String> {
    checked_owner(text("owner", value, OWNER_FORM, complaints)?, complaints)
}

const OWNER_FORM: &str = "a person or a team, at most 128 bytes, like `growth@example.com`";

/// An owner that fits a line.
pub(super) fn checked_owner(owner: Located<String>, complaints: &mut Complaints<'_>) -> Option<String> {
    let fits = !owner.value.trim().is_empty()
        && owner.value.len() <= MAX_OWNER_BYTES
        && !owner.value.contains(char::is_control);
    if !fits {
        let message = format!("`{}` is not an owner", shortened(&owner.value));
        complaints.add(owner.offset, message, OWNER_FORM, "");
    }
    fits.then_some(owner.value)
}
