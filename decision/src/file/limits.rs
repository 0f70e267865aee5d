//! The keys of an action, a channel and `[time]` that bound what is given: caps, quiet hours, budgets, holds.
//!
//! Not here: whether they fit together (`check_limits`) or what they mean (`limits`).

use augur_domain::TimeZone;
use augur_domain::time::DAY_MS;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::section::{Section, one_of, shortened, text, wrong_type};
use super::{ActionEntry, Complaints, Located, MAX_CAPS_PER_ACTION, suggestion};
use crate::budget::Budget;
use crate::calendar::{Period, UnknownZone};
use crate::cap::{Cap, MAX_LIMIT};
use crate::quiet::{DAYS, Quiet, parse_hours};

/// Keys of `[[action]]` that are read here.
pub(super) const LIMIT_KEYS: [&str; 6] =
    ["category", "caps", "quiet_hours", "quiet_days", "budget", "confirm_within"];
const CHANNEL_KEYS: &[&str] = &["name", "quiet_hours", "quiet_days"];
const TIME_KEYS: &[&str] = &["unknown_zone"];
const BUDGET_KEYS: &[&str] = &["total", "per", "time_zone", "pacing"];
/// A budget that nobody ever spends is a mistake.
const MAX_TOTAL: i64 = 1_000_000_000_000;
/// What waits longer for a report will not get one.
const MAX_CONFIRM_WITHIN_MS: i64 = 30 * DAY_MS;
const ZONE_FORM: &str = "the name of an IANA time zone, like `Europe/Berlin`";

/// `[[channel]]`
#[derive(Debug)]
pub(crate) struct ChannelEntry {
    pub(crate) name: Located<String>,
    pub(crate) quiet: Option<Located<Quiet>>,
}

/// Reads what bounds an action into its entry.
pub(super) fn limits(section: &Section<'_>, entry: &mut ActionEntry, complaints: &mut Complaints<'_>) {
    entry.category = section.optional_name("category", complaints);
    entry.caps = caps(section, complaints);
    entry.quiet = quiet(section, complaints);
    entry.budget = budget(section, complaints);
    entry.confirm_within = confirm_within(section, complaints);
}

pub(super) fn channel(table: &DeTable<'_>, offset: usize, complaints: &mut Complaints<'_>) -> ChannelEntry {
    let section = Section::new(table, offset, "channel", CHANNEL_KEYS, complaints);
    ChannelEntry { name: section.name("name", complaints), quiet: quiet(&section, complaints) }
}

/// `[time]`
pub(super) fn unknown_zone(root: &Section<'_>, complaints: &mut Complaints<'_>) -> Option<UnknownZone> {
    const EXPECTED: &str = "`\"hold\"`, or the time zone to assume, like `\"UTC\"`";
    let value = root.get("time")?;
    let DeValue::Table(table) = value.get_ref() else {
        wrong_type("time", value, "a table with `unknown_zone`", complaints);
        return None;
    };
    let section = Section::new(table, value.span().start, "time", TIME_KEYS, complaints);
    let written = section.required("unknown_zone", EXPECTED, complaints)?;
    let word = text("unknown_zone", written, EXPECTED, complaints)?;
    if word.value == "hold" {
        return Some(UnknownZone::Hold);
    }
    let zone = zone(&word, EXPECTED, complaints)?;
    Some(UnknownZone::Assume(zone, zone.name().into()))
}

fn zone(
    name: &Located<String>,
    expected: &str,
    complaints: &mut Complaints<'_>,
) -> Option<&'static TimeZone> {
    let zone = TimeZone::named(&name.value);
    if zone.is_none() {
        let message = format!("there is no time zone `{}`", shortened(&name.value));
        let hint = suggestion(&name.value, augur_domain::time_zone::names());
        complaints.add(name.offset, message, expected, hint);
    }
    zone
}

fn caps(section: &Section<'_>, complaints: &mut Complaints<'_>) -> Vec<Located<Cap>> {
    let expected = format!(
        "`<count> per <window>`, then nothing, `per channel` or `per category`; count 1 to {MAX_LIMIT}, window up to \
         400d, or `day`, `week`, `month`"
    );
    let Some(value) = section.get("caps") else { return Vec::new() };
    let list_expected = "a list of caps, like `[\"2 per 7d\"]`";
    let mut caps = Vec::new();
    for element in section.list("caps", value, list_expected, MAX_CAPS_PER_ACTION, complaints) {
        let Some(written) = text("caps", element, &expected, complaints) else { continue };
        match Cap::parse(&written.value) {
            Ok(cap) => caps.push(Located { value: cap, offset: written.offset }),
            Err(problem) => complaints.add(written.offset, problem, expected.as_str(), ""),
        }
    }
    caps
}

