//! `augur profiles`: what people say of themselves, through a running server.
//!
//! Not here: what contradicting statements come to (`augur_feature_store::profile`), or reading files (`import`).

mod import;

use std::collections::BTreeMap;

use augur_loadtest::convert::timestamp_to_wire;
use augur_loadtest::domain::{Timestamp, Value};
use augur_loadtest::{Client, v1};
use clap::Subcommand;
use serde::Serialize;

use super::user::Named;
use crate::output::{Output, table};
use crate::{Error, Outcome};

const EXAMPLES: &str = "\
Examples:
  augur profiles get --user-id u-1 --endpoint http://127.0.0.1:7401
  augur profiles set --user-id u-1 --grant marketing --time-zone Europe/Oslo --endpoint http://127.0.0.1:7401
  augur profiles set --user-id u-1 --suppress email --endpoint http://127.0.0.1:7401
  augur profiles import consents.csv --endpoint http://127.0.0.1:7401";

/// Show, change and import time zones, traits, consents and suppressed channels.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// Show what is known of a person.
    #[command(after_help = "Example:\n  augur profiles get --user-id u-1 --endpoint http://127.0.0.1:7401")]
    Get(Named),
    /// Change what is named, and leave the rest.
    ///
    /// Of two statements that contradict each other the one said later counts, whichever comes first.
    Set(Set),
    /// Take in many changes from files.
    Import(import::Args),
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  augur profiles set --user-id u-1 --suppress '*' --endpoint http://127.0.0.1:7401"
)]
pub(crate) struct Set {
    #[command(flatten)]
    named: Named,
    /// When it was said, in RFC 3339; now unless given.
    #[arg(long, value_name = "INSTANT")]
    at: Option<String>,
    /// Name of an IANA time zone; empty takes it back.
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// A trait: a number, true or false, or else a text.
    #[arg(long = "trait", value_name = "NAME=VALUE")]
    traits: Vec<String>,
    /// Take a trait back.
    #[arg(long, value_name = "NAME")]
    remove_trait: Vec<String>,
    /// Consent to a purpose.
    #[arg(long, value_name = "PURPOSE")]
    grant: Vec<String>,
    /// Deny or withdraw the consent to a purpose.
    #[arg(long, value_name = "PURPOSE")]
    deny: Vec<String>,
    /// Want nothing from a channel; `*` is all of them.
    #[arg(long, value_name = "CHANNEL")]
    suppress: Vec<String>,
    /// Want something from a channel again.
    #[arg(long, value_name = "CHANNEL")]
    unsuppress: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Profile {
    time_zone: Option<Said<String>>,
    traits: BTreeMap<String, Said<serde_json::Value>>,
    consents: BTreeMap<String, Said<bool>>,
    suppressions: BTreeMap<String, Said<bool>>,
}

#[derive(Debug, Serialize)]
struct Said<T> {
    value: T,
    at: String,
}

/// Runs the command.
pub(crate) fn run(command: &Command, output: Output) -> Result<Outcome, Error> {
    match command {
        Command::Get(named) => output.report(&super::block_on(get(named))?, text)?,
        Command::Set(set) => output.report(&super::block_on(change(set))?, text)?,
        Command::Import(args) => return import::run(args, output),
    }
    Ok(Outcome::Fine)
}

async fn get(named: &Named) -> Result<Profile, Error> {
    let client = Client::connect(&named.endpoint, 1).await?;
    let request = v1::GetProfileRequest { subject: Some(named.subject()) };
    let refused = |status| augur_loadtest::Error::call("ProfileService/GetProfile", 0, &status);
    let answer = client.profiles().get_profile(request).await.map_err(refused)?.into_inner();
    Ok(profile(answer.profile.unwrap_or_default()))
}

async fn change(set: &Set) -> Result<Profile, Error> {
    let request = request(set)?;
    let client = Client::connect(&set.named.endpoint, 1).await?;
    let refused = |status| augur_loadtest::Error::call("ProfileService/UpdateProfile", 0, &status);
    let answer = client.profiles().update_profile(request).await.map_err(refused)?.into_inner();
    Ok(profile(answer.profile.unwrap_or_default()))
}

fn request(set: &Set) -> Result<v1::UpdateProfileRequest, Error> {
    let at = set.at.as_deref().map(|text| {
        Timestamp::parse_rfc3339(text).map(timestamp_to_wire).ok_or_else(|| Error::Argument {
            argument: "--at",
            found: text.to_owned(),
            expected: "an instant such as 2026-03-01T12:00:00Z".to_owned(),
        })
    });
    let request = v1::UpdateProfileRequest {
        subject: Some(set.named.subject()),
        at: at.transpose()?,
        time_zone: set.time_zone.clone(),
        traits: super::context(&set.traits)?
            .into_iter()
            .map(|(name, value)| (name.to_string(), value_to_wire(&value)))
            .collect(),
        removed_traits: set.remove_trait.clone(),
        consents: choices(&set.grant, &set.deny),
        suppressions: choices(&set.suppress, &set.unsuppress),
    };
    let empty =
        v1::UpdateProfileRequest { subject: request.subject.clone(), at: request.at, ..Default::default() };
    if request == empty {
        return Err(Error::Usage {
            problem: "nothing to change is given".to_owned(),
            expected: "one of --time-zone, --trait, --remove-trait, --grant, --deny, --suppress, --unsuppress",
        });
    }
    Ok(request)
}

/// Said both ways, the restrictive one: callers list it in `no` of consents and in `yes` of suppressions.
fn choices(yes: &[String], no: &[String]) -> BTreeMap<String, bool> {
    let yes = yes.iter().map(|name| (name.clone(), true));
    yes.chain(no.iter().map(|name| (name.clone(), false))).collect()
}

fn value_to_wire(value: &Value) -> v1::Value {
    augur_loadtest::convert::value::value_to_wire(value)
}

fn profile(wire: v1::Profile) -> Profile {
    let choices = |wire: BTreeMap<String, v1::Choice>| {
        wire.into_iter()
            .map(|(name, said)| (name, Said { value: said.value, at: instant(said.at) }))
            .collect()
    };
    let traits = wire.traits.into_iter().map(|(name, said)| {
        let value = json(said.value.unwrap_or_default());
        (name, Said { value, at: instant(said.at) })
    });
    Profile {
        time_zone: (!wire.time_zone.is_empty())
            .then(|| Said { value: wire.time_zone, at: instant(wire.time_zone_at) }),
        traits: traits.collect(),
        consents: choices(wire.consents),
        suppressions: choices(wire.suppressions),
    }
}

fn instant<T: ToString>(at: Option<T>) -> String {
    at.map(|at| at.to_string()).unwrap_or_default()
}

fn json(value: v1::Value) -> serde_json::Value {
    use v1::value::Kind;
    match value.kind {
        Some(Kind::Boolean(boolean)) => boolean.into(),
        Some(Kind::Number(number)) => number.into(),
        Some(Kind::Integer(integer)) => integer.into(),
        Some(Kind::Text(text)) => text.into(),
        None => serde_json::Value::Null,
    }
}

fn text(profile: &Profile) -> String {
    let mut rows = Vec::new();
    if let Some(zone) = &profile.time_zone {
        rows.push(vec!["time zone".to_owned(), zone.value.clone(), zone.at.clone()]);
    }
    for (name, said) in &profile.traits {
        rows.push(vec![format!("trait {name}"), said.value.to_string(), said.at.clone()]);
    }
    let word = |value, yes: &str, no: &str| if value { yes.to_owned() } else { no.to_owned() };
    for (purpose, said) in &profile.consents {
        rows.push(vec![format!("consent {purpose}"), word(said.value, "granted", "denied"), said.at.clone()]);
    }
    for (channel, said) in &profile.suppressions {
        rows.push(vec![
            format!("channel {channel}"),
            word(said.value, "suppressed", "open"),
            said.at.clone(),
        ]);
    }
    if rows.is_empty() {
        return "nothing is known of this person".to_owned();
    }
    table(&["what", "said", "at"], &rows)
}
