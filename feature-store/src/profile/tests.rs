//! Profiles: joined in any order, put together restrictively, moved with links, stored in bytes that stay.

use std::sync::Arc;

use augur_domain::event::{ClaimedBy, IdentityClaim};
use augur_domain::value::Finite;
use proptest::prelude::*;

use super::codec::decode;
use super::*;
use crate::bytes;
use crate::testing::{START_MS, schema, user};
use crate::{Config, FeatureStore, OptOuts};

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(START_MS + ms)
}

fn consent(purpose: &str, granted: bool, ms: i64) -> Profile {
    let said = Said { value: granted, at: at(ms) };
    Profile { consents: vec![(purpose.into(), said)], ..Profile::default() }
}

fn suppression(channel: &str, suppressed: bool, ms: i64) -> Profile {
    let said = Said { value: suppressed, at: at(ms) };
    Profile { suppressions: vec![(channel.into(), said)], ..Profile::default() }
}

fn lives_in(zone: &str, ms: i64) -> Profile {
    Profile { time_zone: Some(Said { value: Some(zone.into()), at: at(ms) }), ..Profile::default() }
}

fn open() -> FeatureStore {
    FeatureStore::in_memory(&Config::new("unused"), Arc::new(schema())).unwrap()
}

fn granted(store: &FeatureStore, who: u8) -> Vec<bool> {
    store.profile(user(who)).unwrap().consents.iter().map(|(_, said)| said.value).collect()
}

fn link(store: &FeatureStore, person: u8, id: u8, ms: i64) {
    let claim = IdentityClaim { id: user(id), by: ClaimedBy::Operator };
    store.link(user(person), claim, at(ms)).unwrap();
}

#[test]
fn the_later_statement_counts_whatever_comes_first() {
    let store = open();
    store.update_profile(user(1), &consent("marketing", false, 20)).unwrap();
    store.update_profile(user(1), &consent("marketing", true, 10)).unwrap();
    assert_eq!(granted(&store, 1), [false], "an older grant that comes late");
    store.update_profile(user(1), &consent("marketing", true, 20)).unwrap();
    assert_eq!(granted(&store, 1), [false], "a denial beats a grant of the same instant");
    store.update_profile(user(1), &consent("marketing", true, 21)).unwrap();
    assert_eq!(granted(&store, 1), [true]);
    assert_eq!(store.profile(user(2)).unwrap(), Profile::default());
    assert_eq!(store.profile_if_cached(user(1)).unwrap(), Some(store.profile(user(1)).unwrap()));
}

#[test]
fn a_link_takes_the_most_restrictive_and_its_undoing_gives_back() {
    let store = open();
    store.update_profile(user(3), &consent("marketing", false, 1)).unwrap();
    store.update_profile(user(3), &suppression("email", true, 1)).unwrap();
    store.update_profile(user(3), &lives_in("Europe/Oslo", 1)).unwrap();
    store.update_profile(user(0), &consent("marketing", true, 2)).unwrap();
    store.update_profile(user(0), &suppression("push", true, 2)).unwrap();
    store.update_profile(user(0), &lives_in("Europe/Rome", 2)).unwrap();
    let (device, person) = (store.profile(user(3)).unwrap(), store.profile(user(0)).unwrap());
    link(&store, 0, 3, 5);
    let merged = store.profile(user(0)).unwrap();
    assert_eq!(merged, store.profile(user(3)).unwrap(), "under either id");
    assert_eq!(granted(&store, 0), [false], "a later grant of the other id does not beat the denial");
    let suppressed: Vec<_> =
        merged.suppressions.iter().map(|(channel, said)| (&**channel, said.value)).collect();
    assert_eq!(suppressed, [("email", true), ("push", true)]);
    assert_eq!(merged.time_zone, person.time_zone);
    // One person by now: what is said from here on counts by its time, under whichever id.
    store.update_profile(user(0), &consent("marketing", true, 6)).unwrap();
    assert_eq!(granted(&store, 3), [true]);
    store.update_profile(user(3), &consent("analytics", true, 7)).unwrap();
    store.unlink(user(3)).unwrap();
    assert_eq!(granted(&store, 3), [true, false], "analytics of its own, and its own denial again");
    assert_eq!(granted(&store, 0), [true]);
    let again = store.profile(user(3)).unwrap();
    assert_eq!((again.suppressions, again.time_zone), (device.suppressions, device.time_zone));
    assert_eq!(store.profile(user(0)).unwrap().suppressions, person.suppressions);
}

