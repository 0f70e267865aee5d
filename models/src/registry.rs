//! The registry: a directory of immutable model versions and of names (aliases) that point at them.
//!
//! ```text
//! <dir>/<model>/versions/000001.model        the artifact; a version exists once this file does
//! <dir>/<model>/versions/000001.card.json    who published it, when, why, and its training report
//! <dir>/<model>/versions/000001.card.html    the same as a page to read
//! <dir>/<model>/aliases.log                  one JSON line per change of an alias, only ever appended
//! <dir>/<model>/canary.log                   one JSON line per change of a canary, only ever appended
//! <dir>/<model>/lock                         held while publishing or moving an alias, by any process
//! ```
//! Readers take no lock: versions appear by one rename and lines count once they end. Not here: a clock (who and
//! when are arguments), caching, or deciding which version deserves an alias.

mod canary;
mod card;
mod describe;
mod difference;
mod files;
mod gates;
mod history;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use augur_domain::{ContentHash, ModelRef, Timestamp};

pub use canary::{Canary, CanaryChange, CanaryLine, Promotion};
pub use card::{CARD_SCHEMA, Card, InputShares, LineageCard, PublishedCard, ReferenceCard};
pub use describe::{AliasMove, Description, InputDescription, Origin};
pub use difference::{Difference, Figures, InputChange, InputDifference, Setting};
pub use gates::{GateOutcome, Gates};
pub use history::{AliasChange, ChangeKind};

use crate::artifact::Artifact;
use crate::{Error, artifact::MAX_NAME_BYTES};

/// Most versions of one model.
pub const MAX_VERSIONS: u32 = 999_999;
/// Largest artifact or card file, in bytes.
pub const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;
/// Longest model name or alias, in bytes.
pub const MAX_ALIAS_BYTES: usize = 64;

/// A registry directory. Cheap to clone; all calls may run at once, from several processes too.
#[derive(Debug, Clone)]
pub struct Registry {
    dir: PathBuf,
}

