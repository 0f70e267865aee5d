//! From the text of `augur.toml` and the environment to settings: one line per key, a complaint for everything
//! that does not fit.
//!
//! Not here: what the settings mean or their defaults (the parent).

mod access;
mod breakers;
mod canary;
mod classes;
mod limits;
mod monitor;
mod server;
mod shadow;
mod tls;

pub(super) use access::KEYS as ACCESS_KEYS;
pub(super) use breakers::KEYS as BREAKERS_KEYS;
pub(super) use canary::KEYS as CANARY_KEYS;
pub(super) use limits::KEYS as LIMITS_KEYS;
pub(super) use monitor::KEYS as MONITOR_KEYS;
pub(super) use server::KEYS as SERVER_KEYS;
pub(super) use shadow::KEYS as SHADOW_KEYS;
pub(super) use tls::KEYS as TLS_KEYS;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use augur_decision_log::Durability;
use augur_domain::Diagnostic;
use augur_domain::event::MAX_BATCH_EVENTS;
use augur_domain::event_name;
use augur_domain::time::{DAY_MS, HOUR_MS, SECOND_MS, format_duration_ms, parse_duration_ms};
use augur_feature_store::{Retention, SharedDevice};
use toml::de::{DeTable, DeValue};

use super::sections::SECTIONS;
use super::{Config, LogFormat, OnUnavailable};
use crate::suggest::did_you_mean;

/// What a decision's record holds besides its request, which stands in it twice: as received and as read.
const RECORD_HEADROOM_BYTES: usize = 256 << 10;
/// Least bound of what a log may keep.
const MIN_KEPT_LOG_BYTES: u64 = 1 << 20;
/// Longest value quoted in a complaint, in characters.
const MAX_QUOTED: usize = 80;

/// One value as it was written.
struct Written<'a> {
    /// Its type in words.
    kind: &'static str,
    /// Its text: without quotes for text, as spelled otherwise.
    text: &'a str,
    /// Environment variables have no types: any text may be a number.
    untyped: bool,
}

/// What is wrong with a value.
struct Problem {
    message: String,
    expected: String,
    hint: String,
}

