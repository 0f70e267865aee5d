//! `ProfileService`.
//!
//! Not here: what contradicting statements come to (`augur_feature_store::profile`).

use std::collections::BTreeMap;
use std::sync::Arc;

use augur_domain::time::MINUTE_MS;
use augur_domain::{Timestamp, Value};
use augur_feature_store::Profile;
use augur_feature_store::profile::{EVERY_CHANNEL, Entries, MAX_NAMES, Said};
use augur_proto::convert::value::{subject_from_wire, value_from_wire, value_to_wire};
use augur_proto::convert::{timestamp_from_wire, timestamp_to_wire};
use augur_proto::v1;
use augur_proto::v1::profile_service_server::ProfileService;
use tonic::{Request, Response, Status};

use super::blocking;
use crate::{App, Error};

/// A change from further ahead would beat all that is really said later.
const MAX_AHEAD_MS: i64 = 5 * MINUTE_MS;
/// Bytes of a trait that is a text.
const MAX_TRAIT_BYTES: usize = 256;
/// Bytes of a time zone's name.
pub(crate) const MAX_TIME_ZONE_BYTES: usize = 64;

#[derive(Debug)]
pub(super) struct Profiles {
    app: Arc<App>,
}

impl Profiles {
    pub(super) fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl ProfileService for Profiles {
    async fn update_profile(
        &self,
        request: Request<v1::UpdateProfileRequest>,
    ) -> Result<Response<v1::UpdateProfileResponse>, Status> {
        let request = request.into_inner();
        let subject = subject_from_wire(request.subject.as_ref(), "subject").map_err(Error::from)?;
        let id = self.app.user_key(subject);
        let change = change_from_wire(request, self.app.clock().now())?;
        let profile = blocking(&self.app, move |app| Ok(app.store().update_profile(id, &change)?)).await?;
        self.app.metrics().profile_updates.increment(1);
        Ok(Response::new(v1::UpdateProfileResponse { profile: Some(profile_to_wire(&profile)) }))
    }

    async fn get_profile(
        &self,
        request: Request<v1::GetProfileRequest>,
    ) -> Result<Response<v1::GetProfileResponse>, Status> {
        let request = request.into_inner();
        let subject = subject_from_wire(request.subject.as_ref(), "subject").map_err(Error::from)?;
        let id = self.app.user_key(subject);
        let profile = blocking(&self.app, move |app| Ok(app.store().profile(id)?)).await?;
        Ok(Response::new(v1::GetProfileResponse { profile: Some(profile_to_wire(&profile)) }))
    }
}

fn change_from_wire(wire: v1::UpdateProfileRequest, now: Timestamp) -> Result<Profile, Error> {
    let at = match &wire.at {
        None => now,
        Some(at) => timestamp_from_wire(at, "at")?,
    };
    if at > now.plus_millis(MAX_AHEAD_MS) {
        return Err(Error::field("at", format!("{at}, and it is {now}"), "at most five minutes ahead"));
    }
    let removed = wire.removed_traits.into_iter().map(|name| (name, None));
    let mut traits: BTreeMap<String, Option<v1::Value>> = removed.collect();
    for (name, value) in wire.traits {
        if traits.insert(name.clone(), Some(value)).is_some() {
            return Err(Error::field(
                "removed_traits",
                format!("`{name}` is in `traits`, too"),
                "one of the two",
            ));
        }
    }
    Ok(Profile {
        time_zone: wire.time_zone.map(|name| time_zone(name, at)).transpose()?,
        traits: entries(traits, ("traits", &[]), at, trait_from_wire)?,
        consents: entries(wire.consents, ("consents", &[]), at, |_, granted| Ok(granted))?,
        suppressions: entries(wire.suppressions, ("suppressions", &[EVERY_CHANNEL]), at, |_, value| {
            Ok(value)
        })?,
    })
}

fn time_zone(name: String, at: Timestamp) -> Result<Said<Option<Arc<str>>>, Error> {
    if name.is_empty() {
        return Ok(Said { value: None, at });
    }
    check_time_zone(&name)?;
    Ok(Said { value: Some(name.into()), at })
}

/// Refuses what cannot be the name of a time zone. Whether there is one of this name is another question: the answer
/// changes over the years.
pub(crate) fn check_time_zone(name: &str) -> Result<(), Error> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '+');
    if name.len() <= MAX_TIME_ZONE_BYTES && name.chars().all(is_allowed) {
        return Ok(());
    }
    let shown: String = name.chars().take(MAX_TIME_ZONE_BYTES).collect();
    Err(Error::field("time_zone", format!("`{shown}`"), "the name of an IANA time zone, such as Europe/Oslo"))
}

fn trait_from_wire(name: &str, wire: Option<v1::Value>) -> Result<Option<Value>, Error> {
    let Some(wire) = wire else { return Ok(None) };
    let field = format!("traits.{name}");
    let value = value_from_wire(wire, &field).map_err(|fault| fault.error)?;
    match value.as_text().map(str::len) {
        Some(length) if length > MAX_TRAIT_BYTES => {
            Err(Error::field(field, format!("{length} bytes of text"), format!("at most {MAX_TRAIT_BYTES}")))
        }
        _ => Ok(Some(value)),
    }
}

