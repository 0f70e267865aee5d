//! How long each event is kept, by the configuration and the taxonomy together, and the thread that has old ones removed,
//! and kept answers that have expired.
//!
//! Not here: what goes of a user, or what stands for it (the feature store).

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use augur_domain::Diagnostic;
use augur_domain::time::{DAY_MS, format_duration_ms, parse_duration_ms};
use augur_feature_store::taxonomy::{DeclaredEvent, Taxonomy};
use augur_feature_store::{FeatureStore, Retention};

use crate::clock::Clock;
use crate::config::Config;
use crate::suggest::did_you_mean;
use crate::{App, Error};

/// Between two sweeps that found something.
const TURN: Duration = Duration::from_secs(1);
/// After one that found nothing more: of events only days count, and expired answers are not given whether or not they
/// are removed.
const REST: Duration = Duration::from_secs(60);

/// The lengths of all declared events; those that name none are kept as long as any.
pub(crate) fn resolve(config: &Config, taxonomy: &Taxonomy) -> Result<Retention, Error> {
    let settings = &config.retention;
    let (mut by_name, mut complaints) = (Vec::new(), Vec::new());
    for event in taxonomy.events().filter(|event| !event.retention.is_empty()) {
        match length_of(config, event) {
            Ok(length_ms) => by_name.push((Arc::clone(&event.name), length_ms)),
            Err(complaint) => complaints.push(complaint),
        }
    }
    if !complaints.is_empty() {
        return Err(Error::Diagnostics(complaints));
    }
    Ok(Retention {
        events_ms: settings.events_ms,
        by_name,
        dedup_marks_ms: settings.dedup_marks_ms,
        users_per_sweep: settings.sweep_users_per_second,
    })
}

fn length_of(config: &Config, event: &DeclaredEvent) -> Result<Option<i64>, Diagnostic> {
    let (settings, written) = (&config.retention, &*event.retention);
    if let Some((_, length_ms)) = settings.classes.iter().find(|(class, _)| class == written) {
        return Ok(*length_ms);
    }
    let least_ms = settings.dedup_marks_ms.unwrap_or(DAY_MS);
    if let Some(length_ms) = parse_duration_ms(written).ok().filter(|ms| *ms >= least_ms) {
        return Ok(Some(length_ms));
    }
    let classes: Vec<&str> = settings.classes.iter().map(|(class, _)| class.as_str()).collect();
    let least = format_duration_ms(least_ms);
    Err(Diagnostic {
        file: config.data.events.as_deref().map_or_else(String::new, |path| path.display().to_string()),
        line: 0,
        column: 0,
        message: format!("`retention` of event `{}` is `{written}`", event.name),
        expected: format!(
            "a class of [retention] in the configuration ({}) or a length from `{least}` to `400d`",
            if classes.is_empty() { "none is declared".to_owned() } else { classes.join(", ") }
        ),
        hint: did_you_mean(written, classes),
    })
}

/// The running thread.
#[derive(Debug)]
pub(crate) struct Sweeper {
    /// Dropped to end the thread.
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Sweeper {
    /// Starts the thread.
    pub(crate) fn start(app: &App) -> Result<Self, Error> {
        let (stop, stopped) = channel();
        let (store, clock) = (Arc::clone(app.store()), Arc::clone(app.clock()));
        let thread = std::thread::Builder::new().name("retention".to_owned());
        let thread = thread.spawn(move || sweep(&store, &*clock, &stopped));
        let thread = thread.map_err(Error::file("start", "the retention thread".as_ref()))?;
        Ok(Self { stop, thread })
    }

    /// Ends the thread after the users that it is at. Blocks.
    pub(crate) fn end(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the retention thread panicked; please report this");
        }
    }
}

fn sweep(store: &FeatureStore, clock: &dyn Clock, stopped: &Receiver<()>) {
    let mut wait = TURN;
    // Nothing is ever sent: what ends the wait early is the end.
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(wait) {
        let events = store.sweep(clock.now()).map(|swept| swept.more);
        let answers = store.remove_expired_answers(clock.now());
        let mut more = false;
        for swept in [events, answers] {
            match swept {
                Ok(some) => more |= some,
                Err(error) => {
                    tracing::warn!(%error, "what is old could not be removed; it is tried again");
                }
            }
        }
        wait = if more { TURN } else { REST };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taxonomy(retention: &str) -> Taxonomy {
        let text = format!("version = 1\n[[event]]\nname = \"search\"\nretention = \"{retention}\"\n");
        Taxonomy::parse("events.toml", &text).unwrap()
    }

    #[test]
    fn events_are_kept_by_class_or_length() {
        let mut config = Config::default();
        config.retention.classes = vec![("long".to_owned(), None), ("short".to_owned(), Some(30 * DAY_MS))];
        for (written, expected) in [("short", Some(30 * DAY_MS)), ("long", None), ("7d", Some(7 * DAY_MS))] {
            let retention = resolve(&config, &taxonomy(written)).unwrap();
            assert_eq!(retention.by_name, [("search".into(), expected)], "{written}");
        }
        for (written, hint) in [("shrot", "`short`"), ("1h", ""), ("900d", "")] {
            let Err(Error::Diagnostics(complaints)) = resolve(&config, &taxonomy(written)) else {
                panic!("{written} was taken");
            };
            assert!(complaints[0].expected.contains("long, short") && complaints[0].hint.contains(hint));
        }
        config.retention.dedup_marks_ms = Some(8 * DAY_MS);
        assert!(resolve(&config, &taxonomy("7d")).is_err(), "shorter than marks");
    }
}