fn quiet(section: &Section<'_>, complaints: &mut Complaints<'_>) -> Option<Located<Quiet>> {
    const EXPECTED: &str = "two different times of day, like `\"21:00-08:00\"`";
    let mut offset = None;
    let hours = section.get("quiet_hours").and_then(|value| {
        let written = text("quiet_hours", value, EXPECTED, complaints)?;
        offset = Some(written.offset);
        let hours = parse_hours(&written.value);
        if hours.is_none() {
            let message = format!("`{}` is not a time of quiet", shortened(&written.value));
            complaints.add(written.offset, message, EXPECTED, "");
        }
        hours
    });
    let days = section.get("quiet_days").map_or_else(Vec::new, |value| {
        offset = offset.or(Some(value.span().start));
        quiet_days(section, value, complaints)
    });
    let offset = offset.filter(|_| hours.is_some() || !days.is_empty())?;
    Some(Located { value: Quiet::new(hours, &days), offset })
}

/// Days of the week by their place in [`DAYS`], in its order, each once.
fn quiet_days<'t>(
    section: &Section<'t>,
    value: &'t Spanned<DeValue<'t>>,
    complaints: &mut Complaints<'_>,
) -> Vec<usize> {
    let mut days = Vec::new();
    let expected = "a list of days, like `[\"saturday\", \"sunday\"]`";
    for element in section.list("quiet_days", value, expected, DAYS.len(), complaints) {
        let Some(word) = text("quiet_days", element, expected, complaints) else { continue };
        match DAYS.iter().position(|day| *day == word.value) {
            Some(day) => days.push(day),
            None => {
                let message = format!("`{}` is not a day of the week", shortened(&word.value));
                let hint = suggestion(&word.value, DAYS.into_iter());
                complaints.add(word.offset, message, one_of(&DAYS), hint);
            }
        }
    }
    days.sort_unstable();
    days.dedup();
    days
}

fn budget(section: &Section<'_>, complaints: &mut Complaints<'_>) -> Option<Located<Budget>> {
    let value = section.get("budget")?;
    let DeValue::Table(table) = value.get_ref() else {
        wrong_type("budget", value, "a table, like `{ total = 10000, per = \"day\" }`", complaints);
        return None;
    };
    let offset = value.span().start;
    let section = Section::new(table, offset, "budget", BUDGET_KEYS, complaints);
    let periods = [
        ("day", Some(Period::Day)),
        ("week", Some(Period::Week)),
        ("month", Some(Period::Month)),
        ("none", None),
    ];
    section.required("per", "one of `day`, `week`, `month`, `none`", complaints);
    let period = section.choice("per", &periods, complaints);
    let is_even = section.choice("pacing", &[("even", true), ("none", false)], complaints).unwrap_or(false);
    if is_even && period == Some(None) {
        complaints.add(
            offset,
            "`pacing` without a period to spread the budget over",
            "`per` other than `none`",
            "",
        );
    }
    let named = section.get("time_zone").and_then(|value| text("time_zone", value, ZONE_FORM, complaints));
    let zone = named.map_or_else(|| TimeZone::named("UTC"), |name| zone(&name, ZONE_FORM, complaints));
    let total = total(&section, complaints)?;
    Some(Located { value: Budget::new(total, period?, zone?, is_even), offset })
}

fn total(section: &Section<'_>, complaints: &mut Complaints<'_>) -> Option<u64> {
    let expected = format!("a whole number from 1 to {MAX_TOTAL}");
    section.required("total", &expected, complaints)?;
    let total = section.integer("total", complaints)?;
    if !(1..=MAX_TOTAL).contains(&total.value) {
        complaints.add(total.offset, format!("`total` is the number `{}`", total.value), expected, "");
        return None;
    }
    u64::try_from(total.value).ok()
}

fn confirm_within(section: &Section<'_>, complaints: &mut Complaints<'_>) -> Option<Located<i64>> {
    let within = section.duration_ms("confirm_within", complaints)?;
    if !(1..=MAX_CONFIRM_WITHIN_MS).contains(&within.value) {
        complaints.add(
            within.offset,
            "`confirm_within` is out of range",
            "a length of time from `1ms` to `30d`",
            "",
        );
        return None;
    }
    Some(within)
}
