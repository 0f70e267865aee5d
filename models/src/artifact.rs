//! What a model is once it is trained: plain numbers and names, complete enough to score and to be audited.
//!
//! Not here: the bytes (the business of a private module, reached by [`Artifact::encode`] and [`Artifact::decode`]), scoring
//! ([`crate::scorer`]) or storage ([`crate::registry`]).

mod clusters;
mod codec;
mod reference;

use std::collections::BTreeSet;

use augur_domain::{ContentHash, Timestamp, math};

pub use clusters::{ClusterInput, MAX_CLUSTER_NAME_BYTES, MAX_CLUSTERS};
pub use reference::{InputReference, MAX_EDGES, Reference, SCORE_BINS};

use crate::Error;
use crate::calibrate::Calibrator;
use crate::trees::Ensemble;

/// Most inputs a model may have.
pub const MAX_INPUTS: usize = 4_096;
/// Longest name, task, class, feature name or code version, in bytes.
pub const MAX_NAME_BYTES: usize = 256;
/// Longest training report and parameter text, in bytes each.
pub const MAX_REPORT_BYTES: usize = 4 * 1024 * 1024;
/// Largest absolute weight, intercept or calibrator coefficient.
pub const MAX_COEFFICIENT: f64 = 1e9;

/// An immutable model: validated content and the hash of its bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Artifact {
    content: Content,
    id: ContentHash,
}

/// Everything that an [`Artifact`] holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
    /// The model's name, e.g. `churn`.
    pub name: String,
    /// What it predicts, e.g. `churn`, `conversion`.
    pub task: String,
    /// In words, the class whose probability is given, e.g. `no purchase within 60 d`.
    pub positive_class: String,
    /// The feature definitions it was trained on.
    pub feature_set: ContentHash,
    /// How features make a margin.
    pub body: Body,
    /// From margin to probability.
    pub calibrator: Calibrator,
    /// Where it came from.
    pub lineage: Lineage,
    /// The training report as JSON text; empty if there is none.
    pub report: String,
    /// What inputs and scores looked like in training; what is seen later is held against it.
    pub reference: Option<Reference>,
}

/// How features make a margin.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// A weighted sum.
    Linear {
        /// Margin of a user whose every standardised input is 0.
        intercept: f64,
        /// In scoring order; each feature at most once.
        inputs: Vec<Input>,
    },
    /// Decision trees.
    Trees {
        /// What the trees' splits count; each feature at most once.
        inputs: Vec<TreeInput>,
        /// The trees.
        ensemble: Ensemble,
    },
    /// Segments: the one whose centre is nearest. There is no margin and no probability.
    Clusters {
        /// What distances are taken over, in order; each feature at most once.
        inputs: Vec<ClusterInput>,
        /// The centres, one number per input, in standardised units.
        centroids: Vec<Vec<f64>>,
        /// What the segments are called, in the order of the centres.
        names: Vec<String>,
    },
}

/// One feature that trees read, as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct TreeInput {
    /// Name of the feature in its feature set.
    pub feature: String,
    /// The feature's own definition in training; told of every input or of none.
    pub definition: Option<ContentHash>,
}

/// One feature as a linear model reads it: `weight * (clip(transform(value)) - mean) / scale`.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// Name of the feature in its feature set.
    pub feature: String,
    /// Applied to the value first.
    pub transform: Transform,
    /// Least and greatest transformed value: what lies outside is taken for the nearer of them (winsorising). Bounds of
    /// finite numbers, the first not above the second.
    pub clip: Option<(f64, f64)>,
    /// Of the transformed values in training.
    pub mean: f64,
    /// Standard deviation of the transformed values in training, above 0.
    pub scale: f64,
    /// Per standard deviation.
    pub weight: f64,
    /// Stands in for a missing value, already transformed.
    pub imputation: f64,
    /// Added to the margin when the value is missing.
    pub missing_weight: f64,
    /// The feature's own definition in training; told of every input or of none, as by artifacts of format version 1.
    pub definition: Option<ContentHash>,
}

/// What is done to a value before it is standardised. Numbers are stored: never renumber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Transform {
    /// Nothing.
    Identity = 1,
    /// `sign(x) * ln(1 + |x|)`: counts, money and ages are skewed, their logarithms much less.
    SignedLog1p = 2,
}

