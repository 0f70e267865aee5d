//! Building a generation while events come in: a thread of its own computes what each user's log says about the changed
//! aggregates and hands it to the user's writer, which adds what came since and takes the rest from the serving state.
//!
//! From the start of a build, writers keep the new generation current for everyone who has a state in it, and begin it
//! for every new user; so one pass over the users is enough. Not here: what is carried over (`plan`), or the record.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use augur_domain::UserKey;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use parking_lot::Mutex;

use super::plan::{Changed, Plan};
use super::{Definitions, Generations, stored_state};
use crate::retention::Base;
use crate::state::UserState;
use crate::store::Store;
use crate::writer::{Turn, Writers};
use crate::{Error, rebuild};

/// Users between two pauses and two notes of progress.
const USERS_PER_STEP: usize = 64;
/// Users installed in one turn of a writer: about a millisecond.
const USERS_PER_TURN: usize = 16;
/// Events that a writer applies for one user in a turn; with more behind, the builder reads on first.
const MAX_CATCH_UP_EVENTS: u64 = 256;
/// Events read in a row without looking whether to stop.
const EVENTS_PER_LOOK: u64 = 4_096;
/// Steps between two durable notes of how far the build has come.
const STEPS_PER_NOTE: u64 = 64;

/// The thread of the build under way, if there is one.
#[derive(Default)]
pub(crate) struct Builder {
    running: Mutex<Option<Running>>,
}

struct Running {
    /// Dropped to stop.
    stop: Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Builder {
    /// Builds what is to be built, from where it was left off, beside whatever else goes on.
    pub(crate) fn start(
        &self,
        store: &Arc<dyn Store>,
        generations: &Arc<Generations>,
        writers: &Arc<Writers>,
    ) -> Result<(), Error> {
        let Some((to, plan)) = generations.to_build() else { return Ok(()) };
        self.stop();
        let (stop, stopped) = crossbeam_channel::bounded(0);
        let build = Build {
            store: Arc::clone(store),
            generations: Arc::clone(generations),
            writers: Arc::clone(writers),
            to,
            plan,
            stopped,
        };
        let thread = std::thread::Builder::new().name("features-build".to_owned());
        let thread = thread.spawn(move || build.run()).map_err(|error| Error::Storage {
            action: "starting the builder thread",
            detail: error.to_string(),
        })?;
        *self.running.lock() = Some(Running { stop, thread });
        Ok(())
    }

    /// Ends the thread; the build can go on later.
    pub(crate) fn stop(&self) {
        let Some(Running { stop, thread }) = self.running.lock().take() else { return };
        drop(stop);
        if thread.join().is_err() {
            tracing::error!("the builder of a generation ended by a panic");
        }
    }
}

impl Drop for Builder {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Build {
    store: Arc<dyn Store>,
    generations: Arc<Generations>,
    writers: Arc<Writers>,
    to: Arc<Definitions>,
    plan: Arc<Plan>,
    stopped: Receiver<()>,
}

/// The builder was told to stop, or something failed.
enum Interrupted {
    Stopped,
    Failed(Error),
}

impl From<Error> for Interrupted {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// What became of a user in a writer's turn.
enum Installed {
    /// The user has a state in the new generation, or none at all any more.
    Current,
    /// Too many events came since.
    Behind(UserKey, Changed),
    /// The log is another one than the one that was read.
    Rewritten(UserKey),
}

impl Build {
    fn run(self) {
        let generation = self.to.generation().number();
        match self.all_users() {
            Ok(()) => tracing::info!(generation, "a generation of features is ready"),
            Err(Interrupted::Stopped) => tracing::info!(generation, "a build of features is interrupted"),
            Err(Interrupted::Failed(error)) => {
                tracing::error!(generation, %error, "a build of features failed; it goes on at the next start");
                self.generations.build_failed(&error);
            }
        }
    }

    fn all_users(&self) -> Result<(), Interrupted> {
        for step in 1.. {
            let started = Instant::now();
            let (from, after) = self.generations.build_position(&self.to);
            let users = self.store.users(from, after)?.take(USERS_PER_STEP);
            let users: Vec<UserKey> = users.collect::<Result<_, _>>()?;
            let Some(last) = users.last().copied() else { break };
            let events = self.build(&users)?;
            self.generations.advance(
                &self.to,
                last,
                users.len() as u64,
                events,
                step % STEPS_PER_NOTE == 0,
            )?;
            // As long as the work took: half of a thread's time, so that whoever answers has the rest.
            self.pause(started.elapsed())?;
        }
        Ok(self.generations.built(&self.to)?)
    }

    fn pause(&self, time: Duration) -> Result<(), Interrupted> {
        match self.stopped.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            _ => Err(Interrupted::Stopped),
        }
    }

    /// Gives some users a state in the new generation; says how many events were read for it.
    fn build(&self, users: &[UserKey]) -> Result<u64, Interrupted> {
        let mut events = 0;
        let mut missing: Vec<(UserKey, Changed)> = Vec::with_capacity(users.len());
        for user in users {
            if self.store.state(self.to.generation(), *user)?.is_none() {
                missing.push((*user, self.plan.start()));
            }
        }
        while !missing.is_empty() {
            // Before the logs: a log that is rewritten after this is noticed.
            let rewrites = self.generations.rewrites();
            for (user, changed) in &mut missing {
                events += self.read_on(*user, changed)?;
            }
            missing = self.install(missing, rewrites)?;
        }
        Ok(events)
    }

    /// Applies what the user's log has behind `changed`.
    fn read_on(&self, user: UserKey, changed: &mut Changed) -> Result<u64, Interrupted> {
        let mut events = 0;
        if self.plan.built() == 0 {
            return Ok(0);
        }
        for stored in self.store.events_after(user, changed.sequence())? {
            self.plan.apply(changed, stored?)?;
            events += 1;
            if events % EVENTS_PER_LOOK == 0 {
                self.pause(Duration::ZERO)?;
            }
        }
        Ok(events)
    }

