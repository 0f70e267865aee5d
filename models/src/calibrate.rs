//! From a margin to a probability that means what it says: Platt scaling and isotonic regression.
//!
//! Not here: where honest (out-of-fold) margins come from (`train`), or how good the result is ([`crate::metrics`]).

use augur_domain::math;

use crate::Error;
use crate::artifact::{coefficient, invalid};

/// Most knots of an isotonic calibrator.
pub const MAX_KNOTS: usize = 65_536;

/// Maps a margin to a probability, monotonously.
#[derive(Debug, Clone, PartialEq)]
pub enum Calibrator {
    /// The logistic function, nothing learned.
    Identity,
    /// `1 / (1 + e^(a * margin + b))`; `a` is below 0 for a model that ranks the right way round.
    Platt {
        /// Slope.
        a: f64,
        /// Offset.
        b: f64,
    },
    /// Straight lines between knots, flat outside them.
    Isotonic {
        /// By margin strictly ascending, probabilities never falling.
        knots: Vec<Knot>,
    },
}

/// A corner of an isotonic calibrator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Knot {
    /// The margin.
    pub margin: f64,
    /// The probability at it, in 0..=1.
    pub probability: f64,
}

impl Calibrator {
    /// The probability at a finite `margin`, in 0..=1.
    pub fn probability(&self, margin: f64) -> f64 {
        match self {
            Self::Identity => math::sigmoid(margin),
            Self::Platt { a, b } => math::sigmoid(-(a * margin + b)),
            Self::Isotonic { knots } => interpolate(knots, margin),
        }
    }

    /// The word used in reports.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Platt { .. } => "platt",
            Self::Isotonic { .. } => "isotonic",
        }
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        match self {
            Self::Identity => Ok(()),
            Self::Platt { a, b } => {
                coefficient("calibrator.a", *a)?;
                coefficient("calibrator.b", *b)
            }
            Self::Isotonic { knots } => validate_knots(knots),
        }
    }
}

fn validate_knots(knots: &[Knot]) -> Result<(), Error> {
    if knots.is_empty() || knots.len() > MAX_KNOTS {
        return Err(invalid("calibrator.knots", format!("{} long", knots.len()), "1 to 65536 knots"));
    }
    let mut previous: Option<Knot> = None;
    for (index, knot) in knots.iter().enumerate() {
        let field = format!("calibrator.knots[{index}]");
        if !knot.margin.is_finite() || !(0.0..=1.0).contains(&knot.probability) {
            return Err(invalid(&field, format!("{knot:?}"), "a finite margin and a probability in 0..=1"));
        }
        if previous.is_some_and(|p| knot.margin <= p.margin || knot.probability < p.probability) {
            return Err(invalid(&field, format!("{knot:?}"), "a larger margin and no smaller a probability"));
        }
        previous = Some(*knot);
    }
    Ok(())
}

fn interpolate(knots: &[Knot], margin: f64) -> f64 {
    let right_index = knots.partition_point(|knot| knot.margin < margin);
    let left = right_index.checked_sub(1).and_then(|index| knots.get(index));
    match (left, knots.get(right_index)) {
        (Some(left), Some(right)) => {
            // Halves keep the difference of two huge margins finite.
            let span = 0.5 * right.margin - 0.5 * left.margin;
            let share = if span > 0.0 { (0.5 * margin - 0.5 * left.margin) / span } else { 1.0 };
            let probability = left.probability + (right.probability - left.probability) * share;
            probability.clamp(left.probability, right.probability)
        }
        (Some(only), None) | (None, Some(only)) => only.probability,
        // Validation refuses an empty list; an undecided coin is the harmless answer.
        (None, None) => 0.5,
    }
}

