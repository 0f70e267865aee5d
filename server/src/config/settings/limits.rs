//! The keys of `[limits]`.
//!
//! Not here: what they do (`crate::limits`).

use super::{Problem, Written};
use crate::address::AddressRange;
use crate::config;
use crate::limits::{Rate, short_name};
use crate::services::METHODS;
use crate::suggest::did_you_mean;

/// The section's keys, in the order of the shipped file.
pub(in crate::config) const KEYS: &[&str] =
    &["caller", "callers", "caller_methods", "methods", "user", "max_keys"];

pub(super) fn set(limits: &mut config::Limits, key: &str, value: &Written<'_>) -> Result<(), Problem> {
    match key {
        "caller" => limits.caller = rate(value)?,
        "callers" => limits.callers = callers(value)?,
        "caller_methods" => limits.caller_methods = methods(value)?,
        "methods" => limits.methods = methods(value)?,
        "user" => limits.user = rate(value)?,
        _ => limits.max_keys = value.size(1_000, 100_000_000)?,
    }
    Ok(())
}

/// A rate; an empty text is none.
fn rate(value: &Written<'_>) -> Result<Option<Rate>, Problem> {
    const EXPECTED: &str = "`\"\"` or calls per length of time, in quotes, like `\"100 per 1s\"`";
    match value.text(EXPECTED)? {
        "" => Ok(None),
        text => Rate::parse(text).map(Some).map_err(|_| value.problem("a rate", EXPECTED)),
    }
}

fn callers(value: &Written<'_>) -> Result<Vec<(AddressRange, Rate)>, Problem> {
    const EXPECTED: &str = "addresses with their rates, in quotes, like `\"10.0.0.0/8=1000 per 1s\"`";
    value.list("a list of callers", EXPECTED, |part| {
        let (range, rate) = named(part)?;
        Ok((range.parse().map_err(|_| String::new())?, rate))
    })
}

fn methods(value: &Written<'_>) -> Result<Vec<(String, Rate)>, Problem> {
    const EXPECTED: &str =
        "methods with their rates, in quotes, like `\"Decide=1000 per 1s, Ingest=100 per 1s\"`";
    value.list("a list of methods", EXPECTED, |part| {
        let (name, rate) = named(part)?;
        Ok((method(name)?, rate))
    })
}

fn named(part: &str) -> Result<(&str, Rate), String> {
    let (name, rate) = part.split_once('=').ok_or("")?;
    Ok((name.trim(), Rate::parse(rate.trim())?))
}

/// The name of a method that there is, without its service.
pub(super) fn method(name: &str) -> Result<String, String> {
    let known = || METHODS.iter().filter(|method| method.starts_with('/')).map(|method| short_name(method));
    let name = name.trim();
    if known().any(|known| known == name) { Ok(name.to_owned()) } else { Err(did_you_mean(name, known())) }
}
