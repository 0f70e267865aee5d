//! A process that dies while links are made and undone and people erased: whoever opens the directory afterwards finds
//! what was before or what is afterwards, never something in between.
//!
//! The process dies at every write, in memory by writes that fail from then on, on disk by a copy of the directory as
//! it was at that moment. Not here: power cuts and torn writes, which are the engine's promise (`tests/durability.rs`).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use augur_domain::decision::Exposure;
use augur_domain::event::{ClaimedBy, EventOutcome, IdentityClaim};
use augur_domain::time::DAY_MS;
use augur_domain::{Event, Timestamp};

use super::Incoming;
use crate::exposure::spread;
use crate::store::{MemoryStore, Store, faulty};
use crate::testing::{START_MS, event, schema, user};
use crate::{Config, FeatureStore, Retention, Verdict};

const SHARDS: usize = 2;
/// A known user, a device and a former id, of both writers.
const IDS: [u8; 3] = [1, 2, 3];

/// What is done when the process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Link,
    /// By an event, which is stored behind the link.
    Claim,
    Unlink,
    Erase,
    Prune,
}

const ACTS: [Act; 5] = [Act::Link, Act::Claim, Act::Unlink, Act::Erase, Act::Prune];

fn at(day: i64) -> Timestamp {
    Timestamp::from_unix_ms(START_MS + day * DAY_MS)
}

fn config(dir: &std::path::Path) -> Config {
    let retention = Retention { events_ms: Some(3 * DAY_MS), ..Retention::default() };
    Config { shards: SHARDS, sync: false, retention, ..Config::new(dir) }
}

fn open(engine: &Arc<dyn Store>) -> FeatureStore {
    FeatureStore::with_store(Arc::clone(engine), &config("unused".as_ref()), Arc::new(schema()), |_| {})
        .unwrap()
}

fn send(store: &FeatureStore, events: Vec<Incoming>) -> bool {
    let (sender, receiver) = mpsc::channel();
    store.ingest(events, move |answer| drop(sender.send(answer))).unwrap();
    let answer = receiver.recv().unwrap();
    answer.is_ok_and(|outcomes| outcomes.iter().all(|outcome| *outcome == EventOutcome::Accepted))
}

fn of(who: u8, id: u64, day: i64) -> Event {
    event(who, id, "purchase", day * DAY_MS, 1.5)
}

/// Everybody has events, one of them of each other's, and was shown something; the former id is linked.
fn prepare(store: &FeatureStore, act: Act) {
    let events = IDS.iter().flat_map(|who| {
        let id = u64::from(*who) * 10;
        [of(*who, id, 0), of(*who, id + 1, 5), of(*who, 99, 6)]
    });
    assert!(send(store, events.map(Incoming::from).collect()));
    for who in IDS {
        let exposure = Exposure::new("offer", "mail", at(i64::from(who)));
        store.record_exposure(user(who), &exposure).unwrap();
    }
    store.link(user(1), IdentityClaim { id: user(3), by: ClaimedBy::Alias }, at(6)).unwrap();
    if act == Act::Unlink {
        store.link(user(1), IdentityClaim { id: user(2), by: ClaimedBy::Device }, at(6)).unwrap();
    }
    if matches!(act, Act::Link | Act::Claim) {
        // The device's old events are gone.
        while store.sweep(at(4)).unwrap().more {}
    }
}

/// Says whether it was done.
fn carry_out(store: &FeatureStore, act: Act) -> bool {
    let claim = IdentityClaim { id: user(2), by: ClaimedBy::Device };
    match act {
        Act::Link => store.link(user(1), claim, at(7)).is_ok(),
        Act::Claim => send(store, vec![Incoming { event: of(1, 50, 7), claim: Some(claim) }]),
        Act::Unlink => store.unlink(user(2)).is_ok(),
        Act::Erase => store.erase_user(user(1), at(7), crate::OptOuts::Kept).is_ok(),
        Act::Prune => (0..3).all(|_| store.sweep(at(8)).is_ok()),
    }
}

/// All that can be asked about everybody. What is due only saves looking, and how far a sweep has come only saves time.
fn observed(store: &FeatureStore, engine: &dyn Store, act: Act) -> Vec<String> {
    let mut seen = Vec::new();
    for who in IDS {
        let id = user(who);
        let verdict = store.verify_user(id).unwrap();
        assert!(matches!(verdict, Verdict::Identical { .. } | Verdict::Unknown), "{act:?}: {verdict:?}");
        // Each user is looked at by itself; together they are compared only where it is one step.
        let log = store.events_of(id).unwrap();
        seen.push(format!(
            "{:?} {:?} {:?} {:?} {:?} {:?} {:?}",
            store.person(id).unwrap(),
            log.iter().map(|it| (it.sequence, &it.event, it.origin, it.visible_from)).collect::<Vec<_>>(),
            store.features(id, at(9)).unwrap(),
            store.exposures(id, at(0)).unwrap(),
            engine.marks(id).unwrap(),
            engine.base(id).unwrap(),
            engine.tombstone(id).unwrap().is_some(),
        ));
    }
    if act != Act::Prune {
        seen = vec![seen.join("\n")];
    }
    seen
}

