//! "did you mean": the known name nearest to one that is not known.
//!
//! Not here: where names come from.

/// Longer names than this are not worth the quadratic comparison.
const MAX_NAME_BYTES: usize = 128;

/// A hint naming the candidate most like `wanted`, or an empty one if none is close.
pub(crate) fn hint<S: AsRef<str>>(wanted: &str, candidates: &[S]) -> String {
    nearest(wanted, candidates).map_or_else(String::new, |name| format!("did you mean `{name}`?"))
}

fn nearest<'a, S: AsRef<str>>(wanted: &str, candidates: &'a [S]) -> Option<&'a str> {
    if wanted.len() > MAX_NAME_BYTES {
        return None;
    }
    // A path written without its group is the commonest slip, and no edit distance finds it.
    let in_group = candidates
        .iter()
        .map(AsRef::as_ref)
        .find(|candidate| candidate.strip_suffix(wanted).is_some_and(|group| group.ends_with('.')));
    let limit = (wanted.chars().count() / 4).clamp(1, 4);
    in_group.or_else(|| {
        candidates
            .iter()
            .map(|candidate| (strsim::osa_distance(wanted, candidate.as_ref()), candidate.as_ref()))
            .filter(|(distance, _)| *distance <= limit)
            .min()
            .map(|(_, name)| name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_slips_and_forgotten_groups_but_does_not_guess() {
        let known = ["features.purchases_30d", "features.visits_7d", "scores.churn"];
        assert_eq!(hint("features.purchase_30d", &known), "did you mean `features.purchases_30d`?");
        assert_eq!(hint("churn", &known), "did you mean `scores.churn`?");
        assert_eq!(hint("weather.rain", &known), "");
        assert_eq!(hint(&"x".repeat(1_000), &known), "");
    }
}
