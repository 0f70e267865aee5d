//! The data directory: where everything lies, its key, and small files written whole or not at all.
//!
//! ```text
//! <data>/secret.key                     32 random bytes; without them nobody stored can be found again
//! <data>/store/                         events, features, exposures, quarantine
//! <data>/decisions/                     the decision log
//! <data>/policies/<id>/policy.toml      every policy that ever decided here, with
//! <data>/policies/<id>/features.toml    the definitions it was compiled against
//! <data>/active_policy                  which one decides, and what the configured file was then
//! <data>/models/                        the registry
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

    /// The registry's directory.
    pub fn models(&self) -> PathBuf {
        self.dir.join("models")
    }

    /// The directory of one policy's files.
    pub fn policy(&self, id: &ContentHash) -> PathBuf {
        self.dir.join("policies").join(id.to_string())
    }

    /// The file that says which policy decides.
    pub fn active_policy(&self) -> PathBuf {
        self.dir.join("active_policy")
    }

    /// Reads the key of the pseudonyms, making it in a directory that has no data yet.
    pub(crate) fn pseudonymiser(&self) -> Result<Pseudonymiser, Error> {
        fs::create_dir_all(&self.dir).map_err(Error::file("create", &self.dir))?;
        let path = self.dir.join("secret.key");
        match fs::read(&path) {
            Ok(bytes) => {
                let problem = format!("the key has {} bytes; expected 32", bytes.len());
                let key = <[u8; 32]>::try_from(bytes).map_err(|_| Error::DataDirectory {
                    path,
                    problem,
                    next_step: "restore the key from a backup",
                })?;
                Ok(Pseudonymiser::new(key))
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
                Ok(Pseudonymiser::new(key))
            }
            Err(error) => Err(Error::file("read", &path)(error)),
        }
    }
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

        fs::write(&key, b"short").unwrap();
        assert!(layout.pseudonymiser().unwrap_err().to_string().contains("5 bytes; expected 32"));
        fs::remove_file(&key).unwrap();
        fs::create_dir_all(layout.store()).unwrap();
        assert!(layout.pseudonymiser().unwrap_err().to_string().contains("the key is gone"));
    }
}
