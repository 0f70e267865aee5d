//! The files that access goes by, read at the start and again whenever one changes, within a second, or when the process
//! gets SIGHUP.
//!
//! What cannot be read leaves what was read before in force, loudly; a file of keys that is gone refuses every key. Not
//! here: what the files say (`keys`, `identities`, `tokens`, `tls`).

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::gate::{Credentials, Gate, Names, Tokens};
use super::identities::Identities;
use super::keys::ring::KeyRing;
use super::keys::{KeyFile, KeyId};
use super::tls::Tls;
use super::tokens::{Expected, KeySet};
use crate::clock::Clock;
use crate::files::Layout;
use crate::metrics::{self, Metrics};
use crate::{Config, Error, config};

/// Between two looks at the files.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Looks between two writes of when keys were used.
const LOOKS_PER_NOTE: u32 = 60;

/// What tells one version of a file from the next; nothing for a file that is not there.
type Version = Option<(u64, u64, i64, i64, u64)>;

/// The gate, the certificates, and the files behind both.
pub(crate) struct Access {
    pub(crate) gate: Arc<Gate>,
    pub(crate) tls: Option<Arc<Tls>>,
    key_file: Option<KeyFile>,
    settings: config::Access,
    watched: Mutex<Vec<Watched>>,
    noted: Mutex<BTreeMap<KeyId, augur_domain::Timestamp>>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
}

/// A file that is looked at, and what it is for.
struct Watched {
    path: PathBuf,
    part: Part,
    version: Version,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Keys,
    Names,
    Certificates,
}

impl Part {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Names => "identities",
            Self::Certificates => "certificates",
        }
    }
}

impl Access {
    /// Reads everything that `config` names. Blocks.
    ///
    /// # Errors
    /// Whatever cannot be read, with its file.
    pub(crate) fn open(
        config: &Config,
        layout: &Layout,
        metrics: &Arc<Metrics>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let settings = config.access.clone();
        // Versions before contents: what changes in between is read once more.
        let watched = watched(config, layout);
        let tls = Tls::open(&config.tls)?.map(Arc::new);
        let key_file = if settings.required { Some(KeyFile::of(layout)?) } else { None };
        let mut noted = BTreeMap::new();
        let credentials = match &key_file {
            None => None,
            Some(file) => {
                let used = file.last_used()?;
                let keys = file.list()?;
                let known = keys.iter().filter_map(|key| Some((key.id, *used.get(&key.id())?)));
                noted = known.collect();
                let ring = KeyRing::new(*file.hashing(), keys, &noted);
                Some(Credentials::new(ring, names(&settings)?))
            }
        };
        let gate = Arc::new(Gate::new(credentials, metrics));
        let (watched, noted) = (Mutex::new(watched), Mutex::new(noted));
        let (metrics, clock) = (Arc::clone(metrics), Arc::clone(clock));
        Ok(Self { gate, tls, key_file, settings, watched, noted, metrics, clock })
    }

    /// Whether calls must show a credential.
    pub(crate) const fn asks_for_credentials(&self) -> bool {
        self.key_file.is_some()
    }

    /// Reads what has changed, or everything if `all`. Blocks.
    pub(crate) fn refresh(&self, all: bool) {
        let mut changed = Vec::new();
        for watched in &mut *self.watched.lock() {
            let version = version(&watched.path);
            if (all || version != watched.version) && !changed.contains(&watched.part) {
                changed.push(watched.part);
            }
            watched.version = version;
        }
        for part in changed {
            let reloaded = self.reload(part);
            let outcome = if reloaded.is_ok() { "DONE" } else { "FAILED" };
            self.metrics.count_access_reload(part.as_str(), outcome);
            match reloaded {
                Ok(()) => tracing::info!(what = part.as_str(), "read again"),
                Err(error) => {
                    tracing::error!(what = part.as_str(), %error, "cannot be read again; what was read before stays in force");
                }
            }
        }
        if let Some(credentials) = self.gate.credentials() {
            let active = credentials.keys.load().active(self.clock.now());
            self.metrics.set(metrics::API_KEYS, active as f64);
        }
    }