impl Registry {
    /// Uses `dir`, creating it if it is not there.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be created.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, Error> {
        let dir = dir.into();
        files::create_dir(&dir)?;
        Ok(Self { dir })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes `artifact` as the next version of `name`, synced. Publishing the same bytes again returns the
    /// version that they already have and keeps its card.
    ///
    /// # Errors
    /// [`Error::InvalidName`], [`Error::WrongModel`] when the artifact is of another model, [`Error::TooLarge`],
    /// [`Error::Corrupted`], [`Error::Io`].
    pub fn publish(&self, name: &str, artifact: &Artifact, card: &Card) -> Result<ModelRef, Error> {
        check_name("model name", name)?;
        if artifact.name() != name {
            let artifact = artifact.name().to_owned();
            return Err(Error::WrongModel { name: name.to_owned(), artifact });
        }
        files::create_dir(&self.versions_dir(name))?;
        let _lock = files::Lock::take(&self.model_dir(name).join("lock"))?;
        let existing = self.versions(name)?;
        if let Some(same) = existing.iter().find(|version| version.artifact == artifact.id()) {
            return Ok(same.clone());
        }
        let version = existing.last().map_or(0, |last| last.version) + 1;
        if version > MAX_VERSIONS {
            return Err(too_large("versions of a model", version.into(), MAX_VERSIONS.into()));
        }
        let bytes = artifact.encode();
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(too_large("artifact size in bytes", bytes.len() as u64, MAX_FILE_BYTES));
        }
        let published = PublishedCard::new(version, artifact, card);
        // The card first: the model file is what makes the version exist.
        files::write_atomically(&self.card_path(name, version), &published.to_json()?)?;
        let page = crate::card::html(&published);
        files::write_atomically(&self.page_path(name, version), page.as_bytes())?;
        files::write_atomically(&self.model_path(name, version), &bytes)?;
        Ok(ModelRef { name: Arc::from(name), version, artifact: artifact.id() })
    }

    /// Points `alias` at `version`, synced, and writes who did it, why and when into the history.
    ///
    /// # Errors
    /// [`Error::InvalidName`], [`Error::UnknownModel`], [`Error::UnknownVersion`], [`Error::Corrupted`],
    /// [`Error::TooLarge`] when the history is full or a text too long, [`Error::Io`].
    pub fn set_alias(
        &self,
        name: &str,
        alias: &str,
        version: u32,
        who: &str,
        why: &str,
        at: Timestamp,
    ) -> Result<ModelRef, Error> {
        check_name("model name", name)?;
        check_name("alias", alias)?;
        let target = self.version(name, version)?;
        // A version may only be pointed at if it can be loaded.
        self.load(&target)?;
        let _lock = files::Lock::take(&self.model_dir(name).join("lock"))?;
        self.append_change(name, ChangeKind::Set, alias, &target, who, why, at)?;
        Ok(target)
    }

    /// Points `alias` back at the version it had before the last change that still stands; rolling back twice
    /// goes two steps back.
    ///
    /// # Errors
    /// As [`Self::set_alias`], [`Error::UnknownModel`], and [`Error::NothingToRollBack`].
    pub fn rollback(
        &self,
        name: &str,
        alias: &str,
        who: &str,
        why: &str,
        at: Timestamp,
    ) -> Result<ModelRef, Error> {
        self.rollback_if(name, alias, who, why, at, |target| self.load(target).map(drop))
    }

    /// [`Self::rollback`], once `usable` has no objection to the version returned to. Reads the history and no
    /// artifact, so that whoever still holds the version needs none of its files.
    ///
    /// # Errors
    /// As [`Self::rollback`], and whatever `usable` says; then nothing moved.
    pub fn rollback_if<Refusal: From<Error>>(
        &self,
        name: &str,
        alias: &str,
        who: &str,
        why: &str,
        at: Timestamp,
        usable: impl FnOnce(&ModelRef) -> Result<(), Refusal>,
    ) -> Result<ModelRef, Refusal> {
        check_name("model name", name)?;
        check_name("alias", alias)?;
        self.require_model(name)?;
        let nothing = || Error::NothingToRollBack { name: name.to_owned(), alias: alias.to_owned() };
        let _lock = files::Lock::take(&self.model_dir(name).join("lock"))?;
        let target = self.previous(name, alias)?.into_iter().next().ok_or_else(nothing)?;
        usable(&target)?;
        self.append_change(name, ChangeKind::Rollback, alias, &target, who, why, at)?;
        Ok(target)
    }

    /// What rollbacks of `alias` would return to, one after the other: the versions before the one that stands,
    /// latest first.
    ///
    /// # Errors
    /// As [`Self::history`].
    pub fn previous(&self, name: &str, alias: &str) -> Result<Vec<ModelRef>, Error> {
        let changes = self.history(name)?;
        let standing = history::standing(&changes, alias);
        let earlier = standing.iter().rev().skip(1);
        Ok(earlier.map(|change| change.target(name)).collect())
    }

    /// The version that `selector` names: a number, or an alias.
    ///
    /// # Errors
    /// [`Error::UnknownModel`], [`Error::UnknownVersion`], [`Error::UnknownAlias`], and as [`Self::resolve`].
    pub fn find(&self, name: &str, selector: &str) -> Result<ModelRef, Error> {
        check_name("model name", name)?;
        let known = self.names()?;
        if !known.iter().any(|other| other == name) {
            return Err(Error::UnknownModel { name: name.to_owned(), known });
        }
        if let Ok(version) = selector.parse() {
            return self.version(name, version);
        }
        let unknown = || Error::UnknownAlias { name: name.to_owned(), alias: selector.to_owned() };
        self.resolve(name, selector)?.ok_or_else(unknown)
    }

    /// The version that `alias` points at; `None` when the model or the alias does not exist yet.
    ///
    /// # Errors
    /// [`Error::InvalidName`], [`Error::Corrupted`] when the history is damaged, [`Error::Io`].
    pub fn resolve(&self, name: &str, alias: &str) -> Result<Option<ModelRef>, Error> {
        check_name("model name", name)?;
        check_name("alias", alias)?;
        let changes = history::read(&self.history_path(name))?;
        let last = changes.iter().rev().find(|change| change.alias == alias);
        Ok(last.map(|change| change.target(name)))
    }

    /// Reads the artifact that `model` names.
    ///
    /// # Errors
    /// [`Error::UnknownVersion`]; [`Error::Corrupted`] naming the file when its bytes are not those published;
    /// [`Error::Io`].
    pub fn load(&self, model: &ModelRef) -> Result<Artifact, Error> {
        check_name("model name", &model.name)?;
        let artifact = self.read_artifact(&model.name, model.version)?;
        if artifact.id() != model.artifact {
            let problem = format!("artifact {}, but {} was asked for", artifact.id(), model.artifact);
            return Err(Error::Corrupted { file: self.model_path(&model.name, model.version), problem });
        }
        Ok(artifact)
    }

    /// All versions of `name`, oldest first; empty when it was never published.
    ///
    /// # Errors
    /// [`Error::InvalidName`], [`Error::Corrupted`], [`Error::Io`].
    pub fn versions(&self, name: &str) -> Result<Vec<ModelRef>, Error> {
        check_name("model name", name)?;
        self.version_numbers(name)?.into_iter().map(|version| self.version(name, version)).collect()
    }

    /// The card of a version.
    ///
    /// # Errors
    /// [`Error::UnknownVersion`], [`Error::Corrupted`], [`Error::Io`].
    pub fn card(&self, name: &str, version: u32) -> Result<PublishedCard, Error> {
        check_name("model name", name)?;
        self.require_version(name, version)?;
        let path = self.card_path(name, version);
        let bytes = files::read(&path, MAX_FILE_BYTES)?
            .ok_or_else(|| Error::Corrupted { file: path.clone(), problem: "the card is gone".to_owned() })?;
        PublishedCard::from_json(&bytes, &path)
    }

    /// The card of a version with all that its artifact tells, also when the card's file is of an older schema.
    ///
    /// # Errors
    /// As [`Self::card`] and [`Self::load`].
    pub fn full_card(&self, name: &str, version: u32) -> Result<PublishedCard, Error> {
        let card = self.card(name, version)?;
        let artifact = self.read_artifact(name, version)?;
        Ok(PublishedCard::new(version, &artifact, &card.card))
    }

    /// Names of all models, sorted.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn names(&self) -> Result<Vec<String>, Error> {
        let mut names = files::entries(&self.dir)?;
        names.retain(|name| check_name("model name", name).is_ok() && self.versions_dir(name).is_dir());
        Ok(names)
    }

    /// Every change of every alias of `name`, oldest first.
    ///
    /// # Errors
    /// [`Error::InvalidName`], [`Error::Corrupted`] with the line, [`Error::Io`].
    pub fn history(&self, name: &str) -> Result<Vec<AliasChange>, Error> {
        check_name("model name", name)?;
        history::read(&self.history_path(name))
    }

    /// Current aliases of `name` with their versions, sorted by alias.
    ///
    /// # Errors
    /// As [`Self::history`].
    pub fn aliases(&self, name: &str) -> Result<Vec<(String, ModelRef)>, Error> {
        let changes = self.history(name)?;
        let mut aliases: Vec<&str> = changes.iter().map(|change| change.alias.as_str()).collect();
        aliases.sort_unstable();
        aliases.dedup();
        let mut current = Vec::with_capacity(aliases.len());
        for alias in aliases {
            if let Some(model) = self.resolve(name, alias)? {
                current.push((alias.to_owned(), model));
            }
        }
        Ok(current)
    }

    #[expect(clippy::too_many_arguments, reason = "one line of the history, field by field")]
    fn append_change(
        &self,
        name: &str,
        kind: ChangeKind,
        alias: &str,
        target: &ModelRef,
        who: &str,
        why: &str,
        at: Timestamp,
    ) -> Result<(), Error> {
        let change = AliasChange {
            sequence: 0,
            at,
            kind,
            alias: alias.to_owned(),
            version: target.version,
            artifact: target.artifact,
            who: who.to_owned(),
            why: why.to_owned(),
        };
        // A damaged history of canaries must not hold an alias back.
        let on_trial = self.canary(name, alias).ok().flatten();
        history::append(&self.history_path(name), change)?;
        if let Some(canary) = on_trial.filter(|canary| canary.champion != *target) {
            let version = canary.challenger.version;
            let ended = CanaryChange { alias, version, share_ppm: 0, promotion: None, who, why, at };
            self.end_canary(name, target.version, &canary, &ended);
        }
        Ok(())
    }

    fn version(&self, name: &str, version: u32) -> Result<ModelRef, Error> {
        let artifact = self.artifact_hash(name, version)?;
        Ok(ModelRef { name: Arc::from(name), version, artifact })
    }

    /// From the card when it can be read, else from the artifact itself.
    fn artifact_hash(&self, name: &str, version: u32) -> Result<ContentHash, Error> {
        match self.card(name, version) {
            Ok(card) => Ok(card.artifact),
            Err(Error::Corrupted { .. }) => Ok(self.read_artifact(name, version)?.id()),
            Err(other) => Err(other),
        }
    }

    fn read_artifact(&self, name: &str, version: u32) -> Result<Artifact, Error> {
        self.require_version(name, version)?;
        let path = self.model_path(name, version);
        let bytes = files::read(&path, MAX_FILE_BYTES)?.unwrap_or_default();
        Artifact::decode(&bytes).map_err(|error| Error::Corrupted { file: path, problem: error.to_string() })
    }

    fn require_version(&self, name: &str, version: u32) -> Result<(), Error> {
        if self.model_path(name, version).is_file() {
            return Ok(());
        }
        self.require_model(name)?;
        let newest = self.version_numbers(name)?.last().copied().unwrap_or(0);
        Err(Error::UnknownVersion { name: name.to_owned(), version, newest })
    }

    /// What lost its versions but has a history is still a model.
    fn require_model(&self, name: &str) -> Result<(), Error> {
        if self.model_dir(name).is_dir() {
            return Ok(());
        }
        Err(Error::UnknownModel { name: name.to_owned(), known: self.names()? })
    }

    fn version_numbers(&self, name: &str) -> Result<Vec<u32>, Error> {
        let dir = self.versions_dir(name);
        if !dir.is_dir() {
            return Ok(Vec::new());
        }
        let entries = files::entries(&dir)?;
        let numbers = entries.iter().filter_map(|entry| entry.strip_suffix(".model")?.parse().ok());
        // Entries are sorted as text; six digits make that the order of numbers.
        Ok(numbers.collect())
    }

    fn model_dir(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn versions_dir(&self, name: &str) -> PathBuf {
        self.model_dir(name).join("versions")
    }

    fn model_path(&self, name: &str, version: u32) -> PathBuf {
        self.versions_dir(name).join(format!("{version:06}.model"))
    }

    fn card_path(&self, name: &str, version: u32) -> PathBuf {
        self.versions_dir(name).join(format!("{version:06}.card.json"))
    }

    fn page_path(&self, name: &str, version: u32) -> PathBuf {
        self.versions_dir(name).join(format!("{version:06}.card.html"))
    }

    fn history_path(&self, name: &str) -> PathBuf {
        self.model_dir(name).join("aliases.log")
    }
}

fn too_large(what: &'static str, found: u64, limit: u64) -> Error {
    Error::TooLarge { what, found, limit }
}

/// Whether a model may be called so: before a long training, not after it.
///
/// # Errors
/// [`Error::InvalidName`].
pub fn check_model_name(name: &str) -> Result<(), Error> {
    check_name("model name", name)
}

/// Names become directories and words of the rule language: lower-case letters, digits, `_` and `-`.
fn check_name(kind: &'static str, name: &str) -> Result<(), Error> {
    let letters =
        name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
    let starts_well = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if letters && starts_well && name.len() <= MAX_ALIAS_BYTES {
        return Ok(());
    }
    let found = name.chars().take(MAX_NAME_BYTES).collect();
    let expected = "1 to 64 lower-case letters, digits, `_` or `-`, a letter or digit first";
    Err(Error::InvalidName { kind, found, expected })
}

#[cfg(test)]
mod tests;