impl Transform {
    /// The transform with this stored number.
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Identity),
            2 => Some(Self::SignedLog1p),
            _ => None,
        }
    }

    /// The transformed `value`; finite for every finite value.
    pub fn apply(self, value: f64) -> f64 {
        match self {
            Self::Identity => value,
            Self::SignedLog1p if value < 0.0 => -math::ln_1p(-value),
            Self::SignedLog1p => math::ln_1p(value),
        }
    }

    /// The same of many finite values in place, with the same bits.
    #[cfg(feature = "train")]
    pub(crate) fn apply_to_all(self, values: &mut [f64]) {
        match self {
            Self::Identity => {}
            Self::SignedLog1p => math::signed_ln_1p(values),
        }
    }

    /// The word used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::SignedLog1p => "signed_log1p",
        }
    }
}

/// Where a model came from: enough to make it again.
#[derive(Debug, Clone, PartialEq)]
pub struct Lineage {
    /// Hash of the training table.
    pub data: ContentHash,
    /// Seed of every random choice in training.
    pub seed: u64,
    /// Training parameters as JSON text.
    pub parameters: String,
    /// When it was trained, as the caller's clock said.
    pub created_at: Timestamp,
    /// Version of the code that trained it.
    pub code_version: String,
}

impl Artifact {
    /// Checks `content` and names it by the hash of its bytes.
    ///
    /// # Errors
    /// [`Error::InvalidContent`] with the field that breaks a rule: names empty or too long, a feature listed
    /// twice, a number that is not finite or over [`MAX_COEFFICIENT`], a scale not above 0, calibrator knots out
    /// of order.
    pub fn new(content: Content) -> Result<Self, Error> {
        content.validate()?;
        let id = ContentHash::of(&[&codec::encode(&content)]);
        Ok(Self { content, id })
    }

    /// The bytes, in the current format version. Same content, same bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(&self.content)
    }

    /// Reads an artifact of any known format version. Never panics, whatever the bytes.
    ///
    /// # Errors
    /// [`Error::Malformed`] with the offset when the bytes are cut, changed or of an unknown version;
    /// [`Error::InvalidContent`] when they are whole but break a rule.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let content = codec::decode(bytes)?;
        content.validate()?;
        Ok(Self { content, id: ContentHash::of(&[bytes]) })
    }

    /// Hash of the bytes.
    pub const fn id(&self) -> ContentHash {
        self.id
    }

    /// What it holds.
    pub const fn content(&self) -> &Content {
        &self.content
    }

    /// The model's name.
    pub fn name(&self) -> &str {
        &self.content.name
    }
}

impl Content {
    fn validate(&self) -> Result<(), Error> {
        name("name", &self.name)?;
        name("task", &self.task)?;
        name("positive_class", &self.positive_class)?;
        name("lineage.code_version", &self.lineage.code_version)?;
        for (field, text) in [("report", &self.report), ("lineage.parameters", &self.lineage.parameters)] {
            if text.len() > MAX_REPORT_BYTES {
                return Err(invalid(field, format!("{} bytes long", text.len()), "at most 4 MiB"));
            }
        }
        self.body.validate()?;
        if matches!(self.body, Body::Clusters { .. }) {
            clusters::validate_surroundings(self)?;
        }
        if let Some(reference) = &self.reference {
            reference.validate(self.body.features().len())?;
        }
        self.calibrator.validate()
    }
}

impl Body {
    /// Names and definitions of the features it reads, in its own order.
    pub fn features(&self) -> Vec<(&str, Option<ContentHash>)> {
        match self {
            Self::Linear { inputs, .. } => {
                inputs.iter().map(|input| (input.feature.as_str(), input.definition)).collect()
            }
            Self::Trees { inputs, .. } => {
                inputs.iter().map(|input| (input.feature.as_str(), input.definition)).collect()
            }
            Self::Clusters { inputs, .. } => {
                inputs.iter().map(|input| (input.feature.as_str(), input.definition)).collect()
            }
        }
    }

