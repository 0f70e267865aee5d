//! A feature in words: what it means, what it counts, how far it can be off, how much it takes.
//!
//! Not here: values. Sizes are estimates of what one user can come to at most, before compression.

use augur_domain::time::format_duration_ms;
use augur_domain::{ContentHash, Value, ValueType};

use super::{AggregateKind, AggregateSpec, FeatureSchema, Measure, Output, RingSpec, Source, Statistic};

/// What there is to know about one feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Its full name.
    pub name: String,
    /// What it is measured by, e.g. `windowed mean`.
    pub kind: &'static str,
    /// What a value holds.
    pub value_type: ValueType,
    /// The hash of its definition.
    pub definition: ContentHash,
    /// The description with what the name adds to it.
    pub meaning: String,
    /// Which events count, and as what.
    pub counts: String,
    /// What a read gives when there is nothing.
    pub when_nothing: String,
    /// Where its window starts; empty without a window.
    pub window: String,
    /// How far a value can be off.
    pub error: String,
    /// What becomes of retracted events; empty for computed features.
    pub retraction: String,
    /// Bytes of a user's record for all features of the same aggregate, at most; 0 for computed features.
    pub most_bytes: u64,
    /// Which aggregate it is read from: features of one number share one state. `None` for computed features.
    pub aggregate: Option<usize>,
}

impl FeatureSchema {
    /// What there is to know about the feature in `slot`; `None` beyond the last one.
    pub fn explain(&self, slot: usize) -> Option<Explanation> {
        let (info, output) = (self.features.features().get(slot)?, self.outputs.get(slot)?);
        let mut explanation = Explanation {
            name: info.name.to_string(),
            kind: "computed",
            value_type: info.value_type,
            definition: info.definition,
            meaning: info.description.to_string(),
            counts: String::new(),
            when_nothing: when_nothing(output),
            window: String::new(),
            error: "as its inputs".to_owned(),
            retraction: String::new(),
            most_bytes: 0,
            aggregate: None,
        };
        match output.source {
            Source::Aggregate { index, measure } => {
                let spec = self.aggregates.get(index)?;
                explanation.kind = kind(measure, spec);
                explanation.counts = counts(spec);
                explanation.window = window(measure, spec);
                explanation.error = error(measure, spec);
                explanation.retraction = retraction(spec).to_owned();
                explanation.most_bytes = most_bytes(&spec.kind, spec.counts());
                explanation.aggregate = Some(index);
            }
            Source::Computed => explanation.counts = self.inputs(slot),
        }
        Some(explanation)
    }

    fn inputs(&self, slot: usize) -> String {
        let Some(computed) = self.computed.iter().find(|computed| computed.slot == slot) else {
            return String::new();
        };
        let names = computed.inputs.iter().filter_map(|input| self.features.features().get(*input));
        let names: Vec<&str> = names.map(|input| &*input.name).collect();
        let inputs = if names.is_empty() { "no feature".to_owned() } else { names.join(", ") };
        format!("`{}`, of {inputs}", computed.expression.source())
    }
}

fn kind(measure: Measure, spec: &AggregateSpec) -> &'static str {
    use super::WindowStatistic::{Count, Max, Mean, Min, StandardDeviation, Sum, Variance};
    match measure {
        Measure::Decayed { .. } if !spec.weights.is_empty() => "engagement score",
        Measure::Decayed { .. } if spec.counts() => "decayed count",
        Measure::Decayed { .. } => "decayed sum",
        Measure::Window { what: Count, .. } => "windowed count",
        Measure::Window { what: Sum, .. } => "windowed sum",
        Measure::Window { what: Mean, .. } => "windowed mean",
        Measure::Window { what: Min, .. } => "windowed min",
        Measure::Window { what: Max, .. } => "windowed max",
        Measure::Window { what: Variance, .. } => "windowed variance",
        Measure::Window { what: StandardDeviation, .. } => "windowed standard deviation",
        Measure::Total if spec.counts() => "total count",
        Measure::Total => "total sum",
        Measure::SinceLast => "time since last",
        Measure::SinceFirst => "time since first",
        Measure::FirstValue => "first value",
        Measure::LastValue => "last value",
        Measure::SessionCount { .. }
        | Measure::CurrentEvents { .. }
        | Measure::CurrentLength { .. }
        | Measure::CurrentPages { .. }
        | Measure::MeanLength { .. }
        | Measure::BounceShare { .. }
        | Measure::EventsPerSession { .. } => "sessions",
        Measure::Distinct | Measure::DistinctWindow { .. } => "distinct count",
        Measure::TopValue { .. } | Measure::TopShare { .. } | Measure::TopCount { .. } => "top k",
    }
}

