//! The data directory: where everything lies, its key, and small files written whole or not at all.
//!
//! ```text
//! <data>/secret.key                     32 random bytes; without them nobody stored can be found again
//! <data>/secret.check                   tells whether the key is the one that the pseudonyms were made with
//! <data>/store/                         events, features, exposures, quarantine
//! <data>/decisions/                     the decision log
//! <data>/outcomes/                      what came of decisions, as it was reported
//! <data>/shadow/                        what candidates of live shadow decided
//! <data>/policies/<id>/policy.toml      every policy that ever decided here, with
//! <data>/policies/<id>/features.toml    the definitions it was compiled against, and
//! <data>/policies/<id>/definitions.seal the feature set that they made then
//! <data>/policies/<id>/tests/           its tests, as they were when it was last activated
//! <data>/policies/history               which one decided from when on, and why
//! <data>/active_policy                  which one decides, and what the configured file was then
//! <data>/models/                        the registry
//! <data>/access/                        API keys, hashed, and when each was used last
//! ```
//! Not here: what lies inside the directories of other crates.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use augur_domain::ContentHash;
use augur_domain::ids::Pseudonymiser;

use crate::{Error, entropy};

/// Longest text file that is read, in bytes.
const MAX_TEXT_BYTES: u64 = 16 << 20;

/// Hashed with the key to know it again. Its hash is no pseudonym's: those are of a kind, a zero byte and an id.
const KEY_CHECK: &[u8] = b"augur: the key of this data directory, 1";
/// What the key of API keys is derived for; another text would make every API key unknown.
const API_KEYS_CONTEXT: &str = "augur 2026-11-23 hashes of API keys, 1";

/// Where things lie in a data directory.
#[derive(Debug, Clone)]
pub struct Layout {
    dir: PathBuf,
}

impl Layout {
    /// The layout of `dir`, which need not exist.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The feature store's directory.
    pub fn store(&self) -> PathBuf {
        self.dir.join("store")
    }

    /// The decision log's directory.
    pub fn decisions(&self) -> PathBuf {
        self.dir.join("decisions")
    }

    /// The directory of the log of outcomes.
    pub fn outcomes(&self) -> PathBuf {
        self.dir.join("outcomes")
    }

    /// The directory of the log of live shadow.
    pub fn shadow(&self) -> PathBuf {
        self.dir.join("shadow")
    }

    /// The registry's directory.
    pub fn models(&self) -> PathBuf {
        self.dir.join("models")
    }

    /// The directory of all archived policies.
    pub fn policies(&self) -> PathBuf {
        self.dir.join("policies")
    }

    /// The file that says which policy decided from when on.
    pub fn policy_history(&self) -> PathBuf {
        self.policies().join("history")
    }

    /// The directory of one policy's files.
    pub fn policy(&self, id: &ContentHash) -> PathBuf {
        self.policies().join(id.to_string())
    }

    /// The file that says which policy decides.
    pub fn active_policy(&self) -> PathBuf {
        self.dir.join("active_policy")
    }

    /// The file of API keys.
    pub(crate) fn api_keys(&self) -> PathBuf {
        self.dir.join("access").join("keys")
    }

    /// The file that says when each API key was used last.
    pub(crate) fn api_keys_used(&self) -> PathBuf {
        self.dir.join("access").join("used")
    }

    /// The file held while API keys are changed.
    pub(crate) fn api_keys_lock(&self) -> PathBuf {
        self.dir.join("access").join("lock")
    }

    fn key_check(&self) -> PathBuf {
        self.dir.join("secret.check")
    }

    /// Whether `key` is the one that was used here before. Without anything to compare with it is, from now on.
    fn is_the_key(&self, key: &[u8; 32]) -> Result<bool, Error> {
        let path = self.key_check();
        match fs::read(&path) {
            Ok(bytes) => Ok(bytes == key_check(key).as_bytes()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                write_whole(&path, key_check(key).as_bytes(), 0o644)?;
                Ok(true)
            }
            Err(error) => Err(Error::file("read", &path)(error)),
        }
    }

    /// The pseudonyms of this directory.
    pub(crate) fn pseudonymiser(&self) -> Result<Pseudonymiser, Error> {
        self.secret().map(Pseudonymiser::new)
    }

