//! Unpredictable bytes: the pseudonyms' key, and the seed and id of every decision.
//!
//! One read of the system's generator at start seeds a keyed hash that is run in counter mode, so a decision costs
//! no system call. Not here: randomness inside a decision, which flows from its seed (`augur_domain::rng`).

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use augur_domain::{DecisionId, Timestamp};

use crate::Error;

/// Thirty-two bytes from the system's generator.
pub(crate) fn system_bytes() -> Result<[u8; 32], Error> {
    let path = Path::new("/dev/urandom");
    let mut bytes = [0; 32];
    let mut file = File::open(path).map_err(Error::file("open", path))?;
    file.read_exact(&mut bytes).map_err(Error::file("read", path))?;
    Ok(bytes)
}

/// Names and seeds decisions.
pub(crate) struct Entropy {
    key: [u8; 32],
    drawn: AtomicU64,
}

impl Entropy {
    pub(crate) const fn new(key: [u8; 32]) -> Self {
        Self { key, drawn: AtomicU64::new(0) }
    }

    /// The id and the seed of the next decision.
    pub(crate) fn decision(&self, now: Timestamp) -> (DecisionId, u64) {
        let count = self.drawn.fetch_add(1, Ordering::Relaxed);
        let hash = blake3::keyed_hash(&self.key, &count.to_le_bytes());
        let [unique, seed] = split(hash.as_bytes());
        let mut id = [0; 10];
        id.copy_from_slice(unique);
        let mut bits = [0; 8];
        bits.copy_from_slice(seed);
        (DecisionId::new(now, id), u64::from_le_bytes(bits))
    }
}

/// The first ten bytes and the eight after them.
fn split(bytes: &[u8; 32]) -> [&[u8]; 2] {
    let (unique, rest) = bytes.split_at(10);
    let (seed, _) = rest.split_at(8);
    [unique, seed]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_seeds_never_repeat_and_follow_the_key() {
        let now = Timestamp::from_unix_ms(1_000);
        let ours = Entropy::new([1; 32]);
        let mut drawn: Vec<_> = (0..1_000).map(|_| ours.decision(now)).collect();
        assert_eq!(drawn[0], Entropy::new([1; 32]).decision(now));
        assert_ne!(drawn[0], Entropy::new([2; 32]).decision(now));
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn.len(), 1_000);
    }
}
