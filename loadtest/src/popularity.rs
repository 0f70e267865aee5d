//! Which user a request is about: all in turn, or few of them much more often than most, as in life.
//!
//! Not here: what is asked about the user.

use augur_domain::math;
use augur_domain::rng::{Purpose, Rng};

use crate::Error;

/// Most users to choose from.
pub const MAX_USERS: u64 = 1 << 40;

/// How users are chosen.
#[derive(Debug, Clone, PartialEq)]
pub enum Popularity {
    /// One after the other, then again from the first.
    InTurn {
        /// How many there are, at least 1.
        users: u64,
    },
    /// User `k`, from 1, with a weight of `k` to the power of minus the exponent.
    Zipf(Zipf),
}

impl Popularity {
    /// In turn without an exponent, else by Zipf's law.
    ///
    /// # Errors
    /// [`Error::InvalidPlan`] without users, with more than [`MAX_USERS`], or with an exponent outside 0.01 to 10.
    pub fn new(users: u64, exponent: Option<f64>) -> Result<Self, Error> {
        if !(1..=MAX_USERS).contains(&users) {
            return Err(Error::InvalidPlan {
                name: "users",
                found: users.to_string(),
                expected: "1 to 2^40",
            });
        }
        match exponent {
            None => Ok(Self::InTurn { users }),
            Some(exponent) if (0.01..=10.0).contains(&exponent) => Ok(Self::Zipf(Zipf::new(users, exponent))),
            Some(exponent) => {
                Err(Error::InvalidPlan { name: "zipf", found: exponent.to_string(), expected: "0.01 to 10" })
            }
        }
    }

    /// The user of request `index`, from 0, the same at every call with the same seed.
    pub fn user(&self, index: u64, seed: u64) -> u64 {
        match self {
            Self::InTurn { users } => index % users.max(&1),
            Self::Zipf(zipf) => {
                let mut rng = Rng::new(seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15), Purpose::Simulation);
                zipf.draw(&mut rng) - 1
            }
        }
    }
}

/// Draws ranks by rejection and inversion (Hörmann and Derflinger, 1996): about one uniform number a draw, whatever
/// the number of ranks.
#[derive(Debug, Clone, PartialEq)]
pub struct Zipf {
    ranks: f64,
    exponent: f64,
    /// The integral of the weight up to half a rank beyond the first and the last.
    from: f64,
    up_to: f64,
    /// Ranks this close above the continuous draw need no test.
    sure: f64,
}

impl Zipf {
    fn new(ranks: u64, exponent: f64) -> Self {
        let ranks = ranks as f64;
        let mut zipf = Self { ranks, exponent, from: 0.0, up_to: 0.0, sure: 0.0 };
        zipf.from = zipf.integral(1.5) - 1.0;
        zipf.up_to = zipf.integral(ranks + 0.5);
        zipf.sure = 2.0 - zipf.inverse(zipf.integral(2.5) - zipf.weight(2.0));
        zipf
    }

    /// How many users there are.
    pub fn users(&self) -> u64 {
        self.ranks as u64
    }

    /// A rank from 1 on.
    fn draw(&self, rng: &mut Rng) -> u64 {
        loop {
            let area = self.up_to + rng.next_f64() * (self.from - self.up_to);
            let drawn = self.inverse(area);
            let rank = (drawn + 0.5).floor().clamp(1.0, self.ranks);
            if rank - drawn <= self.sure || area >= self.integral(rank + 0.5) - self.weight(rank) {
                return rank as u64;
            }
        }
    }

    /// Of the continuous weight, from 1 to `rank`.
    fn integral(&self, rank: f64) -> f64 {
        let log = math::ln(rank);
        log * expm1_by(log * (1.0 - self.exponent))
    }

    fn inverse(&self, area: f64) -> f64 {
        let scaled = (area * (1.0 - self.exponent)).max(-1.0);
        math::exp(area * ln_1p_by(scaled))
    }

    fn weight(&self, rank: f64) -> f64 {
        math::exp(-self.exponent * math::ln(rank))
    }
}

/// `(exp(x) - 1) / x`, also near zero, where the quotient loses its digits.
fn expm1_by(x: f64) -> f64 {
    if x.abs() > 1e-5 { (math::exp(x) - 1.0) / x } else { 1.0 + x * 0.5 * (1.0 + x / 3.0) }
}

/// `ln(1 + x) / x`, also near zero.
fn ln_1p_by(x: f64) -> f64 {
    if x.abs() > 1e-8 { math::ln_1p(x) / x } else { 1.0 - x * 0.5 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_in_turn_come_again_after_the_last() {
        let users = Popularity::new(3, None).unwrap();
        assert_eq!((0..5).map(|index| users.user(index, 1)).collect::<Vec<_>>(), [0, 1, 2, 0, 1]);
    }

    #[test]
    fn shares_are_those_of_the_law() {
        for exponent in [0.5, 1.0, 1.3] {
            let users = Popularity::new(100, Some(exponent)).unwrap();
            let mut counts = vec![0_u32; 100];
            for index in 0..200_000 {
                counts[usize::try_from(users.user(index, 7)).unwrap()] += 1;
            }
            let weights: Vec<f64> =
                (1..=100).map(|rank| math::exp(-exponent * math::ln(f64::from(rank)))).collect();
            let sum: f64 = weights.iter().sum();
            let chi_squared: f64 = weights
                .iter()
                .zip(&counts)
                .map(|(weight, count)| {
                    let expected = weight / sum * 200_000.0;
                    (f64::from(*count) - expected).powi(2) / expected
                })
                .sum();
            // 99 degrees of freedom: beyond 160 once in ten thousand times, and the seed is fixed.
            assert!(chi_squared < 160.0, "exponent {exponent}: {chi_squared}");
        }
    }

    #[test]
    fn draws_repeat_and_stay_within_the_users() {
        let users = Popularity::new(10_000_000, Some(1.1)).unwrap();
        for index in 0..10_000 {
            let user = users.user(index, 3);
            assert!(user < 10_000_000);
            assert_eq!(user, users.user(index, 3));
        }
        assert_eq!(Popularity::new(1, Some(1.0)).unwrap().user(5, 5), 0);
    }

    #[test]
    fn impossible_users_are_refused() {
        for (users, exponent) in [(0, None), (MAX_USERS + 1, None), (5, Some(0.0)), (5, Some(f64::NAN))] {
            assert!(Popularity::new(users, exponent).is_err());
        }
    }
}
