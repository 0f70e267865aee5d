//! The only way into the event log: one thread per shard of users, each turning what waits in its queue into one
//! atomic write.
//!
//! A user belongs to one shard, so nobody else changes that user's state between the read and the write. Not here:
//! what an event changes (`state`), or how a write is made durable (`store`).

mod group;
mod lanes;
mod linking;
mod request;
pub(crate) mod retraction;
mod turn;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use augur_domain::UserKey;
use augur_domain::event::{EventOutcome, Quarantine};
use crossbeam_channel::{Receiver, SendError, Sender};
use parking_lot::{Mutex, RwLock};

use crate::exposure::spread;
use crate::generation::Generations;
use crate::identity::{Claimed, Identity, Routes};
use crate::store::{Counters, Store};
use crate::{Config, Error, Incoming, Retention};
use group::Group;
use lanes::{Lane, Lanes, Step};
use linking::Tell;
use request::{Done, Limits, Part, Queued, Request, Room};
pub(crate) use turn::Turn;
use turn::{Ended, MAX_WAITING_TURNS, Work};

/// A writer stops collecting for one commit here: a write batch is in memory twice, and the write-ahead log takes it
/// in one piece.
const GROUP_BYTES: usize = 16 << 20;

/// Counted by all writers.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) events_total: AtomicU64,
    pub(crate) users_total: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) suppressed: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) failed_commits: AtomicU64,
}

impl Tally {
    /// Replaces a writer's counters and takes the difference into the totals.
    fn count(&self, counters: &mut Counters, after: Counters) {
        let before = std::mem::replace(counters, after);
        self.events_total.fetch_add(after.events.saturating_sub(before.events), Ordering::Relaxed);
        self.users_total.fetch_add(after.users.saturating_sub(before.users), Ordering::Relaxed);
        let erased = after.erased_users.saturating_sub(before.erased_users);
        self.users_total.fetch_sub(erased, Ordering::Relaxed);
    }
}

/// Where events are handed to the writers.
pub(crate) struct Writers {
    /// `None` once closed.
    shards: RwLock<Option<Vec<Shard>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    tally: Arc<Tally>,
    limits: Limits,
    identity: Arc<Identity>,
}

/// What waits in a shard's queue.
enum Job {
    Events(Part),
    Turn(Work),
}

struct Shard {
    sender: Sender<Job>,
    room: Arc<Room>,
    turns: Arc<()>,
}

impl Writers {
    pub(crate) fn start(
        store: &Arc<dyn Store>,
        generations: &Arc<Generations>,
        identity: &Arc<Identity>,
        config: &Config,
    ) -> Result<Self, Error> {
        let tally = Arc::new(Tally::default());
        let stored = store.counters()?;
        let sum = |counter: fn(&Counters) -> u64| stored.iter().map(|(_, counters)| counter(counters)).sum();
        tally.events_total.store(sum(|counters| counters.events), Ordering::Relaxed);
        let erased = sum(|counters| counters.erased_users);
        tally.users_total.store(sum(|counters| counters.users).saturating_sub(erased), Ordering::Relaxed);
        let retention = Arc::new(config.retention.clone());
        let (mut shards, mut threads) = (Vec::new(), Vec::new());
        for number in 0..config.shards as u32 {
            // Bounded by `room`.
            let (sender, receiver) = crossbeam_channel::unbounded();
            let counters = stored.iter().find(|(shard, _)| *shard == number).map(|(_, counters)| *counters);
            let writer = Writer {
                shard: number,
                store: Arc::clone(store),
                generations: Arc::clone(generations),
                identity: Arc::clone(identity),
                receiver,
                tally: Arc::clone(&tally),
                counters: counters.unwrap_or_default(),
                recount: false,
                batch_events: config.batch_events,
                retractable: config.retractable.clone().map(Into::into),
                retention: Arc::clone(&retention),
            };
            let thread = std::thread::Builder::new().name(format!("features-{number}"));
            let thread = thread.spawn(move || writer.run()).map_err(|error| Error::Storage {
                action: "starting a writer thread",
                detail: error.to_string(),
            })?;
            shards.push(Shard { sender, room: Arc::default(), turns: Arc::default() });
            threads.push(thread);
        }
        let (shards, threads) = (RwLock::new(Some(shards)), Mutex::new(threads));
        let limits = Limits { events: config.queue_events, bytes: config.queue_bytes };
        Ok(Self { shards, threads, tally, limits, identity: Arc::clone(identity) })
    }