/// Each step is as at one of these moments.
fn assert_whole(found: &[String], moments: &[Vec<String>], what: &str) {
    for (index, found) in found.iter().enumerate() {
        let is_known = moments.iter().any(|moment| &moment[index] == found);
        assert!(is_known, "{what}:\n{found}\nis none of\n{moments:#?}");
    }
}

/// What was before, what is afterwards, and what may be found in between.
fn moments(act: Act) -> Vec<Vec<String>> {
    let engine: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let store = open(&engine);
    prepare(&store, act);
    let before = observed(&store, &*engine, act);
    assert!(carry_out(&store, act));
    let after = observed(&store, &*engine, act);
    assert_ne!(before, after, "{act:?}");
    // The event is stored behind its link, in a step of its own; its sender was not told that it is.
    let linked = (act == Act::Claim).then(|| moments(Act::Link).swap_remove(1));
    [before, after].into_iter().chain(linked).collect()
}

#[test]
fn ids_of_this_test_have_both_writers() {
    let shards = IDS.map(|who| spread(user(who)) % SHARDS as u64);
    assert!(shards[0] != shards[1] || shards[0] != shards[2], "{shards:?}");
}

#[test]
fn writes_that_fail_leave_nothing_in_between() {
    for act in ACTS {
        let moments = moments(act);
        for survives in 0.. {
            let engine: Arc<dyn Store> = Arc::new(MemoryStore::new());
            let left = Arc::new(AtomicUsize::new(usize::MAX));
            let of_hook = Arc::clone(&left);
            let hook: faulty::Hook = Box::new(move |call| {
                let takes = |left: usize| left.checked_sub(1);
                let is_left = faulty::is_read(call)
                    || of_hook.fetch_update(Ordering::SeqCst, Ordering::SeqCst, takes).is_ok();
                if is_left { Ok(()) } else { Err(faulty::gone()) }
            });
            let faulty: Arc<dyn Store> = Arc::new(faulty::Faulty { engine: Arc::clone(&engine), hook });
            let store = open(&faulty);
            prepare(&store, act);
            left.store(survives, Ordering::SeqCst);
            let is_done = carry_out(&store, act);
            let what = format!("{act:?} after {survives} writes");
            // The process that met the failure, and the next one.
            assert_whole(&observed(&store, &*engine, act), &moments, &what);
            drop(store.close());
            drop(store);
            let store = open(&engine);
            let found = observed(&store, &*engine, act);
            assert_whole(&found, &moments, &what);
            if is_done {
                assert_eq!(found, moments[1], "{what}");
                break;
            }
            // Done again, it is done.
            assert!(carry_out(&store, act), "{what}");
            assert_eq!(observed(&store, &*engine, act), moments[1], "{what}");
        }
    }
}

#[cfg(feature = "rocksdb")]
#[test]
fn a_directory_of_any_moment_holds_nothing_in_between() {
    use crate::store::RocksStore;
    for act in ACTS {
        let moments = moments(act);
        let (dir, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let engine: Arc<dyn Store> = Arc::new(RocksStore::open(&config(dir.path())).unwrap());
        let copied = Arc::new(AtomicUsize::new(usize::MAX));
        let (of_hook, from, to) = (Arc::clone(&copied), dir.path().to_owned(), copies.path().to_owned());
        let copy = move || {
            let number = of_hook.load(Ordering::SeqCst);
            if number != usize::MAX {
                copy_dir(&from, &to.join(number.to_string()));
                of_hook.store(number + 1, Ordering::SeqCst);
            }
        };
        let (one_at_a_time, copy_at) = (parking_lot::Mutex::new(()), copy.clone());
        let hook: faulty::Hook = Box::new(move |call| {
            let _one = one_at_a_time.lock();
            if !faulty::is_read(call) {
                copy_at();
            }
            Ok(())
        });
        let faulty: Arc<dyn Store> = Arc::new(faulty::Faulty { engine: Arc::clone(&engine), hook });
        let store = open(&faulty);
        prepare(&store, act);
        copied.store(0, Ordering::SeqCst);
        assert!(carry_out(&store, act));
        copy();
        let count = copied.swap(usize::MAX, Ordering::SeqCst);
        for number in 0..count {
            let dir = copies.path().join(number.to_string());
            let engine: Arc<dyn Store> = Arc::new(RocksStore::open(&config(&dir)).unwrap());
            let found = observed(&open(&engine), &*engine, act);
            assert_whole(&found, &moments, &format!("{act:?}, copy {number} of {count}"));
            if number == 0 || number + 1 == count {
                let expected = &moments[usize::from(number != 0)];
                assert_eq!(&found, expected, "{act:?}, copy {number} of {count}");
            }
        }
    }
}

#[cfg(feature = "rocksdb")]
fn copy_dir(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() {
            copy_dir(&path, &to);
        } else {
            std::fs::copy(&path, &to).unwrap();
        }
    }
}
