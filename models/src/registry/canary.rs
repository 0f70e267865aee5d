//! Canaries of a model: which version is on trial, for which share of users, and who decided so; append-only.
//!
//! Not here: which users those are (`augur_domain::canary`), or serving and comparing them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use augur_domain::canary::WHOLE_PPM;
use augur_domain::{ContentHash, ModelRef, Timestamp};
use serde::{Deserialize, Serialize};

use super::{MAX_FILE_BYTES, Registry, check_name, files, too_large};
use crate::Error;
use crate::artifact::Body;

/// Longest `who` or `why`, in bytes.
const MAX_REMARK_BYTES: usize = 4 * 1024;

/// A version on trial beside an alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary {
    /// The alias whose users it takes a share of.
    pub alias: String,
    /// The version that the alias points at, and that the trial is against: another one ends it.
    pub champion: ModelRef,
    /// The version on trial.
    pub challenger: ModelRef,
    /// Tells this canary from others; stays as the share changes.
    pub salt: ContentHash,
    /// Share of users, in parts per million, above 0.
    pub share_ppm: u32,
    /// What promotes it by itself; nothing unless declared.
    pub promotion: Option<Promotion>,
    /// When this share began.
    pub at: Timestamp,
}

/// When a canary has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promotion {
    /// So long after its share began, in milliseconds.
    pub after_ms: i64,
    /// With so many decisions of its own.
    pub min_decisions: u64,
}

/// What somebody asks of a canary.
#[derive(Debug, Clone, Copy)]
pub struct CanaryChange<'a> {
    /// The alias.
    pub alias: &'a str,
    /// The version on trial.
    pub version: u32,
    /// Its share of users from here on, in parts per million; 0 ends the trial.
    pub share_ppm: u32,
    /// What promotes it by itself.
    pub promotion: Option<Promotion>,
    /// Who asks.
    pub who: &'a str,
    /// Why.
    pub why: &'a str,
    /// When.
    pub at: Timestamp,
}

/// One line of the history, as written. Fields may be added, never renamed or removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryLine {
    /// Position in the history, counted from 1 without gaps.
    pub sequence: u64,
    /// When, as the caller's clock said.
    pub at_unix_ms: i64,
    /// The alias.
    pub alias: String,
    /// The version that the alias pointed at.
    pub champion: u32,
    /// The version on trial.
    pub version: u32,
    /// Its artifact.
    pub artifact: String,
    /// The trial's own salt.
    pub salt: String,
    /// Share of users from here on, in parts per million; 0 ended the trial.
    pub share_ppm: u32,
    /// What promotes it by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotion: Option<Promotion>,
    /// Who.
    pub who: String,
    /// Why.
    pub why: String,
}

impl Registry {
    /// The trial beside `alias`, if there is one.
    ///
    /// # Errors
    /// [`Error::InvalidName`], [`Error::Corrupted`] with the line, [`Error::Io`].
    pub fn canary(&self, name: &str, alias: &str) -> Result<Option<Canary>, Error> {
        check_name("model name", name)?;
        let path = self.canary_path(name);
        let (lines, _) = read(&path)?;
        let last = lines.into_iter().rev().find(|line| line.alias == alias);
        let Some(last) = last.filter(|line| line.share_ppm > 0) else { return Ok(None) };
        let present = self.resolve(name, alias)?;
        let Some(champion) = present.filter(|present| present.version == last.champion) else {
            return Ok(None);
        };
        let damaged = |error: augur_domain::ids::ParseIdError| Error::Corrupted {
            file: path.clone(),
            problem: format!("line {}: {error}", last.sequence),
        };
        let artifact = last.artifact.parse().map_err(damaged)?;
        let salt = last.salt.parse().map_err(damaged)?;
        Ok(Some(Canary {
            champion,
            challenger: ModelRef { name: Arc::from(name), version: last.version, artifact },
            salt,
            share_ppm: last.share_ppm.min(WHOLE_PPM),
            promotion: last.promotion,
            at: Timestamp::from_unix_ms(last.at_unix_ms),
            alias: last.alias,
        }))
    }

    /// Every change of every canary of `name`, oldest first.
    ///
    /// # Errors
    /// As [`Self::canary`].
    pub fn canary_history(&self, name: &str) -> Result<Vec<CanaryLine>, Error> {
        check_name("model name", name)?;
        Ok(read(&self.canary_path(name))?.0)
    }