impl Written<'_> {
    fn quoted(&self) -> String {
        self.text.chars().take(MAX_QUOTED).collect()
    }

    fn problem(&self, what: &str, expected: impl Into<String>) -> Problem {
        Problem {
            message: format!("`{}` is not {what}", self.quoted()),
            expected: expected.into(),
            hint: String::new(),
        }
    }

    fn is(&self, kind: &str) -> bool {
        self.untyped || self.kind == kind
    }

    fn text(&self, expected: &str) -> Result<&str, Problem> {
        if self.is("text") { Ok(self.text) } else { Err(self.problem("text", expected)) }
    }

    fn boolean(&self) -> Result<bool, Problem> {
        let value = self.text.parse().ok().filter(|_| self.is("boolean"));
        value.ok_or_else(|| self.problem("true or false", "`true` or `false`, without quotes"))
    }

    fn whole(&self, least: u64, most: u64) -> Result<u64, Problem> {
        let expected = format!("a whole number from {least} to {most}");
        let digits = self.text.replace('_', "");
        let value = digits.parse().ok().filter(|_| self.is("integer"));
        let value: u64 = value.ok_or_else(|| self.problem("a whole number", expected.as_str()))?;
        if (least..=most).contains(&value) { Ok(value) } else { Err(self.problem("in range", expected)) }
    }

    fn size(&self, least: usize, most: usize) -> Result<usize, Problem> {
        self.whole(least as u64, most as u64).map(|value| usize::try_from(value).unwrap_or(most))
    }

    fn ratio(&self) -> Result<f64, Problem> {
        let value = self.text.parse().ok().filter(|_| self.is("float") || self.is("integer"));
        let expected = "a number from 0 to 1";
        value.filter(|value| (0.0..=1.0).contains(value)).ok_or_else(|| self.problem("a share", expected))
    }

    fn probability(&self) -> Result<f64, Problem> {
        let value = self.ratio()?;
        let fits = (1e-6..=0.5).contains(&value);
        if fits { Ok(value) } else { Err(self.problem("in range", "a number from 0.000001 to 0.5")) }
    }

    fn length_ms(&self, least_ms: i64, most: &str) -> Result<i64, Problem> {
        let expected = format!("a length of time up to `{most}`, in quotes, like `\"30s\"`");
        let length_ms = parse_duration_ms(self.text).ok().filter(|_| self.is("text"));
        let length_ms = length_ms.ok_or_else(|| self.problem("a length of time", expected.as_str()))?;
        let most_ms = parse_duration_ms(most).unwrap_or(i64::MAX);
        let fits = (least_ms..=most_ms).contains(&length_ms);
        if fits { Ok(length_ms) } else { Err(self.problem("in range", expected)) }
    }

    fn length(&self, most: &str) -> Result<Duration, Problem> {
        self.length_ms(1, most).map(|ms| Duration::from_millis(ms.unsigned_abs()))
    }

    /// A path, or none if it is empty. In a file it is relative to `base`.
    fn path(&self, base: &Path) -> Result<Option<PathBuf>, Problem> {
        Ok(match self.text("a path, in quotes, or `\"\"` for none")? {
            "" => None,
            text if self.untyped => Some(text.into()),
            text => Some(base.join(text)),
        })
    }

    fn address(&self) -> Result<SocketAddr, Problem> {
        let address = self.text.parse().ok().filter(|_| self.is("text"));
        address.ok_or_else(|| {
            self.problem("an address", "an IP address and a port, in quotes, like `\"127.0.0.1:7401\"`")
        })
    }

    /// What `read` makes of each part of a list with commas.
    fn list<T>(
        &self,
        what: &str,
        expected: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, Problem> {
        let parts = self.text(expected)?.split(',').map(str::trim).filter(|part| !part.is_empty());
        let read = |part| read(part).map_err(|hint| Problem { hint, ..self.problem(what, expected) });
        parts.map(read).collect()
    }

    fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, Problem> {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let expected = format!("one of `\"{}\"`", words.join("\"`, `\""));
        let text = self.text(&expected)?;
        choices.iter().find(|(word, _)| *word == text).map(|(_, choice)| *choice).ok_or_else(|| Problem {
            hint: did_you_mean(text, words.iter().copied()),
            ..self.problem("a choice here", expected.as_str())
        })
    }
}

/// Puts one value where it belongs. Keys are known: the caller looked them up.
fn set(
    config: &mut Config,
    section: &str,
    key: &str,
    value: &Written<'_>,
    base: &Path,
) -> Result<(), Problem> {
    match section {
        "server" => server::set(&mut config.server, key, value),
        "limits" => limits::set(&mut config.limits, key, value),
        "tls" => tls::set(&mut config.tls, key, value, base),
        "access" => access::set(&mut config.access, key, value, base),
        "data" => set_data(&mut config.data, key, value, base),
        "features" => set_features(&mut config.features, value),
        "ingest" => set_ingest(&mut config.ingest, key, value),
        "identity" => set_identity(&mut config.identity, key, value),
        "idempotency" => set_idempotency(&mut config.idempotency, key, value),
        "retention" => set_retention(&mut config.retention, key, value),
        "decision_log" => set_decision_log(&mut config.decision_log, key, value),
        "breakers" => breakers::set(&mut config.breakers, key, value),
        "shadow" => shadow::set(&mut config.shadow, key, value),
        "monitor" => monitor::set(&mut config.monitor, key, value),
        "canary" => canary::set(&mut config.canary, key, value),
        _ => set_telemetry(&mut config.telemetry, key, value),
    }
}