/// Fits Platt's sigmoid to `(margin, label)` pairs by Newton's method with the smoothed targets of Lin, Lin and
/// Weng ("A note on Platt's probabilistic outputs", 2007).
///
/// # Errors
/// [`Error::OneClass`] when the labels are all the same or there are none; [`Error::NotConverged`] when no step
/// improves and the gradient is still steep, or when the slope leaves its bounds.
pub fn platt(pairs: &[(f64, bool)]) -> Result<Calibrator, Error> {
    let targets = Targets::of(pairs)?;
    let mut fit = PlattFit { a: 0.0, b: math::ln((targets.negatives + 1.0) / (targets.positives + 1.0)) };
    let mut loss = fit.loss(pairs, &targets);
    // The problem has two parameters; the tolerance is per row, as the gradient is a sum over rows.
    let tolerance = 1e-12 * pairs.len() as f64 + 1e-10;
    let mut gradient_norm = f64::INFINITY;
    for _ in 0..MAX_PLATT_STEPS {
        let step = fit.newton_step(pairs, &targets);
        gradient_norm = step.gradient_norm;
        if gradient_norm <= tolerance {
            break;
        }
        let Some((next, next_loss)) = fit.line_search(&step, loss, pairs, &targets) else { break };
        (fit, loss) = (next, next_loss);
    }
    // At the limit of rounding no step improves; a gradient this small moves nothing that could be seen.
    if gradient_norm > 1e-6 * pairs.len() as f64 {
        let what = "Platt calibration";
        return Err(Error::NotConverged { what, gradient_norm, tolerance, steps: MAX_PLATT_STEPS });
    }
    let calibrator = Calibrator::Platt { a: fit.a, b: fit.b };
    calibrator.validate()?;
    Ok(calibrator)
}

const MAX_PLATT_STEPS: usize = 100;
/// Pairs whose exponentials are taken side by side.
const AT_ONCE: usize = 64;

/// What each class's probability is pulled to: a little inside 0 and 1, as if one more row of each were seen.
struct Targets {
    positives: f64,
    negatives: f64,
    high: f64,
    low: f64,
}

impl Targets {
    fn of(pairs: &[(f64, bool)]) -> Result<Self, Error> {
        let positive_rows = pairs.iter().filter(|(_, label)| *label).count();
        let rows = pairs.len();
        if positive_rows == 0 || positive_rows == rows {
            return Err(Error::OneClass { part: "calibration", rows, class: positive_rows > 0 });
        }
        let (positives, negatives) = (positive_rows as f64, (rows - positive_rows) as f64);
        let (high, low) = ((positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0));
        Ok(Self { positives, negatives, high, low })
    }

    fn target(&self, label: bool) -> f64 {
        if label { self.high } else { self.low }
    }
}

#[derive(Clone, Copy)]
struct PlattFit {
    a: f64,
    b: f64,
}

struct PlattStep {
    da: f64,
    db: f64,
    /// Derivative of the loss along the step, below 0.
    descent: f64,
    gradient_norm: f64,
}

impl PlattFit {
    /// Cross-entropy against the targets, in the form that cannot overflow.
    fn loss(&self, pairs: &[(f64, bool)], targets: &Targets) -> f64 {
        let mut sum = 0.0;
        let mut tails = [0.0; AT_ONCE];
        for pairs in pairs.chunks(AT_ONCE) {
            self.exps(pairs, &mut tails);
            math::signed_ln_1p(&mut tails);
            for (&(margin, label), tail) in pairs.iter().zip(&tails) {
                let (x, target) = (self.a * margin + self.b, targets.target(label));
                sum = sum + tail + if x >= 0.0 { target * x } else { (target - 1.0) * x };
            }
        }
        sum
    }

    /// `exp(-|a * margin + b|)` of each pair.
    fn exps(&self, pairs: &[(f64, bool)], out: &mut [f64; AT_ONCE]) {
        for (place, (margin, _)) in out.iter_mut().zip(pairs) {
            *place = self.a * margin + self.b;
        }
        math::exp_of_negative(out);
    }

    fn newton_step(&self, pairs: &[(f64, bool)], targets: &Targets) -> PlattStep {
        // The ridge keeps the 2 x 2 system solvable when all margins are equal.
        let (mut h11, mut h22, mut h21) = (1e-12, 1e-12, 0.0);
        let (mut g1, mut g2) = (0.0, 0.0);
        let mut exps = [0.0; AT_ONCE];
        for pairs in pairs.chunks(AT_ONCE) {
            self.exps(pairs, &mut exps);
            for (&(margin, label), exp) in pairs.iter().zip(&exps) {
                // The logistic function of minus this.
                let x = self.a * margin + self.b;
                let p = if x <= 0.0 { 1.0 / (1.0 + exp) } else { exp / (1.0 + exp) };
                let curvature = p * (1.0 - p);
                h11 += margin * margin * curvature;
                h22 += curvature;
                h21 += margin * curvature;
                let difference = targets.target(label) - p;
                g1 += margin * difference;
                g2 += difference;
            }
        }
        let determinant = h11 * h22 - h21 * h21;
        let (da, db) = if determinant > 0.0 {
            (-(h22 * g1 - h21 * g2) / determinant, -(-h21 * g1 + h11 * g2) / determinant)
        } else {
            (-g1 / h11, -g2 / h22)
        };
        PlattStep { da, db, descent: g1 * da + g2 * db, gradient_norm: g1.abs().max(g2.abs()) }
    }