#[test]
fn a_chain_of_links_is_undone_link_by_link() {
    let store = open();
    for (who, ms) in [(0, 1), (1, 2), (2, 3)] {
        store.update_profile(user(who), &consent(&format!("purpose_{who}"), true, ms)).unwrap();
    }
    link(&store, 1, 2, 10);
    link(&store, 0, 1, 11);
    assert_eq!(store.profile(user(2)).unwrap().consents.len(), 3);
    store.unlink(user(1)).unwrap();
    assert_eq!((granted(&store, 0).len(), granted(&store, 1).len(), granted(&store, 2).len()), (1, 2, 2));
    store.unlink(user(2)).unwrap();
    assert_eq!((granted(&store, 0).len(), granted(&store, 1).len(), granted(&store, 2).len()), (1, 1, 1));
}

#[test]
fn an_erasure_leaves_opt_outs_alone() {
    let store = open();
    store.update_profile(user(0), &consent("marketing", true, 1)).unwrap();
    store.update_profile(user(0), &lives_in("Europe/Rome", 1)).unwrap();
    store.update_profile(user(3), &suppression("email", true, 1)).unwrap();
    store.update_profile(user(3), &suppression("push", false, 1)).unwrap();
    link(&store, 0, 3, 5);
    let receipt = store.erase_user(user(0), at(9), OptOuts::Kept).unwrap();
    assert_eq!((receipt.profiles, receipt.opt_outs_kept), (1, 1));
    for who in [0, 3] {
        assert_eq!(store.profile(user(who)).unwrap(), suppression("email", true, 1), "user {who}");
    }
    assert_eq!(store.update_profile(user(0), &consent("a", true, 10)), Err(crate::Error::UserErased));
    assert_eq!(store.update_profile(user(3), &suppression("sms", false, 10)), Err(crate::Error::UserErased));
    store.update_profile(user(0), &suppression("sms", true, 10)).unwrap();
    assert_eq!(store.profile(user(0)).unwrap().suppressions.len(), 2);
    store.readmit_user(user(0)).unwrap();
    store.update_profile(user(0), &suppression("email", false, 11)).unwrap();
    let receipt = store.erase_user(user(0), at(12), OptOuts::Forgotten).unwrap();
    assert_eq!((receipt.profiles, receipt.opt_outs_kept), (1, 0));
    assert_eq!(store.profile(user(0)).unwrap(), Profile::default());
}

#[test]
fn a_profile_is_bounded() {
    let store = open();
    for number in 0..MAX_NAMES {
        store.update_profile(user(1), &consent(&format!("purpose_{number}"), true, 1)).unwrap();
    }
    let one_more = store.update_profile(user(1), &consent("one_more", true, 1));
    assert_eq!(one_more, Err(crate::Error::ProfileFull { what: "purposes", limit: MAX_NAMES }));
    assert_eq!(store.profile(user(1)).unwrap().consents.len(), MAX_NAMES);
}

#[test]
fn golden_bytes() {
    let said = |value| Said { value, at: Timestamp::from_unix_ms(1_000) };
    let profile = Profile {
        time_zone: Some(Said { value: Some("UTC".into()), at: Timestamp::from_unix_ms(1_000) }),
        traits: vec![
            ("age".into(), said(Some(Value::Number(Finite::new(41.0).unwrap())))),
            ("gone".into(), said(None)),
            ("plan".into(), said(Some(Value::Text("pro".into())))),
            ("staff".into(), said(Some(Value::Boolean(true)))),
        ],
        consents: vec![("marketing".into(), Said { value: true, at: Timestamp::from_unix_ms(2_000) })],
        suppressions: vec![("*".into(), Said { value: false, at: Timestamp::from_unix_ms(3_000) })],
    };
    let joined_at = Some(Timestamp::from_unix_ms(4_000));
    let sections = vec![Section { origin: user(7), joined_at, profile }];
    let record = encode(&sections);
    let hex: String = record.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        "5501010707070707070707070707070707070701c03e01d00f035554430403616765d00f02000000000080444004676f6e65d00f0004706c616ed00f030370726f057374616666d00f010101096d61726b6574696e67a01f0101012af02e00936a30a7",
        "stored profiles depend on these bytes"
    );
    assert_eq!(decode(&record).unwrap(), sections);
}

