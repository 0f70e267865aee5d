//! The published vectors, and what a million users must look like: even, independent, and moved as little as can be.

use super::*;

fn user(number: u64) -> UserKey {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    UserKey::from_bytes(bytes)
}

/// The vectors of `docs/experiments.md`. A change here moves every user of every running experiment.
#[test]
fn hash_version_1_is_pinned() {
    let counting = UserKey::from_bytes(*b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f");
    let published = include_str!("../../../docs/experiments.md");
    for (purpose, word) in
        [(Purpose::Holdout, "holdout"), (Purpose::Layer, "layer"), (Purpose::Experiment, "experiment")]
    {
        for salt in ["", "checkout", "Käse 🧀"] {
            for of in [UserKey::default(), counting, UserKey::from_bytes([0xff; 16])] {
                let sorter = Sorter::new(purpose, salt);
                let line = format!(
                    "| {word} | `{salt}` | `{of}` | `{:016x}` | {} |",
                    sorter.hash(of),
                    sorter.bucket(of)
                );
                assert!(published.contains(&line), "not in docs/experiments.md:\n{line}");
            }
        }
    }
    for (salt, arm, weight) in
        [("checkout", "control", 1.0), ("checkout", "bold", 1.0), ("checkout", "bold", 3.0)]
    {
        let sorter = Sorter::of_arm(salt, arm);
        let (hash, distance) = (sorter.hash(counting), sorter.distance(counting, weight));
        let line = format!(
            "| `{salt}` | `{arm}` | {weight:.1} | `{counting}` | `{hash:016x}` | `{:016x}` |",
            distance.to_bits()
        );
        assert!(published.contains(&line), "not in docs/experiments.md:\n{line}");
    }
}

#[test]
fn a_salt_means_another_thing_for_every_purpose_and_arms_feel_the_border() {
    let sorters = [
        Sorter::new(Purpose::Holdout, "s"),
        Sorter::new(Purpose::Layer, "s"),
        Sorter::new(Purpose::Experiment, "s"),
        Sorter::of_arm("s", ""),
        Sorter::of_arm("", "s"),
        Sorter::of_arm("ab", "c"),
        Sorter::of_arm("a", "bc"),
    ];
    for (index, sorter) in sorters.iter().enumerate() {
        assert!(sorters[..index].iter().all(|other| other != sorter), "{index}");
    }
}

/// Pearson's statistic of counts that should follow `shares`.
fn chi_square(counts: &[u64], shares: &[f64]) -> f64 {
    let total = counts.iter().sum::<u64>() as f64;
    let cell = |(count, share): (&u64, &f64)| {
        let off = *count as f64 - total * share;
        off * off / (total * share)
    };
    counts.iter().zip(shares).map(cell).sum()
}

const MILLION: u64 = 1_000_000;

/// 999 degrees of freedom: 1.0e-4 of all good hashes would pass 1171.
#[test]
fn a_million_users_fill_the_buckets_evenly() {
    let hundred_thousand = MILLION / 10;
    for (purpose, users) in [
        (Purpose::Layer, MILLION),
        (Purpose::Holdout, hundred_thousand),
        (Purpose::Experiment, hundred_thousand),
    ] {
        let sorter = Sorter::new(purpose, "evenly");
        let mut counts = vec![0; 1_000];
        for number in 0..users {
            counts[sorter.bucket(user(number)) as usize / 1_000] += 1;
        }
        let statistic = chi_square(&counts, &[0.001; 1_000]);
        assert!((835.0..1_171.0).contains(&statistic), "{purpose:?}: {statistic}");
    }
}

/// 81 degrees of freedom (10 by 10 cells, shares known): 1.0e-4 would pass 160 of 99.
#[test]
fn purposes_and_salts_are_independent_of_each_other() {
    let sorters = [
        Sorter::new(Purpose::Holdout, "a"),
        Sorter::new(Purpose::Layer, "a"),
        Sorter::new(Purpose::Layer, "b"),
        Sorter::of_arm("a", "control"),
        Sorter::of_arm("a", "treatment"),
    ];
    let users = MILLION / 20;
    let mut counts = vec![vec![0; 100]; 25];
    for number in 0..users {
        let tenths = sorters.each_ref().map(|sorter| sorter.bucket(user(number)) as usize / 100_000);
        for (first, left) in tenths.iter().enumerate() {
            for (second, right) in tenths.iter().enumerate().skip(first + 1) {
                counts[first * 5 + second][left * 10 + right] += 1;
            }
        }
    }
    for (pair, counts) in counts.iter().enumerate().filter(|(pair, _)| pair / 5 < pair % 5) {
        let statistic = chi_square(counts, &[0.01; 100]);
        assert!((50.0..160.0).contains(&statistic), "pair {pair}: {statistic}");
    }
}

/// Arms afterwards, the share of users that must move, and how they may.
type Case<'a> = (&'a [(&'a str, f64)], f64, &'a str);

/// Arms with what sorts users for them and their weights.
fn arms<'a>(named: &[(&'a str, f64)]) -> Vec<(&'a str, Sorter, f64)> {
    named.iter().map(|(arm, weight)| (*arm, Sorter::of_arm("moves", arm), *weight)).collect()
}

fn nearest<'a>(arms: &[(&'a str, Sorter, f64)], of: UserKey) -> &'a str {
    let distances = arms.iter().map(|(arm, sorter, weight)| (*arm, sorter.distance(of, *weight)));
    distances.min_by(|(_, a), (_, b)| a.total_cmp(b)).unwrap().0
}

#[test]
fn arms_get_their_share_and_change_moves_no_one_who_need_not_move() {
    const USERS: u64 = 20_000;
    let before = [("a", 1.0), ("b", 2.0)];
    // What is changed, the share that must move, and between which arms moves are right.
    let cases: [Case<'_>; 4] = [
        (&[("a", 1.0), ("b", 2.0), ("c", 1.0)], 0.25, "to c"),
        (&[("a", 1.0)], 2.0 / 3.0, "from b"),
        (&[("a", 4.0), ("b", 2.0)], 1.0 / 3.0, "to a"),
        (&[("b", 20.0), ("a", 10.0)], 0.0, "none"),
    ];
    for (after, must_move, which) in cases {
        let (before, after) = (arms(&before), arms(after));
        let mut moved = 0;
        for number in 0..USERS {
            let (from, to) = (nearest(&before, user(number)), nearest(&after, user(number)));
            if from != to {
                moved += 1;
                assert!(
                    which == format!("to {to}") || which == format!("from {from}"),
                    "{from} to {to}: {which}"
                );
            }
        }
        let share = f64::from(moved) / USERS as f64;
        let deviation = math::sqrt(must_move * (1.0 - must_move) / USERS as f64);
        assert!((share - must_move).abs() <= 4.0 * deviation, "{which}: {share} moved, {must_move} must");
    }
}

#[test]
fn an_arm_of_no_weight_has_nobody() {
    assert_eq!(nearest(&arms(&[("a", 0.0), ("b", 1e-9)]), user(1)), "b");
    assert_eq!(Sorter::of_arm("s", "a").distance(user(1), 0.0), f64::INFINITY);
}
