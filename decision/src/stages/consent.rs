//! Whether the person lets an action be given: consents to the purposes it needs, and channels that nothing is wanted
//! from.
//!
//! What is not known is refused: a purpose that nobody was asked about, and everything that needs a consent or has a
//! channel while the profile cannot be read. Not here: which parts of a profile are looked at (`person`).

use std::sync::Arc;

use augur_domain::decision::{Availability, Person};
use augur_domain::{Reason, ReasonCode};

use crate::snapshot::Action;

/// The channel that stands for all of them, in a person's suppressions.
pub(crate) const EVERY_CHANNEL: &str = "*";

/// Why the person must not be given the action; `None` when nothing is in the way.
pub(crate) fn refusal(action: &Action, person: &Person) -> Option<Reason> {
    if person.availability != Availability::Available {
        return unreadable(action, person.availability);
    }
    if !action.channel.is_empty()
        && let Some(channel) =
            suppressed(person, EVERY_CHANNEL).or_else(|| suppressed(person, &action.channel))
    {
        return Some(Reason::with(ReasonCode::Suppressed, Arc::clone(channel)));
    }
    let denied = action.requires_consent.iter().find(|purpose| !consented(person, purpose))?;
    Some(Reason::with(ReasonCode::NoConsent, Arc::clone(denied)))
}

fn suppressed<'p>(person: &'p Person, channel: &str) -> Option<&'p Arc<str>> {
    let place = person.suppressed.binary_search_by(|known| (**known).cmp(channel)).ok()?;
    person.suppressed.get(place)
}

fn consented(person: &Person, purpose: &str) -> bool {
    let place = person.consents.binary_search_by(|(known, _)| (**known).cmp(purpose)).ok();
    place.and_then(|place| person.consents.get(place)).is_some_and(|(_, granted)| *granted)
}

/// Nobody knows what the person said, so whatever could be against it is refused.
fn unreadable(action: &Action, cause: Availability) -> Option<Reason> {
    let (code, what) = match (action.requires_consent.first(), &*action.channel) {
        (Some(purpose), _) => (ReasonCode::NoConsent, &**purpose),
        (None, "") => return None,
        (None, channel) => (ReasonCode::Suppressed, channel),
    };
    Some(Reason::with(code, format!("{what}: profile {}", cause.as_str()).into()))
}
