//! What a change of links moves: a person's log, state, dedup marks and exposures, as one commit.
//!
//! The state of a person is always what `apply` makes of the person's log in the order of its sequence, so a merged
//! log goes on with the events of the other one, and a split one is applied anew. Not here: whether a change is allowed
//! (`routing`), or when a writer carries it out (`writer`).

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use augur_domain::event::EventKind;
use augur_domain::ids::MessageKey;
use augur_domain::{DecisionId, Event, Timestamp, UserKey};

use super::routing::subtree;
use super::{Change, Identity, Link, Operation, link_of, links_to};
use crate::generation::{Live, LiveStates};
use crate::retention::Base;
use crate::store::{Commit, Counters, Due, Generation, MovedMark, NewEvent, NewLink, Relocation, Store};
use crate::writer::{Turn, retraction};
use crate::{Error, Retention, StoredEvent, event_record, exposure, profile, rebuild};

/// Changes that move logs with more events than this wait for each other, whichever writers carry them out.
const LARGE_MOVE_EVENTS: u64 = 1_000;
/// Most bytes of events that one change moves.
const MAX_MOVED_BYTES: usize = 512 << 20;

impl Identity {
    /// Carries out a change, in the turn of the person's log. Says how many events moved.
    pub(crate) fn perform(&self, operation: &Operation, turn: &mut Turn<'_>) -> Result<u64, Error> {
        // What moves is in memory, and its batch a second time.
        let is_large = self.store.last_sequence(operation.from)? > LARGE_MOVE_EVENTS;
        let _alone = is_large.then(|| self.large_moves.lock());
        let mut plan = Plan::new(turn);
        match operation.change {
            Change::Merge => self.plan_merge(operation, &mut plan)?,
            Change::Rebind => self.plan_rebind(operation, &mut plan)?,
            Change::Split => self.plan_split(operation, &mut plan)?,
        }
        // Whoever decides or notes an exposure for one of the two sees all of this or nothing.
        let both = [operation.from, operation.to];
        let _decisions = self.decisions.lock_all(&both);
        let _exposures = self.exposure_writes.lock_all(&both);
        self.plan_exposures(operation, &mut plan)?;
        let _profiles = self.profile_writes.lock_all(&both);
        self.plan_profiles(operation, &mut plan)?;
        let Plan { events, states, due, relocation, counters, moved, .. } = plan;
        let due = due.into_iter().collect();
        let commit = Commit { shard: turn.shard, events, states, due, counters };
        let _rewriting = turn.generations.rewriting();
        self.store.relocate(&commit, &relocation)?;
        for link in &relocation.links {
            self.cache.set(link.id, link.after.as_ref().map(|(person, _)| *person));
        }
        turn.stored_counters(counters);
        self.count(operation.change, moved);
        Ok(moved)
    }

    fn count(&self, change: Change, moved: u64) {
        let counter = if change == Change::Split { &self.tally.unlinked } else { &self.tally.linked };
        counter.fetch_add(1, Ordering::Relaxed);
        self.tally.moved_events.fetch_add(moved, Ordering::Relaxed);
    }

