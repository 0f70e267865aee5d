//! Where a user stands among the buckets of a salt, and in which arm: hash version 1, pinned for ever.
//!
//! Not here: which experiments there are and whom they take (`decision`). The functions are written down with test
//! vectors in `docs/experiments.md`, so that a data set made elsewhere can be sorted the same way.

use crate::ids::UserKey;
use crate::math;

/// The buckets of a layer or a holdout.
pub const BUCKETS: u32 = 1_000_000;

/// Sorts users by one salt. Salts of different purposes never agree, however they are spelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sorter {
    key: [u8; 32],
}

/// What is sorted by a salt. The words are part of the hash: never change them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Who is held out.
    Holdout,
    /// Who is in which experiment of a layer.
    Layer,
    /// Who is in an experiment that stands in no layer.
    Experiment,
}

impl Purpose {
    const fn context(self) -> &'static str {
        match self {
            Self::Holdout => "augur assignment v1 holdout",
            Self::Layer => "augur assignment v1 layer",
            Self::Experiment => "augur assignment v1 experiment",
        }
    }
}

const ARM_CONTEXT: &str = "augur assignment v1 arm";

impl Sorter {
    /// The key is BLAKE3's `derive_key` of the purpose's words and the salt.
    pub fn new(purpose: Purpose, salt: &str) -> Self {
        Self { key: blake3::derive_key(purpose.context(), salt.as_bytes()) }
    }

    /// The sorter of one arm of an experiment: `derive_key` of the length of the salt as eight little-endian bytes, the
    /// salt and the arm's name.
    pub fn of_arm(salt: &str, arm: &str) -> Self {
        let length = (salt.len() as u64).to_le_bytes();
        let material = [&length, salt.as_bytes(), arm.as_bytes()].concat();
        Self { key: blake3::derive_key(ARM_CONTEXT, &material) }
    }

    /// The first eight bytes, little-endian, of the keyed BLAKE3 hash of the user's sixteen.
    pub fn hash(&self, user: UserKey) -> u64 {
        let hash = blake3::keyed_hash(&self.key, user.as_bytes());
        hash.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    /// Where `user` stands, from 0 to [`BUCKETS`] - 1: the hash, scaled.
    pub fn bucket(&self, user: UserKey) -> u32 {
        // Below a million, so nothing is lost.
        ((u128::from(self.hash(user)) * u128::from(BUCKETS)) >> 64) as u32
    }

    /// How far `user` is from an arm of this weight; the nearest arm has the user. The distance is exponential with the
    /// weight as its rate (weighted rendezvous hashing), so that an arm is nearest with the probability weight / sum of
    /// weights, and an arm that comes, goes or changes its weight moves users from or to itself alone. Infinite when the
    /// weight is not above zero.
    pub fn distance(&self, user: UserKey, weight: f64) -> f64 {
        if weight > 0.0 {
            // An odd multiple of 2^-53: never 0 and never 1.
            let uniform = ((self.hash(user) >> 12) as f64 + 0.5) * (1.0 / 4_503_599_627_370_496.0);
            -math::ln(uniform) / weight
        } else {
            f64::INFINITY
        }
    }
}

#[cfg(test)]
mod tests;