/// Named parts of a change, in the order of their names; `besides` are names that need not have the form of names.
fn entries<W, T>(
    wire: BTreeMap<String, W>,
    (field, besides): (&str, &[&str]),
    at: Timestamp,
    read: impl Fn(&str, W) -> Result<T, Error>,
) -> Result<Entries<T>, Error> {
    if wire.len() > MAX_NAMES {
        return Err(Error::field(field, format!("{} names", wire.len()), format!("at most {MAX_NAMES}")));
    }
    let entry = |(name, value): (String, W)| {
        if !is_name(&name) && !besides.contains(&name.as_str()) {
            let shown: String = name.chars().take(64).collect();
            let mut expected =
                "a lower-case letter, then at most 63 lower-case letters, digits or underscores".to_owned();
            besides.iter().for_each(|other| expected.push_str(&format!(", or `{other}`")));
            return Err(Error::field(field, format!("`{shown}` is not a name"), expected));
        }
        let value = read(&name, value)?;
        Ok((name.into(), Said { value, at }))
    };
    wire.into_iter().map(entry).collect()
}

/// As policies name purposes and channels.
fn is_name(text: &str) -> bool {
    let rest = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.len() <= 64 && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(rest)
}

fn profile_to_wire(profile: &Profile) -> v1::Profile {
    let zone = profile.time_zone.as_ref();
    let traits = profile.traits.iter().filter_map(|(name, said)| {
        let value = Some(value_to_wire(said.value.as_ref()?));
        Some((name.to_string(), v1::Trait { value, at: Some(timestamp_to_wire(said.at)) }))
    });
    v1::Profile {
        time_zone: zone.and_then(|said| said.value.as_deref()).unwrap_or_default().to_owned(),
        time_zone_at: zone.map(|said| timestamp_to_wire(said.at)),
        traits: traits.collect(),
        consents: choices_to_wire(&profile.consents),
        suppressions: choices_to_wire(&profile.suppressions),
    }
}

fn choices_to_wire(choices: &Entries<bool>) -> BTreeMap<String, v1::Choice> {
    let choice = |(name, said): &(Arc<str>, Said<bool>)| {
        (name.to_string(), v1::Choice { value: said.value, at: Some(timestamp_to_wire(said.at)) })
    };
    choices.iter().map(choice).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut v1::UpdateProfileRequest)) -> String {
        let mut wire = v1::UpdateProfileRequest::default();
        change(&mut wire);
        change_from_wire(wire, Timestamp::from_unix_ms(0)).unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_be_said_names_field_and_expectation() {
        let number = |number| v1::Value { kind: Some(v1::value::Kind::Number(number)) };
        let text = |length| v1::Value { kind: Some(v1::value::Kind::Text("x".repeat(length))) };
        let said = |name: &str| BTreeMap::from([(name.to_owned(), true)]);
        let at = |unix_ms| Some(timestamp_to_wire(Timestamp::from_unix_ms(unix_ms)));
        let cases: Vec<(String, &str)> = vec![
            (refused(|wire| wire.at = at(MAX_AHEAD_MS + 1)), "at: 1970-01-01T00:05:00.001Z"),
            (refused(|wire| wire.time_zone = Some("Mars Base".into())), "time_zone: `Mars Base`"),
            (refused(|wire| wire.time_zone = Some("x".repeat(65))), "time_zone: `xxx"),
            (refused(|wire| wire.consents = said("Marketing")), "consents: `Marketing`"),
            (refused(|wire| wire.consents = said("*")), "consents: `*` is not a name"),
            (refused(|wire| wire.suppressions = said("e mail")), "digits or underscores, or `*`"),
            (refused(|wire| drop(wire.traits.insert("age".into(), number(f64::NAN)))), "traits.age: NaN"),
            (refused(|wire| drop(wire.traits.insert("bio".into(), text(257)))), "traits.bio: 257 bytes"),
            (
                refused(|wire| {
                    wire.traits.insert("age".into(), number(1.0));
                    wire.removed_traits.push("age".into());
                }),
                "`age` is in `traits`, too",
            ),
            (
                refused(|wire| wire.consents = (0..65).map(|number| (format!("p{number}"), true)).collect()),
                "consents: 65 names; expected at most 64",
            ),
        ];
        for (message, part) in cases {
            assert!(message.contains(part), "{message} lacks {part}");
        }
    }

    #[test]
    fn a_change_is_told_back_as_it_was_said() {
        let text = |text: &str| v1::Value { kind: Some(v1::value::Kind::Text(text.into())) };
        let wire = v1::UpdateProfileRequest {
            time_zone: Some("Europe/Oslo".into()),
            traits: [("plan".to_owned(), text("pro"))].into(),
            removed_traits: vec!["age".into()],
            consents: [("marketing".to_owned(), false)].into(),
            suppressions: [("*".to_owned(), true)].into(),
            ..v1::UpdateProfileRequest::default()
        };
        let told = profile_to_wire(&change_from_wire(wire, Timestamp::from_unix_ms(7)).unwrap());
        assert_eq!((&*told.time_zone, told.traits.len()), ("Europe/Oslo", 1));
        assert_eq!(told.traits["plan"].value, Some(text("pro")));
        assert_eq!((told.consents["marketing"].value, told.suppressions["*"].value), (false, true));
    }
}
