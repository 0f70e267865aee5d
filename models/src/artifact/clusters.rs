//! Segments as an artifact holds them: how inputs are standardised, the centres, and the rules that both keep.
//!
//! Not here: which centre is nearest ([`crate::scorer`]), or how centres are found (`train`).

use std::collections::BTreeSet;

use augur_domain::ContentHash;

use super::{Content, Transform, clip, coefficient, invalid, scale};
use crate::Error;
use crate::calibrate::Calibrator;
use crate::scorer::MAX_DEVIATIONS;

/// Most segments of one model; the least is 2.
pub const MAX_CLUSTERS: usize = 32;
/// Longest name of a segment, in bytes.
pub const MAX_CLUSTER_NAME_BYTES: usize = 64;

/// One feature as distances see it: `(clip(transform(value)) - mean) / scale`, a missing value as the mean.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterInput {
    /// Name of the feature in its feature set.
    pub feature: String,
    /// Applied to the value first.
    pub transform: Transform,
    /// Of the transformed and clipped values in training.
    pub mean: f64,
    /// Standard deviation of the same, above 0.
    pub scale: f64,
    /// Least and greatest transformed value: what lies outside is taken for the nearer of them.
    pub clip: Option<(f64, f64)>,
    /// The feature's own definition in training; told of every input or of none.
    pub definition: Option<ContentHash>,
}

impl ClusterInput {
    /// `value` in standard deviations from the mean, held within [`MAX_DEVIATIONS`]; 0 for NaN, which stands for a
    /// missing value.
    pub fn standardise(&self, value: f64) -> f64 {
        if value.is_nan() {
            return 0.0;
        }
        let (low, high) = self.clip.unwrap_or((f64::MIN, f64::MAX));
        let transformed = self.transform.apply(value).max(low).min(high);
        ((transformed - self.mean) / self.scale).clamp(-MAX_DEVIATIONS, MAX_DEVIATIONS)
    }
}

pub(super) fn validate(
    inputs: &[ClusterInput],
    centroids: &[Vec<f64>],
    names: &[String],
) -> Result<(), Error> {
    for (index, input) in inputs.iter().enumerate() {
        coefficient(&format!("inputs[{index}].mean"), input.mean)?;
        clip(index, input.clip)?;
        scale(index, input.scale)?;
    }
    if !(2..=MAX_CLUSTERS).contains(&centroids.len()) {
        return Err(invalid("centroids", format!("{} long", centroids.len()), "2 to 32 centres"));
    }
    if names.len() != centroids.len() {
        return Err(invalid("names", format!("{} long", names.len()), "one name per centre"));
    }
    let mut seen = BTreeSet::new();
    for (index, (name, centroid)) in names.iter().zip(centroids).enumerate() {
        let field = format!("names[{index}]");
        if name.is_empty() || name.len() > MAX_CLUSTER_NAME_BYTES {
            return Err(invalid(&field, format!("{} bytes long", name.len()), "1 to 64 bytes"));
        }
        if !seen.insert(name) {
            return Err(invalid(&field, format!("`{name}` again"), "each name once"));
        }
        let field = format!("centroids[{index}]");
        if centroid.len() != inputs.len() {
            return Err(invalid(&field, format!("{} long", centroid.len()), "one number per input"));
        }
        centroid.iter().try_for_each(|at| coefficient(&field, *at))?;
    }
    Ok(())
}

/// What only models that give a probability have.
pub(super) fn validate_surroundings(content: &Content) -> Result<(), Error> {
    if content.calibrator != Calibrator::Identity {
        return Err(invalid("calibrator", "set".to_owned(), "none: segments have no probability"));
    }
    if content.reference.is_some() {
        return Err(invalid("reference", "set".to_owned(), "none: segments have no scores"));
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::tests::sample;
    use super::*;
    use crate::Artifact;
    use crate::artifact::Body;

    /// Two segments over two features, also the model whose bytes are pinned.
    pub(crate) fn sample_of_clusters() -> Content {
        let input = |feature: &str, transform, clip, byte| ClusterInput {
            feature: feature.to_owned(),
            transform,
            mean: 0.75,
            scale: 0.5,
            clip,
            definition: Some(ContentHash::from_bytes([byte; 32])),
        };
        let inputs = vec![
            input("purchases_30d", Transform::SignedLog1p, Some((0.0, 4.5)), 3),
            input("is_member", Transform::Identity, None, 4),
        ];
        let body = Body::Clusters {
            inputs,
            centroids: vec![vec![-1.0, 0.25], vec![1.5, -0.5]],
            names: vec!["low".to_owned(), "high".to_owned()],
        };
        Content { body, calibrator: Calibrator::Identity, ..sample() }
    }

    #[test]
    fn a_missing_value_is_the_mean_and_a_wild_one_is_clipped() {
        let Body::Clusters { inputs, .. } = sample_of_clusters().body else { panic!("clusters") };
        assert_eq!(inputs[0].standardise(f64::NAN), 0.0);
        assert_eq!(inputs[0].standardise(-7.0), -1.5);
        assert_eq!(inputs[0].standardise(f64::MAX), 7.5);
        assert_eq!(inputs[1].standardise(f64::MAX), MAX_DEVIATIONS);
    }

    #[test]
    fn broken_rules_name_their_field() {
        type Break = fn(&mut Vec<ClusterInput>, &mut Vec<Vec<f64>>, &mut Vec<String>);
        let cases: [(&str, Break); 8] = [
            ("inputs[1].scale", |inputs, _, _| inputs[1].scale = 0.0),
            ("inputs[0].clip", |inputs, _, _| inputs[0].clip = Some((1.0, 0.0))),
            ("inputs[0].mean", |inputs, _, _| inputs[0].mean = f64::NAN),
            ("centroids", |_, centroids, _| centroids.truncate(1)),
            ("centroids[1]", |_, centroids, _| centroids[1].push(0.0)),
            ("centroids[0]", |_, centroids, _| centroids[0][1] = f64::INFINITY),
            ("names", |_, _, names| names.truncate(1)),
            ("names[1]", |_, _, names| names[1] = "low".to_owned()),
        ];
        for (expected, break_it) in cases {
            let mut content = sample_of_clusters();
            let Body::Clusters { inputs, centroids, names } = &mut content.body else { panic!("clusters") };
            break_it(inputs, centroids, names);
            match Artifact::new(content) {
                Err(Error::InvalidContent { field, .. }) => assert_eq!(field, expected),
                other => panic!("{expected}: {other:?}"),
            }
        }
        let calibrated =
            Content { calibrator: Calibrator::Platt { a: -1.0, b: 0.0 }, ..sample_of_clusters() };
        assert!(
            matches!(Artifact::new(calibrated), Err(Error::InvalidContent { field, .. }) if field == "calibrator")
        );
    }
}
