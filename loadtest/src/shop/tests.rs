//! The shop's promises: the same bytes for the same plan, time order, plausible rates, something to learn.

use std::collections::{BTreeMap, BTreeSet};

use augur_domain::time::HOUR_MS;
use prost::Message;

use super::*;

const NOW: Timestamp = Timestamp::from_unix_ms(1_795_366_965_123);

fn plan(seed: u64, shoppers: usize) -> Plan {
    Plan { seed, shoppers, days: 120, now: NOW }
}

fn time_ms(event: &v1::Event) -> i64 {
    let wire = event.timestamp.as_ref().unwrap();
    augur_proto::convert::timestamp_from_wire(wire, "timestamp").unwrap().unix_ms()
}

fn who(event: &v1::Event) -> String {
    if event.user_id.is_empty() { event.anonymous_id.clone() } else { event.user_id.clone() }
}

#[test]
fn same_plan_same_bytes_and_another_seed_another_life() {
    let bytes = |seed| -> Vec<u8> {
        Shop::new(plan(seed, 60)).unwrap().flat_map(|event| event.encode_length_delimited_to_vec()).collect()
    };
    assert_eq!(bytes(1), bytes(1));
    assert_ne!(bytes(1), bytes(2));
}

#[test]
fn another_shopper_does_not_change_the_first_ones() {
    let of_first = |shoppers| -> Vec<v1::Event> {
        Shop::new(plan(5, shoppers))
            .unwrap()
            .filter(|event| event.message_id.starts_with("000003-"))
            .collect()
    };
    assert!(!of_first(10).is_empty());
    assert_eq!(of_first(10), of_first(40));
}

#[test]
fn events_are_in_order_in_range_with_unique_ids() {
    let shop = Shop::new(plan(9, 300)).unwrap();
    let start_ms = shop.start().unix_ms();
    let events: Vec<_> = shop.collect();
    let times: Vec<_> = events.iter().map(time_ms).collect();
    assert!(times.is_sorted());
    assert!(*times.first().unwrap() >= start_ms);
    assert!(*times.last().unwrap() <= NOW.unix_ms());
    assert!(*times.last().unwrap() > NOW.unix_ms() - 12 * HOUR_MS);
    let ids: BTreeSet<_> = events.iter().map(|event| &event.message_id).collect();
    assert_eq!(ids.len(), events.len());
}

#[test]
fn rates_are_plausible() {
    const SHOPPERS: usize = 2_000;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut shop = Shop::new(plan(11, SHOPPERS)).unwrap();
    for event in shop.by_ref() {
        *counts.entry(event.event).or_default() += 1;
    }
    let per_shopper = counts.values().sum::<usize>() as f64 / SHOPPERS as f64;
    assert!((40.0..200.0).contains(&per_shopper), "{per_shopper} {counts:?}");
    let ratio = |over: &str, under: &str| counts[over] as f64 / counts[under] as f64;
    assert!((0.05..0.40).contains(&ratio("add_to_cart", "view_item")), "{counts:?}");
    assert!((0.15..0.75).contains(&ratio("begin_checkout", "add_to_cart")), "{counts:?}");
    assert!((0.4..0.9).contains(&ratio("purchase", "begin_checkout")), "{counts:?}");
    assert!(counts.contains_key("login") && counts.contains_key("sign_up") && counts.contains_key("search"));
    let signed_up = (0..SHOPPERS)
        .filter(|index| matches!(shop.subject(*index).unwrap().id, Some(v1::subject::Id::UserId(_))))
        .count();
    assert!((SHOPPERS * 8 / 10..SHOPPERS).contains(&signed_up), "{signed_up}");
}

#[test]
fn evenings_are_busier_than_nights() {
    let mut by_hour = [0_usize; 24];
    for event in Shop::new(plan(13, 500)).unwrap() {
        by_hour[usize::try_from(time_ms(&event).rem_euclid(DAY_MS) / HOUR_MS).unwrap()] += 1;
    }
    assert!(by_hour[20] > 5 * by_hour[3], "{by_hour:?}");
}

/// Area under the curve of `score` for `label`, ties counted half.
fn area_under_curve(mut rows: Vec<(f64, bool)>) -> f64 {
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (positives, negatives) =
        (rows.iter().filter(|row| row.1).count() as f64, rows.iter().filter(|row| !row.1).count() as f64);
    let rank_sum: f64 = rows
        .chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq())
        .scan(0, |before, ties| {
            let middle = *before as f64 + (ties.len() as f64 + 1.0) / 2.0;
            *before += ties.len();
            Some(ties.iter().filter(|row| row.1).count() as f64 * middle)
        })
        .sum();
    (rank_sum - positives * (positives + 1.0) / 2.0) / (positives * negatives)
}

/// One hand-made score per task must already tell something, and must not give the answer away.
#[test]
fn purchases_and_silence_can_be_foretold_but_not_too_well() {
    let cutoff_ms = NOW.unix_ms() - 14 * DAY_MS;
    let mut recent: BTreeMap<String, f64> = BTreeMap::new();
    let mut last_seen: BTreeMap<String, i64> = BTreeMap::new();
    let (mut bought, mut active) = (BTreeSet::new(), BTreeSet::new());
    for event in Shop::new(plan(17, 3_000)).unwrap() {
        let (time_ms, who) = (time_ms(&event), who(&event));
        if time_ms < cutoff_ms {
            let weight = match event.event.as_str() {
                "view_item" | "search" => 1.0,
                "add_to_cart" => 4.0,
                _ => 0.2,
            };
            let age_days = (cutoff_ms - time_ms) as f64 / DAY_MS as f64;
            *recent.entry(who.clone()).or_default() += weight * (-age_days / 5.0).exp2();
            last_seen.insert(who, time_ms);
        } else {
            if event.event == "purchase" && time_ms < cutoff_ms + 7 * DAY_MS {
                bought.insert(who.clone());
            }
            active.insert(who);
        }
    }
    let alive = |time_ms: &i64| cutoff_ms - time_ms < 30 * DAY_MS;
    let conversion: Vec<_> = recent.iter().map(|(who, score)| (*score, bought.contains(who))).collect();
    let churn: Vec<_> = last_seen
        .iter()
        .filter(|(_, time_ms)| alive(time_ms))
        .map(|(who, time_ms)| ((cutoff_ms - time_ms) as f64, !active.contains(who)))
        .collect();
    let share = |rows: &[(f64, bool)]| rows.iter().filter(|row| row.1).count() as f64 / rows.len() as f64;
    let (converted, churned) = (share(&conversion), share(&churn));
    assert!((0.02..0.30).contains(&converted), "{converted}");
    assert!((0.10..0.60).contains(&churned), "{churned}");
    let (conversion, churn) = (area_under_curve(conversion), area_under_curve(churn));
    assert!((0.68..0.93).contains(&conversion), "conversion {conversion}");
    assert!((0.65..0.93).contains(&churn), "churn {churn}");
}

#[test]
fn plans_out_of_range_are_refused() {
    for broken in [Plan { shoppers: 0, ..plan(1, 1) }, Plan { days: 401, ..plan(1, 1) }] {
        assert!(Shop::new(broken).unwrap_err().to_string().contains("expected 1 to"));
    }
}