fn set_data(data: &mut super::Data, key: &str, value: &Written<'_>, base: &Path) -> Result<(), Problem> {
    let path = || match value.text("a path, in quotes")? {
        "" => Err(value.problem("a path", "a path, in quotes")),
        text => Ok(if value.untyped { text.into() } else { base.join(text) }),
    };
    match key {
        "dir" => data.dir = path()?,
        "features" => data.features = path()?,
        "policy" => data.policy = path()?,
        "events" if value.text.is_empty() && value.is("text") => data.events = None,
        "events" => data.events = Some(path()?),
        "tasks" if value.text.is_empty() && value.is("text") => data.tasks = None,
        "tasks" => data.tasks = Some(path()?),
        "block_cache_bytes" => data.block_cache_bytes = value.size(1 << 20, 1 << 40)?,
        "state_cache_bytes" => data.state_cache_bytes = value.size(0, 1 << 40)?,
        "write_buffer_bytes" => data.write_buffer_bytes = value.size(1 << 20, 1 << 40)?,
        "read_threads" => data.read_threads = value.size(1, 256)?,
        _ => data.read_queue = value.size(1, 1_000_000)?,
    }
    Ok(())
}

fn set_features(features: &mut super::Features, value: &Written<'_>) -> Result<(), Problem> {
    features.verify_users_per_minute = u32::try_from(value.whole(0, 60_000)?).unwrap_or_default();
    Ok(())
}

fn set_ingest(ingest: &mut super::Ingest, key: &str, value: &Written<'_>) -> Result<(), Problem> {
    match key {
        "shards" => ingest.shards = value.size(1, 256)?,
        // A whole batch must fit, or it could never be taken.
        "queue_events" => ingest.queue_events = value.size(MAX_BATCH_EVENTS, 10_000_000)?,
        // As the largest request that can be allowed.
        "queue_bytes" => ingest.queue_bytes = value.size(64 << 20, 1 << 40)?,
        "max_streams" => ingest.max_streams = value.size(1, 10_000)?,
        "batch_events" => ingest.batch_events = value.size(1, 1_000_000)?,
        "max_future_skew" => ingest.max_future_skew_ms = value.length_ms(1, "1d")?,
        "max_lateness" => ingest.max_lateness_ms = value.length_ms(1, "400d")?,
        _ => ingest.quarantine_entries = value.whole(1, 100_000_000)?,
    }
    Ok(())
}

fn set_identity(identity: &mut super::Identity, key: &str, value: &Written<'_>) -> Result<(), Problem> {
    match key {
        "link_on" => {
            const EXPECTED: &str = "names of events with commas between them, in quotes";
            let names = value.text(EXPECTED)?.split(',').map(str::trim).filter(|name| !name.is_empty());
            let canonical = names.map(|name| event_name::canonical(name).map(std::borrow::Cow::into_owned));
            let names = canonical.collect::<Option<_>>();
            identity.link_on = names.ok_or_else(|| value.problem("a list of events", EXPECTED))?;
        }
        "shared_device" => {
            identity.shared_device = value.choice(&[
                ("keep", SharedDevice::Keep),
                ("move", SharedDevice::Move),
                ("refuse", SharedDevice::Refuse),
            ])?;
        }
        "max_links_per_person" => identity.max_links_per_person = value.size(1, 10_000)?,
        "max_merge_events" => identity.max_merge_events = value.whole(1, 1_000_000)?,
        _ => identity.cached_ids = value.size(1, 1_000_000_000)?,
    }
    Ok(())
}

fn set_idempotency(
    idempotency: &mut super::Idempotency,
    key: &str,
    value: &Written<'_>,
) -> Result<(), Problem> {
    match key {
        "lifetime" => idempotency.lifetime_ms = value.length_ms(1, "30d")?,
        _ => idempotency.max_keys = value.whole(1, 100_000_000)?,
    }
    Ok(())
}

fn set_retention(retention: &mut super::Retention, key: &str, value: &Written<'_>) -> Result<(), Problem> {
    // An empty text is for good, as is the word in a class.
    let length_ms = || match value.text {
        "" => Ok(None),
        _ => value.length_ms(DAY_MS, "400d").map(Some),
    };
    match key {
        "events" => retention.events_ms = length_ms()?,
        "classes" => retention.classes = classes::classes(value)?,
        "dedup_marks" => retention.dedup_marks_ms = length_ms()?,
        _ => {
            let users = value.whole(1, u64::from(Retention::MAX_USERS_PER_SWEEP))?;
            retention.sweep_users_per_second = u32::try_from(users).unwrap_or(Retention::MAX_USERS_PER_SWEEP);
        }
    }
    Ok(())
}