    fn reload(&self, part: Part) -> Result<(), Error> {
        match (part, self.gate.credentials(), &self.key_file) {
            (Part::Keys, Some(credentials), Some(file)) => {
                let keys = file.list()?;
                let used = credentials.keys.load().used();
                credentials.keys.store(Arc::new(KeyRing::new(*file.hashing(), keys, &used)));
            }
            (Part::Names, Some(credentials), _) => {
                credentials.names.store(Arc::new(names(&self.settings)?));
            }
            _ => {
                if let Some(tls) = &self.tls {
                    tls.reload()?;
                }
            }
        }
        Ok(())
    }

    /// Writes when keys were used, if that has changed. Blocks.
    pub(crate) fn note_used(&self) {
        let (Some(credentials), Some(file)) = (self.gate.credentials(), &self.key_file) else { return };
        let used = credentials.keys.load().used();
        let mut noted = self.noted.lock();
        if *noted == used {
            return;
        }
        match file.note_used(&used) {
            Ok(()) => *noted = used,
            Err(error) => tracing::warn!(%error, "when keys were used could not be written"),
        }
    }
}

/// Certificate names and tokens.
fn names(settings: &config::Access) -> Result<Names, Error> {
    let identities = settings.identities.as_deref().map(Identities::load).transpose()?.unwrap_or_default();
    let tokens = match &settings.jwks {
        None => None,
        Some(path) => {
            let expected = Expected {
                issuer: settings.issuer.clone(),
                audience: settings.audience.clone(),
                algorithms: settings.algorithms.clone(),
                skew_s: settings.clock_skew.as_secs_f64(),
                roles_claim: settings.roles_claim.clone(),
            };
            Some(Tokens::new(KeySet::load(path)?, expected))
        }
    };
    Ok(Names { identities, tokens })
}

/// Reads the files that `config` names for access, keys excepted, without using them. Blocks.
///
/// # Errors
/// What is wrong with the first that cannot be used.
pub fn check(config: &Config) -> Result<(), Error> {
    Tls::open(&config.tls)?;
    names(&config.access).map(drop)
}

fn watched(config: &Config, layout: &Layout) -> Vec<Watched> {
    let keys = config.access.required.then(|| layout.api_keys());
    let names = [config.access.identities.clone(), config.access.jwks.clone()];
    let certificates =
        [config.tls.certificate.clone(), config.tls.private_key.clone(), config.tls.client_ca.clone()];
    let parts =
        [(Part::Keys, vec![keys]), (Part::Names, names.into()), (Part::Certificates, certificates.into())];
    let files = parts.into_iter().flat_map(|(part, paths)| {
        paths.into_iter().flatten().map(move |path| Watched { version: version(&path), path, part })
    });
    files.collect()
}

fn version(path: &Path) -> Version {
    let found = std::fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.mtime(), found.mtime_nsec(), found.size()))
}

/// Keeps `access` current until told to stop, and writes when keys were used.
pub(crate) async fn keep_current(access: Arc<Access>, stop: CancellationToken) {
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut hangups = signal(SignalKind::hangup()).ok();
    if hangups.is_none() {
        tracing::warn!("SIGHUP cannot be listened to; files are read again when they change");
    }
    for look in 1_u32.. {
        let hangup = async {
            match &mut hangups {
                Some(hangups) => hangups.recv().await,
                None => std::future::pending().await,
            }
        };
        let all = tokio::select! {
            () = stop.cancelled() => break,
            _ = looks.tick() => false,
            _ = hangup => true,
        };
        let looked = Arc::clone(&access);
        let _ = tokio::task::spawn_blocking(move || {
            looked.refresh(all);
            if look.is_multiple_of(LOOKS_PER_NOTE) {
                looked.note_used();
            }
        })
        .await;
    }
    let _ = tokio::task::spawn_blocking(move || access.note_used()).await;
}
