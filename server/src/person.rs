//! What a decision is told of the person: the parts of the profile that its decision point looks at, and what the
//! request says beside it.
//!
//! Not here: reading profiles (`decide`), or what is done with them (`augur_decision`).

use std::collections::BTreeMap;
use std::sync::Arc;

use augur_decision::{PersonNeeds, PolicySnapshot};
use augur_domain::Value;
use augur_domain::decision::{Availability, Person};
use augur_feature_store::Profile;
use augur_feature_store::profile::{EVERY_CHANNEL, Entries, MAX_NAMES};

use crate::Error;
use crate::services::profiles::check_time_zone;
use crate::suggest::did_you_mean;

/// What a request says of the person. It holds for this decision alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asserted {
    /// Name of an IANA time zone; stands before the stored one.
    pub time_zone: Option<Arc<str>>,
    /// By purpose, ordered by name: a denial restricts what is stored; a grant counts only if the policy says so, and
    /// never against a stored denial.
    pub consents: Vec<(Arc<str>, bool)>,
}

impl Asserted {
    /// # Errors
    /// [`Error::InvalidField`] for what is no time zone, for too many purposes, and for one that no action of the policy
    /// needs: a denial with a slip of the pen in it must not pass for nothing.
    pub(crate) fn from_wire(
        policy: &PolicySnapshot,
        time_zone: &str,
        consents: BTreeMap<String, bool>,
    ) -> Result<Self, Error> {
        check_time_zone(time_zone)?;
        if consents.len() > MAX_NAMES {
            let problem = format!("{} purposes", consents.len());
            return Err(Error::field("consents", problem, format!("at most {MAX_NAMES}")));
        }
        let purposes = policy.purposes();
        let known = |(name, granted): (String, bool)| match purposes.iter().find(|known| ***known == *name) {
            Some(known) => Ok((Arc::clone(known), granted)),
            None => {
                let shown: String = name.chars().take(64).collect();
                let hint = did_you_mean(&shown, purposes.iter().map(|known| &**known));
                let expected = if hint.is_empty() { String::new() } else { format!("; {hint}") };
                Err(Error::field(
                    "consents",
                    format!("no action of the policy needs a consent to `{shown}`"),
                    format!("purposes of `requires_consent`{expected}"),
                ))
            }
        };
        Ok(Self {
            time_zone: (!time_zone.is_empty()).then(|| time_zone.into()),
            consents: consents.into_iter().map(known).collect::<Result<_, _>>()?,
        })
    }
}

/// What the decision point looks at. Without a profile, because it could not be read, what the request says is all there
/// is, and `availability` says why.
pub(crate) fn person(
    policy: &PolicySnapshot,
    needs: &PersonNeeds,
    profile: Result<&Profile, Availability>,
    asserted: &Asserted,
) -> Person {
    let nothing = Profile::default();
    let (stored, availability) = match profile {
        Ok(profile) => (profile, Availability::Available),
        Err(cause) => (&nothing, cause),
    };
    let zone = || stored.time_zone.as_ref().and_then(|said| said.value.clone());
    let consents = needs.purposes().iter().filter_map(|purpose| {
        let said = said(&stored.consents, purpose).copied();
        let asked = asserted.consents.iter().find(|(known, _)| known == purpose).map(|(_, granted)| *granted);
        Some((Arc::clone(purpose), consent(said, asked, policy.consent_from_request())?))
    });
    let channels = std::iter::once(EVERY_CHANNEL).filter(|_| !needs.channels().is_empty());
    let channels = channels.chain(needs.channels().iter().map(|channel| &**channel));
    let suppressed = channels.filter_map(|channel| {
        let (name, said) = entry(&stored.suppressions, channel)?;
        said.then(|| Arc::clone(name))
    });
    let traits = needs.traits().iter().filter_map(|name| {
        let value: &Value = said(&stored.traits, name)?.as_ref()?;
        Some((Arc::clone(name), value.clone()))
    });
    Person {
        availability,
        time_zone: needs.time_zone().then(|| asserted.time_zone.clone().or_else(zone)).flatten(),
        traits: traits.collect(),
        consents: consents.collect(),
        suppressed: suppressed.collect(),
    }
}

/// What is known of one consent, of what is stored and what the request says.
fn consent(stored: Option<bool>, asked: Option<bool>, may_grant: bool) -> Option<bool> {
    match (stored, asked) {
        (_, Some(false)) => Some(false),
        (Some(stored), _) => Some(stored),
        (None, Some(true)) if may_grant => Some(true),
        (None, _) => None,
    }
}

fn said<'p, T>(entries: &'p Entries<T>, name: &str) -> Option<&'p T> {
    entry(entries, name).map(|(_, value)| value)
}

fn entry<'p, T>(entries: &'p Entries<T>, name: &str) -> Option<(&'p Arc<str>, &'p T)> {
    let place = entries.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
    entries.get(place).map(|(name, said)| (name, &said.value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_restricts_and_grants_only_where_it_may_and_nobody_denied() {
        let all = [None, Some(false), Some(true)];
        for (stored, asked) in all.into_iter().flat_map(|stored| all.map(|asked| (stored, asked))) {
            for may_grant in [false, true] {
                let known = consent(stored, asked, may_grant);
                let denied = stored == Some(false) || asked == Some(false);
                let granted = stored == Some(true) || (may_grant && asked == Some(true));
                let expected = if denied { Some(false) } else { granted.then_some(true) };
                assert_eq!(known, expected, "{stored:?} {asked:?} {may_grant}");
            }
        }
    }
}
