//! What a policy says about persons: consents that actions need, and whether a request may give one.
//!
//! Not here: what is done with them (`crate::stages::consent`).

use toml::de::DeValue;

use super::section::{Section, name};
use super::{Complaints, Located};

/// Purposes that one action needs.
const MAX_PURPOSES_PER_ACTION: usize = 8;

/// Whether a request's consent counts where the person was never asked.
pub(super) fn consent_from_request(root: &Section<'_>, complaints: &mut Complaints<'_>) -> bool {
    root.boolean("consent_from_request", complaints).unwrap_or_default()
}

/// `requires_consent` of an action, a purpose or a list of purposes, ordered by name.
pub(super) fn requires_consent(
    section: &Section<'_>,
    complaints: &mut Complaints<'_>,
) -> Vec<Located<String>> {
    const KEY: &str = "requires_consent";
    let Some(value) = section.get(KEY) else { return Vec::new() };
    let mut purposes = match value.get_ref() {
        DeValue::String(_) => name(KEY, value, complaints).into_iter().collect(),
        _ => section.names(KEY, MAX_PURPOSES_PER_ACTION, complaints),
    };
    purposes.sort_by(|a: &Located<String>, b| a.value.cmp(&b.value));
    purposes
}