    pub(crate) fn ingest(
        &self,
        events: Vec<Incoming>,
        done: impl FnOnce(Result<Vec<EventOutcome>, Error>) + Send + 'static,
    ) -> Result<(), Error> {
        if events.is_empty() {
            done(Ok(Vec::new()));
            return Ok(());
        }
        let shards = self.shards.read();
        let shards = shards.as_ref().ok_or(Error::Closed)?;
        // Held until the events are in the queues, so that none is put behind a change that it does not know.
        let routing = self.identity.routing.read();
        if self.identity.all_settled(&routing, &events)? {
            return self.put(shards, Routes::Settled(&routing), events, Box::new(done)).map(drop);
        }
        drop(routing);
        let mut routing = self.identity.routing.write();
        let before = routing.clone();
        let put = self.put(shards, Routes::Changing(&mut routing), events, Box::new(done));
        if put.is_err() {
            *routing = before;
        }
        // What comes back is settled when it is dropped, which takes the lock.
        drop(routing);
        put.map(drop)
    }

    /// Into the queues, all or nothing. Gives back what writers that are gone did not take.
    fn put(
        &self,
        shards: &[Shard],
        mut routes: Routes<'_>,
        events: Vec<Incoming>,
        done: Done,
    ) -> Result<Vec<Job>, Error> {
        let mut lanes = Lanes::new(shards.len());
        let mut outcomes = vec![EventOutcome::Duplicate; events.len()];
        for (index, incoming) in events.into_iter().enumerate() {
            if let Some(refused) = self.route(&mut routes, &mut lanes, index, incoming)?
                && let Some(outcome) = outcomes.get_mut(index)
            {
                *outcome = EventOutcome::Quarantined(refused);
            }
        }
        self.reserve(shards, &lanes)?;
        let parts = lanes.parts();
        if parts == 0 {
            done(Ok(outcomes));
            return Ok(Vec::new());
        }
        Ok(self.send(shards, lanes, &Request::new(outcomes, parts, done), None))
    }

    /// Puts one event, and the change that it asks for, into the lanes; gives back why it is refused.
    fn route(
        &self,
        routes: &mut Routes<'_>,
        lanes: &mut Lanes,
        index: usize,
        incoming: Incoming,
    ) -> Result<Option<Quarantine>, Error> {
        let Incoming { mut event, claim } = incoming;
        let mut needs = None;
        if let Some(claim) = claim {
            match self.identity.claim(routes, event.user, claim, event.event_time)? {
                Claimed::Settled(link) => needs = link,
                Claimed::Kept => {}
                Claimed::Refused(refused) => return Ok(Some(refused)),
                Claimed::Begun(operation) => {
                    needs = Some(operation.id);
                    lanes.change(operation);
                }
            }
        }
        let person = self.identity.route(routes.get(), event.user)?;
        let origin = (person != event.user).then_some(event.user);
        event.user = person;
        lanes.event(index, Queued { event, origin, needs });
        Ok(None)
    }