    /// The key under which API keys are hashed, which tells nothing about the key of the pseudonyms.
    pub(crate) fn key_of_api_keys(&self) -> Result<[u8; 32], Error> {
        Ok(blake3::derive_key(API_KEYS_CONTEXT, &self.secret()?))
    }

    /// Reads the key of the directory, making it in one that has no data yet.
    fn secret(&self) -> Result<[u8; 32], Error> {
        fs::create_dir_all(&self.dir).map_err(Error::file("create", &self.dir))?;
        let path = self.dir.join("secret.key");
        match fs::read(&path) {
            Ok(bytes) => {
                let problem = format!("the key has {} bytes; expected 32", bytes.len());
                let refused = |problem| Error::DataDirectory {
                    path: path.clone(),
                    problem,
                    next_step: "restore the key from a backup",
                };
                let key = <[u8; 32]>::try_from(bytes).map_err(|_| refused(problem))?;
                if !self.is_the_key(&key)? {
                    return Err(refused(
                        "this key is not the one that the pseudonyms were made with".to_owned(),
                    ));
                }
                Ok(key)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if self.store().exists() {
                    return Err(Error::DataDirectory {
                        path,
                        problem: "the key is gone, but there is data under its pseudonyms".to_owned(),
                        next_step: "restore the key from a backup, or choose an empty directory",
                    });
                }
                let key = entropy::system_bytes()?;
                write_whole(&path, &key, 0o600)?;
                // Whatever lay here was of a key that has stored nothing.
                write_whole(&self.key_check(), key_check(&key).as_bytes(), 0o644)?;
                Ok(key)
            }
            Err(error) => Err(Error::file("read", &path)(error)),
        }
    }
}

/// What `secret.check` holds for `key`.
fn key_check(key: &[u8; 32]) -> String {
    format!("{}\n", blake3::keyed_hash(key, KEY_CHECK).to_hex())
}

/// Reads a text file of bounded size.
pub(crate) fn read_text(path: &Path) -> Result<String, Error> {
    let length = fs::metadata(path).map_err(Error::file("read", path))?.len();
    if length > MAX_TEXT_BYTES {
        let problem = format!("{length} bytes; expected at most {MAX_TEXT_BYTES}");
        return Err(Error::file("read", path)(std::io::Error::other(problem)));
    }
    fs::read_to_string(path).map_err(Error::file("read", path))
}

/// Writes a file that is there whole, synced, or not at all.
pub(crate) fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    use std::os::unix::fs::OpenOptionsExt;
    let parent = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(Error::file("create", parent))?;
    let unfinished = path.with_extension("unfinished");
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&unfinished)
        .map_err(Error::file("create", &unfinished))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(Error::file("write", &unfinished))?;
    fs::rename(&unfinished, path).map_err(Error::file("rename", &unfinished))?;
    File::open(parent).and_then(|dir| dir.sync_all()).map_err(Error::file("sync", parent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use augur_domain::ids::Subject;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_key_is_made_once_private_and_never_replaced_under_data() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path().join("data"));
        let first = layout.pseudonymiser().unwrap().user_key(Subject::User("ada"));
        assert_eq!(layout.pseudonymiser().unwrap().user_key(Subject::User("ada")), first);
        let key = dir.path().join("data/secret.key");
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);

        let right = fs::read(&key).unwrap();
        fs::write(&key, [7; 32]).unwrap();
        let refused = layout.pseudonymiser().unwrap_err().to_string();
        assert!(refused.contains("not the one that the pseudonyms were made with; restore"), "{refused}");
        fs::write(&key, right).unwrap();
        assert_eq!(layout.pseudonymiser().unwrap().user_key(Subject::User("ada")), first);

        fs::write(&key, b"short").unwrap();
        assert!(layout.pseudonymiser().unwrap_err().to_string().contains("5 bytes; expected 32"));
        fs::remove_file(&key).unwrap();
        fs::create_dir_all(layout.store()).unwrap();
        assert!(layout.pseudonymiser().unwrap_err().to_string().contains("the key is gone"));
    }

    #[test]
    fn a_key_is_known_again_by_the_same_text_for_ever() {
        let golden = "e1049f0c5c18f66e83fb3e5110c4c6dd84a547c725f3b71162dc8c4573cfb8a9\n";
        assert_eq!(key_check(&[7; 32]), golden);
    }
}
