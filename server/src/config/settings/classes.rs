//! Classes of events with the length of time that each is kept, as one text.
//!
//! Not here: what is done with them (`augur_feature_store`).

use augur_domain::time::{DAY_MS, parse_duration_ms};

use super::{Problem, Written};

pub(super) fn classes(value: &Written<'_>) -> Result<Vec<(String, Option<i64>)>, Problem> {
    const EXPECTED: &str = "classes with their lengths from `1d` to `400d` or `forever`, in quotes, like `\"short=30d, audit=forever\"`";
    let mut classes = Vec::new();
    for part in value.text(EXPECTED)?.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (name, length) = part.split_once('=').unwrap_or((part, ""));
        let length_ms = match length.trim() {
            "forever" => None,
            length => {
                let length_ms = parse_duration_ms(length).ok().filter(|ms| *ms >= DAY_MS);
                Some(length_ms.ok_or_else(|| value.problem("a list of classes", EXPECTED))?)
            }
        };
        let name = name.trim().to_owned();
        if name.is_empty() || classes.iter().any(|(known, _)| *known == name) {
            return Err(value.problem("a list of classes", EXPECTED));
        }
        classes.push((name, length_ms));
    }
    classes.sort_unstable();
    Ok(classes)
}
