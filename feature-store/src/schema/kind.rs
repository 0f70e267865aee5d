//! The words for kinds of feature, and which keys go with which.
//!
//! Not here: what the keys may hold (`declaration`).

/// The kinds of feature that can be declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    DecayedCount,
    DecayedSum,
    WindowedCount,
    WindowedSum,
    WindowedMean,
    WindowedMin,
    WindowedMax,
    WindowedVariance,
    WindowedStandardDeviation,
    TotalCount,
    TotalSum,
    TimeSinceLast,
    TimeSinceFirst,
    FirstValue,
    LastValue,
    Sessions,
    DistinctCount,
    TopK,
    EngagementScore,
    Ratio,
    Derived,
    Request,
}

/// Keys that every kind may have.
pub(super) const SHARED_KEYS: [&str; 6] = ["name", "kind", "max_age", "default", "description", "unit"];
/// Keys of every kind that takes in events.
const EVENT_KEYS: [&str; 4] = ["events", "where", "property_types", "retractable"];
/// Keys that some kind asks for.
pub(super) const OTHER_KEYS: [&str; 22] = [
    "events",
    "where",
    "property_types",
    "retractable",
    "half_lives",
    "windows",
    "property",
    "exact",
    "exact_events",
    "type",
    "gap",
    "measures",
    "exact_values",
    "precision",
    "k",
    "capacity",
    "half_life",
    "weights",
    "numerator",
    "denominator",
    "smoothing",
    "expression",
];

impl Kind {
    pub(super) const ALL: [(&'static str, Self); 22] = [
        ("decayed_count", Self::DecayedCount),
        ("decayed_sum", Self::DecayedSum),
        ("windowed_count", Self::WindowedCount),
        ("windowed_sum", Self::WindowedSum),
        ("windowed_mean", Self::WindowedMean),
        ("windowed_min", Self::WindowedMin),
        ("windowed_max", Self::WindowedMax),
        ("windowed_variance", Self::WindowedVariance),
        ("windowed_standard_deviation", Self::WindowedStandardDeviation),
        ("total_count", Self::TotalCount),
        ("total_sum", Self::TotalSum),
        ("time_since_last", Self::TimeSinceLast),
        ("time_since_first", Self::TimeSinceFirst),
        ("first_value", Self::FirstValue),
        ("last_value", Self::LastValue),
        ("sessions", Self::Sessions),
        ("distinct_count", Self::DistinctCount),
        ("top_k", Self::TopK),
        ("engagement_score", Self::EngagementScore),
        ("ratio", Self::Ratio),
        ("derived", Self::Derived),
        ("request", Self::Request),
    ];

    pub(super) fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("", |(word, _)| word)
    }

    /// Keys of this kind alone, those that it requires first.
    const fn own_keys(self) -> &'static [&'static str] {
        match self {
            Self::DecayedCount => &["half_lives", "exact"],
            Self::DecayedSum => &["half_lives", "property", "exact"],
            Self::WindowedCount => &["windows", "exact_events"],
            Self::WindowedSum => &["windows", "property", "exact", "exact_events"],
            Self::WindowedMean
            | Self::WindowedMin
            | Self::WindowedMax
            | Self::WindowedVariance
            | Self::WindowedStandardDeviation => &["windows", "property", "exact_events"],
            Self::TotalSum => &["property", "exact"],
            Self::TotalCount | Self::TimeSinceLast | Self::TimeSinceFirst => &[],
            Self::FirstValue | Self::LastValue => &["property", "type"],
            Self::Sessions => &["gap", "measures"],
            Self::DistinctCount => &["property", "windows", "exact_values", "precision"],
            Self::TopK => &["property", "type", "k", "capacity", "half_life", "measures"],
            Self::EngagementScore => &["weights", "half_lives", "exact"],
            Self::Ratio => &["numerator", "denominator", "smoothing"],
            Self::Derived | Self::Request => &["expression", "type"],
        }
    }

    /// Whether it is made from events, not from other features.
    const fn takes_events(self) -> bool {
        !matches!(self, Self::Ratio | Self::Derived | Self::Request)
    }

    /// What `property` is for, if this kind has one.
    pub(super) const fn property_example(self) -> Option<&'static str> {
        match self {
            Self::DecayedSum | Self::WindowedSum | Self::TotalSum => {
                Some("the numeric property to add up, like `property = \"value\"`")
            }
            Self::WindowedMean
            | Self::WindowedMin
            | Self::WindowedMax
            | Self::WindowedVariance
            | Self::WindowedStandardDeviation => {
                Some("the numeric property to look at, like `property = \"value\"`")
            }
            Self::FirstValue | Self::LastValue => {
                Some("the property to keep, like `property = \"category\"`")
            }
            Self::DistinctCount | Self::TopK => {
                Some("the property whose values count, like `property = \"item_id\"`")
            }
            _ => None,
        }
    }

    /// Keys that go with this kind, beside [`SHARED_KEYS`].
    pub(super) fn keys(self) -> Vec<&'static str> {
        let of_events: &[&str] = if self.takes_events() { &EVENT_KEYS } else { &[] };
        // The events of a score are those that have a weight.
        let of_events = of_events.iter().filter(|key| self != Self::EngagementScore || **key != "events");
        self.own_keys().iter().chain(of_events).copied().collect()
    }
}