    /// Runs `work` on the writer of the user's shard, in its turn. `done` gets the result, on that thread; it must not
    /// block.
    pub(crate) fn take_turn<T: Send + 'static>(
        &self,
        user: UserKey,
        work: impl FnOnce(&mut Turn<'_>) -> Result<T, Error> + Send + 'static,
        done: impl FnOnce(Result<T, Error>) + Send + 'static,
    ) -> Result<(), Error> {
        let shards = self.shards.read();
        let shards = shards.as_ref().ok_or(Error::Closed)?;
        let number = shard_of(user, shards.len());
        let shard = shards.get(number).ok_or(Error::Closed)?;
        // Every turn that waits holds one; so does the shard.
        let queued = Arc::strong_count(&shard.turns).saturating_sub(1);
        if queued >= MAX_WAITING_TURNS {
            let limit = MAX_WAITING_TURNS;
            return Err(Error::QueueFull { shard: number, queued, limit, unit: "turns" });
        }
        let ticket = Arc::clone(&shard.turns);
        let work = move |turn: &mut Turn<'_>| {
            drop(ticket);
            work(turn)
        };
        drop(shard.sender.send(Job::Turn(turn::work(work, done))));
        Ok(())
    }

    /// Waits until every shard has committed what it had begun, so that its next commit sees what is published now.
    pub(crate) fn pass(&self) -> Result<(), Error> {
        let (sender, passed) = crossbeam_channel::unbounded();
        let count = {
            let shards = self.shards.read();
            let shards = shards.as_ref().ok_or(Error::Closed)?;
            for shard in shards {
                let sender = sender.clone();
                let work = turn::work(|_| Ok(()), move |passed| drop(sender.send(passed)));
                drop(shard.sender.send(Job::Turn(work)));
            }
            shards.len()
        };
        (0..count).try_for_each(|_| passed.recv().map_err(|_| Error::Closed)?)
    }

    /// The number of the user's shard.
    pub(crate) fn shard(&self, user: UserKey) -> usize {
        shard_of(user, self.shards.read().as_ref().map_or(1, Vec::len))
    }

    fn send(
        &self,
        shards: &[Shard],
        lanes: Lanes,
        request: &Arc<Request>,
        mut tell: Option<Tell>,
    ) -> Vec<Job> {
        let mut not_taken = Vec::new();
        for (shard, lane) in shards.iter().zip(lanes.0) {
            for step in lane.steps {
                let job = match step {
                    Step::Events(share) => {
                        Job::Events(Part::new(Arc::clone(request), share, Arc::clone(&shard.room)))
                    }
                    Step::Change(step) => {
                        let tell = if step.is_perform() { tell.take() } else { None };
                        Job::Turn(step.into_work(&self.identity, tell))
                    }
                };
                // A writer that is gone gives the job back; dropping it tells whoever waits for it.
                if let Err(SendError(job)) = shard.sender.send(job) {
                    not_taken.push(job);
                }
            }
        }
        not_taken
    }

    /// Takes room in every queue that is touched, or in none.
    fn reserve(&self, shards: &[Shard], lanes: &Lanes) -> Result<(), Error> {
        let limit = self.limits.events;
        if let Some(lane) = lanes.0.iter().find(|lane| lane.events > limit) {
            return Err(Error::TooManyEvents { found: lane.events, limit });
        }
        let wanted = |lane: &Lane| Limits { events: lane.events, bytes: lane.bytes };
        for (number, (shard, lane)) in shards.iter().zip(&lanes.0).enumerate() {
            if lane.events == 0 {
                continue;
            }
            if let Err((queued, limit, unit)) = shard.room.take(wanted(lane), self.limits) {
                for (shard, lane) in shards.iter().zip(&lanes.0).take(number) {
                    shard.room.give_back(wanted(lane));
                }
                return Err(Error::QueueFull { shard: number, queued, limit, unit });
            }
        }
        Ok(())
    }

    pub(crate) fn queued_events(&self) -> u64 {
        let shards = self.shards.read();
        shards.iter().flatten().map(|shard| shard.room.events() as u64).sum()
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Takes no more events and waits until the queues are worked off.
    pub(crate) fn close(&self) {
        drop(self.shards.write().take());
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            // The last owner of a store may be a callback, on a writer thread: it cannot wait for itself.
            if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
                tracing::error!("a feature writer thread ended by a panic");
            }
        }
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.close();
    }
}

fn shard_of(user: UserKey, shards: usize) -> usize {
    (spread(user) % shards.max(1) as u64) as usize
}

struct Writer {
    shard: u32,
    store: Arc<dyn Store>,
    generations: Arc<Generations>,
    identity: Arc<Identity>,
    receiver: Receiver<Job>,
    tally: Arc<Tally>,
    counters: Counters,
    /// Whether `counters` may lag behind what is stored.
    recount: bool,
    batch_events: usize,
    /// See [`Config::retractable`].
    retractable: Option<Arc<[Arc<str>]>>,
    retention: Arc<Retention>,
}

impl Writer {
    fn run(mut self) {
        while let Ok(job) = self.receiver.recv() {
            let turn = match job {
                Job::Events(first) => self.write_with_what_waits(first),
                Job::Turn(work) => Some(work),
            };
            if let Some(work) = turn {
                self.take_turn(work);
            }
        }
    }

