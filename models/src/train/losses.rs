//! The log loss of many rows at once: margins, losses and errors of a block of rows, side by side where the processor can.
//!
//! Rows are taken in order and in blocks of the same size always, so that sums are the same on every machine. Not here:
//! what is minimised (`newton`) or second derivatives (`curvature`).

use augur_domain::math;

use super::curvature::dot;
use super::newton::Coefficients;

/// Rows of a block: few enough to stay near the processor, and for a product of numbers up to 2 not to overflow.
const BLOCK: usize = 64;
/// Rows whose errors are added up before the gradient is touched.
const QUAD: usize = 4;

/// What a row weighs, by its label.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weights {
    pub(super) positive: f64,
    pub(super) negative: f64,
}

/// Rows waiting for their turn, and what came of those before them.
pub(super) struct Losses<'a> {
    at: &'a Coefficients,
    weights: Weights,
    rows: Vec<&'a [f64]>,
    /// 1 for a positive row, 0 for a negative one.
    labels: [f64; BLOCK],
    lanes: Lanes,
}

/// Of every row of a block.
struct Lanes {
    margins: [f64; BLOCK],
    /// `exp(-|margin|)`, then what the loss has beside its linear part: a factor of the product under the logarithm.
    factors: [f64; BLOCK],
    /// The linear part of the loss, weighed.
    hinges: [f64; BLOCK],
    /// The derivative of the loss by the margin.
    errors: [f64; BLOCK],
    /// The second derivative.
    curvatures: [f64; BLOCK],
}

impl<'a> Losses<'a> {
    pub(super) fn new(at: &'a Coefficients, weights: Weights) -> Self {
        let none = [0.0; BLOCK];
        let lanes = Lanes { margins: none, factors: none, hinges: none, errors: none, curvatures: none };
        Self { at, weights, rows: Vec::with_capacity(BLOCK), labels: none, lanes }
    }

