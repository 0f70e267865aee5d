//! `augur events suggest`: a taxonomy that takes the events that are stored, for a person to cut and to keep.
//!
//! Not here: what is made of the events (`augur_server::Observed`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use augur_server::{App, Observed, ObservedProperty, SystemClock};
use clap::Args;
use serde::Serialize;

use crate::data::Directory;
use crate::output::Output;
use crate::{Error, Outcome, progress};

#[derive(Debug, Args)]
pub(crate) struct Suggest {
    /// A data directory that no server is using.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Most events looked at; all when 0. They are those of the first users by storage key, which is a hash.
    #[arg(long, default_value_t = 1_000_000, value_name = "COUNT")]
    events: u64,
}

#[derive(Debug, Serialize)]
struct Report {
    users: u64,
    events_read: u64,
    /// Users whose events cannot all be read, and who are left out.
    users_unreadable: u64,
    events: BTreeMap<String, Event>,
    /// The text of the proposed `events.toml`.
    taxonomy: String,
}

#[derive(Debug, Serialize)]
struct Event {
    count: u64,
    /// The name that was probably meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    misspelt: Option<String>,
    properties: BTreeMap<String, Property>,
}

#[derive(Debug, Serialize)]
struct Property {
    r#type: String,
    /// Of the events of this name, 0 to 1.
    share: f64,
    numbers: u64,
    texts: u64,
    booleans: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<f64>,
    longest_bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    misspelt: Option<String>,
}

/// Runs the command.
pub(super) fn run(args: &Suggest, output: Output) -> Result<Outcome, Error> {
    let app = App::open(Directory::open(&args.data)?.config()?, SystemClock::new())?;
    let most = if args.events == 0 { u64::MAX } else { args.events };
    let bar = progress::bar("events read", app.store().stats().events_total.min(most));
    let mut observed = Observed::default();
    let (mut users, mut events_read, mut users_unreadable) = (0, 0, 0);
    for user in app.store().users().map_err(augur_server::Error::from)? {
        if events_read >= most {
            break;
        }
        let user = user.map_err(augur_server::Error::from)?;
        let stored = match app.store().events_of(user).map_err(augur_server::Error::from) {
            Err(error) if error.is_damage() => {
                users_unreadable += 1;
                continue;
            }
            stored => stored?,
        };
        users += 1;
        events_read += stored.len() as u64;
        bar.inc(stored.len() as u64);
        stored.iter().for_each(|stored| observed.take_in(&stored.event));
    }
    bar.finish_and_clear();
    let events = observed.events().iter().map(|(name, event)| {
        let properties = event.properties.iter().map(|(property, seen)| {
            let misspelt = event.meant_property(name, property, app.taxonomy());
            (property.to_string(), Property::new(seen, event.count, misspelt.map(|meant| meant.to_string())))
        });
        let misspelt = observed.meant_event(name, app.taxonomy()).map(|meant| meant.to_string());
        (name.to_string(), Event { count: event.count, misspelt, properties: properties.collect() })
    });
    let (events, taxonomy) = (events.collect(), observed.proposal(app.taxonomy()));
    app.close()?;
    output.report(&Report { users, events_read, users_unreadable, events, taxonomy }, |report| {
        let left_out = match report.users_unreadable {
            0 => String::new(),
            users => format!("# Of {users} more, events cannot all be read.\n"),
        };
        format!(
            "# From {} events of {} users.\n{left_out}{}",
            report.events_read, report.users, report.taxonomy
        )
    })?;
    Ok(Outcome::Fine)
}

impl Property {
    fn new(seen: &ObservedProperty, events: u64, misspelt: Option<String>) -> Self {
        Self {
            r#type: seen.value_type().to_string(),
            share: seen.count() as f64 / events.max(1) as f64,
            numbers: seen.numbers,
            texts: seen.texts,
            booleans: seen.booleans,
            min: Some(seen.least).filter(|least| least.is_finite()),
            max: Some(seen.greatest).filter(|greatest| greatest.is_finite()),
            longest_bytes: seen.longest_bytes,
            misspelt,
        }
    }
}
