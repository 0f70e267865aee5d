//! Room that decisions use again, so that deciding allocates nothing: what they reckon in, and answers that were given.
//!
//! Not here: deciding (`augur_decision`). Each thread has its own room, so that none waits for another.

use std::cell::RefCell;

use augur_decision::{PolicySnapshot, Scratch, decide_into};
use augur_domain::{Decision, DecisionInputs, DecisionRecord};

/// Answers kept per thread. They come back on whichever thread sends them, so some keep more than they take.
const MOST_ANSWERS: usize = 16;

#[derive(Default)]
struct Room {
    scratch: Scratch,
    answers: Vec<Decision>,
}

thread_local! {
    static ROOM: RefCell<Room> = RefCell::default();
}

/// Decides in the room of this thread.
pub(crate) fn decide(policy: &PolicySnapshot, inputs: &DecisionInputs) -> Decision {
    ROOM.with_borrow_mut(|Room { scratch, answers }| {
        let mut decision = answers.pop().unwrap_or_default();
        decide_into(policy, inputs, scratch, &mut decision);
        decision
    })
}

/// Keeps the room of an answer that was sent.
pub(crate) fn give_back(record: DecisionRecord) {
    ROOM.with_borrow_mut(|Room { answers, .. }| {
        if answers.len() < MOST_ANSWERS {
            answers.push(record.decision);
        }
    });
}