    /// Intercept and inputs of a linear model; `None` for every other.
    pub fn linear(&self) -> Option<(f64, &[Input])> {
        match self {
            Self::Linear { intercept, inputs } => Some((*intercept, inputs)),
            Self::Trees { .. } | Self::Clusters { .. } => None,
        }
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        let features = self.features();
        if features.is_empty() || features.len() > MAX_INPUTS {
            return Err(invalid("inputs", format!("{} long", features.len()), "1 to 4096 inputs"));
        }
        let mut seen = BTreeSet::new();
        let defined = features.iter().all(|(_, definition)| definition.is_some());
        for (index, (feature, definition)) in features.iter().enumerate() {
            let field = |part: &str| format!("inputs[{index}].{part}");
            name(&field("feature"), feature)?;
            if definition.is_some() != defined {
                let expected = "definitions of all inputs or of none";
                return Err(invalid(&field("definition"), "told".to_owned(), expected));
            }
            if !seen.insert(*feature) {
                return Err(invalid(&field("feature"), format!("`{feature}` again"), "each feature once"));
            }
        }
        match self {
            Self::Linear { intercept, inputs } => {
                coefficient("intercept", *intercept)?;
                inputs.iter().enumerate().try_for_each(|(index, input)| input.validate(index))
            }
            Self::Trees { inputs, ensemble } => ensemble.validate(inputs.len()),
            Self::Clusters { inputs, centroids, names } => clusters::validate(inputs, centroids, names),
        }
    }
}

impl Input {
    fn validate(&self, index: usize) -> Result<(), Error> {
        let field = |part: &str| format!("inputs[{index}].{part}");
        coefficient(&field("weight"), self.weight)?;
        coefficient(&field("missing_weight"), self.missing_weight)?;
        for (part, value) in [("mean", self.mean), ("imputation", self.imputation)] {
            if !value.is_finite() {
                return Err(invalid(&field(part), value.to_string(), "a finite number"));
            }
        }
        clip(index, self.clip)?;
        scale(index, self.scale)
    }
}

fn clip(index: usize, clip: Option<(f64, f64)>) -> Result<(), Error> {
    match clip {
        Some((low, high)) if !(low.is_finite() && high.is_finite() && low <= high) => Err(invalid(
            &format!("inputs[{index}].clip"),
            format!("{low:e} to {high:e}"),
            "finite bounds in ascending order",
        )),
        _ => Ok(()),
    }
}

fn scale(index: usize, scale: f64) -> Result<(), Error> {
    // The reciprocal of a scale within these bounds is finite and above 0.
    if !(1e-300..=1e300).contains(&scale) {
        return Err(invalid(&format!("inputs[{index}].scale"), format!("{scale:e}"), "1e-300 to 1e300"));
    }
    Ok(())
}

fn name(field: &str, text: &str) -> Result<(), Error> {
    if text.is_empty() || text.len() > MAX_NAME_BYTES {
        return Err(invalid(field, format!("{} bytes long", text.len()), "1 to 256 bytes"));
    }
    Ok(())
}

/// Refuses what is not finite or so large that sums of products could overflow.
pub(crate) fn coefficient(field: &str, value: f64) -> Result<(), Error> {
    if !value.is_finite() || value.abs() > MAX_COEFFICIENT {
        return Err(invalid(field, format!("{value:e}"), "a finite number of at most 1e9 in absolute value"));
    }
    Ok(())
}

