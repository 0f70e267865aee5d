//! `augur train --if-drifted`: whether the version that decides has drifted, so that training again is worth it.
//!
//! Not here: the comparison (`augur_server::offline`), or training.

use augur_server::App;
use augur_server::offline::{Monitored, Watch};
use serde::Serialize;

use crate::Error;

/// Longest reason kept in lineage and history, in characters: the first few things that drifted.
const MAX_REASON_CHARS: usize = 500;

/// What the comparison of the present version says about training.
pub(super) enum Trigger {
    /// Train, for this reason.
    Train(String),
    /// Nothing drifted.
    Rest(Box<Rested>),
}

/// A training that was not needed.
#[derive(Debug, Serialize)]
pub(super) struct Rested {
    trained: bool,
    monitored: Monitored,
}

impl Rested {
    pub(super) fn text(&self) -> String {
        let Monitored { model, version, decisions, .. } = &self.monitored;
        format!("{model} version {version} is as in training over {decisions} decisions: nothing was trained")
    }
}

/// Compares the champion's decisions of the last `since_ms` with its training.
pub(super) fn trigger(app: &App, name: &str, since_ms: i64) -> Result<Trigger, Error> {
    let Some(champion) = app.registry().resolve(name, "champion")? else {
        return Ok(Trigger::Train("no version decides yet".to_owned()));
    };
    let since = Some(app.clock().now().plus_millis(-since_ms));
    let watch = Watch { model: name.to_owned(), selector: champion.version.to_string(), since };
    let monitored = app.monitor(&watch, &mut |_| Ok(()))?;
    if !monitored.drifted {
        return Ok(Trigger::Rest(Box::new(Rested { trained: false, monitored })));
    }
    let drifted: Vec<&str> =
        monitored.notes.iter().map(String::as_str).filter(|note| note.contains("drifted")).collect();
    let why = format!("version {} drifted: {}", champion.version, drifted.join("; "));
    Ok(Trigger::Train(why.chars().take(MAX_REASON_CHARS).collect()))
}
