//! The states of a new generation, user by user: at once while nothing is written, as when a directory is opened.
//!
//! Not here: what is carried over (`plan`), or building while events come in.

use augur_domain::UserKey;

use super::plan::Plan;
use super::{Definitions, Entry, GenerationStatus, Record, stored_state};
use crate::config::Progress;
use crate::retention::Base;
use crate::state::UserState;
use crate::store::Store;
use crate::{Error, FeatureSchema, rebuild};

/// States written together.
const STATES_PER_WRITE: usize = 1_000;
/// Writes between two notes of how far the build has come.
const WRITES_PER_NOTE: usize = 20;

/// Encoded records.
type States = Vec<(UserKey, Vec<u8>)>;

/// What a build goes from and to.
pub(super) struct Build<'a> {
    pub(super) store: &'a dyn Store,
    /// The generation that lists the users, with its definitions if they are known.
    pub(super) from: (crate::store::Generation, Option<Definitions>),
    pub(super) to: &'a Definitions,
    pub(super) plan: Plan,
    /// Threads to spread users over.
    pub(super) threads: usize,
}

impl<'a> Build<'a> {
    pub(super) fn new(
        store: &'a dyn Store,
        from: (crate::store::Generation, Option<Definitions>),
        to: &'a Definitions,
        threads: usize,
    ) -> Self {
        let old: Option<&FeatureSchema> = from.1.as_ref().map(|from| &**from.schema());
        let plan = Plan::new(old, to.schema());
        Self { store, from, to, plan, threads: threads.max(1) }
    }

    /// Builds the states of all users behind the noted one, and notes how far it has come.
    pub(super) fn run(
        &self,
        record: &mut Record,
        events_total: u64,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), Error> {
        for write in 1.. {
            let Some(entry) = record.entry(self.to.generation()) else { return Ok(()) };
            let users = self.store.users(self.from.0, entry.cursor)?.take(STATES_PER_WRITE);
            let users: Vec<UserKey> = users.collect::<Result<_, _>>()?;
            let Some(last) = users.last().copied() else { break };
            let (states, events) = self.states(&users)?;
            self.store.replace_bases(&self.bases(&users)?)?;
            self.store.replace_states(self.to.generation(), &states)?;
            if let Some(entry) = record.entry_mut(self.to.generation()) {
                entry.advance(last, users.len() as u64, events);
                progress(Progress { users: entry.users_done, events: entry.events_done, events_total });
            }
            if write % WRITES_PER_NOTE == 0 {
                self.store.put_generations(&record.encode())?;
            }
        }
        Ok(())
    }

    /// The encoded states of some users, and how many events were applied for them.
    fn states(&self, users: &[UserKey]) -> Result<(States, u64), Error> {
        let share = users.len().div_ceil(self.threads).max(1);
        let of_share = |users: &[UserKey]| -> Result<Vec<_>, Error> {
            users.iter().map(|user| Ok((*user, self.state(*user)?))).collect()
        };
        let done = std::thread::scope(|scope| {
            let threads: Vec<_> =
                users.chunks(share).map(|share| scope.spawn(move || of_share(share))).collect();
            let joined = threads.into_iter().map(|thread| thread.join().unwrap_or(Err(Error::Closed)));
            joined.collect::<Result<Vec<_>, Error>>()
        })?;
        let (mut states, mut events) = (Vec::with_capacity(users.len()), 0);
        for (user, (state, applied)) in done.into_iter().flatten() {
            events += applied;
            states.push((user, rebuild::encoded(&state, self.to.schema())));
        }
        Ok((states, events))
    }

    /// The bases of those among some users of whom events were removed, with the new generation.
    fn bases(&self, users: &[UserKey]) -> Result<States, Error> {
        let mut bases = Vec::new();
        for user in users {
            if let Some(mut base) = Base::of(self.store, *user)? {
                let between = (self.from.1.as_ref(), self.to);
                self.plan.extend_base(&mut base, self.store, *user, between)?;
                bases.push((*user, base.encoded()));
            }
        }
        Ok(bases)
    }

    /// One user's state, and how many events were applied for it.
    fn state(&self, user: UserKey) -> Result<(UserState, u64), Error> {
        let old = match &self.from.1 {
            None => None,
            Some(from) => match stored_state(self.store, from, user) {
                // Damaged: the log knows all of it.
                Err(Error::Corrupted { .. }) => None,
                read => read?,
            },
        };
        let Some(old) = old else {
            let state = rebuild::heal(self.store, self.to, user)?;
            let events = state.watermark();
            return Ok((state, events));
        };
        let (mut changed, mut events) = (self.plan.start(), 0);
        if self.plan.built() > 0 {
            for stored in self.store.events(user)? {
                let stored = rebuild::decode(stored?)?;
                if stored.sequence > old.watermark() {
                    break;
                }
                self.plan.apply(&mut changed, &stored);
                events += 1;
            }
        }
        if let Some(base) = Base::of(self.store, user)? {
            self.plan.stand_at(&mut changed, base.sequence);
        }
        Ok((self.plan.finish(user, changed, &old)?, events))
    }
}

impl Entry {
    pub(super) fn advance(&mut self, last: UserKey, users: u64, events: u64) {
        self.cursor = Some(last);
        self.users_done = self.users_done.saturating_add(users);
        self.events_done = self.events_done.saturating_add(events);
    }

    pub(super) fn retire(&mut self) {
        self.status = GenerationStatus::Retiring;
        self.cursor = None;
    }

    pub(super) fn retired(&mut self) {
        self.status = GenerationStatus::Retired;
        self.text.clear();
    }
}
