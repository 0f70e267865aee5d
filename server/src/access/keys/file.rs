//! The file of keys in the data directory, and beside it when each was used last.
//!
//! ```text
//! <data>/access/keys   a line `AUGURKEYS 1 <BLAKE3 of the rest>`, then one JSON object a line, oldest first
//! <data>/access/used   a line `AUGURUSED 1 <BLAKE3 of the rest>`, then `<id> <milliseconds since 1970>` a line
//! <data>/access/lock   held by whoever changes the keys
//! ```
//! Each is written whole or not at all. Commands change the keys, also while a server runs, which reads them again; the
//! server alone writes when they were used. Not here: comparing what a caller sent (`ring`).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use augur_domain::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ApiKey, KeyId, KeyState, MAX_NAME_BYTES, NewKey, draw, hex, unhex};
use crate::Error;
use crate::access::roles::{Role, Roles};
use crate::files::{Layout, read_text, write_whole};

/// Most keys kept; those that open nothing any more make room.
const MAX_KEYS: usize = 10_000;
/// Most active keys of one name: the one in use, and the one that takes its place.
const MAX_ACTIVE: usize = 2;

const KEYS_MAGIC: &str = "AUGURKEYS 1 ";
const USED_MAGIC: &str = "AUGURUSED 1 ";
const DAMAGED: &str =
    "restore the file from a backup, or remove it and make new keys: without it every key is refused";

/// One line of the file. A field that is not known may be a restriction, so it is refused.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: String,
    name: String,
    roles: Vec<String>,
    hash: String,
    created_at_ms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at_ms: Option<i64>,
}

/// The keys of one data directory, to look at and to change.
#[derive(Debug)]
pub struct KeyFile {
    layout: Layout,
    hashing: [u8; 32],
}

impl KeyFile {
    /// The keys of the data directory of `layout`. Its secret is made if there is none yet and nothing is stored.
    ///
    /// # Errors
    /// [`Error::DataDirectory`] when its secret is gone or another one.
    pub fn of(layout: &Layout) -> Result<Self, Error> {
        Ok(Self { layout: layout.clone(), hashing: layout.key_of_api_keys()? })
    }

    pub(crate) const fn hashing(&self) -> &[u8; 32] {
        &self.hashing
    }

    /// Where they lie.
    pub fn path(&self) -> PathBuf {
        self.layout.api_keys()
    }

    /// Every key, oldest first. Without a file there are none.
    ///
    /// # Errors
    /// [`Error::DataDirectory`] when the file is damaged.
    pub fn list(&self) -> Result<Vec<ApiKey>, Error> {
        let Some(lines) = read_checked(&self.path(), KEYS_MAGIC)? else { return Ok(Vec::new()) };
        let keys: Result<Vec<ApiKey>, String> = lines.lines().map(key_of).collect();
        keys.map_err(|problem| damaged(&self.path(), problem))
    }

    /// When each key was used last, as far as it has been written; by the key's [`ApiKey::id`].
    ///
    /// # Errors
    /// [`Error::File`] when the file cannot be read. A damaged one is as none: nothing depends on it.
    pub fn last_used(&self) -> Result<BTreeMap<String, Timestamp>, Error> {
        let lines = match read_checked(&self.layout.api_keys_used(), USED_MAGIC) {
            Ok(lines) => lines.unwrap_or_default(),
            Err(Error::DataDirectory { .. }) => String::new(),
            Err(error) => return Err(error),
        };
        let used = lines.lines().filter_map(|line| {
            let (id, at_ms) = line.split_once(' ')?;
            Some((id.to_owned(), Timestamp::from_unix_ms(at_ms.parse().ok()?)))
        });
        Ok(used.collect())
    }

    /// Notes when keys were used. For the server alone.
    pub(crate) fn note_used(&self, used: &BTreeMap<KeyId, Timestamp>) -> Result<(), Error> {
        let lines: String = used.iter().map(|(id, at)| format!("{} {}\n", hex(id), at.unix_ms())).collect();
        write_checked(&self.layout.api_keys_used(), USED_MAGIC, &lines)
    }