fn set_decision_log(log: &mut super::DecisionLog, key: &str, value: &Written<'_>) -> Result<(), Problem> {
    // An empty text and zero bytes are for good.
    let age = || match value.text {
        "" => Ok(None),
        _ => value.length_ms(HOUR_MS, "3650d").map(|ms| Some(Duration::from_millis(ms.unsigned_abs()))),
    };
    let bytes = || match value.whole(0, 1 << 50)? {
        0 => Ok(None),
        bytes if bytes < MIN_KEPT_LOG_BYTES => {
            Err(value.problem("in range", "0, for no bound, or at least 1048576"))
        }
        bytes => Ok(Some(bytes)),
    };
    match key {
        "segment_bytes" => log.segment_bytes = value.whole(4 << 10, 1 << 30)?,
        "segment_age" => {
            let age_ms = value.length_ms(SECOND_MS, "31d")?;
            log.segment_age = Duration::from_millis(age_ms.unsigned_abs());
        }
        "keep" => log.keep.age = age()?,
        "keep_bytes" => log.keep.bytes = bytes()?,
        "keep_outcomes" => log.keep_outcomes.age = age()?,
        "keep_outcome_bytes" => log.keep_outcomes.bytes = bytes()?,
        "queue_bytes" => log.queue_bytes = value.size(1 << 20, 1 << 30)?,
        "sync_interval" => log.sync_interval = value.length("60s")?,
        "durability" => {
            log.durability =
                value.choice(&[("written", Durability::Written), ("synced", Durability::Synced)])?;
        }
        _ => {
            log.on_unavailable =
                value.choice(&[("refuse", OnUnavailable::Refuse), ("default", OnUnavailable::Default)])?;
        }
    }
    Ok(())
}

fn set_telemetry(telemetry: &mut super::Telemetry, key: &str, value: &Written<'_>) -> Result<(), Problem> {
    match key {
        "log_level" => {
            const EXPECTED: &str =
                "`error`, `warn`, `info`, `debug`, `trace`, `off` or directives, in quotes";
            let text = value.text(EXPECTED)?;
            if !crate::telemetry::is_filter(text) {
                return Err(value.problem("a log level", EXPECTED));
            }
            telemetry.log_level = text.to_owned();
        }
        "log_format" => {
            telemetry.log_format = value.choice(&[("text", LogFormat::Text), ("json", LogFormat::Json)])?;
        }
        "otlp_endpoint" => {
            const EXPECTED: &str = "`\"\"` or a URL like `\"http://127.0.0.1:4317\"`";
            let text = value.text(EXPECTED)?;
            if !(text.is_empty() || text.starts_with("http://")) {
                return Err(value.problem("an OTLP endpoint", EXPECTED));
            }
            telemetry.otlp_endpoint = Some(text.to_owned()).filter(|text| !text.is_empty());
        }
        _ => telemetry.otlp_sample_ratio = value.ratio()?,
    }
    Ok(())
}

/// What is expected of a value, said of one that needs no quotes.
fn unquoted(expected: &str) -> String {
    let plain = expected.replace(", in quotes", "").replace(", without quotes", "");
    plain.replace("`\"", "`").replace("\"`", "`")
}

/// Where a setting was written.
#[derive(Clone)]
enum Place {
    Offset(usize),
    Variable(String),
}

/// The settings as far as they could be read, and what could not.
struct Reading<'a> {
    file: &'a str,
    text: &'a str,
    config: Config,
    places: BTreeMap<(String, String), Place>,
    complaints: Vec<Diagnostic>,
}

