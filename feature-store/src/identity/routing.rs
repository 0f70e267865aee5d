//! Where the events of an id go while links are being made and undone, and which links are refused.
//!
//! A change is checked and published here under the routing lock, then carried out by a writer, then settled here
//! again. While it is under way, a person's number of links is kept in memory, so that bounds are exact. Not here: the
//! queues (`writer`), or the move itself (`moving`).

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use augur_domain::event::{ClaimedBy, IdentityClaim, Quarantine, QuarantineReason};
use augur_domain::{Timestamp, UserKey};

use super::{
    Identity, Incoming, Link, MAX_FORMER_PERSONS, SharedDevice, UNLINK_FACTOR, link_of, links_to, refusal,
};
use crate::Error;

/// What is different from the stored links because of changes under way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Routing {
    operations: u64,
    routes: HashMap<UserKey, Route>,
    persons: HashMap<UserKey, Pending>,
}

#[derive(Debug, Clone, Copy)]
struct Route {
    operation: u64,
    person: UserKey,
}

/// A person of whom changes are under way.
#[derive(Debug, Clone, Copy)]
struct Pending {
    /// Linked ids, those on their way included.
    links: usize,
    operations: usize,
}

/// The routing, held so that it stays as it is, or so that it may change.
#[derive(Debug)]
pub(crate) enum Routes<'a> {
    /// For events of which no claim changes anything.
    Settled(&'a Routing),
    Changing(&'a mut Routing),
}

impl Routes<'_> {
    pub(crate) const fn get(&self) -> &Routing {
        match self {
            Self::Settled(routing) => routing,
            Self::Changing(routing) => routing,
        }
    }
}

/// A change of links on its way through the writers.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    number: u64,
    pub(crate) change: Change,
    /// The id in question.
    pub(crate) id: UserKey,
    /// Whose log its events went into before.
    pub(crate) from: UserKey,
    /// Whose log its events go into from now on.
    pub(crate) to: UserKey,
    /// The id named by the claim: `to`, or another name of it.
    pub(crate) linked_to: UserKey,
    pub(crate) since: Timestamp,
    pub(crate) by: ClaimedBy,
    /// Every id that goes another way, `id` first.
    ids: Vec<UserKey>,
    /// What it changes in persons' numbers of links.
    counts: Vec<(UserKey, isize)>,
}

/// Kinds of [`Operation`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Everything of `id` becomes part of `to`.
    Merge,
    /// New events of the device go to `to`; the old ones stay with `from`.
    Rebind,
    /// Everything that came under `id` leaves `from` again.
    Split,
}

impl Operation {
    /// Whose writer carries it out: the one that owns the person's log.
    pub(crate) const fn performer(&self) -> UserKey {
        match self.change {
            Change::Merge | Change::Rebind => self.to,
            Change::Split => self.from,
        }
    }

    /// Whose writer waits meanwhile.
    pub(crate) const fn other(&self) -> UserKey {
        match self.change {
            Change::Merge | Change::Rebind => self.from,
            Change::Split => self.to,
        }
    }
}

/// What is to be done about a claim.
#[derive(Debug)]
pub(crate) enum Claimed {
    /// Nothing; the event needs this link, if any.
    Settled(Option<UserKey>),
    /// Nothing: the device stays where it is.
    Kept,
    /// The claim is refused.
    Refused(Quarantine),
    /// The change is published; it must be carried out.
    Begun(Operation),
}

impl Identity {
    /// Where the events of an id go.
    pub(crate) fn route(&self, routing: &Routing, id: UserKey) -> Result<UserKey, Error> {
        match routing.routes.get(&id) {
            Some(route) => Ok(route.person),
            None => self.person(id),
        }
    }

