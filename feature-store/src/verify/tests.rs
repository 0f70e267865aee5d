//! States that do not follow their log, in every way there is.

use std::sync::{Arc, mpsc};

use augur_domain::Event;

use super::*;
use crate::state::apply;
use crate::store::{MemoryStore, Store};
use crate::testing::{event, schema, user};
use crate::{Config, FeatureStore};

/// A store over an engine whose states can be damaged behind its back.
fn store(events: &[Event]) -> (Arc<dyn Store>, FeatureStore) {
    let engine: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let store =
        FeatureStore::with_store(Arc::clone(&engine), &Config::new("unused"), Arc::new(schema()), |_| {});
    let store = store.unwrap();
    let (sender, receiver) = mpsc::channel();
    store.ingest(events.to_vec(), move |answer| sender.send(answer).unwrap()).unwrap();
    receiver.recv().unwrap().unwrap();
    (engine, store)
}

fn state_of(events: &[Event]) -> UserState {
    let schema = schema();
    let mut state = UserState::new(&schema);
    for event in events {
        state.commit(apply(&state, event, &schema));
    }
    state
}

fn put(engine: &dyn Store, who: u8, state: &UserState) {
    engine.replace_states(Generation::FIRST, &[(user(who), rebuild::encoded(state, &schema()))]).unwrap();
}

fn differences(verdict: Verdict) -> Vec<(String, DifferenceKind)> {
    let Verdict::Different { features, .. } = verdict else { panic!("{verdict:?}") };
    features.into_iter().map(|difference| (difference.feature.to_string(), difference.kind)).collect()
}

#[test]
fn a_wrong_value_is_a_mismatch() {
    let events = [event(1, 1, "purchase", 0, 1.0)];
    let (engine, store) = store(&events);
    put(&*engine, 1, &state_of(&[event(1, 1, "purchase", 0, 2.0)]));
    let expected = ["spend_1d", "revenue_1h", "revenue_400d"]
        .map(|name| FeatureDifference { feature: name.into(), kind: DifferenceKind::Mismatch });
    assert_eq!(
        store.verify_user(user(1)).unwrap(),
        Verdict::Different { events: 1, logged_events: 1, features: expected.into() }
    );
}

#[test]
fn a_value_on_one_side_only_is_missing_or_extra() {
    const LAST: &str = "seconds_since_last_purchase";
    let (purchase, visit) = (event(1, 1, "purchase", 0, 1.0), event(1, 1, "page_view", 0, 1.0));
    for (logged, served, kind) in
        [(&purchase, &visit, DifferenceKind::Missing), (&visit, &purchase, DifferenceKind::Extra)]
    {
        let (engine, store) = store(std::slice::from_ref(logged));
        put(&*engine, 1, &state_of(std::slice::from_ref(served)));
        let found = differences(store.verify_user(user(1)).unwrap());
        assert!(found.contains(&(LAST.to_owned(), kind)), "{found:?}");
    }
}

#[test]
fn states_that_cannot_be_read_and_users_on_one_side_are_found() {
    let events: Vec<Event> = (1..=3).map(|who| event(who, 1, "purchase", 0, 1.0)).collect();
    let (engine, store) = store(&events);
    engine.replace_states(Generation::FIRST, &[(user(2), vec![1, 2, 3])]).unwrap();
    put(&*engine, 9, &state_of(&events[..1]));
    let users: Vec<UserKey> = store.users_to_verify().unwrap().map(Result::unwrap).collect();
    assert_eq!(users, [1, 2, 3, 9].map(user));
    let kinds = |who| {
        let mut kinds: Vec<_> =
            differences(store.verify_user(user(who)).unwrap()).into_iter().map(|(_, kind)| kind).collect();
        kinds.dedup();
        kinds
    };
    assert_eq!(store.verify_user(user(1)).unwrap(), Verdict::Identical { events: 1 });
    assert_eq!(kinds(2), [DifferenceKind::Missing]);
    assert_eq!(kinds(9), [DifferenceKind::Extra]);
    assert_eq!(store.verify_user(user(4)).unwrap(), Verdict::Unknown);
}

/// Users whose events came in without a state, as after a commit that was not whole.
#[test]
fn events_without_a_state_are_missing_values() {
    let events = [event(1, 1, "purchase", 0, 1.0), event(3, 1, "purchase", 0, 1.0)];
    let (engine, store) = store(&events);
    let mut record = Vec::new();
    crate::event_record::encode(&event(2, 1, "purchase", 0, 1.0), None, None, &mut record);
    let stray = crate::store::NewEvent {
        user: user(2),
        sequence: 1,
        message_key: augur_domain::ids::MessageKey::default(),
        record,
    };
    engine.commit(&crate::store::Commit { events: vec![stray], ..Default::default() }).unwrap();
    let listed: Vec<UserKey> = users(&*engine, Generation::FIRST).unwrap().map(Result::unwrap).collect();
    assert_eq!(listed, [1, 2, 3].map(user));
    let kinds = differences(store.verify_user(user(2)).unwrap());
    assert!(!kinds.is_empty() && kinds.iter().all(|(_, kind)| *kind == DifferenceKind::Missing), "{kinds:?}");
}

#[test]
fn drawn_keys_draw_the_next_user_and_go_round() {
    let (_, store) = store(&[event(2, 1, "login", 0, 1.0), event(5, 1, "login", 0, 1.0)]);
    for (key, expected) in [(0, 2), (2, 2), (3, 5), (5, 5), (6, 2)] {
        assert_eq!(store.user_from(user(key)).unwrap(), Some(user(expected)));
    }
    let (_, empty) = self::store(&[]);
    assert_eq!(empty.user_from(user(1)).unwrap(), None);
}
