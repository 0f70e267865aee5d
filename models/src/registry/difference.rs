//! How two versions of a model differ: inputs, definitions, weights, figures, parameters, lineage.
//!
//! Not here: which of them is better. That is for gates (`gates`) and people.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::describe::{Description, InputDescription};

/// What of a training report is compared: parts of the rows, by the report's own keys.
const PARTS: [&str; 2] = ["out_of_time", "train"];

/// Two versions side by side; pairs are (first, second). Serialises to JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The model's name.
    pub model: String,
    /// The two versions.
    pub versions: (u32, u32),
    /// Whether the artifacts are the very same bytes.
    pub same_artifact: bool,
    /// Every input of either: the first's in its order, then those that only the second has.
    pub inputs: Vec<InputDifference>,
    /// Every figure that either report tells, by `part.figure`, e.g. `out_of_time.roc_auc`, sorted.
    pub metrics: Vec<Figures>,
    /// Everything else that is not the same: form, calibrator, parameters and lineage, by name.
    pub settings: Vec<Setting>,
}

/// One input of either version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InputDifference {
    /// Name of the feature.
    pub feature: String,
    /// What became of it.
    pub change: InputChange,
    /// Weights of a linear model.
    pub weights: (Option<f64>, Option<f64>),
    /// Mean absolute contributions over the training rows.
    pub importances: (Option<f64>, Option<f64>),
}

/// What became of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputChange {
    /// Both read it, defined alike as far as the artifacts tell.
    Kept,
    /// Both read it, and it was defined otherwise in training.
    Redefined,
    /// Only the second reads it.
    Added,
    /// Only the first reads it.
    Removed,
}

impl InputChange {
    /// The word used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Redefined => "redefined",
            Self::Added => "added",
            Self::Removed => "removed",
        }
    }
}

/// One figure of both reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// `part.figure`
    pub name: String,
    /// Absent where the report does not tell it.
    pub values: (Option<f64>, Option<f64>),
}

/// One setting that is not the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// Its name, e.g. `parameters.alpha`.
    pub name: String,
    /// Null where a version has none.
    pub values: (Value, Value),
}

impl Difference {
    /// Puts `first` beside `second`.
    pub fn between(first: &Description, second: &Description) -> Self {
        Self {
            model: first.model.clone(),
            versions: (first.version, second.version),
            same_artifact: first.artifact == second.artifact,
            inputs: inputs(first, second),
            metrics: metrics(&first.report, &second.report),
            settings: settings(first, second),
        }
    }
}

fn inputs(first: &Description, second: &Description) -> Vec<InputDifference> {
    let find = |of: &Description, feature: &str| -> Option<InputDescription> {
        of.inputs.iter().find(|input| input.feature == feature).cloned()
    };
    let added = second.inputs.iter().filter(|input| find(first, &input.feature).is_none());
    let named = first.inputs.iter().chain(added).map(|input| input.feature.as_str());
    let compared = named.map(|feature| {
        let (before, after) = (find(first, feature), find(second, feature));
        let change = match (&before, &after) {
            (None, _) => InputChange::Added,
            (_, None) => InputChange::Removed,
            (Some(before), Some(after)) => {
                let told = before.definition.is_some() && after.definition.is_some();
                let redefined = told && before.definition != after.definition;
                if redefined { InputChange::Redefined } else { InputChange::Kept }
            }
        };
        let both = |of: fn(&InputDescription) -> Option<f64>| {
            (before.as_ref().and_then(of), after.as_ref().and_then(of))
        };
        InputDifference {
            feature: feature.to_owned(),
            change,
            weights: both(|input| input.weight),
            importances: both(|input| input.importance),
        }
    });
    compared.collect()
}

fn metrics(first: &Value, second: &Value) -> Vec<Figures> {
    let mut found: BTreeMap<String, (Option<f64>, Option<f64>)> = BTreeMap::new();
    for part in PARTS {
        for (report, is_first) in [(first, true), (second, false)] {
            let figures = report.get(part).and_then(Value::as_object).into_iter().flatten();
            for (name, value) in figures.filter_map(|(name, value)| Some((name, value.as_f64()?))) {
                let values = found.entry(format!("{part}.{name}")).or_default();
                *(if is_first { &mut values.0 } else { &mut values.1 }) = Some(value);
            }
        }
    }
    found.into_iter().map(|(name, values)| Figures { name, values }).collect()
}

fn settings(first: &Description, second: &Description) -> Vec<Setting> {
    let mut all: BTreeMap<String, (Value, Value)> = BTreeMap::new();
    for (of, is_first) in [(first, true), (second, false)] {
        let mut tell = |name: String, value: Value| {
            let values = all.entry(name).or_default();
            *(if is_first { &mut values.0 } else { &mut values.1 }) = value;
        };
        for (name, value) in [
            ("form", &of.form),
            ("calibrator", &of.calibrator),
            ("feature_set", &of.feature_set),
            ("positive_class", &of.positive_class),
            ("task", &of.task),
            ("lineage.data", &of.lineage.data),
            ("lineage.created_at", &of.lineage.created_at),
            ("lineage.code_version", &of.lineage.code_version),
        ] {
            tell(name.to_owned(), Value::from(value.as_str()));
        }
        tell("lineage.seed".to_owned(), Value::from(of.lineage.seed));
        for (name, value) in of.lineage.parameters.as_object().into_iter().flatten() {
            tell(format!("parameters.{name}"), value.clone());
        }
    }
    let unlike = all.into_iter().filter(|(_, (first, second))| first != second);
    unlike.map(|(name, values)| Setting { name, values }).collect()
}