    /// Puts a version on trial for a share of the users of an alias, or changes the share of the trial that it is on; 0
    /// ends it. Synced.
    ///
    /// # Errors
    /// As [`Self::set_alias`]; [`Error::UnknownAlias`] without a champion; [`Error::CanaryUnderWay`] when another version
    /// is on trial, [`Error::CanaryDecides`] when it is the champion, [`Error::CanaryOfSegments`] when it gives segments,
    /// [`Error::NoCanary`] when there is nothing to end.
    pub fn set_canary(&self, name: &str, change: &CanaryChange<'_>) -> Result<(), Error> {
        let CanaryChange { alias, version, share_ppm, .. } = *change;
        check_name("model name", name)?;
        check_name("alias", alias)?;
        if share_ppm > WHOLE_PPM {
            return Err(too_large(
                "share of a canary in parts per million",
                share_ppm.into(),
                WHOLE_PPM.into(),
            ));
        }
        let target = self.version(name, version)?;
        if share_ppm > 0 {
            // Only what can be loaded goes on trial, and segments have no scores to compare.
            if let Body::Clusters { .. } = self.load(&target)?.content().body {
                return Err(Error::CanaryOfSegments { name: name.to_owned(), version });
            }
        }
        let _lock = files::Lock::take(&self.model_dir(name).join("lock"))?;
        let champion = self.find(name, alias)?;
        let under_way = self.canary(name, alias)?;
        if let Some(other) = under_way.as_ref().filter(|canary| canary.challenger != target) {
            let (name, version) = (name.to_owned(), other.challenger.version);
            return Err(Error::CanaryUnderWay { name, version });
        }
        if under_way.is_none() && share_ppm == 0 {
            return Err(Error::NoCanary { name: name.to_owned(), version });
        }
        if champion == target {
            return Err(Error::CanaryDecides { name: name.to_owned(), alias: alias.to_owned(), version });
        }
        self.append_canary(name, champion.version, &target, under_way.map(|canary| canary.salt), change)
    }

    /// Ends the trial that an alias had, because it moved. What it was against is gone whether or not the line can be
    /// written: lines name their champion.
    pub(super) fn end_canary(&self, name: &str, champion: u32, canary: &Canary, change: &CanaryChange<'_>) {
        let ended = CanaryChange { share_ppm: 0, promotion: None, ..*change };
        let _ = self.append_canary(name, champion, &canary.challenger, Some(canary.salt), &ended);
    }

    /// The caller holds the lock.
    fn append_canary(
        &self,
        name: &str,
        champion: u32,
        challenger: &ModelRef,
        salt: Option<ContentHash>,
        change: &CanaryChange<'_>,
    ) -> Result<(), Error> {
        let CanaryChange { alias, share_ppm, promotion, who, why, at, .. } = *change;
        for (what, text) in [("`who` of a canary in bytes", who), ("`why` of a canary in bytes", why)] {
            if text.len() > MAX_REMARK_BYTES {
                return Err(too_large(what, text.len() as u64, MAX_REMARK_BYTES as u64));
            }
        }
        let path = self.canary_path(name);
        let (lines, complete_bytes) = read(&path)?;
        let sequence = lines.len() as u64 + 1;
        // Of the line that begins the trial, so that no two trials sort users alike.
        let begun = || {
            let place = sequence.to_le_bytes();
            ContentHash::of(&[name.as_bytes(), alias.as_bytes(), challenger.artifact.as_bytes(), &place])
        };
        let line = CanaryLine {
            sequence,
            at_unix_ms: at.unix_ms(),
            alias: alias.to_owned(),
            champion,
            version: challenger.version,
            artifact: challenger.artifact.to_string(),
            salt: salt.unwrap_or_else(begun).to_string(),
            share_ppm,
            promotion,
            who: who.to_owned(),
            why: why.to_owned(),
        };
        let line = serde_json::to_string(&line)
            .map_err(|error| Error::Corrupted { file: path.clone(), problem: error.to_string() })?;
        let after_bytes = complete_bytes + line.len() as u64 + 1;
        if after_bytes > MAX_FILE_BYTES {
            return Err(too_large("history of canaries in bytes", after_bytes, MAX_FILE_BYTES));
        }
        files::append_line(&path, complete_bytes, &line)
    }

    fn canary_path(&self, name: &str) -> PathBuf {
        self.model_dir(name).join("canary.log")
    }
}

/// The whole lines, and how many bytes they take.
fn read(path: &Path) -> Result<(Vec<CanaryLine>, u64), Error> {
    let bytes = files::read(path, MAX_FILE_BYTES)?.unwrap_or_default();
    let complete = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let lines = bytes.get(..complete).unwrap_or_default().split_inclusive(|byte| *byte == b'\n');
    let lines = lines.zip(1..).map(|(line, sequence): (&[u8], u64)| {
        let damaged = |problem: String| Error::Corrupted {
            file: path.to_owned(),
            problem: format!("line {sequence}: {problem}"),
        };
        let line: CanaryLine = serde_json::from_slice(line).map_err(|error| damaged(error.to_string()))?;
        if line.sequence == sequence {
            return Ok(line);
        }
        Err(damaged(format!("sequence {} where {sequence} belongs", line.sequence)))
    });
    Ok((lines.collect::<Result<_, _>>()?, complete as u64))
}
