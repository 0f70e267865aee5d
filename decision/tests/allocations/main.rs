//! Deciding allocates nothing once its room has grown: an allocator that counts says so.
//!
//! A binary of its own, since the allocator is everybody's. Not here: how long deciding takes (`benches`).
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::allow_attributes,
    missing_docs,
    unreachable_pub,
    reason = "tests fail by panicking"
)]

#[path = "../../benches/case/mod.rs"]
mod case;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use augur_decision::{PolicySnapshot, Scratch, SourceFile, decide, decide_into};
use augur_domain::Decision;
use augur_domain::decision::DecisionInputs;
use augur_domain::rng::{Purpose, Rng};

use case::{Published, RULES, features, person, policy_text};

thread_local! {
    /// Allocations of this thread; other threads of the test runner do not count.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting.
struct Counting;

fn count() {
    // While a thread ends its count is gone; nobody asks for it then.
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

#[expect(
    unsafe_code,
    reason = "an allocator cannot be written without; every call goes to the system's as it came"
)]
// SAFETY: the system's allocator keeps the contract; counting touches no memory of the caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as the caller of this function promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller of this function promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as the caller of this function promises.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations_of(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

/// Decides for many people twice over: the first time the room grows, the second time it is there. Says how many
/// allocations the second time took, and that the answers are those of [`decide`].
fn allocations_after_warm_up(text: String) -> u64 {
    let source = SourceFile { name: "policy.toml".to_owned(), text };
    let features = features();
    let policy = PolicySnapshot::load(&source, Arc::clone(&features), &Published).unwrap();
    let mut rng = Rng::new(7, Purpose::Simulation);
    let people: Vec<DecisionInputs> = (0..500).map(|_| person(&features, &mut rng)).collect();
    let (mut scratch, mut decision) = (Scratch::default(), Decision::default());
    for inputs in &people {
        decide_into(&policy, inputs, &mut scratch, &mut decision);
        assert_eq!(decision, decide(&policy, inputs));
    }
    allocations_of(|| {
        for inputs in &people {
            decide_into(&policy, inputs, &mut scratch, &mut decision);
        }
    })
}

#[test]
fn deciding_allocates_nothing_after_warm_up() {
    assert_eq!(allocations_after_warm_up(policy_text(RULES, false)), 0);
}

#[test]
fn nor_do_words_exploration_limits_or_experiments() {
    let base = policy_text(RULES, true);
    let limits = "caps = [\"2 per 7d\", \"5 per 24h per channel\"]\n";
    let more = base
        .replace(
            "deadline = \"50ms\"\n",
            "deadline = \"50ms\"\nexploration = { kind = \"softmax\", temperature = 0.5 }\n",
        )
        .replace(limits, "caps = [\"2 per 7d\", \"3 per week\"]\nquiet_hours = \"21:00-08:00\"\n");
    let experiment = "[time]\nunknown_zone = \"UTC\"\n[[experiment]]\nname = \"e\"\nshare = 1.0\n\
        [[experiment.arm]]\nname = \"a\"\n[[experiment.arm]]\nname = \"b\"\nfactor.a0 = 1.1\n";
    assert_eq!(allocations_after_warm_up(format!("{more}{experiment}")), 0);
}

#[test]
fn the_allocator_counts() {
    assert!(allocations_of(|| drop(std::hint::black_box(vec![1_u8; 100]))) >= 1);
    let source = SourceFile { name: "policy.toml".to_owned(), text: policy_text(RULES, false) };
    let features = features();
    let policy = PolicySnapshot::load(&source, Arc::clone(&features), &Published).unwrap();
    let inputs = person(&features, &mut Rng::new(7, Purpose::Simulation));
    assert!(allocations_of(|| drop(decide(&policy, &inputs))) > 3, "who decides anew allocates");
}