    /// Hands states to their writers; gives back those that have to be read again or further.
    fn install(
        &self,
        users: Vec<(UserKey, Changed)>,
        rewrites: u64,
    ) -> Result<Vec<(UserKey, Changed)>, Interrupted> {
        let mut by_shard: BTreeMap<usize, Vec<(UserKey, Changed)>> = BTreeMap::new();
        for (user, changed) in users {
            by_shard.entry(self.writers.shard(user)).or_default().push((user, changed));
        }
        let (sender, answers) = crossbeam_channel::unbounded();
        let mut open = 0;
        for mut of_shard in by_shard.into_values() {
            while let Some((first, _)) = of_shard.first() {
                let (first, rest) = (*first, of_shard.split_off(of_shard.len().min(USERS_PER_TURN)));
                let users = std::mem::replace(&mut of_shard, rest);
                let (to, plan) = (Arc::clone(&self.to), Arc::clone(&self.plan));
                let work = move |turn: &mut Turn<'_>| install(turn, &to, &plan, users, rewrites);
                let sender = sender.clone();
                self.writers.take_turn(first, work, move |answer| drop(sender.send(answer)))?;
                open += 1;
            }
        }
        let mut again = Vec::new();
        for _ in 0..open {
            for installed in self.answer(&answers)? {
                match installed {
                    Installed::Current => {}
                    Installed::Behind(user, changed) => again.push((user, changed)),
                    Installed::Rewritten(user) => again.push((user, self.plan.start())),
                }
            }
        }
        Ok(again)
    }

    /// The next answer of a writer. Whoever stops the builder may be a writer itself, so stopping does not wait for one.
    fn answer(
        &self,
        answers: &Receiver<Result<Vec<Installed>, Error>>,
    ) -> Result<Vec<Installed>, Interrupted> {
        crossbeam_channel::select! {
            recv(answers) -> answer => match answer {
                Ok(Err(Error::Closed)) | Err(_) => Err(Interrupted::Stopped),
                Ok(answer) => Ok(answer?),
            },
            recv(self.stopped) -> _ => Err(Interrupted::Stopped),
        }
    }
}

/// In the users' turn: completes and stores their states.
fn install(
    turn: &Turn<'_>,
    to: &Definitions,
    plan: &Plan,
    users: Vec<(UserKey, Changed)>,
    rewrites: u64,
) -> Result<Vec<Installed>, Error> {
    if turn.generations.rewrites() != rewrites {
        return Ok(users.into_iter().map(|(user, _)| Installed::Rewritten(user)).collect());
    }
    let (store, serving) = (turn.store, turn.generations.serving());
    let (mut installed, mut states) = (Vec::with_capacity(users.len()), Vec::with_capacity(users.len()));
    let (mut bases, mut unreadable) = (Vec::new(), Vec::new());
    for (user, mut changed) in users {
        if store.state(to.generation(), user)?.is_some() {
            installed.push(Installed::Current);
            continue;
        }
        let old = match healed(store, &serving, user) {
            // Neither the state nor the log: what is left of the log begins the new state.
            Err(error @ Error::Corrupted { .. }) => {
                let state = rebuild::salvage(store, to, user)?;
                states.push((user, rebuild::encoded(&state, to.schema())));
                unreadable.push((user, error));
                installed.push(Installed::Current);
                continue;
            }
            read => read?,
        };
        // Erased, or moved to another user: there is nothing left to build.
        let Some(old) = old else {
            installed.push(Installed::Current);
            continue;
        };
        if plan.built() > 0 && changed.sequence() < old.watermark() {
            if old.watermark() - changed.sequence() > MAX_CATCH_UP_EVENTS {
                installed.push(Installed::Behind(user, changed));
                continue;
            }
            for stored in store.events_after(user, changed.sequence())? {
                plan.apply(&mut changed, stored?)?;
            }
        }
        match extended_base(store, &serving, (to, plan), user, &mut changed) {
            Ok(base) => bases.extend(base.map(|base| (user, base.encoded()))),
            Err(error) => changed.pass_over(error)?,
        }
        let finished = plan.finish(user, changed, &old);
        states.push((user, rebuild::encoded(&finished.state, to.schema())));
        unreadable.extend(finished.unreadable.map(|error| (user, error)));
        installed.push(Installed::Current);
    }
    // Before their states: a user who has one is not looked at again.
    turn.generations.set_aside(to.generation(), unreadable)?;
    // Not synced by itself: the next commit is, and takes it along. What states are verified by goes first.
    store.replace_bases(&bases)?;
    store.replace_states(to.generation(), &states)?;
    Ok(installed)
}

/// The user's state under the serving definitions, rebuilt if it cannot be read; `None` for a user without one.
fn healed(store: &dyn Store, serving: &Definitions, user: UserKey) -> Result<Option<UserState>, Error> {
    match stored_state(store, serving, user) {
        Err(Error::Corrupted { .. }) => rebuild::heal(store, serving, user).map(Some),
        read => read,
    }
}

/// The user's base, if events were removed, with the new generation.
fn extended_base(
    store: &dyn Store,
    serving: &Definitions,
    (to, plan): (&Definitions, &Plan),
    user: UserKey,
    changed: &mut Changed,
) -> Result<Option<Base>, Error> {
    let Some(mut base) = Base::of(store, user)? else { return Ok(None) };
    plan.stand_at(changed, base.sequence);
    plan.extend_base(&mut base, store, user, (Some(serving), to))?;
    Ok(Some(base))
}
