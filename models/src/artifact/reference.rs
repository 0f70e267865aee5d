//! What inputs and scores looked like in training, small enough to travel with the model: drift is told against it.
//!
//! Not here: filling it from a table, or comparing what is served with it.

use super::invalid;
use crate::Error;

/// Most borders between the bins of one input's values.
pub const MAX_EDGES: usize = 32;
/// Bins of calibrated probabilities, equally wide from 0 to 1.
pub const SCORE_BINS: usize = 20;

/// How the rows that a model was measured on were distributed.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// One per input of the model, in its order.
    pub inputs: Vec<InputReference>,
    /// Share of calibrated probabilities in each of [`SCORE_BINS`] bins.
    pub scores: [f64; SCORE_BINS],
    /// Share of positive rows.
    pub base_rate: f64,
    /// Rows that the shares are of.
    pub rows: u64,
}

/// How one input's values were distributed.
#[derive(Debug, Clone, PartialEq)]
pub struct InputReference {
    /// Ascending borders between bins, each the greatest value that belongs to the lower one; at most [`MAX_EDGES`].
    pub edges: Vec<f64>,
    /// Share of the values present in each bin, one more than edges.
    pub shares: Vec<f64>,
    /// Share of rows without a value.
    pub missing_share: f64,
}

impl Reference {
    pub(super) fn validate(&self, inputs: usize) -> Result<(), Error> {
        if self.inputs.len() != inputs {
            let found = format!("{} long", self.inputs.len());
            return Err(invalid("reference.inputs", found, "one per input of the model"));
        }
        for (index, input) in self.inputs.iter().enumerate() {
            input.validate(index)?;
        }
        share("reference.base_rate", self.base_rate)?;
        self.scores.iter().try_for_each(|of_bin| share("reference.scores", *of_bin))
    }
}

impl InputReference {
    fn validate(&self, index: usize) -> Result<(), Error> {
        let field = |part: &str| format!("reference.inputs[{index}].{part}");
        let ascending = self.edges.is_sorted_by(|lower, upper| lower < upper);
        if self.edges.len() > MAX_EDGES || !ascending || self.edges.iter().any(|edge| !edge.is_finite()) {
            let found = format!("{} edges", self.edges.len());
            return Err(invalid(&field("edges"), found, "at most 32 finite numbers in ascending order"));
        }
        if self.shares.len() != self.edges.len() + 1 {
            let found = format!("{} shares", self.shares.len());
            return Err(invalid(&field("shares"), found, "one more than edges"));
        }
        self.shares.iter().try_for_each(|of_bin| share(&field("shares"), *of_bin))?;
        share(&field("missing_share"), self.missing_share)
    }
}

fn share(field: &str, value: f64) -> Result<(), Error> {
    // Added up from many shares a whole may miss 1 by its last digits.
    if (0.0..=1.0 + 1e-9).contains(&value) {
        return Ok(());
    }
    Err(invalid(field, format!("{value:e}"), "a share from 0 to 1"))
}

#[cfg(test)]
mod tests {
    use crate::Error;
    use crate::artifact::Artifact;
    use crate::artifact::tests::sample_with_reference;

    use super::*;

    #[test]
    fn broken_references_name_their_field() {
        type Break = fn(&mut Reference);
        let cases: [(&str, Break); 7] = [
            ("reference.inputs", |r| r.inputs.truncate(1)),
            ("reference.inputs[0].edges", |r| r.inputs[0].edges.reverse()),
            ("reference.inputs[0].edges", |r| r.inputs[0].edges[1] = f64::INFINITY),
            ("reference.inputs[0].shares", |r| r.inputs[0].shares.push(0.0)),
            ("reference.inputs[1].missing_share", |r| r.inputs[1].missing_share = f64::NAN),
            ("reference.base_rate", |r| r.base_rate = 1.5),
            ("reference.scores", |r| r.scores[3] = -0.1),
        ];
        for (expected, break_it) in cases {
            let mut content = sample_with_reference();
            break_it(content.reference.as_mut().unwrap());
            match Artifact::new(content) {
                Err(Error::InvalidContent { field, .. }) => assert_eq!(field, expected),
                other => panic!("{expected}: {other:?}"),
            }
        }
    }
}