fn counts(spec: &AggregateSpec) -> String {
    let mut text = if spec.weights.is_empty() {
        match spec.events.as_slice() {
            [] => "every event".to_owned(),
            events => events.join(", "),
        }
    } else {
        let weights = spec.weights.iter().map(|(name, weight)| format!("{name} as {weight}"));
        weights.collect::<Vec<_>>().join(", ")
    };
    if let Some(property) = &spec.property {
        let wanted = match spec.kind {
            AggregateKind::Edge { value_type, .. } | AggregateKind::TopK { value_type, .. } => {
                format!(" (a {value_type})")
            }
            AggregateKind::Distinct { .. } => String::new(),
            _ => format!(" (a {})", ValueType::Number),
        };
        text.push_str(&format!(", by property `{property}`{wanted}"));
    }
    if let Some(filter) = &spec.filter {
        text.push_str(&format!(", where {}", filter.source()));
    }
    text
}

fn when_nothing(output: &Output) -> String {
    let too_old = output.max_age_ms.map(|max_age_ms| {
        format!(
            "; older than {}: {}",
            format_duration_ms(max_age_ms),
            match &output.default {
                Some(_) => "the default",
                None => "OUTSIDE_MAX_AGE",
            }
        )
    });
    let zero = matches!(
        output.source,
        Source::Aggregate {
            measure: Measure::Decayed { .. }
                | Measure::Total
                | Measure::Distinct
                | Measure::DistinctWindow { .. }
                | Measure::SessionCount { .. }
                | Measure::CurrentEvents { .. }
                | Measure::CurrentLength { .. }
                | Measure::CurrentPages { .. }
                | Measure::Window { what: super::WindowStatistic::Count | super::WindowStatistic::Sum, .. },
            ..
        }
    );
    let nothing = match &output.default {
        _ if zero => "0".to_owned(),
        None => "NULL_VALUE".to_owned(),
        Some(Value::Boolean(value)) => format!("{value}, DEFAULTED"),
        Some(Value::Number(number)) => format!("{}, DEFAULTED", number.get()),
        Some(Value::Text(text)) => format!("`{text}`, DEFAULTED"),
    };
    nothing + &too_old.unwrap_or_default()
}

fn window(measure: Measure, spec: &AggregateSpec) -> String {
    let starts = |window_ms: i64, hop_ms: i64| {
        let (window, hop) = (format_duration_ms(window_ms), format_duration_ms(hop_ms));
        let share = 100.0 * hop_ms as f64 / window_ms as f64;
        format!("the last {window}, from the border of {hop} at or before, so up to {share:.1} % more")
    };
    match (measure, &spec.kind) {
        (Measure::Window { window_ms, hop_ms, .. }, AggregateKind::Windowed { exact_events: 0, .. }) => {
            starts(window_ms, hop_ms)
        }
        (Measure::Window { window_ms, hop_ms, .. }, AggregateKind::Windowed { exact_events, .. }) => format!(
            "to the millisecond while it holds at most {exact_events} events; else {}",
            starts(window_ms, hop_ms)
        ),
        (Measure::DistinctWindow { window_ms }, AggregateKind::Distinct { rings, exact_values, .. }) => {
            let hop_ms = rings.iter().map(|ring| ring.hop_ms).min().unwrap_or(window_ms);
            format!(
                "to the millisecond while it holds at most {exact_values} values; else {}",
                starts(window_ms, hop_ms)
            )
        }
        _ => String::new(),
    }
}

