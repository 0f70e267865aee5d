//! Features as everyone but the store sees them: a named, typed set and a dense vector of values.
//!
//! Not here: how a feature is computed (`feature-store`).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ids::ContentHash;
use crate::time::Timestamp;
use crate::value::ValueType;

/// One feature of a set. Its slot is its index in [`FeatureSet::features`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureInfo {
    /// Full name, e.g. `purchases_30d`.
    pub name: Arc<str>,
    /// What a value holds. Timestamps are never features; times are given as ages.
    pub value_type: ValueType,
    /// The declared sentence that says what it means.
    pub description: Arc<str>,
    /// Events whose arrival changes this feature, for leakage screening; none for what is computed from a request alone.
    /// `None` means every event.
    pub events: Option<Vec<Arc<str>>>,
    /// Hash of everything that gives this one feature its values: events, filter, half-life or window, maximum age,
    /// default and, for a feature made of others, their definitions. Not the name, the description or the unit.
    pub definition: ContentHash,
    /// The declared unit of its values, e.g. `EUR`; empty if none is declared.
    pub unit: Arc<str>,
}

/// An ordered, immutable list of features, identified by the hash of the definitions behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureSet {
    hash: ContentHash,
    features: Vec<FeatureInfo>,
    /// Slots; of a name that occurs twice, the first.
    by_name: BTreeMap<Arc<str>, usize>,
    named: Vec<NamedFeatures>,
}

/// A declared list of features that applications and models ask for together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFeatures {
    /// Its name.
    pub name: Arc<str>,
    /// The declared sentence that says what it is for.
    pub description: Arc<str>,
    /// Its members, in the declared order, each once.
    pub slots: Vec<usize>,
    /// Hash of the members' names and definitions.
    pub version: ContentHash,
}

impl FeatureSet {
    /// A set of `features` whose definitions hash to `hash`.
    pub fn new(hash: ContentHash, features: Vec<FeatureInfo>) -> Self {
        let mut by_name = BTreeMap::new();
        for (slot, feature) in features.iter().enumerate() {
            by_name.entry(Arc::clone(&feature.name)).or_insert(slot);
        }
        Self { hash, features, by_name, named: Vec::new() }
    }

    /// The set with named lists of its features.
    #[must_use]
    pub fn with_named(self, named: Vec<NamedFeatures>) -> Self {
        Self { named, ..self }
    }

    /// The named lists, in the order of their declaration.
    pub fn named(&self) -> &[NamedFeatures] {
        &self.named
    }

    /// Hash of the definitions. Named lists are no part of it.
    pub const fn hash(&self) -> ContentHash {
        self.hash
    }

    /// The features in slot order.
    pub fn features(&self) -> &[FeatureInfo] {
        &self.features
    }

    /// Slot of the feature called `name`.
    pub fn slot(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }
}

/// How a feature's value is to be understood. Numbers are stored and on the wire: never renumber.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FeatureStatus {
    /// A value computed from this user's events.
    Present = 1,
    /// The user is known, but there is no value (never happened, or a ratio of nothing).
    NullValue = 2,
    /// The user is not known.
    NotFound = 3,
    /// There is a value, but the user's last relevant event is older than the declared `max_age`.
    OutsideMaxAge = 4,
    /// No value; the declared default stands in.
    Defaulted = 5,
}

impl FeatureStatus {
    /// The status with this stored number.
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Present),
            2 => Some(Self::NullValue),
            3 => Some(Self::NotFound),
            4 => Some(Self::OutsideMaxAge),
            5 => Some(Self::Defaulted),
            _ => None,
        }
    }

    /// Whether rules and models may use the value.
    pub const fn is_usable(self) -> bool {
        matches!(self, Self::Present | Self::Defaulted)
    }

    /// The word used on the wire and in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Present => "PRESENT",
            Self::NullValue => "NULL_VALUE",
            Self::NotFound => "NOT_FOUND",
            Self::OutsideMaxAge => "OUTSIDE_MAX_AGE",
            Self::Defaulted => "DEFAULTED",
        }
    }
}

/// One feature's value at one instant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FeatureValue {
    /// The number; 0 unless the status says that there is one. Always finite. A boolean is 0 or 1, a duration is
    /// milliseconds; of a text it is 0, and the text is in [`FeatureVector::texts`].
    pub value: f64,
    /// How to understand it.
    pub status: FeatureStatus,
    /// The latest event that touched this feature, if any.
    pub event_time: Option<Timestamp>,
}

impl FeatureValue {
    /// The value when rules and models may use it.
    pub fn usable(&self) -> Option<f64> {
        self.status.is_usable().then_some(self.value)
    }
}

/// What may be told of a value beside itself.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct FeatureDetail {
    /// Where its window really starts: on the border of a tile, or at the oldest event that is kept exactly.
    pub window_start: Option<Timestamp>,
    /// How far it may be from the exact value, as a share of it: the standard error of an estimate, or a bound. `None`
    /// when it is exact.
    pub approximation_error: Option<f64>,
}

/// The values of a whole feature set for one user at one instant, in slot order.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureVector {
    /// Which definitions these values follow.
    pub feature_set: ContentHash,
    /// How many of the user's events had been applied: names the point in the event log to recompute from.
    pub watermark: u64,
    /// One per feature, in slot order.
    pub values: Vec<FeatureValue>,
    /// The values of text features that have one, ascending by slot, each slot once.
    pub texts: Vec<(u32, Arc<str>)>,
}

impl FeatureVector {
    /// A vector in which nothing is known.
    pub fn not_found(feature_set: &FeatureSet) -> Self {
        let unknown = FeatureValue { value: 0.0, status: FeatureStatus::NotFound, event_time: None };
        Self {
            feature_set: feature_set.hash(),
            watermark: 0,
            values: vec![unknown; feature_set.features().len()],
            texts: Vec::new(),
        }
    }

    /// The value in `slot` when rules and models may use it.
    pub fn usable(&self, slot: usize) -> Option<f64> {
        self.values.get(slot).and_then(FeatureValue::usable)
    }

    /// The text in `slot`, whatever its status; `None` for features that hold no text.
    pub fn text(&self, slot: usize) -> Option<&Arc<str>> {
        let slot = u32::try_from(slot).ok()?;
        let place = self.texts.binary_search_by_key(&slot, |(known, _)| *known).ok()?;
        self.texts.get(place).map(|(_, text)| text)
    }

    /// The text in `slot` when rules may use it.
    pub fn usable_text(&self, slot: usize) -> Option<&Arc<str>> {
        if self.values.get(slot)?.status.is_usable() { self.text(slot) } else { None }
    }
}
