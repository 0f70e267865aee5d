//! What a feature's value can be, as far as its definition tells: for checks of policies.
//!
//! Not here: how it is computed (`aggregate`).

use augur_domain::time::SECOND_MS;

use super::{FeatureSchema, Measure, Source, WindowStatistic};

/// What a feature can be.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PossibleValues {
    /// The smallest value, if there is one.
    pub least: Option<f64>,
    /// The largest value, if there is one.
    pub greatest: Option<f64>,
    /// Whether it is a whole number.
    pub is_whole: bool,
}

impl PossibleValues {
    const AMOUNT: Self = Self { least: Some(0.0), greatest: None, is_whole: false };
    const COUNT: Self = Self { is_whole: true, ..Self::AMOUNT };
    const SHARE: Self = Self { greatest: Some(1.0), ..Self::AMOUNT };
}

impl FeatureSchema {
    /// What the feature in `slot` can be where it has a value, its default among it. A time since the last event reads as
    /// outside its age beyond `max_age`.
    pub fn possible(&self, slot: usize) -> PossibleValues {
        let Some(output) = self.outputs().get(slot) else { return PossibleValues::default() };
        let Source::Aggregate { index, measure } = output.source else { return PossibleValues::default() };
        let counts = self.aggregates().get(index).is_some_and(super::AggregateSpec::counts);
        let mut possible = match measure {
            Measure::Window { what: WindowStatistic::Count, .. }
            | Measure::SessionCount { .. }
            | Measure::CurrentEvents { .. }
            | Measure::CurrentPages { .. } => PossibleValues::COUNT,
            Measure::Total if counts => PossibleValues::COUNT,
            Measure::Decayed { .. } if counts => PossibleValues::AMOUNT,
            Measure::SinceLast => PossibleValues {
                greatest: output.max_age_ms.map(|max_age_ms| max_age_ms as f64 / SECOND_MS as f64),
                ..PossibleValues::AMOUNT
            },
            Measure::Window {
                what: WindowStatistic::Variance | WindowStatistic::StandardDeviation, ..
            }
            | Measure::SinceFirst
            | Measure::CurrentLength { .. }
            | Measure::MeanLength { .. }
            | Measure::EventsPerSession { .. }
            | Measure::Distinct
            | Measure::DistinctWindow { .. }
            | Measure::TopCount { .. } => PossibleValues::AMOUNT,
            Measure::BounceShare { .. } | Measure::TopShare { .. } => PossibleValues::SHARE,
            _ => PossibleValues::default(),
        };
        if output.default.is_some() {
            // It stands in for what is not there or too old, whatever it is.
            let default = output.default_number();
            possible.least = possible.least.map(|least| least.min(default));
            possible.greatest = possible.greatest.map(|greatest| greatest.max(default));
            possible.is_whole &= default.fract() == 0.0;
        }
        possible
    }
}