    /// The other log behind the person's own. Events that the person has by the same message are left out.
    fn plan_merge(&self, operation: &Operation, plan: &mut Plan) -> Result<(), Error> {
        let Operation { from, to, since, .. } = *operation;
        let is_elsewhere = link_of(&*self.store, from)?.is_some() || link_of(&*self.store, to)?.is_some();
        let is_erased = self.store.tombstone(to)?.is_some() || self.store.tombstone(from)?.is_some();
        if is_elsewhere || is_erased {
            return Err(Error::LinkNotStored { id: from });
        }
        // The claim may have named another name of the person, linked later than this.
        let beyond = if operation.linked_to == to { None } else { self.path(operation.linked_to)? };
        let visible_since = beyond.map_or(since, |path| path.since.max(since));
        let mut states = LiveStates::load(&*self.store, &plan.live, to)?;
        let had_events = states.watermark() > 0;
        let removed = Base::of(&*self.store, from)?;
        let before = states.watermark();
        if let Some(removed) = &removed {
            self.plan_base(operation, removed, visible_since, (&mut states, plan))?;
        }
        // Retractions of events that are left out, and under which id the person has those.
        let mut of_left_out: HashMap<MessageKey, Option<UserKey>> = HashMap::new();
        for record in self.store.events(from)? {
            let stored = rebuild::decode(record?)?;
            let message_key = stored.event.message_key;
            plan.relocation.events.push((from, stored.sequence, message_key));
            if had_events && let Some(stored) = retraction::stored_original(&*self.store, to, message_key)? {
                of_left_out.insert(message_key.of_retraction(), stored.origin);
                continue;
            }
            // The person had it, and it was kept long enough.
            if had_events && self.store.contains_message(to, message_key)? {
                continue;
            }
            let seen_from = stored.visible_at().max(visible_since);
            let visible_from = (seen_from > stored.event.event_time).then_some(seen_from);
            let own = Some(stored.origin.unwrap_or(from));
            let origin = of_left_out.get(&message_key).copied().unwrap_or(own);
            let event = Event { user: to, ..stored.event };
            if removed.as_ref().is_some_and(|removed| stored.sequence <= removed.sequence) {
                plan.put(&event, before.saturating_add(stored.sequence), (origin, visible_from))?;
            } else {
                plan.append(&mut states, &event, (origin, visible_from))?;
            }
            plan.moved += 1;
        }
        if removed.is_some() || !plan.relocation.events.is_empty() {
            plan.relocation.users.push(from);
            plan.counters.erased_users += 1;
        }
        if removed.is_some() || plan.moved > 0 {
            plan.counters.users += u64::from(!had_events);
            plan.keep(&states, to);
        }
        for link in links_to(&*self.store, from)? {
            let record = Link { person: to, ..link.clone() }.encoded();
            plan.relocation.links.push(NewLink {
                id: link.id,
                before: Some(from),
                after: Some((to, record)),
            });
        }
        let link = Link {
            id: operation.id,
            person: to,
            linked_to: operation.linked_to,
            since,
            by: operation.by,
            former: Vec::new(),
        };
        plan.relocation.links.push(NewLink { id: link.id, before: None, after: Some((to, link.encoded())) });
        Ok(())
    }

    /// Events of the other log are gone: what they made is merged into the person's states, which become the person's
    /// base. What is left of them takes the places that it had in the other log, behind the person's own.
    fn plan_base(
        &self,
        operation: &Operation,
        removed: &Base,
        visible_since: Timestamp,
        (states, plan): (&mut LiveStates, &mut Plan),
    ) -> Result<(), Error> {
        let Operation { from, to, .. } = *operation;
        let (own, before) = (Base::of(&*self.store, to)?, states.watermark());
        let mut base = own.unwrap_or_default();
        for record in self.store.events(to)? {
            let stored = rebuild::decode(record?)?;
            base.visible_at = base.visible_at.max(stored.visible_at());
            if let Some(origin) = stored.origin {
                base.put_origin(origin);
            }
        }
        for origin in removed.origins.iter().copied().chain([from]) {
            base.put_origin(origin);
        }
        base.removed = base.removed.saturating_add(removed.removed);
        base.visible_at = base.visible_at.max(removed.visible_at).max(visible_since);
        let others = LiveStates::beginning_beside(&*self.store, &plan.live, from, states)?;
        let twice = self.known_twice(from, to, removed)?;
        if twice.is_empty() {
            states.merge(&others, &plan.live);
        } else {
            *states = self.merged_without(to, &twice, &others, plan)?;
        }
        base.sequence = states.watermark();
        let mut encoded = Vec::new();
        states.encode(to, &plan.live, &mut encoded);
        base.states.clear();
        for (generation, _, record) in encoded {
            base.put_state(generation, record);
        }
        plan.relocation.bases = vec![(from, None), (to, Some(base.encoded()))];
        // Marks whose events are gone; the others move with theirs, which are written later.
        for (message_key, sequence) in self.store.marks(from)? {
            if sequence <= removed.sequence && !self.store.contains_message(to, message_key)? {
                let sequence = before.saturating_add(sequence);
                plan.relocation.marks.push(MovedMark { from, to, message_key, sequence });
            }
        }
        Ok(())
    }

