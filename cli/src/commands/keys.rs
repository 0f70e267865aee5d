//! `augur keys`: the API keys of a data directory. They may be changed while a server uses it: it looks every second.
//!
//! Not here: what a key's text is made of, or how it is compared (`augur_server`).

use std::path::PathBuf;

use augur_loadtest::domain::Timestamp;
use augur_loadtest::domain::time::parse_duration_ms;
use augur_server::{ApiKey, Clock as _, Config, KeyFile, Layout, NewKey, Role, Roles, SystemClock};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::data::Directory;
use crate::output::{Output, table};
use crate::{Error, Outcome};

const ROLES: &str = "\
Roles:
  ingest         report events, outcomes and profiles
  decide         ask for decisions
  read_features  read features and profiles of users
  replay         read the decision log and old policies
  policy_write   change policies and feature definitions
  model_admin    change which models score
  privacy_admin  erase, readmit, link and describe people
  audit_read     read what was decided and why, and the administration's state
  operator       look after a running server: quarantine, circuit breakers
docs/security.md says which methods each may call.

Example:
  augur keys create shop-backend --role decide --role ingest --expires 90d --data data";

/// Make, list, rotate and revoke API keys; a running server takes a change up within two seconds.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a key and show it, this once. Only its hash is kept.
    #[command(after_help = ROLES)]
    Create(Create),
    /// List all keys, without their secrets.
    #[command(after_help = "Example:\n  augur keys list --data data")]
    List(Place),
    /// Make a key in the place of another one, with the same name and roles; the old one expires after `--overlap`.
    #[command(after_help = "Example:\n  augur keys rotate 3fa94c01d27e --overlap 7d --data data")]
    Rotate(Rotate),
    /// Refuse a key from now on.
    #[command(after_help = "Example:\n  augur keys revoke 3fa94c01d27e --data data")]
    Revoke(Named),
}

/// Which data directory.
#[derive(Debug, Args)]
#[group(id = "place", required = true, multiple = false)]
pub(crate) struct Place {
    /// A directory with its own augur.toml.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The server's configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Whose key it is: 1 to 64 letters, digits and -_.@/
    name: String,
    /// What it allows; several times for several roles.
    #[arg(long = "role", value_name = "ROLE", required = true)]
    roles: Vec<String>,
    /// After how long it is refused, such as `90d`; left out, never.
    #[arg(long, value_name = "LENGTH")]
    expires: Option<String>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct Rotate {
    #[command(flatten)]
    named: Named,
    /// How long the old key goes on beside the new one, such as `12h`; `0s` refuses it at once.
    #[arg(long, value_name = "LENGTH", default_value = "1d")]
    overlap: String,
}

#[derive(Debug, Args)]
pub(crate) struct Named {
    /// The twelve digits that name the key, as `augur keys list` shows them.
    id: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Serialize)]
struct Shown {
    id: String,
    name: String,
    roles: Vec<&'static str>,
    state: &'static str,
    created_at: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
    last_used_at: Option<String>,
}

#[derive(Debug, Serialize)]
struct Made {
    /// The one time that it is told.
    key: String,
    #[serde(flatten)]
    shown: Shown,
}

/// Runs the command.
pub(crate) fn run(command: &Command, output: Output) -> Result<Outcome, Error> {
    let now = SystemClock::new().now();
    match command {
        Command::Create(args) => create(args, now, output),
        Command::List(place) => list(place, now, output),
        Command::Rotate(args) => rotate(args, now, output),
        Command::Revoke(args) => {
            let key = keys_of(&args.place)?.revoke(&args.id, now)?;
            output.report(&shown(&key, None, now), |key| {
                format!("revoked {} ({}); running servers refuse it within two seconds", key.id, key.name)
            })?;
            Ok(Outcome::Fine)
        }
    }
}

