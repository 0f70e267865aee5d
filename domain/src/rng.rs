//! Randomness that is an input: a small generator, seeded, with a separate stream per purpose.
//!
//! Not here: entropy. The seed of a decision is logged with it; a new draw for one purpose must not move the
//! draws of another, which is why streams are named.

/// What a stream is for. The discriminants are part of every logged decision: never renumber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Choosing an action at random among the eligible ones.
    Exploration = 1,
    /// Simulated shoppers, never part of a decision.
    Simulation = 2,
    /// Splits and shuffles of training rows.
    Training = 3,
    /// Choosing among equally good actions.
    TieBreak = 4,
    /// Resamples of the bootstrap, never part of a decision.
    Bootstrap = 100,
}

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): 64 bits of state, passes BigCrush, a handful of instructions.
#[derive(Debug, Clone)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// The stream of `seed` for one purpose.
    pub fn new(seed: u64, purpose: Purpose) -> Self {
        let mut mixer = Self { state: seed ^ (purpose as u64).wrapping_mul(0xd134_2543_de82_ef95) };
        let state = mixer.next_u64();
        Self { state }
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1) on a grid of 2^-53.
    pub fn next_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }

    /// Uniform in 0..`bound`; 0 when `bound` is 0. The bias of the multiply-shift is below 2^-32 for bounds
    /// under 2^32.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_pinned_and_apart() {
        let mut exploration = Rng::new(42, Purpose::Exploration);
        let mut simulation = Rng::new(42, Purpose::Simulation);
        let first = exploration.next_u64();
        assert_ne!(first, simulation.next_u64());
        assert_eq!(first, Rng::new(42, Purpose::Exploration).next_u64());
    }

    #[test]
    fn draws_are_uniform_enough() {
        let mut rng = Rng::new(1, Purpose::Simulation);
        let mut buckets = [0_u32; 10];
        for _ in 0..100_000 {
            buckets[rng.below(10) as usize] += 1;
            assert!((0.0..1.0).contains(&rng.next_f64()));
        }
        assert!(buckets.iter().all(|count| (9_500..10_500).contains(count)), "{buckets:?}");
    }
}