    /// Messages that are in the base of `from` and that the person has, too.
    fn known_twice(
        &self,
        from: UserKey,
        person: UserKey,
        removed: &Base,
    ) -> Result<HashSet<MessageKey>, Error> {
        let mut twice = HashSet::new();
        for (message_key, sequence) in self.store.marks(from)? {
            if sequence <= removed.sequence && self.store.contains_message(person, message_key)? {
                twice.insert(message_key);
            }
        }
        Ok(twice)
    }

    /// The person's states and the others as one, without those events of the person's log that the others count. What
    /// is in the bases of both cannot be told apart and counts twice.
    fn merged_without(
        &self,
        person: UserKey,
        twice: &HashSet<MessageKey>,
        others: &LiveStates,
        plan: &Plan,
    ) -> Result<LiveStates, Error> {
        let own = Base::of(&*self.store, person)?.map_or(0, |base| base.sequence);
        let mut states = LiveStates::beginning(&*self.store, &plan.live, person)?;
        states.merge(others, &plan.live);
        for record in self.store.events_after(person, own)? {
            let stored = rebuild::decode(record?)?;
            if twice.contains(&stored.event.message_key) {
                states.pass_over();
            } else {
                states.apply(&stored.event, &plan.live);
            }
        }
        Ok(states)
    }

    fn plan_rebind(&self, operation: &Operation, plan: &mut Plan) -> Result<(), Error> {
        let Operation { id, to, from, .. } = *operation;
        let link = link_of(&*self.store, id)?.filter(|link| link.person == from);
        let Some(Link { mut former, .. }) = link else { return Err(Error::LinkNotStored { id }) };
        former.push(from);
        let (linked_to, since, by) = (operation.linked_to, operation.since, operation.by);
        let link = Link { id, person: to, linked_to, since, by, former };
        plan.relocation.links.push(NewLink { id, before: Some(from), after: Some((to, link.encoded())) });
        Ok(())
    }

    /// What came under the id, or under one that was linked to it, goes back; the rest closes up.
    fn plan_split(&self, operation: &Operation, plan: &mut Plan) -> Result<(), Error> {
        let Operation { id, from, .. } = *operation;
        let links = links_to(&*self.store, from)?;
        if !links.iter().any(|link| link.id == id) {
            return Err(Error::LinkNotStored { id });
        }
        let ids = subtree(id, &links);
        let back: HashSet<UserKey> = ids.iter().copied().collect();
        let links: HashMap<UserKey, Link> = links.into_iter().map(|link| (link.id, link)).collect();
        let removed = Base::of(&*self.store, from)?.unwrap_or_default();
        if removed.origins.iter().any(|origin| back.contains(origin)) {
            return Err(Error::HistoryRemoved { id });
        }
        let mut moved_on =
            MovedOn { store: &*self.store, person: from, back: &back, links: &links, goes: HashMap::new() };
        let mut kept = LiveStates::beginning(&*self.store, &plan.live, from)?;
        let mut moved = LiveStates::load(&*self.store, &plan.live, id)?;
        for record in self.store.events_after(from, removed.sequence)? {
            let stored = rebuild::decode(record?)?;
            let message_key = stored.event.message_key;
            let goes = match stored.origin {
                Some(origin) => back.contains(&origin) || moved_on.goes(origin)?,
                None => false,
            };
            match stored.origin.filter(|_| goes) {
                Some(origin) => {
                    plan.relocation.events.push((from, stored.sequence, message_key));
                    let is_linked = links.contains_key(&origin);
                    let visible_from =
                        if is_linked { seen_from(&stored, origin, id, &links) } else { stored.visible_from };
                    let event = Event { user: id, ..stored.event };
                    let origin = (origin != id).then_some(origin);
                    plan.append(&mut moved, &event, (origin, visible_from))?;
                    plan.moved += 1;
                }
                None if plan.moved == 0 => kept.apply(&stored.event, &plan.live),
                None => {
                    plan.relocation.events.push((from, stored.sequence, message_key));
                    let provenance = (stored.origin, stored.visible_from);
                    plan.append(&mut kept, &stored.event, provenance)?;
                }
            }
        }
        if plan.moved > 0 {
            plan.keep(&moved, id);
            plan.counters.users += 1;
            if kept.watermark() == 0 {
                plan.relocation.users.push(from);
                plan.counters.erased_users += 1;
            } else {
                plan.keep(&kept, from);
            }
        }
        for link in ids.iter().filter_map(|id| links.get(id)) {
            let record = Link { person: id, ..link.clone() }.encoded();
            let after = (link.id != id).then_some((id, record));
            plan.relocation.links.push(NewLink { id: link.id, before: Some(from), after });
        }
        Ok(())
    }

