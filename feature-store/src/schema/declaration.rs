//! One `[[feature]]` table, read and checked by itself.
//!
//! Not here: how its keys are read (`fields`), what it expands to, and what clashes with others (`compile`).

use std::sync::Arc;

use augur_domain::time::{DAY_MS, MINUTE_MS, SECOND_MS, format_duration_ms};
use augur_domain::{Value, ValueType};
use toml::Spanned;
use toml::de::DeValue;

use super::WindowStatistic;
use super::complaints::{Complaints, did_you_mean};
use super::fields::{Fields, Located, VALUE_TYPES, Written, refuse_unknown_keys};
use super::kind::{Kind, OTHER_KEYS, SHARED_KEYS};
use crate::aggregate::{MAX_CAPACITY, MAX_EXACT_EVENTS, MAX_EXACT_VALUES, PRECISIONS};

/// Longest description.
const MAX_DESCRIPTION_BYTES: usize = 1_000;
/// Longest unit.
const MAX_UNIT_BYTES: usize = 32;
/// Numbers of a smoothing beyond this are slips.
const MAX_SMOOTHING: f64 = 1e9;

const USUAL_EXACT_VALUES: u32 = 64;
/// 4096 registers: a relative standard error of 1.6 %.
const USUAL_PRECISION: u32 = 12;
/// Most ranks of the most frequent values.
const MAX_K: u32 = 20;
const USUAL_K: u32 = 3;
const USUAL_CAPACITY: u32 = 100;

/// What was declared.
#[derive(Debug)]
pub(super) struct Declaration {
    pub(super) name: Located<String>,
    pub(super) body: Body,
    pub(super) max_age_ms: Option<i64>,
    pub(super) default: Option<Located<Value>>,
    pub(super) description: String,
    pub(super) unit: String,
}

/// What it is made of.
#[derive(Debug)]
pub(super) enum Body {
    /// Events.
    Aggregated(Aggregated),
    /// Two other features.
    Ratio(Ratio),
    /// Other features and, `for_anyone`, the context of the request.
    Expression { for_anyone: bool, value_type: ValueType, written: Written },
}

/// A feature made of events.
#[derive(Debug)]
pub(super) struct Aggregated {
    /// Sorted, each once; empty means every event.
    pub(super) events: Vec<Located<Arc<str>>>,
    pub(super) filter: Option<Written>,
    /// Ascending by name.
    pub(super) property_types: Vec<(Arc<str>, Located<ValueType>)>,
    pub(super) retractable: Option<Located<bool>>,
    pub(super) property: Option<Located<Arc<str>>>,
    /// Ascending by name; empty means 1 each.
    pub(super) weights: Vec<(Arc<str>, Located<f64>)>,
    pub(super) shape: Shape,
}

/// How events are summed up.
#[derive(Debug)]
pub(super) enum Shape {
    Decayed {
        half_lives_ms: Vec<i64>,
        exact: bool,
    },
    Windowed {
        windows_ms: Vec<i64>,
        what: WindowStatistic,
        exact_events: u32,
        exact: bool,
    },
    Total {
        exact: bool,
    },
    SinceLast,
    SinceFirst,
    Edge {
        last: bool,
        value_type: ValueType,
    },
    Sessions {
        gap_ms: i64,
        measures: Vec<SessionMeasure>,
    },
    Distinct {
        windows_ms: Vec<i64>,
        exact_values: u32,
        precision: u8,
    },
    TopK {
        k: u32,
        capacity: u32,
        half_life_ms: Option<i64>,
        value_type: ValueType,
        measures: Vec<TopMeasure>,
    },
}

/// What can be read of sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionMeasure {
    Count,
    CurrentEvents,
    CurrentLength,
    MeanLength,
    CurrentPages,
    BounceShare,
    EventsPerSession,
}

impl SessionMeasure {
    /// Each is also what the name of its feature ends in.
    const ALL: [(&'static str, Self); 7] = [
        ("count", Self::Count),
        ("current_events", Self::CurrentEvents),
        ("current_length_secs", Self::CurrentLength),
        ("mean_length_secs", Self::MeanLength),
        ("current_pages", Self::CurrentPages),
        ("bounce_share", Self::BounceShare),
        ("events_per_session", Self::EventsPerSession),
    ];
    /// Those that there are when none are named.
    pub(super) const USUAL: [Self; 4] =
        [Self::Count, Self::CurrentEvents, Self::CurrentLength, Self::MeanLength];

    pub(super) fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, measure)| *measure == self).map_or("", |(word, _)| word)
    }
}

/// What can be read of each of the most frequent values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TopMeasure {
    Value,
    Share,
    Count,
}

