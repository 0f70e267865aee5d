//! The states of a new generation, user by user: at once while nothing is written, as when a directory is opened.
//!
//! Not here: what is carried over (`plan`), or building while events come in.

use std::collections::BTreeMap;

use augur_domain::UserKey;

use super::plan::{Finished, Plan};
use super::{Definitions, Entry, GenerationStatus, Record, set_aside, stored_state};
use crate::config::Progress;
use crate::retention::Base;
use crate::store::Store;
use crate::{Error, FeatureSchema, rebuild};

/// States written together.
const STATES_PER_WRITE: usize = 1_000;
/// Writes between two notes of how far the build has come.
const WRITES_PER_NOTE: usize = 20;

/// Encoded records.
type States = Vec<(UserKey, Vec<u8>)>;
/// Users whose log or base cannot be read whole, and why, first.
type Unreadable = BTreeMap<UserKey, Error>;

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
            let (states, events, mut unreadable) = self.states(&users)?;
            self.store.replace_bases(&self.bases(&users, &mut unreadable)?)?;
            self.store.replace_states(self.to.generation(), &states)?;
            let is_whole = unreadable.is_empty();
            set_aside(record, self.to.generation(), unreadable);
            if let Some(entry) = record.entry_mut(self.to.generation()) {
                entry.advance(last, users.len() as u64, events);
                progress(Progress { users: entry.users_done, events: entry.events_done, events_total });
            }
            if write % WRITES_PER_NOTE == 0 || !is_whole {
                self.store.put_generations(&record.encode())?;
            }
        }
        Ok(())
    }

    /// The encoded states of some users, and how many events were applied for them.
    fn states(&self, users: &[UserKey]) -> Result<(States, u64, Unreadable), Error> {
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
        let mut unreadable = Unreadable::new();
        for (user, (finished, applied)) in done.into_iter().flatten() {
            events += applied;
            states.push((user, rebuild::encoded(&finished.state, self.to.schema())));
            unreadable.extend(finished.unreadable.map(|error| (user, error)));
        }
        Ok((states, events, unreadable))
    }

    /// The bases of those among some users of whom events were removed, with the new generation.
    fn bases(&self, users: &[UserKey], unreadable: &mut Unreadable) -> Result<States, Error> {
        let mut bases = Vec::new();
        for user in users {
            match self.base(*user) {
                Ok(base) => bases.extend(base.map(|base| (*user, base.encoded()))),
                Err(error @ Error::Corrupted { .. }) => {
                    unreadable.entry(*user).or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(bases)
    }

    fn base(&self, user: UserKey) -> Result<Option<Base>, Error> {
        let Some(mut base) = Base::of(self.store, user)? else { return Ok(None) };
        self.plan.extend_base(&mut base, self.store, user, (self.from.1.as_ref(), self.to))?;
        Ok(Some(base))
    }

    /// One user's state, and how many events were applied for it.
    fn state(&self, user: UserKey) -> Result<(Finished, u64), Error> {
        let old = match &self.from.1 {
            None => None,
            Some(from) => match stored_state(self.store, from, user) {
                // Damaged: the log knows all of it.
                Err(Error::Corrupted { .. }) => None,
                read => read?,
            },
        };
        let Some(old) = old else {
            let finished = match rebuild::heal(self.store, self.to, user) {
                Ok(state) => Finished { state, unreadable: None },
                Err(error @ Error::Corrupted { .. }) => {
                    let state = rebuild::salvage(self.store, self.to, user)?;
                    Finished { state, unreadable: Some(error) }
                }
                Err(error) => return Err(error),
            };
            let events = finished.state.watermark();
            return Ok((finished, events));
        };
        let (mut changed, mut events) = (self.plan.start(), 0);
        if self.plan.built() > 0 {
            for stored in self.store.events(user)? {
                let stored = stored?;
                if stored.sequence > old.watermark() {
                    break;
                }
                self.plan.apply(&mut changed, stored)?;
                events += 1;
            }
        }
        match Base::of(self.store, user) {
            Ok(base) => self.plan.stand_at(&mut changed, base.map_or(0, |base| base.sequence)),
            Err(error) => changed.pass_over(error)?,
        }
        Ok((self.plan.finish(user, changed, &old), events))
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