    /// Makes a key called `name`.
    ///
    /// # Errors
    /// [`Error::NotNow`] when an active key has that name, or there are too many; [`Error::InvalidField`] for a name that
    /// cannot be used or an end that has passed.
    pub fn create(
        &self,
        name: &str,
        roles: Roles,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<NewKey, Error> {
        check_name(name)?;
        if roles.is_empty() {
            return Err(Error::field("roles", "there are none", "at least one role"));
        }
        check_end(expires_at, now)?;
        self.change(|keys| {
            if active(keys, name, now) > 0 {
                return Err(Error::NotNow {
                    problem: format!("an active key is called `{name}`"),
                    next_step: "rotate that one, or choose another name".to_owned(),
                });
            }
            self.add(keys, name, roles, expires_at, now)
        })
    }

    /// Makes a key in the place of the active one `id`, with its name, its roles and as long a life, and lets that one
    /// expire at `old_until`.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::NotNow`] when it is not active, or its name has two active keys already.
    pub fn rotate(&self, id: &str, old_until: Timestamp, now: Timestamp) -> Result<NewKey, Error> {
        self.change(|keys| {
            let old = find(keys, id)?;
            if old.state(now) != KeyState::Active {
                let state = old.state(now).word();
                return Err(Error::NotNow {
                    problem: format!("key `{id}` is {state}"),
                    next_step: "create a new one".to_owned(),
                });
            }
            let expires_at = old.expires_at.map(|end| {
                let life_ms = end.unix_ms().saturating_sub(old.created_at.unix_ms());
                Timestamp::from_unix_ms(now.unix_ms().saturating_add(life_ms))
            });
            old.expires_at = Some(old.expires_at.map_or(old_until, |end| end.min(old_until)));
            let (name, roles) = (old.name.clone(), old.roles);
            if active(keys, &name, now) >= MAX_ACTIVE {
                return Err(Error::NotNow {
                    problem: format!("`{name}` has {MAX_ACTIVE} active keys already"),
                    next_step: "revoke the older one first".to_owned(),
                });
            }
            self.add(keys, &name, roles, expires_at, now)
        })
    }

    /// Revokes the key `id`; running servers refuse it within two seconds. Again is as once.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn revoke(&self, id: &str, now: Timestamp) -> Result<ApiKey, Error> {
        self.change(|keys| {
            let key = find(keys, id)?;
            key.revoked_at = Some(key.revoked_at.unwrap_or(now));
            Ok(key.clone())
        })
    }

    fn add(
        &self,
        keys: &mut Vec<ApiKey>,
        name: &str,
        roles: Roles,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<NewKey, Error> {
        if keys.len() >= MAX_KEYS {
            match keys.iter().position(|key| key.state(now) != KeyState::Active) {
                Some(over) => drop(keys.remove(over)),
                None => {
                    return Err(Error::NotNow {
                        problem: format!("there are {MAX_KEYS} active keys already"),
                        next_step: "revoke some that nobody uses".to_owned(),
                    });
                }
            }
        }
        let (id, hash, text) = draw(&self.hashing)?;
        let name = name.to_owned();
        let key = ApiKey { id, name, roles, hash, created_at: now, expires_at, revoked_at: None };
        keys.push(key.clone());
        Ok(NewKey { key, text })
    }

    /// Reads the keys, changes them and writes them, one change at a time over all processes.
    fn change<T>(&self, change: impl FnOnce(&mut Vec<ApiKey>) -> Result<T, Error>) -> Result<T, Error> {
        let lock = self.layout.api_keys_lock();
        let folder = lock.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
        let held = File::create(&lock).map_err(Error::file("create", &lock))?;
        held.lock().map_err(Error::file("lock", &lock))?;
        let mut keys = self.list()?;
        let changed = change(&mut keys)?;
        let lines: String = keys.iter().map(|key| format!("{}\n", line_of(key))).collect();
        write_checked(&self.path(), KEYS_MAGIC, &lines)?;
        Ok(changed)
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.@/".contains(c);
    if !name.is_empty() && name.len() <= MAX_NAME_BYTES && name.chars().all(is_plain) {
        return Ok(());
    }
    let found: String = name.chars().take(MAX_NAME_BYTES).collect();
    Err(Error::field(
        "name",
        format!("`{}` is no name of a key", found.escape_default()),
        format!("1 to {MAX_NAME_BYTES} letters, digits and -_.@/"),
    ))
}

fn check_end(expires_at: Option<Timestamp>, now: Timestamp) -> Result<(), Error> {
    if expires_at.is_some_and(|end| end <= now) {
        return Err(Error::field("expires_at", "it has passed", "an instant to come"));
    }
    Ok(())
}

fn active(keys: &[ApiKey], name: &str, now: Timestamp) -> usize {
    keys.iter().filter(|key| key.name == name && key.state(now) == KeyState::Active).count()
}

fn find<'k>(keys: &'k mut [ApiKey], id: &str) -> Result<&'k mut ApiKey, Error> {
    let known = keys.iter_mut().find(|key| hex(&key.id) == id);
    known.ok_or_else(|| Error::NotFound {
        kind: "key",
        name: id.chars().take(40).collect(),
        hint: "`augur keys list` lists them; an id is the 12 digits after `augur_`".to_owned(),
    })
}

