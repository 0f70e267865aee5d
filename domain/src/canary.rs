//! Canaries: which decisions a challenger gets, by a hash that is pinned for ever.
//!
//! Not here: when a canary begins or ends (the registry), or asking its model (`server`).

use crate::ids::{ContentHash, UserKey};
use crate::model::ModelRef;

/// The whole of the traffic, in parts per million.
pub const WHOLE_PPM: u32 = 1_000_000;

/// Who answers for a user while a canary lasts. Numbers are stored: never renumber.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Arm {
    /// The version that the alias points at.
    Champion = 1,
    /// The version on trial.
    Challenger = 2,
}

impl Arm {
    /// The arm with this stored number.
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Champion),
            2 => Some(Self::Challenger),
            _ => None,
        }
    }

    /// The word used on the wire, in metrics and in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Champion => "CHAMPION",
            Self::Challenger => "CHALLENGER",
        }
    }
}

/// The canary that a decision was part of, as its record tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanaryArm {
    /// The version on trial.
    pub challenger: ModelRef,
    /// Tells this canary from others: each sorts the users anew.
    pub salt: ContentHash,
    /// Share of users that the challenger answered for, in parts per million.
    pub share_ppm: u32,
    /// Who answered.
    pub arm: Arm,
}

/// Where `user` stands in a canary, from 0 to [`WHOLE_PPM`] - 1: the first eight bytes, little-endian, of the BLAKE3 hash
/// of `augur canary 1`, the salt and the user's key, each with its length in front as eight bytes, scaled. Pinned: a
/// decision's arm can be told from its record for ever.
pub fn bucket_ppm(salt: &ContentHash, user: UserKey) -> u32 {
    let hash = ContentHash::of(&[b"augur canary 1", salt.as_bytes(), user.as_bytes()]);
    let first = hash.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    // Below a million, so nothing is lost.
    ((u128::from(first) * u128::from(WHOLE_PPM)) >> 64) as u32
}

/// Who answers for `user` at this share. A larger share moves nobody back to the champion.
pub fn arm_of(salt: &ContentHash, share_ppm: u32, user: UserKey) -> Arm {
    if bucket_ppm(salt, user) < share_ppm { Arm::Challenger } else { Arm::Champion }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(number: u64) -> UserKey {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        UserKey::from_bytes(bytes)
    }

    #[test]
    fn buckets_are_pinned() {
        let salt = |byte: u8| ContentHash::from_bytes([byte; 32]);
        let found = [
            bucket_ppm(&salt(0), user(0)),
            bucket_ppm(&salt(0), user(1)),
            bucket_ppm(&salt(1), user(0)),
            bucket_ppm(&salt(255), user(u64::MAX)),
        ];
        assert_eq!(found, PINNED, "a change here gives users of running canaries to the other arm");
    }

    /// Checked against another implementation of BLAKE3; docs/models.md publishes them.
    const PINNED: [u32; 4] = [420_215, 175_962, 563_421, 773_525];

    #[test]
    fn a_growing_share_moves_nobody_back_and_gives_what_it_says() {
        let salt = ContentHash::from_bytes([7; 32]);
        for share_ppm in [0, 10_000, 50_000, 500_000, WHOLE_PPM] {
            let given = (0..5_000).filter(|n| arm_of(&salt, share_ppm, user(*n)) == Arm::Challenger);
            let share = given.count() as f64 / 5_000.0;
            assert!((share - f64::from(share_ppm) / 1e6).abs() < 0.02, "{share} of {share_ppm}");
            for n in 0..500 {
                let grown = arm_of(&salt, (share_ppm * 2).min(WHOLE_PPM), user(n));
                assert!(arm_of(&salt, share_ppm, user(n)) <= grown);
            }
        }
    }

    #[test]
    fn canaries_sort_users_apart() {
        let (one, other) = (ContentHash::from_bytes([1; 32]), ContentHash::from_bytes([2; 32]));
        let in_both = (0..4_000)
            .filter(|n| [one, other].iter().all(|salt| arm_of(salt, 500_000, user(*n)) == Arm::Challenger))
            .count();
        assert!((900..1_100).contains(&in_both), "{in_both}");
    }
}