impl TopMeasure {
    const ALL: [(&'static str, Self); 3] =
        [("value", Self::Value), ("share", Self::Share), ("count", Self::Count)];
}

/// One feature over another.
#[derive(Debug)]
pub(super) struct Ratio {
    pub(super) numerator: Located<String>,
    pub(super) denominator: Located<String>,
    /// Prior and its weight.
    pub(super) smoothing: Option<(f64, f64)>,
}

/// Reads one table; `None` after a complaint that leaves nothing to go on with.
pub(super) fn read(item: &Spanned<DeValue<'_>>, complaints: &mut Complaints<'_>) -> Option<Declaration> {
    let Some(table) = item.get_ref().as_table() else {
        let quoted = complaints.quote(item.span());
        complaints.add(item.span().start, format!("`{quoted}` is not a feature"), "a `[[feature]]` table");
        return None;
    };
    let mut fields = Fields { table, start: item.span().start, complaints };
    let name = fields.name();
    let kind = fields.word("kind", "kind", &Kind::ALL, true);
    fields.refuse_unknown_keys(kind);
    let max_age_ms = fields.length("max_age", 1).map(|length| length.value);
    let default = fields.default();
    let description = fields.short_text("description", MAX_DESCRIPTION_BYTES);
    let unit = fields.short_text("unit", MAX_UNIT_BYTES);
    let kind = kind?;
    fields.refuse_keys_of_other_kinds(kind);
    let body = fields.body(kind);
    Some(Declaration { name: name?, body: body?, max_age_ms, default, description, unit })
}

impl Fields<'_, '_, '_> {
    fn refuse_unknown_keys(&mut self, kind: Option<Kind>) {
        let of_kind = kind.map_or_else(|| OTHER_KEYS.to_vec(), Kind::keys);
        let offered: Vec<&str> = SHARED_KEYS.into_iter().chain(of_kind).collect();
        let is_known = |word: &str| SHARED_KEYS.contains(&word) || OTHER_KEYS.contains(&word);
        refuse_unknown_keys(self.table, is_known, &offered, self.complaints);
    }

    fn refuse_keys_of_other_kinds(&mut self, kind: Kind) {
        let own = kind.keys();
        for key in self.table.keys() {
            let word = key.get_ref().as_ref();
            if OTHER_KEYS.contains(&word) && !own.contains(&word) {
                let message = format!("`{word}` has no meaning for kind {}", kind.word());
                let expected = format!("`{}`", own.join("`, `"));
                let hint = did_you_mean(word, own.iter().copied());
                self.complaints.add_with_hint(key.span().start, message, expected, hint);
            }
        }
    }

    fn body(&mut self, kind: Kind) -> Option<Body> {
        match kind {
            Kind::Ratio => self.ratio().map(Body::Ratio),
            Kind::Derived => self.expression(false),
            Kind::Request => self.expression(true),
            _ => self.aggregated(kind).map(Body::Aggregated),
        }
    }

    fn aggregated(&mut self, kind: Kind) -> Option<Aggregated> {
        let events = self.events();
        let filter = self.written("where", None);
        let property_types = self.types("property_types", |_| true, "");
        if let (None, Some(types)) = (&filter, self.table.get("property_types")) {
            let message = "`property_types` is of no use without `where`";
            self.complaints.add(types.span().start, message, "a condition that reads these properties");
        }
        let retractable = self.boolean("retractable");
        let shape = self.shape(kind);
        let property = match kind.property_example() {
            Some(example) => Some(self.property(example)?),
            None => None,
        };
        let (mut events, mut weights) = (events?, Vec::new());
        if kind == Kind::EngagementScore {
            weights = self.weights()?;
            let named = weights.iter().map(|(name, weight)| (weight.place, Arc::clone(name)));
            events = named.map(|(place, value)| Located { place, value }).collect();
        }
        let (shape, property_types) = (shape?, property_types?);
        Some(Aggregated { events, filter, property_types, retractable, property, weights, shape })
    }

    fn shape(&mut self, kind: Kind) -> Option<Shape> {
        Some(match kind {
            Kind::DecayedCount | Kind::DecayedSum | Kind::EngagementScore => Shape::Decayed {
                half_lives_ms: self.lengths("half_lives", SECOND_MS)?,
                exact: self.flag("exact"),
            },
            Kind::WindowedCount => self.windowed(WindowStatistic::Count)?,
            Kind::WindowedSum => self.windowed(WindowStatistic::Sum)?,
            Kind::WindowedMean => self.windowed(WindowStatistic::Mean)?,
            Kind::WindowedMin => self.windowed(WindowStatistic::Min)?,
            Kind::WindowedMax => self.windowed(WindowStatistic::Max)?,
            Kind::WindowedVariance => self.windowed(WindowStatistic::Variance)?,
            Kind::WindowedStandardDeviation => self.windowed(WindowStatistic::StandardDeviation)?,
            Kind::TotalCount | Kind::TotalSum => Shape::Total { exact: self.flag("exact") },
            Kind::TimeSinceLast => Shape::SinceLast,
            Kind::TimeSinceFirst => Shape::SinceFirst,
            Kind::FirstValue | Kind::LastValue => Shape::Edge {
                last: kind == Kind::LastValue,
                value_type: self.word("type", "type", &VALUE_TYPES, true)?,
            },
            Kind::Sessions => self.sessions()?,
            Kind::DistinctCount => self.distinct()?,
            Kind::TopK => self.top_k()?,
            Kind::Ratio | Kind::Derived | Kind::Request => return None,
        })
    }

    fn flag(&mut self, key: &'static str) -> bool {
        self.boolean(key).is_some_and(|flag| flag.value)
    }

    fn windowed(&mut self, what: WindowStatistic) -> Option<Shape> {
        let windows_ms = self.lengths("windows", MINUTE_MS)?;
        let exact_events = self.whole("exact_events", 1..=MAX_EXACT_EVENTS, 0)?;
        Some(Shape::Windowed { windows_ms, what, exact_events, exact: self.flag("exact") })
    }

    fn sessions(&mut self) -> Option<Shape> {
        let measures = if self.table.contains_key("measures") {
            self.words("measures", &SessionMeasure::ALL)
        } else {
            Some(SessionMeasure::USUAL.to_vec())
        };
        Some(Shape::Sessions { gap_ms: self.gap()?, measures: measures? })
    }

    fn distinct(&mut self) -> Option<Shape> {
        let windows_ms = if self.table.contains_key("windows") {
            self.lengths("windows", MINUTE_MS)
        } else {
            Some(Vec::new())
        };
        let exact_values = self.whole("exact_values", 0..=MAX_EXACT_VALUES, USUAL_EXACT_VALUES)?;
        let precisions = u32::from(*PRECISIONS.start())..=u32::from(*PRECISIONS.end());
        let precision = self.whole("precision", precisions, USUAL_PRECISION)?;
        let precision = u8::try_from(precision).unwrap_or(u8::MAX);
        Some(Shape::Distinct { windows_ms: windows_ms?, exact_values, precision })
    }

    fn top_k(&mut self) -> Option<Shape> {
        let k = self.whole("k", 1..=MAX_K, USUAL_K)?;
        let capacity = self.whole("capacity", k..=MAX_CAPACITY, USUAL_CAPACITY)?;
        let half_life_ms = self.length("half_life", SECOND_MS).map(|length| length.value);
        let measures = if self.table.contains_key("measures") {
            self.words("measures", &TopMeasure::ALL)?
        } else {
            vec![TopMeasure::Value, TopMeasure::Share]
        };
        let value_type = self.value_type(ValueType::Text)?;
        Some(Shape::TopK { k, capacity, half_life_ms, value_type, measures })
    }

    fn gap(&mut self) -> Option<i64> {
        const MOST_MS: i64 = 7 * DAY_MS;
        if !self.table.contains_key("gap") {
            self.missing("gap", "the silence that ends a session, like `gap = \"30m\"`");
            return None;
        }
        let gap = self.length("gap", SECOND_MS)?;
        if gap.value > MOST_MS {
            let message = format!("`{}` in `gap` is too long", format_duration_ms(gap.value));
            self.complaints.add(gap.place, message, "at most 7d");
            return None;
        }
        Some(gap.value)
    }

    fn ratio(&mut self) -> Option<Ratio> {
        const EXPECTED: &str = "a prior and its weight above 0, at most 1e9 each, like \
                                `smoothing = { prior = 0.02, weight = 50.0 }`";
        let numerator = self.text("numerator", Some("the full name of a feature, like `purchases_30d`"));
        let denominator = self.text("denominator", Some("the full name of a feature, like `sessions_count`"));
        let mut smoothing = None;
        if self.table.contains_key("smoothing") {
            let Located { place, value: [prior, weight] } =
                self.numbers("smoothing", ["prior", "weight"], EXPECTED)?;
            if prior.abs() > MAX_SMOOTHING || weight <= 0.0 || weight > MAX_SMOOTHING {
                self.complaints.add(place, format!("a prior of {prior} with weight {weight}"), EXPECTED);
                return None;
            }
            smoothing = Some((prior, weight));
        }
        Some(Ratio { numerator: numerator?, denominator: denominator?, smoothing })
    }

    fn expression(&mut self, for_anyone: bool) -> Option<Body> {
        let example = if for_anyone {
            "an expression over features and context, like `context.cart_value / features.spend_30d`"
        } else {
            "an expression over features, like `features.purchases_7d / features.purchases_30d`"
        };
        let written = self.written("expression", Some(example));
        let value_type = self.value_type(ValueType::Number)?;
        Some(Body::Expression { for_anyone, value_type, written: written? })
    }

    fn value_type(&mut self, usual: ValueType) -> Option<ValueType> {
        if self.table.contains_key("type") {
            self.word("type", "type", &VALUE_TYPES, true)
        } else {
            Some(usual)
        }
    }
}