    /// Whether no claim among the events changes anything.
    pub(crate) fn all_settled(&self, routing: &Routing, events: &[Incoming]) -> Result<bool, Error> {
        for Incoming { event, claim } in events {
            let Some(claim) = claim else { continue };
            if self.settled(routing, event.user, *claim)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn settled(
        &self,
        routing: &Routing,
        user: UserKey,
        claim: IdentityClaim,
    ) -> Result<Option<Claimed>, Error> {
        if claim.id == user {
            return Ok(Some(Claimed::Settled(None)));
        }
        let (person, holder) = (self.route(routing, user)?, self.route(routing, claim.id)?);
        if holder == person && claim.id != person {
            return Ok(Some(Claimed::Settled(Some(claim.id))));
        }
        let is_elsewhere = holder != claim.id && holder != person;
        let stays =
            is_elsewhere && claim.by == ClaimedBy::Device && self.config.shared_device == SharedDevice::Keep;
        Ok(stays.then_some(Claimed::Kept))
    }

    /// Looks at a claim that `user` also goes by another id, and begins what it asks for.
    pub(crate) fn claim(
        &self,
        routes: &mut Routes<'_>,
        user: UserKey,
        claim: IdentityClaim,
        since: Timestamp,
    ) -> Result<Claimed, Error> {
        if let Some(settled) = self.settled(routes.get(), user, claim)? {
            return Ok(settled);
        }
        let Routes::Changing(routing) = routes else { return Ok(Claimed::Settled(None)) };
        let (to, from) = (self.route(routing, user)?, self.route(routing, claim.id)?);
        if self.store.tombstone(to)?.is_some() || self.store.tombstone(from)?.is_some() {
            // The event of an erased user is suppressed, and takes nobody along. An erased id comes back when it is
            // readmitted, and not by another name.
            return Ok(Claimed::Kept);
        }
        if from == to {
            let problem = format!("{} is an alias of {}, the former id named", user, claim.id);
            return Ok(Claimed::Refused(refusal(
                QuarantineReason::LinkCycle,
                field_of(claim.by),
                problem,
                "another id, or that link undone first",
            )));
        }
        let (change, members) = if from == claim.id {
            (Change::Merge, self.members(routing, from)?)
        } else if claim.by == ClaimedBy::Device && self.config.shared_device == SharedDevice::Move {
            (Change::Rebind, Vec::new())
        } else {
            let problem = format!("{} belongs to {from}", claim.id);
            let expected = "an id that belongs to nobody else, or its link undone first";
            return Ok(Claimed::Refused(refusal(
                QuarantineReason::LinkedElsewhere,
                field_of(claim.by),
                problem,
                expected,
            )));
        };
        if let Some(refused) = self.beyond_bounds(routing, change, claim, to, members.len())? {
            return Ok(Claimed::Refused(refused));
        }
        let moved = members.len() as isize + 1;
        let counts = match change {
            Change::Merge => vec![(from, 1 - moved), (to, moved)],
            Change::Rebind | Change::Split => vec![(from, -1), (to, 1)],
        };
        let mut ids = vec![claim.id];
        ids.extend(members);
        let operation = Operation {
            number: 0,
            change,
            id: claim.id,
            from,
            to,
            linked_to: user,
            since,
            by: claim.by,
            ids,
            counts,
        };
        self.begin(routing, operation).map(Claimed::Begun)
    }

    fn beyond_bounds(
        &self,
        routing: &Routing,
        change: Change,
        claim: IdentityClaim,
        to: UserKey,
        members: usize,
    ) -> Result<Option<Quarantine>, Error> {
        let limit = self.config.max_links_per_person;
        let links = self.links_of(routing, to)?;
        if links + members + 1 > limit {
            let problem = format!("the person has {links} linked ids, and {} more would join", members + 1);
            let expected = format!("at most {limit}");
            return Ok(Some(refusal(QuarantineReason::TooManyLinks, "user_id", problem, expected)));
        }
        if change == Change::Rebind {
            let former = link_of(&*self.store, claim.id)?.map_or(0, |link| link.former.len());
            let problem = format!("the device has moved {former} times");
            let expected = format!("at most {MAX_FORMER_PERSONS} times");
            let refused = refusal(QuarantineReason::TooManyLinks, field_of(claim.by), problem, expected);
            return Ok((former >= MAX_FORMER_PERSONS).then_some(refused));
        }
        let (events, limit) = (self.store.last_sequence(claim.id)?, self.config.max_merge_events);
        let problem = format!("the id has {events} events");
        let expected = format!("at most {limit}");
        let refused = refusal(QuarantineReason::MergeTooLarge, field_of(claim.by), problem, expected);
        Ok((events > limit).then_some(refused))
    }

    /// Begins to undo the link of an id.
    ///
    /// `None` while other changes of the person are under way; [`Claimed::Settled`] when there is no link.
    pub(crate) fn unclaim(&self, routing: &mut Routing, id: UserKey) -> Result<Option<Claimed>, Error> {
        let Some(link) = link_of(&*self.store, id)? else {
            return Ok((!routing.routes.contains_key(&id)).then_some(Claimed::Settled(None)));
        };
        let from = link.person;
        if [id, from].iter().any(|key| routing.persons.contains_key(key) || routing.routes.contains_key(key))
        {
            return Ok(None);
        }
        let limit = self.config.max_merge_events.saturating_mul(UNLINK_FACTOR);
        let events = self.store.last_sequence(from)?;
        if events > limit {
            let problem = format!("the person has {events} events, which would be written again");
            let refused =
                refusal(QuarantineReason::MergeTooLarge, "user_id", problem, format!("at most {limit}"));
            return Ok(Some(Claimed::Refused(refused)));
        }
        let ids = subtree(id, &links_to(&*self.store, from)?);
        let moved = ids.len() as isize;
        let operation = Operation {
            number: 0,
            change: Change::Split,
            id,
            from,
            to: id,
            linked_to: id,
            since: link.since,
            by: link.by,
            ids,
            counts: vec![(from, -moved), (id, moved - 1)],
        };
        self.begin(routing, operation).map(|begun| Some(Claimed::Begun(begun)))
    }

    fn begin(&self, routing: &mut Routing, mut operation: Operation) -> Result<Operation, Error> {
        let mut persons = Vec::with_capacity(operation.counts.len());
        for (person, _) in &operation.counts {
            persons.push((*person, self.links_of(routing, *person)?));
        }
        routing.operations += 1;
        operation.number = routing.operations;
        for ((person, links), (_, change)) in persons.into_iter().zip(&operation.counts) {
            let pending = routing.persons.entry(person).or_insert(Pending { links, operations: 0 });
            pending.links = pending.links.saturating_add_signed(*change);
            pending.operations += 1;
        }
        let route = Route { operation: operation.number, person: operation.to };
        for id in &operation.ids {
            routing.routes.insert(*id, route);
        }
        self.any.store(true, Ordering::Release);
        Ok(operation)
    }

    /// Ends a change: it is stored, or it will never be.
    pub(crate) fn settle(&self, operation: &Operation, stored: bool) {
        if !stored {
            // A write that failed, or a panic, may have come after the change.
            operation.ids.iter().for_each(|id| self.cache.forget(*id));
        }
        let mut routing = self.routing.write();
        for id in &operation.ids {
            if routing.routes.get(id).is_some_and(|route| route.operation == operation.number) {
                routing.routes.remove(id);
            }
        }
        for (person, change) in &operation.counts {
            let Some(pending) = routing.persons.get_mut(person) else { continue };
            if !stored {
                pending.links = pending.links.saturating_add_signed(-change);
            }
            pending.operations -= 1;
            if pending.operations == 0 {
                routing.persons.remove(person);
            }
        }
    }

    fn links_of(&self, routing: &Routing, person: UserKey) -> Result<usize, Error> {
        match routing.persons.get(&person) {
            Some(pending) => Ok(pending.links),
            None => Ok(self.store.linked_ids(person)?.len()),
        }
    }

    /// Every id whose events go to `person`, itself left out.
    fn members(&self, routing: &Routing, person: UserKey) -> Result<Vec<UserKey>, Error> {
        let mut members = Vec::new();
        for id in self.store.linked_ids(person)? {
            if self.route(routing, id)? == person {
                members.push(id);
            }
        }
        for (id, route) in &routing.routes {
            if route.person == person && *id != person && !members.contains(id) {
                members.push(*id);
            }
        }
        Ok(members)
    }
}

/// `id` and every id that was linked to it or to one of those.
pub(super) fn subtree(id: UserKey, links: &[Link]) -> Vec<UserKey> {
    let mut children: HashMap<UserKey, Vec<UserKey>> = HashMap::new();
    for link in links {
        children.entry(link.linked_to).or_default().push(link.id);
    }
    let (mut ids, mut next) = (vec![id], 0);
    while let Some(parent) = ids.get(next) {
        ids.extend(children.remove(parent).unwrap_or_default());
        next += 1;
    }
    ids
}

/// The field that named the id to be linked.
const fn field_of(by: ClaimedBy) -> &'static str {
    match by {
        ClaimedBy::Device => "anonymous_id",
        ClaimedBy::Alias => "previous_id",
        ClaimedBy::Operator => "id",
    }
}
