//! The keys of `[shadow]`.
//!
//! Not here: what they do (`crate::live_shadow`).

use super::{Problem, Written};
use crate::config;
use crate::config::ShadowCandidate;

/// The section's keys, in the order of the shipped file.
pub(in crate::config) const KEYS: &[&str] = &[
    "candidates",
    "share",
    "queue_bytes",
    "threads",
    "time_budget",
    "abandon_after",
    "max_abandoned",
    "keep_bytes",
];

/// Most candidates: each decides everything again.
const MAX_CANDIDATES: usize = 8;
/// Longest name of one, in bytes.
const MAX_NAME_BYTES: usize = 64;
const EXPECTED: &str = "candidates with semicolons between them, each a name and what it changes, in quotes, like `\"next: policy=3f9c21; cautious: churn=shadow, conversion=7\"`";

pub(super) fn set(shadow: &mut config::Shadow, key: &str, value: &Written<'_>) -> Result<(), Problem> {
    match key {
        "candidates" => shadow.candidates = candidates(value)?,
        "share" => {
            let share = value.ratio()?;
            if share <= 0.0 {
                return Err(
                    value.problem("a share", "a number above 0 to 1; without candidates nothing is kept")
                );
            }
            shadow.share = share;
        }
        "queue_bytes" => shadow.queue_bytes = value.size(64 << 10, 1 << 30)?,
        "threads" => shadow.threads = value.size(1, 64)?,
        "time_budget" => shadow.time_budget = value.length("1m")?,
        "abandon_after" => shadow.abandon_after = value.length("10m")?,
        "max_abandoned" => shadow.max_abandoned = value.size(1, 64)?,
        _ => shadow.keep_bytes = value.whole(64 << 20, 1 << 50)?,
    }
    Ok(())
}

fn candidates(value: &Written<'_>) -> Result<Vec<ShadowCandidate>, Problem> {
    let mut candidates: Vec<ShadowCandidate> = Vec::new();
    for part in value.text(EXPECTED)?.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let candidate = candidate(part).ok_or_else(|| value.problem("a list of candidates", EXPECTED))?;
        let known = candidates.iter().any(|known| known.name == candidate.name);
        if known || candidates.len() == MAX_CANDIDATES {
            let problem = if known { "a list of candidates, each once" } else { "a short enough list" };
            return Err(
                value.problem(problem, format!("at most {MAX_CANDIDATES} candidates, each name once"))
            );
        }
        candidates.push(candidate);
    }
    Ok(candidates)
}

fn candidate(part: &str) -> Option<ShadowCandidate> {
    let (name, changes) = part.split_once(':')?;
    let name = name.trim();
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(is_name) {
        return None;
    }
    let mut candidate = ShadowCandidate { name: name.to_owned(), policy: None, models: Vec::new() };
    for change in changes.split(',').map(str::trim) {
        let (what, to) = change.split_once('=')?;
        let (what, to) = (what.trim(), to.trim());
        if what.is_empty() || to.is_empty() || candidate.models.iter().any(|(known, _)| known == what) {
            return None;
        }
        match what {
            "policy" if candidate.policy.is_some() => return None,
            "policy" => candidate.policy = Some(to.to_owned()),
            model => candidate.models.push((model.to_owned(), to.to_owned())),
        }
    }
    Some(candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<ShadowCandidate>, Problem> {
        candidates(&Written { kind: "text", text, untyped: false })
    }

    #[test]
    fn candidates_are_read_and_what_is_not_one_is_refused() {
        let Ok(read_two) = read("next: policy=3f9c21; cautious: churn=shadow, conversion=7;") else {
            panic!("it is well formed")
        };
        let expected = [
            ShadowCandidate { name: "next".to_owned(), policy: Some("3f9c21".to_owned()), models: vec![] },
            ShadowCandidate {
                name: "cautious".to_owned(),
                policy: None,
                models: [("churn", "shadow"), ("conversion", "7")]
                    .map(|(model, version)| (model.to_owned(), version.to_owned()))
                    .into(),
            },
        ];
        assert_eq!(read_two, expected);
        assert!(read("").is_ok_and(|none| none.is_empty()));
        for wrong in
            ["next", "next:", ": churn=3", "a b: churn=3", "a: churn", "a: churn=", "a: churn=1, churn=2"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(read("a: churn=1; a: churn=2").is_err());
        let nine: String = (0..9).map(|number| format!("c{number}: churn=1;")).collect();
        assert!(read(&nine).is_err());
    }
}