    /// The loss summed over rows, added to `gradient`, whose last coordinate is the intercept's.
    pub(super) fn loss(mut self, rows: impl Iterator<Item = (&'a [f64], bool)>, gradient: &mut [f64]) -> f64 {
        let mut loss = 0.0;
        self.each_block(rows, |block| {
            loss += block.block_loss();
            add_gradient(gradient, &block.rows, &block.lanes.errors);
        });
        loss
    }

    /// Hands over every row with its second derivative by the margin.
    pub(super) fn curvatures(
        mut self,
        rows: impl Iterator<Item = (&'a [f64], bool)>,
        mut take: impl FnMut(&[f64], f64),
    ) {
        self.each_block(rows, |block| {
            for (row, curvature) in block.rows.iter().zip(&block.lanes.curvatures) {
                take(row, *curvature);
            }
        });
    }

    fn each_block(
        &mut self,
        mut rows: impl Iterator<Item = (&'a [f64], bool)>,
        mut take: impl FnMut(&mut Self),
    ) {
        loop {
            self.rows.clear();
            for (place, (row, label)) in self.labels.iter_mut().zip(rows.by_ref()) {
                *place = f64::from(u8::from(label));
                self.rows.push(row);
            }
            if self.rows.is_empty() {
                return;
            }
            self.fill();
            take(self);
        }
    }

    fn fill(&mut self) {
        let Self { at, weights, rows, labels, lanes } = self;
        for (margin, row) in lanes.margins.iter_mut().zip(rows.iter()) {
            *margin = at.intercept + dot(row, &at.weights);
        }
        lanes.fill(labels, *weights);
    }

    /// `weight * ln(1 + exp(-margin))` and its like, of all rows: one logarithm of a product for each class.
    fn block_loss(&self) -> f64 {
        let (mut linear, mut positive, mut negative) = (0.0, 1.0, 1.0);
        let rows = self.lanes.hinges.iter().zip(&self.lanes.factors).zip(&self.labels).take(self.rows.len());
        for ((hinge, factor), label) in rows {
            linear += hinge;
            if *label > 0.0 {
                positive *= factor;
            } else {
                negative *= factor;
            }
        }
        linear + self.weights.positive * math::ln(positive) + self.weights.negative * math::ln(negative)
    }
}

impl Lanes {
    /// From the margins all the rest. A loop over numbers of their own kind and no branch: two or four at once.
    #[inline(never)]
    fn fill(&mut self, labels: &[f64; BLOCK], weights: Weights) {
        self.factors = self.margins;
        math::exp_of_negative(&mut self.factors);
        let Self { margins, factors, hinges, errors, curvatures } = self;
        let inputs = margins.iter().zip(labels);
        let outputs = factors.iter_mut().zip(hinges).zip(errors).zip(curvatures);
        for ((margin, label), (((factor, hinge), error), curvature)) in inputs.zip(outputs) {
            let weight = weights.negative + label * (weights.positive - weights.negative);
            let small = *factor;
            let whole = 1.0 + small;
            // The smaller of the two classes' probabilities, and the one of the class that the margin is for.
            let (less, more) = (small / whole, 1.0 / whole);
            let probability = if *margin >= 0.0 { more } else { less };
            *hinge = weight * ((1.0 - 2.0 * label) * margin).max(0.0);
            *error = weight * (probability - label);
            *curvature = weight * less * more;
            *factor = whole;
        }
    }
}

fn add_gradient(gradient: &mut [f64], rows: &[&[f64]], errors: &[f64; BLOCK]) {
    let Some((intercept, weights)) = gradient.split_last_mut() else { return };
    let errors = errors.get(..rows.len()).unwrap_or_default();
    let (mut quads, mut of_quads) = (rows.chunks_exact(QUAD), errors.chunks_exact(QUAD));
    for (quad, errors) in quads.by_ref().zip(of_quads.by_ref()) {
        let ([first, second, third, fourth], [a, b, c, d]) = (quad, errors) else { continue };
        *intercept += (a + b) + (c + d);
        let values = first.iter().zip(*second).zip(third.iter().zip(*fourth));
        for (part, ((first, second), (third, fourth))) in weights.iter_mut().zip(values) {
            *part += (a * first + b * second) + (c * third + d * fourth);
        }
    }
    for (row, error) in quads.remainder().iter().zip(of_quads.remainder()) {
        *intercept += error;
        for (part, value) in weights.iter_mut().zip(*row) {
            *part += error * value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_add_up_to_the_loss_of_single_rows() {
        let at = Coefficients { weights: vec![0.7, -1.3, 4.0], intercept: -0.2 };
        let weights = Weights { positive: 2.5, negative: 1.0 };
        // Two blocks, a quad and a row; margins from nothing to what exp cannot hold.
        let rows: Vec<Vec<f64>> = (0..133)
            .map(|row| (0..3).map(|at| f64::from((row * 3 + at) * 7_919 % 1_009) / 90.0 - 5.0).collect())
            .collect();
        let scaled = |row: usize| if row == 7 { 1e3 } else { 1.0 };
        let rows: Vec<Vec<f64>> = rows
            .into_iter()
            .enumerate()
            .map(|(at, row)| row.into_iter().map(|value| value * scaled(at)).collect())
            .collect();
        let labelled = || rows.iter().enumerate().map(|(at, row)| (row.as_slice(), at % 3 == 0));
        let mut gradient = vec![1.0, 0.0, 0.0, 0.0];
        let loss = Losses::new(&at, weights).loss(labelled(), &mut gradient);
        let (mut expected, mut slope) = (0.0, vec![1.0, 0.0, 0.0, 0.0]);
        let mut second = Vec::new();
        for (row, label) in labelled() {
            let margin = at.margin(row);
            let (weight, target) = if label { (2.5, 1.0) } else { (1.0, 0.0) };
            let against = if label { -margin } else { margin };
            expected += weight * (against.max(0.0) + math::ln_1p(math::exp(-margin.abs())));
            let probability = math::sigmoid(margin);
            second.push(weight * probability * (1.0 - probability));
            for (part, value) in slope.iter_mut().zip(row.iter().chain(&[1.0])) {
                *part += weight * (probability - target) * value;
            }
        }
        assert!((loss - expected).abs() < 1e-13 * expected, "{loss} {expected}");
        for (found, expected) in gradient.iter().zip(&slope) {
            assert!((found - expected).abs() < 1e-12 * expected.abs().max(1.0), "{gradient:?} {slope:?}");
        }
        let mut found = Vec::new();
        Losses::new(&at, weights).curvatures(labelled(), |_, curvature| found.push(curvature));
        assert_eq!(found.len(), second.len());
        assert!(found.iter().zip(&second).all(|(found, expected)| (found - expected).abs() < 1e-15));
    }
}