fn said<T: std::fmt::Debug>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Said<T>> {
    // Few instants, so that some are equal.
    (value, 0..4_i64).prop_map(|(value, ms)| Said { value, at: at(ms) })
}

fn entries<T: std::fmt::Debug + Clone>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Entries<T>> {
    let named = prop::collection::btree_map("[a-c]", said(value), 0..3);
    named.prop_map(|map| map.into_iter().map(|(name, said)| (name.into(), said)).collect())
}

fn any_trait() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        Just(None),
        any::<bool>().prop_map(|boolean| Some(Value::Boolean(boolean))),
        (-9..9_i32).prop_map(|number| Some(Value::Number(Finite::new(f64::from(number)).unwrap()))),
        "[x-z]{0,2}".prop_map(|text| Some(Value::Text(text.into()))),
    ]
}

fn any_profile() -> impl Strategy<Value = Profile> {
    let zone = prop::option::of(said(prop::option::of("[A-C]".prop_map(Arc::from))));
    let parts = (zone, entries(any_trait()), entries(any::<bool>()), entries(any::<bool>()));
    parts.prop_map(|(time_zone, traits, consents, suppressions)| Profile {
        time_zone,
        traits,
        consents,
        suppressions,
    })
}

fn any_sections() -> impl Strategy<Value = Sections> {
    let section = (prop::option::of(0..4_i64), any_profile());
    prop::collection::btree_map(0..5_u8, section, 0..4).prop_map(|map| {
        let section = |(who, (joined_at, profile)): (u8, (Option<i64>, Profile))| Section {
            origin: user(who),
            joined_at: joined_at.map(at),
            profile,
        };
        map.into_iter().map(section).collect()
    })
}

proptest! {
    #[test]
    fn joining_knows_no_order_and_no_repetition(a in any_profile(), b in any_profile(), c in any_profile()) {
        let joined = |parts: &[&Profile]| {
            let mut all = Profile::default();
            parts.iter().for_each(|part| all.join(part));
            all
        };
        let once = joined(&[&a, &b, &c]);
        prop_assert_eq!(&once, &joined(&[&c, &a, &b]));
        prop_assert_eq!(&once, &joined(&[&a, &joined(&[&b, &c]), &b]));
    }

    #[test]
    fn a_person_is_never_freer_than_the_last_word_after_the_link(sections in any_sections()) {
        let merged = merged(&sections);
        let joined_at = sections.iter().filter_map(|section| section.joined_at).max();
        for (name, said) in &merged.consents {
            let all = sections.iter().flat_map(|section| &section.profile.consents).filter(|(known, _)| known == name);
            let denied = |after: Option<Timestamp>| all.clone().any(|(_, other)| {
                !other.value && after.is_none_or(|after| other.at > after)
            });
            if said.value && joined_at.is_some_and(|joined_at| said.at <= joined_at) {
                prop_assert!(!denied(None), "{name}: nobody denied it");
            }
            if said.value {
                prop_assert!(all.clone().all(|(_, other)| other.value || other.at < said.at), "{name}");
            }
        }
    }

    #[test]
    fn round_trips(sections in any_sections()) {
        prop_assert_eq!(decode(&encode(&sections)).unwrap(), sections);
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_have_one_form(body: Vec<u8>) {
        let mut record = Vec::new();
        bytes::seal(&mut record, b'U', 1, |out| out.extend_from_slice(&body));
        let _ = decode(&body);
        if let Ok(sections) = decode(&record) {
            prop_assert_eq!(decode(&encode(&sections)).unwrap(), sections);
        }
    }
}
