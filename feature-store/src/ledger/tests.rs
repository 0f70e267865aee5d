//! What a ledger counts, and that its rows bring it back.
//!
//! Not here: the ledger in a store (`feature_store`).

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(ms)
}

fn spend(since: i64) -> Spend {
    Spend { action: "mail".into(), since: at(since) }
}

fn decision(number: u8) -> DecisionId {
    DecisionId::from_bytes([number; 16])
}

fn hold(until: i64, since: i64) -> Hold {
    Hold { user: UserKey::from_bytes([7; 16]), until: at(until), spend: Some(spend(since)) }
}

/// A ledger with the rows that a store has of it.
#[derive(Default)]
struct Kept {
    ledger: Ledger,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Kept {
    fn change(&mut self, change: Change) {
        for (key, value) in self.ledger.rows(&change).unwrap() {
            match value {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
        }
        self.ledger.apply(change);
    }

    fn spent(&self, since: i64) -> u64 {
        self.ledger.spent(&"mail".into(), at(since))
    }
}

#[test]
fn golden_bytes() {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut kept = Kept::default();
    kept.change(Change::Spend(spend(1_000)));
    kept.change(Change::Hold(decision(0xa5), hold(5_000, 1_000)));
    let rows: Vec<String> =
        kept.rows.iter().map(|(key, value)| format!("{} {}", hex(key), hex(value))).collect();
    assert_eq!(rows, GOLDEN, "stored rows depend on these bytes");
}

const GOLDEN: [&str; 2] = [
    "48a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5 4b0107070707070707070707070707070707904e01046d61696cd00f9f991661",
    "4b6d61696c 4b01d00f01a80ec00b",
];

#[test]
fn holds_count_until_they_end_are_freed_or_stand() {
    let mut kept = Kept::default();
    for number in 1..=3 {
        kept.change(Change::Hold(decision(number), hold(10 * i64::from(number), 0)));
    }
    assert_eq!(kept.spent(0), 3);
    kept.change(Change::Settle { decision: decision(1), is_confirmed: true });
    kept.change(Change::Settle { decision: decision(2), is_confirmed: false });
    assert_eq!(kept.spent(0), 2, "one for good, one held");
    kept.ledger.expire(at(29));
    assert_eq!(kept.spent(0), 2);
    kept.ledger.expire(at(30));
    assert_eq!(kept.spent(0), 1);
    kept.change(Change::Spend(spend(0)));
    assert_eq!((kept.spent(0), kept.rows.len()), (2, 1), "rows of ended holds go with the next write");
}

#[test]
fn a_new_window_begins_at_nothing_and_the_old_one_does_not_come_back() {
    let mut kept = Kept::default();
    kept.change(Change::Spend(spend(100)));
    kept.change(Change::Hold(decision(1), hold(1_000, 100)));
    assert_eq!((kept.spent(100), kept.spent(200)), (2, 0));
    kept.change(Change::Spend(spend(200)));
    kept.change(Change::Settle { decision: decision(1), is_confirmed: true });
    assert_eq!(kept.spent(200), 1, "what was held in the window before counts there");
    assert_eq!(kept.spent(100), 1, "clocks that step back find the later window");
    assert_eq!(kept.ledger.window("mail", at(100)), at(200));
}

proptest! {
    #[test]
    fn rows_bring_the_ledger_back(steps in prop::collection::vec((0_u8..4, 0_u8..8, 0_i64..50), 0..60)) {
        let (mut kept, mut now) = (Kept::default(), 0);
        for (step, number, wait) in steps {
            now += wait;
            kept.ledger.expire(at(now));
            let known = kept.ledger.hold(decision(number)).is_some();
            match step {
                0 => kept.change(Change::Spend(spend(now / 100 * 100))),
                1 if !known => kept.change(Change::Hold(decision(number), hold(now + 60, now / 100 * 100))),
                _ if known => kept.change(Change::Settle { decision: decision(number), is_confirmed: step == 2 }),
                _ => {}
            }
            let mut loaded = Ledger::load(kept.rows.clone()).unwrap();
            loaded.expire(at(now));
            for since in [0, now / 100 * 100] {
                prop_assert_eq!(loaded.spent(&"mail".into(), at(since)), kept.spent(since));
            }
        }
    }

    #[test]
    fn arbitrary_rows_never_panic(key: Vec<u8>, body: Vec<u8>) {
        let mut value = Vec::new();
        crate::bytes::seal(&mut value, b'K', 1, |out| out.extend_from_slice(&body));
        let _ = (record::decode(&key, &value), record::decode(&key, &body));
    }
}
