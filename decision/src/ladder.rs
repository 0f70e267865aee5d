//! The fallback ladder of a decision point: which steps it has, and how much time each of them needs.
//!
//! Not here: what stands on a step (`ask`), or what a decision on it looks like (`decide`).

use std::sync::Arc;

use augur_domain::decision::Rung;
use augur_domain::time::format_duration_ms;

/// Every step with the word that policies use, best first.
pub(crate) const STEPS: [(&str, Rung); 5] = [
    ("champion", Rung::Champion),
    ("previous_model", Rung::PreviousModel),
    ("segment_default", Rung::SegmentDefault),
    ("rules_only", Rung::RulesOnly),
    ("default_action", Rung::DefaultAction),
];

/// The steps of one decision point, best first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ladder {
    steps: Vec<Step>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) rung: Rung,
    /// It is passed over when less time than this is left, in microseconds.
    pub(crate) needs_us: u64,
    /// The word that policies use.
    pub(crate) word: Arc<str>,
}

impl Default for Ladder {
    /// Of a decision point that declares none: models, else rules alone, else the default action.
    fn default() -> Self {
        Self::new([Rung::Champion, Rung::RulesOnly, Rung::DefaultAction].map(|rung| (rung, 0)))
    }
}

impl Ladder {
    /// The steps with what they need in microseconds.
    pub(crate) fn new(steps: impl IntoIterator<Item = (Rung, u64)>) -> Self {
        let step = |(rung, needs_us)| Step { rung, needs_us, word: word(rung).into() };
        Self { steps: steps.into_iter().map(step).collect() }
    }

    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    pub(crate) fn has(&self, rung: Rung) -> bool {
        self.step(rung).is_some()
    }

    fn step(&self, rung: Rung) -> Option<&Step> {
        self.steps.iter().find(|step| step.rung == rung)
    }

    /// Whether any step needs time.
    pub(crate) fn asks_time(&self) -> bool {
        self.steps.iter().any(|step| step.needs_us > 0)
    }

    /// Whether the ladder has the step and there is time for it; without a bound there always is.
    pub(crate) fn allows(&self, rung: Rung, time_left_us: Option<u64>) -> bool {
        self.step(rung).is_some_and(|step| step.has_time(time_left_us))
    }

    /// The best step that there is no time for.
    pub(crate) fn too_slow(&self, time_left_us: Option<u64>) -> Option<&Step> {
        self.steps.iter().find(|step| !step.has_time(time_left_us))
    }
}

impl Step {
    /// The step and what it needs, for people.
    pub(crate) fn in_words(&self) -> String {
        match i64::try_from(self.needs_us / 1_000) {
            Ok(needs_ms) if needs_ms > 0 => {
                format!("{} (with {} left)", self.word, format_duration_ms(needs_ms))
            }
            _ => self.word.to_string(),
        }
    }

    fn has_time(&self, time_left_us: Option<u64>) -> bool {
        time_left_us.is_none_or(|left_us| left_us >= self.needs_us)
    }
}

/// The word that policies use for a step.
pub(crate) fn word(rung: Rung) -> &'static str {
    STEPS.iter().find(|(_, known)| *known == rung).map_or("", |(word, _)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_rungs_in_their_order() {
        assert!(STEPS.iter().all(|(word, rung)| *word == rung.as_str().to_lowercase()));
        assert!(STEPS.is_sorted_by_key(|(_, rung)| *rung));
    }

    #[test]
    fn a_step_is_allowed_while_there_is_time_for_it() {
        let ladder = Ladder::new([(Rung::Champion, 5_000), (Rung::RulesOnly, 200), (Rung::DefaultAction, 0)]);
        for (left_us, champion, rules) in [
            (None, true, true),
            (Some(5_000), true, true),
            (Some(4_999), false, true),
            (Some(199), false, false),
        ] {
            assert_eq!(ladder.allows(Rung::Champion, left_us), champion);
            assert_eq!(ladder.allows(Rung::RulesOnly, left_us), rules);
            assert!(
                ladder.allows(Rung::DefaultAction, left_us) && !ladder.allows(Rung::PreviousModel, left_us)
            );
            assert_eq!(ladder.too_slow(left_us).is_none(), champion);
        }
        assert!(ladder.asks_time() && !Ladder::default().asks_time());
    }
}
