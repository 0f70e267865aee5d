//! `diversity` of a decision point.
//!
//! Not here: what it does (`diversity`).

use augur_domain::time::format_duration_ms;
use toml::Spanned;
use toml::de::DeValue;

use super::section::{Section, wrong_type};
use super::{Complaints, Located};
use crate::cap::{MAX_LIMIT, Scope};
use crate::diversity::Diversity;

const KEYS: &[&str] = &["of", "at_most", "among", "within", "penalty"];
/// Rules of one decision point.
const MAX_RULES: usize = 8;
const FORM: &str = "tables like `{ of = \"category\", at_most = 1, among = 3 }`";

/// The rules of a decision point.
pub(super) fn diversity(section: &Section<'_>, complaints: &mut Complaints<'_>) -> Vec<Located<Diversity>> {
    let Some(value) = section.get("diversity") else { return Vec::new() };
    let rules = section.list("diversity", value, FORM, MAX_RULES, complaints);
    rules.into_iter().filter_map(|element| rule(element, complaints)).collect()
}

fn rule(element: &Spanned<DeValue<'_>>, complaints: &mut Complaints<'_>) -> Option<Located<Diversity>> {
    let offset = element.span().start;
    let DeValue::Table(table) = element.get_ref() else {
        wrong_type("diversity", element, FORM, complaints);
        return None;
    };
    let section = Section::new(table, offset, "diversity", KEYS, complaints);
    section.required("of", "`action`, `channel` or `category`", complaints);
    section.required("at_most", "how many may be alike", complaints);
    let scopes = [("action", Scope::Action), ("channel", Scope::Channel), ("category", Scope::Category)];
    let of = section.choice("of", &scopes, complaints);
    let at_most = count(&section, "at_most", complaints);
    let among = count(&section, "among", complaints);
    let within_ms = section.duration_ms("within", complaints).map(|within| within.value);
    let penalty = penalty(&section, complaints);
    if section.get("among").is_none() && section.get("within").is_none() {
        let message = "`diversity` looks at everything that was ever given";
        complaints.add(offset, message, "`among`, `within` or both", "");
        return None;
    }
    let (of, at_most) = (of?, at_most?);
    if among.is_some_and(|among| among < at_most) {
        let message = format!("{at_most} can never be among so few");
        complaints.add(offset, message, "`at_most` of no more than `among`", "");
        return None;
    }
    let words = words(of, at_most, among, within_ms).into();
    Some(Located { value: Diversity { of, at_most, among, within_ms, penalty, words }, offset })
}

/// `category: 1 among 3 within 7d`
fn words(of: Scope, at_most: usize, among: Option<usize>, within_ms: Option<i64>) -> String {
    let of = if of == Scope::Action { "action" } else { of.as_str() };
    let among = among.map_or_else(String::new, |among| format!(" among {among}"));
    let within =
        within_ms.map_or_else(String::new, |within_ms| format!(" within {}", format_duration_ms(within_ms)));
    format!("{of}: {at_most}{among}{within}")
}

fn count(section: &Section<'_>, key: &str, complaints: &mut Complaints<'_>) -> Option<usize> {
    let count = section.integer(key, complaints)?;
    if !(1..=i64::from(MAX_LIMIT)).contains(&count.value) {
        let message = format!("`{key}` is the number `{}`", count.value);
        complaints.add(count.offset, message, format!("1 to {MAX_LIMIT}"), "");
        return None;
    }
    usize::try_from(count.value).ok()
}

fn penalty(section: &Section<'_>, complaints: &mut Complaints<'_>) -> Option<f64> {
    let penalty = section.number("penalty", complaints)?;
    if penalty.value > 0.0 && penalty.value <= 1.0 {
        return Some(penalty.value);
    }
    let message = format!("`penalty` is the number `{}`", penalty.value);
    complaints.add(penalty.offset, message, "a share above 0 and up to 1", "");
    None
}