    /// One group, up to the bounds of a commit or the next turn, which is given back.
    fn write_with_what_waits(&mut self, first: Part) -> Option<Work> {
        let (mut events, mut bytes) = (first.share.events.len(), first.share.bytes);
        let (mut parts, mut turn) = (vec![first], None);
        while turn.is_none()
            && events < self.batch_events
            && bytes < GROUP_BYTES
            && let Ok(job) = self.receiver.try_recv()
        {
            match job {
                Job::Events(part) => {
                    events += part.share.events.len();
                    bytes += part.share.bytes;
                    parts.push(part);
                }
                Job::Turn(work) => turn = Some(work),
            }
        }
        self.write(parts);
        turn
    }

    fn take_turn(&mut self, work: Work) {
        if let Err(error) = self.recount() {
            tracing::error!(shard = self.shard, %error, "counters cannot be read");
        }
        let mut turn = Turn {
            store: &*self.store,
            generations: &self.generations,
            retention: &self.retention,
            shard: self.shard,
            counters: &mut self.counters,
            tally: &self.tally,
        };
        self.recount |= work(&mut turn) == Ended::Panicked;
    }

    /// One group. A panic fails the group, not the shard: what was gathered goes with it, and nothing else is held in
    /// memory but the counters, which are read again.
    fn write(&mut self, parts: Vec<Part>) {
        let answers = catch_unwind(AssertUnwindSafe(|| self.store_group(&parts)));
        let answers = answers.unwrap_or_else(|panic| {
            self.recount = true;
            self.tally.failed_commits.fetch_add(1, Ordering::Relaxed);
            let detail = panic_message(&*panic);
            tracing::error!(
                shard = self.shard,
                detail,
                "a feature writer panicked; its group of events was not stored"
            );
            vec![Err(Error::Panicked { detail: detail.to_owned() }); parts.len()]
        });
        for (part, answer) in parts.into_iter().zip(answers) {
            part.finish(answer);
        }
    }

    /// Every part is either wholly in the commit or answered with the error of its own reads.
    fn store_group(&mut self, parts: &[Part]) -> Vec<Result<Vec<EventOutcome>, Error>> {
        let (store, live) = (Arc::clone(&self.store), self.generations.live());
        let retractable = self.retractable.clone();
        let (identity, retention) = (Arc::clone(&self.identity), Arc::clone(&self.retention));
        let group = Group::new(&*store, &live, &identity, &retention);
        let mut group = group.with_retractable(retractable.as_deref());
        group.read_ahead(parts.iter().flat_map(|part| &part.share.events).map(|(_, queued)| queued));
        let answers: Vec<_> = parts.iter().map(|part| group.add(&part.share.events)).collect();
        match self.commit(group) {
            Ok(()) => answers,
            Err(error) => answers.into_iter().map(|answer| answer.and(Err(error.clone()))).collect(),
        }
    }

    fn commit(&mut self, group: Group<'_>) -> Result<(), Error> {
        self.recount()?;
        let (duplicates, suppressed) = (group.duplicates(), group.suppressed());
        if let Some(commit) = group.into_commit(self.shard, self.counters)? {
            if let Err(error) = self.store.commit(&commit) {
                self.tally.failed_commits.fetch_add(1, Ordering::Relaxed);
                tracing::error!(shard = self.shard, events = commit.events.len(), %error, "a group of events was not stored");
                return Err(error);
            }
            self.tally.commits.fetch_add(1, Ordering::Relaxed);
            self.count(commit.counters);
        }
        self.tally.duplicates.fetch_add(duplicates, Ordering::Relaxed);
        self.tally.suppressed.fetch_add(suppressed, Ordering::Relaxed);
        Ok(())
    }

    /// After a panic nobody knows whether the last commit was stored; the store does.
    fn recount(&mut self) -> Result<(), Error> {
        if self.recount {
            let stored = self.store.counters()?.into_iter().find(|(shard, _)| *shard == self.shard);
            self.count(stored.map_or(self.counters, |(_, counters)| counters));
            self.recount = false;
        }
        Ok(())
    }

    fn count(&mut self, after: Counters) {
        self.tally.count(&mut self.counters, after);
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod linking_tests;
#[cfg(test)]
mod retraction_tests;
#[cfg(test)]
mod tests;