    /// Nobody may be shown more for having two names: a merged person has seen what both have, and both keep what the
    /// person has seen when they part.
    fn plan_exposures(&self, operation: &Operation, plan: &mut Plan) -> Result<(), Error> {
        let Operation { from, to, .. } = *operation;
        let list = |user: UserKey| {
            let Some(record) = self.store.exposures(user)? else { return Ok(Vec::new()) };
            let list = exposure::decode(&record);
            list.map_err(|source| Error::corrupted(format!("exposures of user {user}"), source))
        };
        if operation.change == Change::Rebind {
            return Ok(());
        }
        let mut all = list(to)?;
        let mut other = list(from)?;
        if operation.change == Change::Split {
            // A report reaches one of the two, so what is held counts for good with both.
            for exposure in all.iter_mut().chain(&mut other) {
                exposure.holds_until = None;
            }
            if !other.is_empty() {
                let mut record = Vec::new();
                exposure::encode(&other, &mut record);
                plan.relocation.exposures.push((from, Some(record)));
            }
        }
        for exposure in other {
            // Both have it already if they were one person before.
            let is_known = exposure.decision != DecisionId::NONE
                && all.iter().any(|known| known.decision == exposure.decision);
            if !is_known {
                exposure::add(&mut all, &exposure);
            }
        }
        if all.is_empty() {
            return Ok(());
        }
        let mut record = Vec::new();
        exposure::encode(&all, &mut record);
        plan.relocation.exposures.push((to, Some(record)));
        if operation.change == Change::Merge {
            plan.relocation.exposures.push((from, None));
        }
        Ok(())
    }
}

/// What an id said goes with it: into the person's record, and out of it again.
impl Identity {
    fn plan_profiles(&self, operation: &Operation, plan: &mut Plan) -> Result<(), Error> {
        let Operation { id, from, to, since, .. } = *operation;
        let (of_from, mut of_to) = (self.sections(from)?, self.sections(to)?);
        // On a device that moves on, what was said before stays where it is.
        if operation.change == Change::Rebind || of_from.is_empty() {
            return Ok(());
        }
        let goes: HashSet<UserKey> = match operation.change {
            Change::Split => subtree(id, &links_to(&*self.store, from)?).into_iter().collect(),
            _ => of_from.iter().map(|section| section.origin).collect(),
        };
        let (moved, kept): (Vec<_>, Vec<_>) =
            of_from.into_iter().partition(|section| goes.contains(&section.origin));
        for mut section in moved {
            section.joined_at = match operation.change {
                Change::Split => section.joined_at.filter(|_| section.origin != id),
                _ => section.joined_at.max(Some(since)),
            };
            profile::put(&mut of_to, section);
        }
        for (user, sections) in [(from, kept), (to, of_to)] {
            let record = (!sections.is_empty()).then(|| profile::encode(&sections));
            plan.relocation.profiles.push((user, record));
        }
        Ok(())
    }