fn error(measure: Measure, spec: &AggregateSpec) -> String {
    match &spec.kind {
        AggregateKind::Decayed { exact: true, .. } => {
            "each amount to half a millionth, each weight to 2^-41; the same bits in any order".to_owned()
        }
        AggregateKind::Decayed { .. } => "rounding of doubles".to_owned(),
        AggregateKind::Windowed { .. } | AggregateKind::Total { .. } if spec.counts() => "none".to_owned(),
        AggregateKind::Windowed { exact: true, .. } | AggregateKind::Total { exact: true } => {
            "each amount to half a millionth; the same bits in any order".to_owned()
        }
        AggregateKind::Windowed { statistic: Statistic::Extremes, .. } => "none".to_owned(),
        AggregateKind::Windowed { .. } | AggregateKind::Total { .. } => "rounding of doubles".to_owned(),
        AggregateKind::Recency | AggregateKind::Edge { .. } => "none".to_owned(),
        AggregateKind::Sessions { .. } => {
            "none, save where events in mixed order fall between sessions older than the 32 latest".to_owned()
        }
        AggregateKind::Distinct { exact_values, precision, .. } => {
            let error = 100.0 * crate::aggregate::standard_error(*precision);
            format!("none up to {exact_values} values; beyond them a relative standard error of {error:.1} %")
        }
        AggregateKind::TopK { capacity, .. } => {
            let what = if matches!(measure, Measure::TopValue { .. }) { "ranks" } else { "counts" };
            format!(
                "none up to {capacity} values; beyond them {what} may be off by the total over {capacity}"
            )
        }
    }
}

const fn retraction(spec: &AggregateSpec) -> &'static str {
    if spec.retractable {
        "taken out again"
    } else if spec.can_retract() {
        "still counted, as declared"
    } else {
        "still counted: this kind cannot take an event back"
    }
}

/// What a state can come to at most, roughly: numbers take up to ten bytes, times and places less.
fn most_bytes(kind: &AggregateKind, counts: bool) -> u64 {
    const CELLS: u64 = 64;
    let tiles = |rings: &[RingSpec]| -> u64 {
        let of_ring = |ring: &RingSpec| (ring.longest_window_ms / ring.hop_ms.max(1)).unsigned_abs() + 2;
        rings.iter().map(of_ring).sum()
    };
    match kind {
        AggregateKind::Decayed { half_lives_ms, exact } => {
            let each = if *exact { CELLS * 12 } else { 8 };
            10 + each * half_lives_ms.len() as u64
        }
        AggregateKind::Windowed { rings, statistic, exact_events, exact } => {
            let cell = match statistic {
                Statistic::Sum if counts => 4,
                Statistic::Sum if *exact => 12,
                Statistic::Sum => 10,
                Statistic::Moments => 22,
                Statistic::Extremes => 18,
            };
            10 + tiles(rings) * cell + u64::from(*exact_events) * 14
        }
        AggregateKind::Total { .. } => 26,
        AggregateKind::Recency => 20,
        AggregateKind::Edge { .. } => 10 + 16 + 258,
        AggregateKind::Sessions { .. } => 60 + 32 * 16,
        AggregateKind::Distinct { rings, exact_values, precision } if rings.is_empty() => {
            10 + (u64::from(*exact_values) * 8).max(1 << precision.min(&16))
        }
        AggregateKind::Distinct { rings, exact_values, precision } => {
            10 + u64::from(*exact_values) * 12 + (4 << precision.min(&16)) * tiles(rings).clamp(1, 4)
        }
        AggregateKind::TopK { capacity, .. } => 26 + u64::from(*capacity) * (16 + 258),
    }
}
