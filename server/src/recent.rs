//! Which decisions were made lately, of whom, and where they lie in the log.
//!
//! Not here: reading the log for older ones (`explain`).

use std::collections::{HashMap, VecDeque};

use augur_domain::{DecisionId, Timestamp, UserKey};
use parking_lot::Mutex;

/// Decisions that are remembered; about 100 bytes each.
pub(crate) const MAX_RECENT: usize = 131_072;

/// The latest decisions, by id.
#[derive(Debug)]
pub(crate) struct Recent {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    known: HashMap<DecisionId, Made>,
    order: VecDeque<DecisionId>,
    /// Every decision made at this instant or later is remembered.
    complete_from: Timestamp,
}

/// A decision that is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Made {
    /// Its place in the log.
    pub(crate) sequence: u64,
    /// Whom it was made for.
    pub(crate) user: UserKey,
}

/// What is remembered of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    Made(Made),
    /// It would be remembered had it been made here.
    NotMade,
    /// From before what is remembered.
    TooOld,
}

impl Recent {
    /// Remembers decisions made from `now` on.
    pub(crate) fn new(now: Timestamp) -> Self {
        let state = State { known: HashMap::new(), order: VecDeque::new(), complete_from: now };
        Self { state: Mutex::new(state) }
    }

    pub(crate) fn remember(&self, id: DecisionId, made: Made) {
        let mut state = self.state.lock();
        if state.order.len() >= MAX_RECENT
            && let Some(oldest) = state.order.pop_front()
        {
            state.known.remove(&oldest);
            state.complete_from = state.complete_from.max(oldest.made_at().plus_millis(1));
        }
        state.order.push_back(id);
        state.known.insert(id, made);
    }

    pub(crate) fn look(&self, id: DecisionId) -> Memory {
        let state = self.state.lock();
        match state.known.get(&id) {
            Some(made) => Memory::Made(*made),
            None if id.made_at() >= state.complete_from => Memory::NotMade,
            None => Memory::TooOld,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: i64) -> DecisionId {
        DecisionId::new(Timestamp::from_unix_ms(n), [0; 10])
    }

    #[test]
    fn ids_tell_when() {
        let at = Timestamp::from_unix_ms(1_795_366_965_123);
        assert_eq!(DecisionId::new(at, [255; 10]).made_at(), at);
    }

    #[test]
    fn memory_is_bounded_and_says_how_far_back_it_goes() {
        let recent = Recent::new(Timestamp::from_unix_ms(0));
        let made = |n: i64| Made { sequence: n as u64, user: UserKey::from_bytes([1; 16]) };
        for n in 0..=MAX_RECENT as i64 {
            recent.remember(id(n), made(n));
        }
        assert_eq!(recent.look(id(0)), Memory::TooOld);
        assert_eq!(recent.look(id(1)), Memory::Made(made(1)));
        assert_eq!(recent.look(id(MAX_RECENT as i64 + 1)), Memory::NotMade);
        assert_eq!(recent.look(DecisionId::new(Timestamp::from_unix_ms(5), [9; 10])), Memory::NotMade);
        assert_eq!(recent.state.lock().known.len(), MAX_RECENT);
    }
}