pub(crate) fn invalid(field: &str, found: String, expected: &'static str) -> Error {
    Error::InvalidContent { field: field.to_owned(), found, expected }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::trees::{Link, Node, Split, Tree};

    pub(crate) fn linear(content: &mut Content) -> (&mut f64, &mut Vec<Input>) {
        match &mut content.body {
            Body::Linear { intercept, inputs } => (intercept, inputs),
            Body::Trees { .. } | Body::Clusters { .. } => panic!("not linear"),
        }
    }

    /// A small model of two trees, also the one whose bytes are pinned.
    pub(crate) fn sample_of_trees() -> Content {
        let leaf = |value| Node { value, split: None };
        let split =
            |input, threshold, missing_right| Some(Split { input, threshold, missing_right, left: 1 });
        let tree = |input, threshold, missing_right, [left, right]: [f64; 2]| Tree {
            nodes: vec![
                Node { value: (left + right) / 2.0, split: split(input, threshold, missing_right) },
                leaf(left),
                leaf(right),
            ],
        };
        let input = |name: &str, byte| TreeInput {
            feature: name.to_owned(),
            definition: Some(ContentHash::from_bytes([byte; 32])),
        };
        let trees = vec![tree(0, 2.5, true, [0.3, -0.2]), tree(1, 0.5, false, [-0.1, 0.4])];
        let ensemble = Ensemble { base: -1.5, link: Link::Sum, trees };
        let inputs = vec![input("purchases_30d", 3), input("is_member", 4)];
        Content { body: Body::Trees { inputs, ensemble }, ..sample() }
    }

    /// A small model of two inputs, also the one whose bytes are pinned.
    pub(crate) fn sample() -> Content {
        Content {
            name: "churn".to_owned(),
            task: "churn".to_owned(),
            positive_class: "no purchase within 60 d".to_owned(),
            feature_set: ContentHash::from_bytes([7; 32]),
            body: Body::Linear {
                intercept: -0.5,
                inputs: vec![
                    Input {
                        feature: "purchases_30d".to_owned(),
                        transform: Transform::SignedLog1p,
                        clip: None,
                        mean: 0.75,
                        scale: 0.5,
                        weight: -1.25,
                        imputation: 0.75,
                        missing_weight: 0.125,
                        definition: Some(ContentHash::from_bytes([3; 32])),
                    },
                    Input {
                        feature: "is_member".to_owned(),
                        transform: Transform::Identity,
                        clip: None,
                        mean: 0.25,
                        scale: 0.4,
                        weight: 0.3,
                        imputation: 0.25,
                        missing_weight: 0.0,
                        definition: Some(ContentHash::from_bytes([4; 32])),
                    },
                ],
            },
            calibrator: Calibrator::Platt { a: -0.9, b: 0.05 },
            lineage: Lineage {
                data: ContentHash::from_bytes([9; 32]),
                seed: 42,
                parameters: r#"{"alpha":1.0}"#.to_owned(),
                created_at: Timestamp::from_unix_ms(1_760_000_000_000),
                code_version: "0.1.0".to_owned(),
            },
            report: r#"{"rows":10}"#.to_owned(),
            reference: None,
        }
    }

    /// As format version 3 has it: a winsorised input, a reference, and no definitions.
    pub(crate) fn sample_with_reference() -> Content {
        let mut content = sample_without_definitions();
        linear(&mut content).1[0].clip = Some((0.0, 4.5));
        let mut scores = [0.0; SCORE_BINS];
        (scores[2], scores[7]) = (0.75, 0.25);
        let input = |edges: &[f64], shares: &[f64], missing_share| InputReference {
            edges: edges.to_vec(),
            shares: shares.to_vec(),
            missing_share,
        };
        content.reference = Some(Reference {
            inputs: vec![input(&[1.0, 3.0], &[0.5, 0.25, 0.25], 0.125), input(&[], &[1.0], 0.0)],
            scores,
            base_rate: 0.25,
            rows: 10,
        });
        content
    }

    /// As format version 1 has it.
    pub(crate) fn sample_without_definitions() -> Content {
        let mut content = sample();
        linear(&mut content).1.iter_mut().for_each(|input| input.definition = None);
        content
    }

    #[test]
    fn broken_rules_name_their_field() {
        type Break = fn(&mut Content);
        let cases: [(&str, Break); 11] = [
            ("name", |c| c.name.clear()),
            ("task", |c| c.task = "x".repeat(257)),
            ("intercept", |c| *linear(c).0 = f64::NAN),
            ("inputs", |c| linear(c).1.clear()),
            ("inputs[1].feature", |c| linear(c).1[1].feature = "purchases_30d".to_owned()),
            ("inputs[0].scale", |c| linear(c).1[0].scale = 0.0),
            ("inputs[1].weight", |c| linear(c).1[1].weight = 1e10),
            ("inputs[0].mean", |c| linear(c).1[0].mean = f64::INFINITY),
            ("inputs[0].clip", |c| linear(c).1[0].clip = Some((1.0, 0.5))),
            ("inputs[0].definition", |c| linear(c).1[1].definition = None),
            ("calibrator.a", |c| c.calibrator = Calibrator::Platt { a: f64::NAN, b: 0.0 }),
        ];
        for (expected, break_it) in cases {
            let mut content = sample();
            break_it(&mut content);
            match Artifact::new(content) {
                Err(Error::InvalidContent { field, .. }) => assert_eq!(field, expected),
                other => panic!("{expected}: {other:?}"),
            }
        }
    }

    #[test]
    fn signed_log_is_odd_and_finite() {
        for value in [0.0, 1e-9, 1.0, 1e6, f64::MAX] {
            let up = Transform::SignedLog1p.apply(value);
            assert!(up.is_finite());
            assert_eq!(Transform::SignedLog1p.apply(-value), -up);
        }
        assert_eq!(Transform::SignedLog1p.apply(-0.0).abs(), 0.0);
    }
}