fn create(args: &Create, now: Timestamp, output: Output) -> Result<Outcome, Error> {
    let expires_at = args.expires.as_deref().map(|length| later("--expires", length, now)).transpose()?;
    let made = keys_of(&args.place)?.create(&args.name, roles(&args.roles)?, expires_at, now)?;
    tell_made(&made, now, output)
}

fn rotate(args: &Rotate, now: Timestamp, output: Output) -> Result<Outcome, Error> {
    let until = later("--overlap", &args.overlap, now)?;
    let made = keys_of(&args.named.place)?.rotate(&args.named.id, until, now)?;
    tell_made(&made, now, output)
}

fn list(place: &Place, now: Timestamp, output: Output) -> Result<Outcome, Error> {
    let file = keys_of(place)?;
    let used = file.last_used()?;
    let keys: Vec<Shown> =
        file.list()?.iter().map(|key| shown(key, used.get(&key.id()).copied(), now)).collect();
    output.report(&keys, |keys| {
        let never = || "-".to_owned();
        let row = |key: &Shown| {
            vec![
                key.id.clone(),
                key.name.clone(),
                key.state.to_owned(),
                key.expires_at.clone().unwrap_or_else(never),
                key.last_used_at.clone().unwrap_or_else(never),
                key.roles.join(" "),
            ]
        };
        match keys.is_empty() {
            true => "no keys; `augur keys create` makes one".to_owned(),
            false => table(
                &["id", "name", "state", "expires", "last used", "roles"],
                &keys.iter().map(row).collect::<Vec<_>>(),
            ),
        }
    })?;
    Ok(Outcome::Fine)
}

fn tell_made(made: &NewKey, now: Timestamp, output: Output) -> Result<Outcome, Error> {
    let made = Made { key: made.text.clone(), shown: shown(&made.key, None, now) };
    output.report(&made, |made| {
        let until = made.shown.expires_at.as_deref().map_or("for good".to_owned(), |end| format!("until {end}"));
        format!(
            "{}\n\nkey {} of {} for {}, {until}\nkeep it now: it is not shown again, and only its hash is kept\nsend it with every call: authorization: Bearer KEY",
            made.key,
            made.shown.id,
            made.shown.name,
            made.shown.roles.join(", "),
        )
    })?;
    Ok(Outcome::Fine)
}

fn keys_of(place: &Place) -> Result<KeyFile, Error> {
    let config = match (&place.data, &place.config) {
        (Some(data), _) => Directory::open(data)?.config()?,
        (None, file) => Config::load(file.as_deref())?,
    };
    Ok(KeyFile::of(&Layout::new(&config.data.dir))?)
}

fn roles(words: &[String]) -> Result<Roles, Error> {
    let parse = |word: &String| {
        Role::parse(word).map_err(|problem| Error::Argument {
            argument: "--role",
            found: word.clone(),
            expected: problem.split_once("expected ").map_or(String::new(), |(_, rest)| rest.to_owned()),
        })
    };
    words.iter().map(parse).collect()
}

fn later(argument: &'static str, length: &str, now: Timestamp) -> Result<Timestamp, Error> {
    if length == "0s" {
        return Ok(now);
    }
    let length_ms = parse_duration_ms(length).map_err(|_| Error::Argument {
        argument,
        found: length.to_owned(),
        expected: "a length of time such as `12h` or `90d`".to_owned(),
    })?;
    Ok(Timestamp::from_unix_ms(now.unix_ms().saturating_add(length_ms)))
}

fn shown(key: &ApiKey, used_at: Option<Timestamp>, now: Timestamp) -> Shown {
    let text = |at: Option<Timestamp>| at.map(|at| at.to_string());
    Shown {
        id: key.id(),
        name: key.name.clone(),
        roles: key.roles.iter().map(Role::word).collect(),
        state: key.state(now).word(),
        created_at: key.created_at.to_string(),
        expires_at: text(key.expires_at),
        revoked_at: text(key.revoked_at),
        last_used_at: text(used_at),
    }
}
