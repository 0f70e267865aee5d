//! Mean, variance and covariance in one pass (Welford 1962), in the order of the values.
//!
//! Not here: what they are the moments of.

/// Moments of a value, and of a second one beside it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Moments {
    /// How many.
    pub count: u64,
    /// Mean of the value.
    pub mean: f64,
    /// Sum of squared distances from the mean.
    squares: f64,
    /// Mean of the second value.
    pub beside_mean: f64,
    beside_squares: f64,
    /// Sum of products of the two distances.
    products: f64,
}

impl Moments {
    /// Takes one value.
    pub fn add(&mut self, value: f64) {
        self.add_pair(value, 0.0);
    }

    /// Takes one value and the one beside it.
    pub fn add_pair(&mut self, value: f64, beside: f64) {
        self.count += 1;
        let n = self.count as f64;
        let (from, beside_from) = (value - self.mean, beside - self.beside_mean);
        self.mean += from / n;
        self.beside_mean += beside_from / n;
        self.squares += from * (value - self.mean);
        self.beside_squares += beside_from * (beside - self.beside_mean);
        self.products += from * (beside - self.beside_mean);
    }

    /// Unbiased variance; `None` of fewer than two values.
    pub fn variance(&self) -> Option<f64> {
        (self.count > 1).then(|| self.squares / (self.count - 1) as f64)
    }

    /// Variance of the mean.
    pub fn variance_of_mean(&self) -> Option<f64> {
        self.variance().map(|variance| variance / self.count as f64)
    }

    /// What is left of the value when `slope` times the distance of the second one from `centre` is taken off.
    pub fn adjusted(&self, slope: f64, centre: f64) -> Self {
        let squares = self.squares - 2.0 * slope * self.products + slope * slope * self.beside_squares;
        Self {
            count: self.count,
            mean: self.mean - slope * (self.beside_mean - centre),
            squares: squares.max(0.0),
            ..Self::default()
        }
    }

    /// The slope by which the second value tells the first, within the groups: CUPED's theta.
    pub fn slope(groups: &[&Self]) -> Option<f64> {
        let (mut products, mut squares) = (0.0, 0.0);
        for group in groups {
            products += group.products;
            squares += group.beside_squares;
        }
        (squares > 0.0).then(|| products / squares)
    }

    /// Of all of these values.
    #[cfg(test)]
    pub(crate) fn of(values: &[f64]) -> Self {
        let mut moments = Self::default();
        for value in values {
            moments.add(*value);
        }
        moments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_definition() {
        let pairs = [(1.0, 2.0), (4.0, 3.0), (9.0, 7.0), (16.0, 8.0)];
        let mut moments = Moments::default();
        for (value, beside) in pairs {
            moments.add_pair(value, beside);
        }
        assert_eq!((moments.mean, moments.beside_mean), (7.5, 5.0));
        assert!((moments.variance().unwrap() - 129.0 / 3.0).abs() < 1e-12);
        // Products 19.5 + 7 + 3 + 25.5 over squares 9 + 4 + 4 + 9.
        let slope = Moments::slope(&[&moments]).unwrap();
        assert!((slope - 55.0 / 26.0).abs() < 1e-12, "{slope}");

        let adjusted = moments.adjusted(slope, 5.0);
        let direct: Vec<f64> = pairs.iter().map(|(value, beside)| value - slope * (beside - 5.0)).collect();
        let direct = Moments::of(&direct);
        assert!((adjusted.mean - direct.mean).abs() < 1e-12);
        assert!((adjusted.variance().unwrap() - direct.variance().unwrap()).abs() < 1e-12);
        assert_eq!(Moments::of(&[1.0]).variance(), None);
        assert_eq!(Moments::slope(&[&Moments::of(&[1.0, 2.0])]), None);
    }
}
