//! Sweeps: some users at a time, those of whom something is due, each in turn among the user's events.
//!
//! Not here: what goes of a user (`retention`), or when to sweep (the caller's clock and thread).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use augur_domain::{Timestamp, UserKey};
use parking_lot::Mutex;

use super::FeatureStore;
use crate::retention::{Base, Progress, Visit, today, visit};
use crate::writer::Turn;
use crate::{Error, Retention};

/// Turns that a sweep puts into the queues at once.
const TURNS_AT_ONCE: usize = 64;

/// What one sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Users looked at.
    pub users: u64,
    /// Events removed.
    pub events: u64,
    /// Dedup marks removed.
    pub marks: u64,
    /// Whether more is due already.
    pub more: bool,
}

/// What sweeps go by.
pub(super) struct Sweeps {
    retention: Arc<Retention>,
    /// Held by a sweep: one at a time.
    progress: Mutex<Progress>,
    events: AtomicU64,
    marks: AtomicU64,
    users: AtomicU64,
    visited: AtomicU64,
}

impl Sweeps {
    pub(super) const fn new(retention: Arc<Retention>, progress: Progress) -> Self {
        let progress = Mutex::new(progress);
        let (events, marks) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { retention, progress, events, marks, users: AtomicU64::new(0), visited: AtomicU64::new(0) }
    }

    /// Adds what was removed to `stats`.
    pub(super) fn tell(&self, stats: &mut crate::Stats) {
        stats.retention_events_removed = self.events.load(Ordering::Relaxed);
        stats.retention_marks_removed = self.marks.load(Ordering::Relaxed);
        stats.retention_users_removed = self.users.load(Ordering::Relaxed);
        stats.retention_users_visited = self.visited.load(Ordering::Relaxed);
    }
}

impl FeatureStore {
    /// Waits for a sweep under way and keeps the next one waiting. No event of the instant that `work` is told, or later,
    /// was ever removed because it had been kept long enough; `None` when none at all was.
    pub(crate) fn between_sweeps<T>(&self, work: impl FnOnce(Option<Timestamp>) -> T) -> T {
        let progress = self.sweeps.progress.lock();
        work(progress.history_from)
    }

    /// How many events of the user's person were removed because they had been kept long enough. What they made is
    /// where verification begins.
    ///
    /// # Errors
    /// [`Error::Storage`] or [`Error::Corrupted`].
    pub fn removed_events(&self, user: UserKey) -> Result<u64, Error> {
        let user = self.identity.person(user)?;
        Ok(Base::of(&*self.store, user)?.map_or(0, |base| base.removed))
    }

    /// Removes events and dedup marks that were kept long enough by `now`, of at most [`Retention::users_per_sweep`]
    /// users of whom something is due. Features stay as they are. After a change of the policy, every user is looked at
    /// once. Does nothing while a new version of the definitions is built, which needs the events. Blocks until done.
    ///
    /// # Errors
    /// [`Error::QueueFull`], [`Error::Closed`], [`Error::Storage`] or [`Error::Corrupted`]. What was not done stays due.
    pub fn sweep(&self, now: Timestamp) -> Result<Swept, Error> {
        let sweeps = &self.sweeps;
        if sweeps.retention.keeps_everything() || self.generations.is_building() {
            return Ok(Swept::default());
        }
        let (mut progress, today) = (sweeps.progress.lock(), today(now));
        let most = sweeps.retention.users_per_sweep as usize;
        if progress.complete {
            let due = self.store.due(today, most)?;
            let more = due.len() == most;
            let mut users: BTreeMap<UserKey, Vec<u32>> = BTreeMap::new();
            for due in due {
                users.entry(due.user).or_default().push(due.day);
            }
            if !users.is_empty() {
                progress.limit_history(&*self.store, &sweeps.retention, today)?;
            }
            let swept = self.visit_all(users.into_iter().collect(), today)?;
            return Ok(Swept { more: more || swept.more, ..swept });
        }
        let users = self.store.users(self.definitions().generation(), progress.after)?.take(most);
        let users = users.map(|user| Ok((user?, Vec::new()))).collect::<Result<Vec<_>, Error>>()?;
        let last = users.last().map(|(user, _)| *user);
        if last.is_some() {
            progress.limit_history(&*self.store, &sweeps.retention, today)?;
        }
        let swept = self.visit_all(users, today)?;
        if self.generations.is_building() {
            return Ok(swept);
        }
        let next = match last {
            Some(last) => Progress { after: Some(last), ..*progress },
            None => Progress { complete: true, ..*progress },
        };
        self.store.put_retention(&next.encoded())?;
        *progress = next;
        Ok(Swept { more: true, ..swept })
    }

    /// Each user with the days that are done.
    fn visit_all(&self, users: Vec<(UserKey, Vec<u32>)>, today: u32) -> Result<Swept, Error> {
        let mut swept = Swept::default();
        let mut users = users.into_iter();
        loop {
            let (sender, receiver) = mpsc::channel::<Result<Visit, Error>>();
            for (user, done) in users.by_ref().take(TURNS_AT_ONCE) {
                let sender = sender.clone();
                let work = move |turn: &mut Turn<'_>| visit(turn, user, done, today);
                // A receiver that is gone has nobody waiting for it.
                self.writers.take_turn(user, work, move |result| drop(sender.send(result)))?;
            }
            drop(sender);
            let mut answers = 0;
            for visit in receiver {
                self.count(visit?, &mut swept);
                answers += 1;
            }
            if answers == 0 {
                return Ok(swept);
            }
        }
    }

    fn count(&self, visit: Visit, swept: &mut Swept) {
        let sweeps = &self.sweeps;
        let removed = visit.events + visit.marks > 0;
        sweeps.visited.fetch_add(1, Ordering::Relaxed);
        sweeps.users.fetch_add(u64::from(removed), Ordering::Relaxed);
        sweeps.events.fetch_add(visit.events, Ordering::Relaxed);
        sweeps.marks.fetch_add(visit.marks, Ordering::Relaxed);
        swept.users += 1;
        swept.events += visit.events;
        swept.marks += visit.marks;
        // One that waits for a build is not to be tried again at once.
        swept.more |= visit.unfinished && removed;
    }
}
