//! Taking events back: once, whatever the order and the id, and not what is not there.

use std::sync::{Arc, mpsc};

use augur_domain::event::{EventKind, EventOutcome, QuarantineReason};
use augur_domain::{Event, Timestamp};

use crate::store::{MemoryStore, Store};
use crate::testing::{START_MS, event, schema, user};
use crate::{Config, FeatureStore, Verdict};

fn open(store: &Arc<MemoryStore>, retractable: Option<&[&str]>) -> FeatureStore {
    let retractable = retractable.map(|names| names.iter().map(|name| (*name).into()).collect());
    let config = Config { shards: 2, retractable, ..Config::new("unused") };
    let store: Arc<dyn Store> = Arc::<MemoryStore>::clone(store);
    FeatureStore::with_store(store, &config, Arc::new(schema()), |_| {}).unwrap()
}

fn send(store: &FeatureStore, events: Vec<Event>) -> Vec<EventOutcome> {
    let (sender, receiver) = mpsc::channel();
    store.ingest(events, move |answer| sender.send(answer).unwrap()).unwrap();
    receiver.recv().unwrap().unwrap()
}

fn take_back(original: &Event, at_ms: i64) -> Event {
    let at = Timestamp::from_unix_ms(START_MS + at_ms);
    Event::retraction(original.user, original.message_key, at, at)
}

fn reason(outcome: &EventOutcome) -> Option<QuarantineReason> {
    match outcome {
        EventOutcome::Quarantined(why) => {
            assert_eq!(why.field, "retracts_message_id");
            Some(why.reason)
        }
        _ => None,
    }
}

#[test]
fn an_event_is_taken_back_once_and_the_log_says_when() {
    use EventOutcome::{Accepted, Duplicate};
    let engine = Arc::new(MemoryStore::new());
    let store = open(&engine, None);
    let bought = event(1, 1, "purchase", 1_000, 20.0);
    assert_eq!(
        send(&store, vec![bought.clone(), event(1, 2, "page_view", 2_000, 0.0)]),
        [Accepted, Accepted]
    );
    assert_eq!(send(&store, vec![take_back(&bought, 9_000)]), [Accepted]);
    assert_eq!(send(&store, vec![take_back(&bought, 99_000), bought.clone()]), [Duplicate, Duplicate]);

    let log = store.events_of(user(1)).unwrap();
    assert_eq!(log.len(), 3);
    let record = &log[2];
    let expected = Event {
        kind: EventKind::Retract,
        message_key: bought.message_key.of_retraction(),
        received_at: Timestamp::from_unix_ms(START_MS + 9_000),
        ..bought.clone()
    };
    assert_eq!(record.event, expected);
    assert_eq!(record.visible_at(), Timestamp::from_unix_ms(START_MS + 9_000));
    assert_eq!(store.verify_user(user(1)).unwrap(), Verdict::Identical { events: 3 });
    drop(store);
    let reopened = open(&engine, None);
    assert_eq!(send(&reopened, vec![take_back(&bought, 5)]), [Duplicate], "after a restart, too");
}

#[test]
fn an_event_of_the_same_batch_can_be_taken_back_and_a_later_one_cannot() {
    let store = open(&Arc::default(), None);
    let (first, later) = (event(1, 1, "purchase", 0, 1.0), event(1, 2, "purchase", 0, 1.0));
    let batch = vec![first.clone(), take_back(&first, 0), take_back(&later, 0), later.clone()];
    let outcomes = send(&store, batch);
    assert_eq!([&outcomes[0], &outcomes[1], &outcomes[3]], [&EventOutcome::Accepted; 3]);
    assert_eq!(reason(&outcomes[2]), Some(QuarantineReason::UnknownOriginal));
    assert_eq!(send(&store, vec![take_back(&later, 0)]), [EventOutcome::Accepted], "once it has come");
    assert_eq!(store.verify_user(user(1)).unwrap(), Verdict::Identical { events: 4 });
}

#[test]
fn nobody_takes_back_what_is_not_theirs_or_must_stay() {
    let store = open(&Arc::default(), Some(&["purchase"]));
    let bought = event(1, 1, "purchase", 0, 1.0);
    let seen = event(1, 2, "page_view", 0, 1.0);
    let linked = Event { kind: EventKind::Alias, ..event(1, 3, "purchase", 0, 1.0) };
    send(&store, vec![bought.clone(), seen.clone(), linked.clone(), event(2, 9, "purchase", 0, 1.0)]);
    let of_another = Event { user: user(2), ..take_back(&bought, 0) };
    assert_eq!(reason(&send(&store, vec![of_another])[0]), Some(QuarantineReason::UnknownOriginal));
    assert_eq!(reason(&send(&store, vec![take_back(&seen, 0)])[0]), Some(QuarantineReason::NotRetractable));
    assert_eq!(reason(&send(&store, vec![take_back(&linked, 0)])[0]), Some(QuarantineReason::NotRetractable));
    assert_eq!(send(&store, vec![take_back(&bought, 0)]), [EventOutcome::Accepted]);
    let again = Event { message_key: bought.message_key.of_retraction(), ..bought };
    assert_eq!(reason(&send(&store, vec![take_back(&again, 0)])[0]), Some(QuarantineReason::NotRetractable));
    assert_eq!(store.events_of(user(1)).unwrap().len(), 4);
}