impl Reading<'_> {
    fn complain(&mut self, place: &Place, problem: Problem) {
        let complaint = match place {
            Place::Offset(offset) => {
                Diagnostic::at_offset(self.file, self.text, *offset, problem.message, problem.expected)
            }
            Place::Variable(name) => Diagnostic {
                file: format!("environment variable {name}"),
                line: 0,
                column: 0,
                message: problem.message,
                expected: unquoted(&problem.expected),
                hint: String::new(),
            },
        };
        self.complaints.push(complaint.with_hint(problem.hint));
    }

    fn unknown(&mut self, place: &Place, what: &str, word: &str, known: &[&str]) {
        let problem = Problem {
            message: format!("unknown {what} `{}`", word.chars().take(MAX_QUOTED).collect::<String>()),
            expected: format!("one of {}", known.join(", ")),
            hint: did_you_mean(word, known.iter().copied()),
        };
        self.complain(place, problem);
    }

    fn set(&mut self, section: &str, key: &str, value: &Written<'_>, base: &Path, place: Place) {
        match set(&mut self.config, section, key, value, base) {
            Ok(()) => {
                self.places.insert((section.to_owned(), key.to_owned()), place);
            }
            Err(mut problem) => {
                problem.message = format!("{} for `{key}`", problem.message);
                self.complain(&place, problem);
            }
        }
    }

    fn file(&mut self, base: &Path) {
        let text = self.text;
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let place = Place::Offset(error.span().map_or(0, |span| span.start));
            let message = error.message().replace('\n', ", ");
            self.complain(
                &place,
                Problem { message, expected: "valid TOML".to_owned(), hint: String::new() },
            );
        }
        if !errors.is_empty() {
            return;
        }
        let names = SECTIONS.map(|(name, _)| name);
        for (name, value) in document.get_ref() {
            let place = Place::Offset(name.span().start);
            let Some((section, keys)) = SECTIONS.iter().find(|(known, _)| known == name.get_ref()) else {
                self.unknown(&place, "section", name.get_ref(), &names);
                continue;
            };
            match value.get_ref() {
                DeValue::Table(table) => self.section(section, keys, table, base),
                _ => {
                    let message = format!("`{section}` is not a section");
                    let expected = format!("a line `[{section}]` and its keys below");
                    self.complain(&place, Problem { message, expected, hint: String::new() });
                }
            }
        }
    }

    fn section(&mut self, section: &str, keys: &[&str], table: &DeTable<'_>, base: &Path) {
        for (key, value) in table {
            let word = key.get_ref().as_ref();
            if !keys.contains(&word) {
                self.unknown(&Place::Offset(key.span().start), &format!("key in [{section}]"), word, keys);
                continue;
            }
            let spelled = self.text.get(value.span()).unwrap_or_default();
            let (kind, text) = match value.get_ref() {
                DeValue::String(text) => ("text", text.as_ref()),
                DeValue::Boolean(_) => ("boolean", spelled),
                DeValue::Integer(_) => ("integer", spelled),
                DeValue::Float(_) => ("float", spelled),
                _ => ("value of another kind", spelled),
            };
            let written = Written { kind, text, untyped: false };
            self.set(section, word, &written, base, Place::Offset(value.span().start));
        }
    }

    fn environment(&mut self, environment: impl IntoIterator<Item = (String, String)>) {
        let ours = environment.into_iter().filter(|(name, _)| name.starts_with("AUGUR_"));
        let ours: BTreeMap<String, String> = ours.collect();
        for (name, value) in &ours {
            let rest = name.trim_start_matches("AUGUR_").to_ascii_lowercase();
            let found = SECTIONS.iter().find_map(|(section, keys)| {
                Some((*section, *keys, rest.strip_prefix(section)?.strip_prefix('_')?.to_owned()))
            });
            let Some((section, keys, key)) = found else { continue };
            let place = Place::Variable(name.clone());
            match keys.iter().find(|known| **known == key) {
                Some(key) => {
                    let written = Written { kind: "text", text: value, untyped: true };
                    self.set(section, key, &written, Path::new(""), place);
                }
                None => self.unknown(&place, &format!("key in [{section}]"), &key, keys),
            }
        }
    }

    fn place(&self, section: &str, key: &str) -> Place {
        let key = (section.to_owned(), key.to_owned());
        self.places.get(&key).cloned().unwrap_or(Place::Offset(0))
    }

    /// A message must be recognised for as long as it is taken, and its event must not go before its mark.
    fn check_retention(&mut self) {
        let (retention, ingest) = (&self.config.retention, &self.config.ingest);
        let Some(marks_ms) = retention.dedup_marks_ms else { return };
        let taken_ms = ingest.max_lateness_ms.saturating_add(ingest.max_future_skew_ms);
        let classes = retention.classes.iter().filter_map(|(_, length_ms)| *length_ms);
        let least_ms = classes.chain(retention.events_ms).min().unwrap_or(i64::MAX);
        let marks = format_duration_ms(marks_ms);
        let problem = if marks_ms < taken_ms {
            Problem {
                message: format!("`dedup_marks` is {marks}, but late events are taken for longer"),
                expected: format!(
                    "at least {}, as long as late events are taken",
                    format_duration_ms(taken_ms)
                ),
                hint: "or a smaller `max_lateness` in [ingest]".to_owned(),
            }
        } else if marks_ms > least_ms {
            Problem {
                message: format!("`dedup_marks` is {marks}, but some events are kept for less"),
                expected: format!("at most {}, as long as every event is kept", format_duration_ms(least_ms)),
                hint: String::new(),
            }
        } else {
            return;
        };
        self.complain(&self.place("retention", "dedup_marks"), problem);
    }

    /// What is declared must be in force, and whole.
    fn check_access(&mut self) {
        let faults = [tls::incomplete(&self.config.tls), access::incomplete(&self.config.access)];
        for (section, (key, problem)) in
            ["tls", "access"].into_iter().zip(faults).filter_map(|(s, f)| Some((s, f?)))
        {
            self.complain(&self.place(section, key), problem);
        }
    }

    /// What no single key can tell.
    fn check(&mut self) {
        let server = self.config.server.clone();
        let open = |address: &SocketAddr| !address.ip().is_loopback();
        let listeners = [("listen", Some(server.listen)), ("http_listen", server.http_listen)]
            .map(|(key, address)| (key, address.filter(open)));
        for (key, address) in listeners {
            let Some(address) = address.filter(|_| !server.allow_insecure) else { continue };
            if let Some(problem) = tls::exposed(&self.config, key, address) {
                self.complain(&self.place("server", key), problem);
            }
        }
        self.check_access();
        let (request, queue) = (server.max_request_bytes, self.config.decision_log.queue_bytes);
        let record = 2 * request + RECORD_HEADROOM_BYTES;
        if record > queue {
            let problem = Problem {
                message: format!(
                    "`queue_bytes` is {queue}, but a record may need {record} with `max_request_bytes` at {request}"
                ),
                expected: format!("at least {record}"),
                hint: "or a smaller `max_request_bytes` in [server]".to_owned(),
            };
            let placed = self.places.contains_key(&("decision_log".to_owned(), "queue_bytes".to_owned()));
            let place = if placed {
                self.place("decision_log", "queue_bytes")
            } else {
                self.place("server", "max_request_bytes")
            };
            self.complain(&place, problem);
        }
        self.check_retention();
        if server.http_listen == Some(server.listen) && server.listen.port() != 0 {
            let problem = Problem {
                message: format!("`http_listen` is {}, the same as `listen`", server.listen),
                expected: "two different addresses".to_owned(),
                hint: "or `http_listen = \"\"` for none".to_owned(),
            };
            self.complain(&self.place("server", "http_listen"), problem);
        }
    }
}

/// See [`Config::parse`].
pub(super) fn read(
    file: &str,
    text: &str,
    base: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, Vec<Diagnostic>> {
    let mut config = Config::default();
    for path in [&mut config.data.dir, &mut config.data.features, &mut config.data.policy] {
        *path = base.join(&path);
    }
    let mut reading = Reading { file, text, config, places: BTreeMap::new(), complaints: Vec::new() };
    reading.file(base);
    reading.environment(environment);
    if reading.complaints.is_empty() {
        reading.check();
    }
    reading.complaints.sort_by_key(|complaint| (complaint.line, complaint.column));
    if reading.complaints.is_empty() { Ok(reading.config) } else { Err(reading.complaints) }
}
