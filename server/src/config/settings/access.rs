//! The keys of `[access]`.
//!
//! Not here: what they do (`crate::access`).

use std::path::Path;

use super::{Problem, Written};
use crate::config::{self, Algorithm};
use crate::suggest::did_you_mean;

/// The section's keys, in the order of the shipped file.
pub(in crate::config) const KEYS: &[&str] =
    &["required", "identities", "jwks", "issuer", "audience", "algorithms", "clock_skew", "roles_claim"];
/// Longest issuer, audience or name of a claim, in bytes.
const MAX_TEXT_BYTES: usize = 512;

pub(super) fn set(
    access: &mut config::Access,
    key: &str,
    value: &Written<'_>,
    base: &Path,
) -> Result<(), Problem> {
    match key {
        "required" => access.required = value.boolean()?,
        "identities" => access.identities = value.path(base)?,
        "jwks" => access.jwks = value.path(base)?,
        "issuer" => access.issuer = text(value)?,
        "audience" => access.audience = text(value)?,
        "algorithms" => access.algorithms = algorithms(value)?,
        "clock_skew" => access.clock_skew = value.length("60s")?,
        _ => access.roles_claim = text(value)?,
    }
    Ok(())
}

fn text(value: &Written<'_>) -> Result<String, Problem> {
    const EXPECTED: &str = "a text of up to 512 bytes, in quotes";
    let text = value.text(EXPECTED)?;
    let fits = text.len() <= MAX_TEXT_BYTES;
    if fits { Ok(text.to_owned()) } else { Err(value.problem("short enough", EXPECTED)) }
}

fn algorithms(value: &Written<'_>) -> Result<Vec<Algorithm>, Problem> {
    let names = Algorithm::ALL.map(Algorithm::name);
    let expected = format!("some of {} with commas between them, in quotes", names.join(", "));
    let mut found = Vec::new();
    for word in value.text(&expected)?.split(',').map(str::trim) {
        let known = Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == word);
        let known = known.ok_or_else(|| Problem {
            hint: did_you_mean(word, names),
            ..value.problem("a list of algorithms", expected.as_str())
        })?;
        if !found.contains(&known) {
            found.push(known);
        }
    }
    Ok(found)
}

/// What is missing beside what is set, at which key.
pub(super) fn incomplete(access: &config::Access) -> Option<(&'static str, Problem)> {
    let lacks = |key, message: String, expected: &str| {
        Some((key, Problem { message, expected: expected.to_owned(), hint: String::new() }))
    };
    let named = [("identities", &access.identities), ("jwks", &access.jwks)];
    let unused = named.into_iter().find(|(_, path)| path.is_some() && !access.required);
    if let Some((key, _)) = unused {
        let message = format!("`{key}` is set, but no credential is asked for");
        return lacks(key, message, "`required = true` beside it");
    }
    let of_tokens =
        [("issuer", &access.issuer), ("audience", &access.audience), ("roles_claim", &access.roles_claim)];
    let missing = of_tokens.into_iter().find(|(_, text)| access.jwks.is_some() && text.is_empty());
    let (key, _) = missing?;
    lacks(
        "jwks",
        format!("`jwks` is set without `{key}`"),
        "`issuer`, `audience` and `roles_claim` beside it",
    )
}