    pub(crate) fn sections(&self, person: UserKey) -> Result<profile::Sections, Error> {
        profile::stored(self.store.profile(person)?, person)
    }
}

/// Devices of which a person that is split has events, and which are another person's by now.
struct MovedOn<'a> {
    store: &'a dyn Store,
    person: UserKey,
    back: &'a HashSet<UserKey>,
    links: &'a HashMap<UserKey, Link>,
    /// What was found.
    goes: HashMap<UserKey, bool>,
}

impl MovedOn<'_> {
    /// Whether the device left its events with an id that goes back, and with nobody who stays.
    fn goes(&mut self, device: UserKey) -> Result<bool, Error> {
        if self.links.contains_key(&device) {
            return Ok(false);
        }
        if let Some(known) = self.goes.get(&device) {
            return Ok(*known);
        }
        let former = link_of(self.store, device)?.map_or_else(Vec::new, |link| link.former);
        let stays =
            |id: &UserKey| *id == self.person || (self.links.contains_key(id) && !self.back.contains(id));
        let goes = former.iter().any(|id| self.back.contains(id)) && !former.iter().any(stays);
        self.goes.insert(device, goes);
        Ok(goes)
    }
}

/// From when an event is visible to `person`, if not from its own time on, once its other links are undone.
fn seen_from(
    stored: &StoredEvent,
    origin: UserKey,
    person: UserKey,
    links: &HashMap<UserKey, Link>,
) -> Option<Timestamp> {
    let event = &stored.event;
    // The record of a retraction does not tell when it was made, but it was before it came, and before it was visible here.
    let retracted = || stored.visible_at().min(event.received_at);
    let own = if event.kind == EventKind::Retract { retracted() } else { event.event_time };
    let (mut from, mut at) = (own.max(event.event_time), origin);
    for _ in 0..links.len() {
        if at == person {
            break;
        }
        let Some(link) = links.get(&at) else { break };
        from = from.max(link.since);
        at = link.linked_to;
    }
    (from > event.event_time).then_some(from)
}

/// A commit that is being put together.
struct Plan {
    live: Arc<Live>,
    events: Vec<NewEvent>,
    states: Vec<(Generation, UserKey, Vec<u8>)>,
    retention: Retention,
    due: BTreeSet<Due>,
    relocation: Relocation,
    counters: Counters,
    bytes: usize,
    moved: u64,
}

impl Plan {
    fn new(turn: &Turn<'_>) -> Self {
        Self {
            live: turn.generations.live(),
            events: Vec::new(),
            states: Vec::new(),
            retention: turn.retention.clone(),
            due: BTreeSet::new(),
            relocation: Relocation::default(),
            counters: turn.counters(),
            bytes: 0,
            moved: 0,
        }
    }

    /// Behind the events that the states have seen.
    fn append(
        &mut self,
        states: &mut LiveStates,
        event: &Event,
        (origin, visible_from): (Option<UserKey>, Option<Timestamp>),
    ) -> Result<(), Error> {
        states.apply(event, &self.live);
        self.put(event, states.watermark(), (origin, visible_from))
    }

    /// At a place in the log that the states have seen.
    fn put(
        &mut self,
        event: &Event,
        sequence: u64,
        (origin, visible_from): (Option<UserKey>, Option<Timestamp>),
    ) -> Result<(), Error> {
        let mut record = Vec::new();
        event_record::encode(event, origin, visible_from, &mut record);
        self.bytes = self.bytes.saturating_add(record.len());
        if self.bytes > MAX_MOVED_BYTES {
            return Err(Error::MoveTooLarge { limit: MAX_MOVED_BYTES });
        }
        let (user, message_key) = (event.user, event.message_key);
        self.due.extend(self.retention.days(event).map(|day| Due { day, user }));
        self.events.push(NewEvent { user, sequence, message_key, record });
        Ok(())
    }

    fn keep(&mut self, states: &LiveStates, user: UserKey) {
        states.encode(user, &self.live, &mut self.states);
    }
}
