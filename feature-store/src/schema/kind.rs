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
    TimeSinceLast,
    TimeSinceFirst,
    Sessions,
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
pub(super) const OTHER_KEYS: [&str; 14] = [
    "events",
    "where",
    "property_types",
    "retractable",
    "half_lives",
    "windows",
    "property",
    "gap",
    "weights",
    "numerator",
    "denominator",
    "smoothing",
    "expression",
    "type",
];

impl Kind {
    pub(super) const ALL: [(&'static str, Self); 11] = [
        ("decayed_count", Self::DecayedCount),
        ("decayed_sum", Self::DecayedSum),
        ("windowed_count", Self::WindowedCount),
        ("windowed_sum", Self::WindowedSum),
        ("time_since_last", Self::TimeSinceLast),
        ("time_since_first", Self::TimeSinceFirst),
        ("sessions", Self::Sessions),
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
            Self::DecayedCount => &["half_lives"],
            Self::DecayedSum => &["half_lives", "property"],
            Self::WindowedCount => &["windows"],
            Self::WindowedSum => &["windows", "property"],
            Self::TimeSinceLast | Self::TimeSinceFirst => &[],
            Self::Sessions => &["gap"],
            Self::EngagementScore => &["weights", "half_lives"],
            Self::Ratio => &["numerator", "denominator", "smoothing"],
            Self::Derived | Self::Request => &["expression", "type"],
        }
    }

    /// Whether it is made from events, not from other features.
    const fn takes_events(self) -> bool {
        !matches!(self, Self::Ratio | Self::Derived | Self::Request)
    }

    /// Keys that go with this kind, beside [`SHARED_KEYS`].
    pub(super) fn keys(self) -> Vec<&'static str> {
        let of_events: &[&str] = if self.takes_events() { &EVENT_KEYS } else { &[] };
        // The events of a score are those that have a weight.
        let of_events = of_events.iter().filter(|key| self != Self::EngagementScore || **key != "events");
        self.own_keys().iter().chain(of_events).copied().collect()
    }
}