fn line_of(key: &ApiKey) -> String {
    let line = Line {
        id: hex(&key.id),
        name: key.name.clone(),
        roles: key.roles.iter().map(|role| role.word().to_owned()).collect(),
        hash: key.hash.to_hex().to_string(),
        created_at_ms: key.created_at.unix_ms(),
        expires_at_ms: key.expires_at.map(Timestamp::unix_ms),
        revoked_at_ms: key.revoked_at.map(Timestamp::unix_ms),
    };
    // Texts and numbers alone: it does not fail.
    serde_json::to_string(&line).unwrap_or_default()
}

fn key_of(line: &str) -> Result<ApiKey, String> {
    let line: Line = serde_json::from_str(line).map_err(|error| format!("a line cannot be read: {error}"))?;
    let roles: Result<Roles, String> = line.roles.iter().map(|word| Role::parse(word)).collect();
    let (id, hash) = (unhex(&line.id), unhex(&line.hash));
    Ok(ApiKey {
        id: id.ok_or("an id is not 12 hexadecimal digits")?,
        name: line.name,
        roles: roles?,
        hash: blake3::Hash::from_bytes(hash.ok_or("a hash is not 64 hexadecimal digits")?),
        created_at: Timestamp::from_unix_ms(line.created_at_ms),
        expires_at: line.expires_at_ms.map(Timestamp::from_unix_ms),
        revoked_at: line.revoked_at_ms.map(Timestamp::from_unix_ms),
    })
}

fn damaged(path: &Path, problem: String) -> Error {
    Error::DataDirectory { path: path.to_owned(), problem, next_step: DAMAGED }
}

/// What stands below the first line, if there is a file and it is whole.
fn read_checked(path: &Path, magic: &str) -> Result<Option<String>, Error> {
    let text = match read_text(path) {
        Ok(text) => text,
        Err(Error::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(Error::File { source, .. }) if source.kind() == std::io::ErrorKind::InvalidData => {
            return Err(damaged(path, "it is not text".to_owned()));
        }
        Err(error) => return Err(error),
    };
    let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let Some(sum) = first.strip_prefix(magic) else {
        return Err(damaged(path, format!("it does not begin with `{}`", magic.trim_end())));
    };
    if sum != blake3::hash(rest.as_bytes()).to_hex().as_str() {
        return Err(damaged(path, "its checksum does not fit its lines".to_owned()));
    }
    Ok(Some(rest.to_owned()))
}

fn write_checked(path: &Path, magic: &str, lines: &str) -> Result<(), Error> {
    let text = format!("{magic}{}\n{lines}", blake3::hash(lines.as_bytes()).to_hex());
    write_whole(path, text.as_bytes(), 0o600)
}
