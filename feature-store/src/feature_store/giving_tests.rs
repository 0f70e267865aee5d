//! Giving, confirming and releasing: across restarts, many at once, and between two names of one person.
//!
//! Not here: the ledger's own counting (`ledger`).

use std::sync::Arc;

use augur_domain::decision::Exposure;
use augur_domain::event::{ClaimedBy, IdentityClaim};
use augur_domain::{DecisionId, Timestamp};

use super::FeatureStore;
use crate::store::{MemoryStore, Store};
use crate::testing::{START_MS, schema, user};
use crate::{Config, Error, Giving, Spend};

fn open_on(engine: &Arc<MemoryStore>) -> FeatureStore {
    let engine: Arc<dyn Store> = Arc::<MemoryStore>::clone(engine);
    FeatureStore::with_store(engine, &Config::new("unused"), Arc::new(schema()), |_| {}).unwrap()
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(START_MS + ms)
}

fn decision(number: u8) -> DecisionId {
    DecisionId::from_bytes([number; 16])
}

/// An offer given at 0, held under a decision for a second, from a budget of the day.
fn held(number: u8) -> Giving {
    let exposure = Exposure {
        decision: decision(number),
        holds_until: Some(at(1_000)),
        ..Exposure::new("offer", "email", at(0))
    };
    let spend = Spend { action: "offer".into(), since: at(0) };
    Giving { exposure: Some(exposure), spend: Some(spend), hold: Some((decision(number), at(1_000))) }
}

fn spent(store: &FeatureStore, now: i64) -> u64 {
    store.budget_guard(at(now)).spent(&"offer".into(), at(0))
}

fn holds(store: &FeatureStore, who: u8) -> Vec<(u8, bool)> {
    let list = store.exposures(user(who), at(0)).unwrap();
    list.iter().map(|exposure| (exposure.decision.as_bytes()[0], exposure.holds_until.is_some())).collect()
}

#[test]
fn a_hold_is_confirmed_released_or_ends_and_a_restart_changes_nothing() {
    let engine = Arc::new(MemoryStore::new());
    let mut store = open_on(&engine);
    for number in 1..=3 {
        store.give(user(1), held(number), None).unwrap();
    }
    assert_eq!((spent(&store, 1), holds(&store, 1)), (3, vec![(1, true), (2, true), (3, true)]));
    drop(store);
    store = open_on(&engine);
    assert_eq!(spent(&store, 1), 3);
    assert!(store.confirm_exposure(decision(1), at(999)).unwrap());
    assert!(store.release_exposure(decision(2), at(999)).unwrap());
    for settled in 1..=2 {
        assert!(!store.confirm_exposure(decision(settled), at(999)).unwrap(), "settled before");
    }
    assert_eq!((spent(&store, 999), holds(&store, 1)), (2, vec![(1, false), (3, true)]));
    assert!(!store.confirm_exposure(decision(3), at(1_000)).unwrap(), "it has ended");
    drop(store);
    store = open_on(&engine);
    assert_eq!(spent(&store, 1_000), 1);
    store.give(user(1), held(4), None).unwrap();
    drop(store);
    store = open_on(&engine);
    assert_eq!(spent(&store, 500), 2, "the row of the hold that ended is gone");
}

#[test]
fn many_at_once_never_spend_more_than_there_is() {
    const TOTAL: u64 = 20;
    let store = open_on(&Arc::default());
    std::thread::scope(|scope| {
        for who in 0..64 {
            let store = &store;
            scope.spawn(move || {
                for round in 0..4_u8 {
                    let guard = store.budget_guard(at(1));
                    if guard.spent(&"offer".into(), at(0)) < TOTAL {
                        let hold = (round % 2 == 0).then(|| (decision(who * 4 + round), at(1_000)));
                        let giving = Giving { exposure: None, hold, ..held(0) };
                        store.give(user(who), giving, Some(guard)).unwrap();
                    }
                }
            });
        }
    });
    assert_eq!(spent(&store, 1), TOTAL);
}

#[test]
fn a_hold_follows_its_person_and_counts_with_both_when_they_part() {
    let store = open_on(&Arc::default());
    let link = || {
        let claim = IdentityClaim { id: user(1), by: ClaimedBy::Alias };
        store.link(user(2), claim, at(5)).unwrap()
    };
    for number in 1..=3 {
        store.give(user(1), held(number), None).unwrap();
    }
    link();
    assert_eq!(holds(&store, 2), [(1, true), (2, true), (3, true)]);
    assert!(store.confirm_exposure(decision(1), at(10)).unwrap());
    assert_eq!(holds(&store, 2), [(1, false), (2, true), (3, true)]);
    store.unlink(user(1)).unwrap();
    for who in 1..=2 {
        assert_eq!(
            holds(&store, who),
            [(1, false), (2, false), (3, false)],
            "nobody can tell whose they were"
        );
    }
    assert!(store.release_exposure(decision(2), at(20)).unwrap());
    assert_eq!(
        (holds(&store, 1).len(), holds(&store, 2).len()),
        (2, 3),
        "a report reaches the one that asked"
    );
    link();
    assert_eq!(holds(&store, 2), [(1, false), (2, false), (3, false)], "one delivery counts once");
}

#[test]
fn an_erased_person_leaves_no_hold_behind() {
    let engine = Arc::new(MemoryStore::new());
    let store = open_on(&engine);
    store.give(user(1), held(1), None).unwrap();
    store.erase_user(user(1), at(10), crate::OptOuts::Kept).unwrap();
    assert!(!store.confirm_exposure(decision(1), at(11)).unwrap());
    assert_eq!(spent(&store, 2_000), 1, "what may have been delivered stays spent");
    let rows = engine.ledger().unwrap();
    assert!(rows.iter().all(|(key, _)| key[0] == b'K'), "{rows:?}");
}

#[test]
fn a_damaged_row_is_told() {
    let engine = Arc::new(MemoryStore::new());
    open_on(&engine).give(user(1), held(1), None).unwrap();
    let (key, mut value) = engine.ledger().unwrap().remove(0);
    value[3] ^= 1;
    engine.put_ledger(user(1), None, &[(key, Some(value))]).unwrap();
    let engine: Arc<dyn Store> = engine;
    let opened = FeatureStore::with_store(engine, &Config::new("unused"), Arc::new(schema()), |_| {});
    assert!(matches!(opened.unwrap_err(), Error::Corrupted { .. }));
}
