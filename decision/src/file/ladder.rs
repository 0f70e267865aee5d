//! `fallback` and `time_needed` of a decision point, `prior` and `prior_by_segment` of a model.
//!
//! Not here: whether they fit together (`check_ladder`) or what a decision does with them (`ladder`, `ask`).

use toml::de::DeValue;

use super::section::{Section, one_of, shortened, text, wrong_type};
use super::{Complaints, Located, suggestion};
use crate::ladder::{Ladder, STEPS};
use augur_domain::decision::Rung;

const PRIOR_KEYS: &[&str] = &["segment", "scores"];
/// Segments of which one model's declared scores may speak.
const MAX_PRIOR_SEGMENTS: usize = 64;
const ORDER: &str = "some of `champion`, `previous_model`, `segment_default`, `rules_only`, `default_action`, in this order, with the \
     first and the last of them";

/// The ladder of a decision point, as written.
#[derive(Debug, Default)]
pub(crate) struct LadderEntry {
    pub(crate) ladder: Ladder,
    /// Where each step stands; nothing where the ladder was not written.
    pub(crate) places: Vec<(Rung, usize)>,
    /// Where each `time_needed` stands.
    pub(crate) times: Vec<(Rung, usize)>,
}

/// `prior_by_segment`
#[derive(Debug)]
pub(crate) struct PriorBySegment {
    pub(crate) segment: Located<String>,
    pub(crate) scores: Vec<(Located<String>, f64)>,
}

/// The ladder of a decision point; the usual one where nothing is said.
pub(super) fn ladder(section: &Section<'_>, complaints: &mut Complaints<'_>) -> LadderEntry {
    let places = steps(section, complaints);
    let rungs: Vec<Rung> = if places.is_empty() {
        Ladder::default().steps().iter().map(|step| step.rung).collect()
    } else {
        places.iter().map(|(rung, _)| *rung).collect()
    };
    let times = time_needed(section, &rungs, complaints);
    let needed = |rung: &Rung| times.iter().find(|(known, _, _)| known == rung).map_or(0, |(_, _, us)| *us);
    LadderEntry {
        ladder: Ladder::new(rungs.iter().map(|rung| (*rung, needed(rung)))),
        times: times.iter().map(|(rung, offset, _)| (*rung, *offset)).collect(),
        places,
    }
}

/// The steps of `fallback`, none where it is not written or cannot be used.
fn steps(section: &Section<'_>, complaints: &mut Complaints<'_>) -> Vec<(Rung, usize)> {
    let Some(value) = section.get("fallback") else { return Vec::new() };
    let mut steps: Vec<(Rung, usize)> = Vec::with_capacity(STEPS.len());
    for element in section.list("fallback", value, "a list of steps", STEPS.len(), complaints) {
        let Some(word) = text("fallback", element, ORDER, complaints) else { return Vec::new() };
        let Some(rung) = step_named(&word, complaints) else { return Vec::new() };
        steps.push((rung, word.offset));
    }
    let ordered = steps.is_sorted_by(|(one, _), (next, _)| one < next);
    let whole = steps.first().is_some_and(|(rung, _)| *rung == Rung::Champion)
        && steps.last().is_some_and(|(rung, _)| *rung == Rung::DefaultAction);
    if ordered && whole {
        return steps;
    }
    complaints.add(value.span().start, "`fallback` is no ladder", ORDER, "");
    Vec::new()
}

fn step_named(word: &Located<String>, complaints: &mut Complaints<'_>) -> Option<Rung> {
    let found = STEPS.iter().find(|(known, _)| *known == word.value);
    if found.is_none() {
        let words = STEPS.map(|(word, _)| word);
        let message = format!("`{}` is no step of a ladder", shortened(&word.value));
        complaints.add(word.offset, message, one_of(&words), suggestion(&word.value, words.into_iter()));
    }
    found.map(|(_, rung)| *rung)
}

/// Per step its place and the microseconds that it needs.
fn time_needed(
    section: &Section<'_>,
    rungs: &[Rung],
    complaints: &mut Complaints<'_>,
) -> Vec<(Rung, usize, u64)> {
    let Some(value) = section.get("time_needed") else { return Vec::new() };
    let DeValue::Table(table) = value.get_ref() else {
        wrong_type("time_needed", value, "a table, like `{ champion = \"5ms\" }`", complaints);
        return Vec::new();
    };
    // The last step always has time: there is nothing behind it.
    let steps = STEPS.iter().filter(|(_, rung)| *rung != Rung::DefaultAction && rungs.contains(rung));
    let steps: Vec<(&str, Rung)> = steps.copied().collect();
    let known: Vec<&str> = steps.iter().map(|(word, _)| *word).collect();
    let times = Section::new(table, value.span().start, "time_needed", &known, complaints);
    let time = |(word, rung): (&str, Rung)| {
        let length = times.duration_ms(word, complaints)?;
        Some((rung, length.offset, length.value.unsigned_abs().saturating_mul(1_000)))
    };
    steps.into_iter().filter_map(time).collect()
}

/// `prior` of a model.
pub(super) fn prior(section: &Section<'_>, complaints: &mut Complaints<'_>) -> Option<Located<f64>> {
    let prior = section.number("prior", complaints)?;
    check_score("prior", &prior, complaints).then_some(prior)
}

fn check_score(key: &str, score: &Located<f64>, complaints: &mut Complaints<'_>) -> bool {
    let fits = (0.0..=1.0).contains(&score.value);
    if !fits {
        let message = format!("`{key}` is the number `{}`", score.value);
        complaints.add(score.offset, message, "a probability, from 0 to 1", "");
    }
    fits
}

/// `prior_by_segment` of a model.
pub(super) fn prior_by_segment(
    section: &Section<'_>,
    complaints: &mut Complaints<'_>,
) -> Option<PriorBySegment> {
    let value = section.get("prior_by_segment")?;
    let expected = "a table, like `{ segment = \"value\", scores = { high = 0.02 } }`";
    let DeValue::Table(table) = value.get_ref() else {
        wrong_type("prior_by_segment", value, expected, complaints);
        return None;
    };
    if section.get("prior").is_none() {
        let message = "`prior_by_segment` without `prior`";
        complaints.add(value.span().start, message, "`prior`, for who is in none of the segments", "");
    }
    let section = Section::new(table, value.span().start, "prior_by_segment", PRIOR_KEYS, complaints);
    let segment = section.name("segment", complaints);
    let scores = section.required("scores", "a score by the name of a segment", complaints)?;
    let DeValue::Table(table) = scores.get_ref() else {
        wrong_type("scores", scores, "a table, like `{ high = 0.02 }`", complaints);
        return None;
    };
    if table.is_empty() || table.len() > MAX_PRIOR_SEGMENTS {
        let message = format!("`scores` has {} segments", table.len());
        complaints.add(scores.span().start, message, format!("1 to {MAX_PRIOR_SEGMENTS}"), "");
    }
    let names: Vec<&str> = table.keys().map(|key| &**key.get_ref()).collect();
    let by_name = Section::new(table, scores.span().start, "scores", &names, complaints);
    let score = |key: &toml::Spanned<std::borrow::Cow<'_, str>>| {
        let name = key.get_ref();
        let score = by_name.number(name, complaints)?;
        check_score(name, &score, complaints)
            .then(|| (Located { value: name.to_string(), offset: key.span().start }, score.value))
    };
    Some(PriorBySegment { segment, scores: table.keys().filter_map(score).collect() })
}
