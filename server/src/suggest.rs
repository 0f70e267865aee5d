//! `did you mean`: the nearest known name.
//!
//! Not here: the complaints that carry it.

/// Names less alike than this (Jaro-Winkler, 0 to 1) are not offered.
const LEAST_LIKENESS: f64 = 0.75;

/// A hint that names the nearest of `known`, or nothing if none is near.
pub(crate) fn did_you_mean<'k>(found: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    let near = known.into_iter().map(|name| (strsim::jaro_winkler(found, name), name));
    let nearest =
        near.filter(|(likeness, _)| *likeness > LEAST_LIKENESS).max_by(|(a, _), (b, _)| a.total_cmp(b));
    nearest.map_or_else(String::new, |(_, name)| format!("did you mean `{name}`?"))
}