    /// The first of the halved steps that lowers the loss enough (Armijo), if any does.
    fn line_search(
        &self,
        step: &PlattStep,
        loss: f64,
        pairs: &[(f64, bool)],
        targets: &Targets,
    ) -> Option<(Self, f64)> {
        let mut length = 1.0;
        while length >= 1e-10 {
            let next = Self { a: self.a + length * step.da, b: self.b + length * step.db };
            let next_loss = next.loss(pairs, targets);
            if next_loss < loss + 1e-4 * length * step.descent {
                return Some((next, next_loss));
            }
            length *= 0.5;
        }
        None
    }
}

/// Fits the best never-falling function to `(margin, label)` pairs: pool adjacent violators, least squares.
/// Equal margins are one point, so the order of the pairs does not matter.
///
/// # Errors
/// [`Error::OneClass`] when the labels are all the same or there are none; [`Error::InvalidContent`] when more
/// than [`MAX_KNOTS`] knots would be needed.
pub fn isotonic(pairs: &[(f64, bool)]) -> Result<Calibrator, Error> {
    Targets::of(pairs)?;
    let mut sorted = pairs.to_vec();
    sorted.sort_by(|left, right| left.0.total_cmp(&right.0));
    let mut blocks: Vec<Block> = Vec::new();
    for &(margin, label) in &sorted {
        let point = Block { left: margin, right: margin, positives: f64::from(u8::from(label)), rows: 1.0 };
        match blocks.last_mut() {
            // Not `==` on bits: -0 and 0 are one point.
            Some(last) if last.right >= margin => last.absorb(&point),
            _ => {
                // A point is complete when the next one starts; only then may it be pooled leftwards.
                pool(&mut blocks);
                blocks.push(point);
            }
        }
    }
    pool(&mut blocks);
    let mut knots = Vec::with_capacity(blocks.len() * 2);
    for block in &blocks {
        let probability = block.mean();
        knots.push(Knot { margin: block.left, probability });
        if block.right > block.left {
            knots.push(Knot { margin: block.right, probability });
        }
    }
    let calibrator = Calibrator::Isotonic { knots };
    calibrator.validate()?;
    Ok(calibrator)
}

/// [`isotonic`], held inside what as many rows can show: no probability below `1 / (negatives + 2)` or above
/// `(positives + 1) / (positives + 2)`, the targets that [`platt`] pulls to. A step of a few rows of one class would
/// otherwise be certain of it, and a single later row could cost any log loss.
///
/// # Errors
/// As [`isotonic`].
pub fn isotonic_within_reason(pairs: &[(f64, bool)]) -> Result<Calibrator, Error> {
    let targets = Targets::of(pairs)?;
    let mut calibrator = isotonic(pairs)?;
    if let Calibrator::Isotonic { knots } = &mut calibrator {
        for knot in knots {
            knot.probability = knot.probability.clamp(targets.low, targets.high);
        }
    }
    Ok(calibrator)
}

/// Consecutive points that share one value.
struct Block {
    left: f64,
    right: f64,
    positives: f64,
    rows: f64,
}

impl Block {
    fn mean(&self) -> f64 {
        self.positives / self.rows
    }

    fn absorb(&mut self, next: &Self) {
        self.right = next.right;
        self.positives += next.positives;
        self.rows += next.rows;
    }
}

/// Merges blocks from the right while a left neighbour is not below its right one.
fn pool(blocks: &mut Vec<Block>) {
    while let [.., left, right] = blocks.as_mut_slice() {
        // Cross-multiplied counts are exact where quotients would round.
        if left.positives * right.rows < right.positives * left.rows {
            return;
        }
        left.absorb(right);
        blocks.pop();
    }
}

#[cfg(test)]
mod tests;
