//! Reward rules as they are typed, or read from a file.
//!
//! Not here: what they make of outcomes (`augur_shadow_harness::reward`).

use std::path::Path;

use augur_loadtest::domain::OutcomeKind;
use augur_shadow_harness::reward::{RewardFile, RewardRule, Take};

use crate::Error;

const EXPECTED: &str =
    "version = 1 and tables [[reward]] with name, kind, within, and if wanted take, default, value";

/// The rules in a file.
pub(crate) fn read(path: &Path) -> Result<Vec<RewardRule>, Error> {
    let text = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
    let file: RewardFile = toml::from_str(&text).map_err(|error| Error::Input {
        path: path.to_owned(),
        problem: error.to_string().trim_end().to_owned(),
        expected: EXPECTED.to_owned(),
    })?;
    match file.fault() {
        Some((problem, expected)) => {
            Err(Error::Input { path: path.to_owned(), problem, expected: expected.to_owned() })
        }
        None => Ok(file.rewards),
    }
}

/// The rule called `name`, or the only one there is.
pub(crate) fn rule_of(path: &Path, name: Option<&str>) -> Result<RewardRule, Error> {
    let mut rules = read(path)?;
    let names = rules.iter().map(|rule| rule.name.clone()).collect::<Vec<_>>().join(", ");
    let place = match name {
        Some(name) => rules.iter().position(|rule| rule.name == name),
        None => (rules.len() == 1).then_some(0),
    };
    place.map(|place| rules.swap_remove(place)).ok_or_else(|| Error::Argument {
        argument: "--reward",
        found: name.unwrap_or_default().to_owned(),
        expected: format!("one of {names}, as {} declares them", path.display()),
    })
}

/// A kind of outcome by its word.
pub(crate) fn kind(argument: &'static str, text: &str) -> Result<OutcomeKind, Error> {
    let known = OutcomeKind::ALL.iter().find(|kind| kind.as_str().eq_ignore_ascii_case(text));
    known.copied().ok_or_else(|| {
        let words: Vec<String> = OutcomeKind::ALL.iter().map(|kind| kind.as_str().to_lowercase()).collect();
        Error::Argument { argument, found: text.to_owned(), expected: format!("one of {}", words.join(", ")) }
    })
}

pub(super) fn take(text: &str) -> Result<Take, String> {
    let known = Take::ALL.into_iter().find(|take| take.as_str() == text);
    known.ok_or_else(|| format!("expected one of {}", Take::ALL.map(Take::as_str).join(", ")))
}

pub(super) fn number(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| "expected a number".to_owned())
}
