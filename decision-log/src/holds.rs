//! What readers outside still need: files `NAME.hold` in the log's directory, each with the sequence of the first record
//! that must stay.
//!
//! Not here: removing what nobody needs (`retention`).
//!
//! A hold is a line of text: `augur hold 1 <sequence>`.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::disk::{Disk, SystemDisk};
use crate::error::Error;

const SUFFIX: &str = ".hold";
const FIRST_WORDS: &str = "augur hold 1 ";
/// Most holds of a log, and most letters of a name.
const MOST_HOLDS: usize = 64;
const MOST_LETTERS: usize = 64;

/// A reader outside and what it still needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hold {
    /// Who holds.
    pub name: String,
    /// The first record that must stay.
    pub first_sequence: u64,
}

/// The holds of the log in `dir`, by name.
///
/// # Errors
/// [`Error::Io`]; [`Error::Corrupted`] of a file that is not a hold: nothing is removed until it is mended.
pub fn holds(dir: &Path) -> Result<Vec<Hold>, Error> {
    let mut holds = Vec::new();
    let entries = std::fs::read_dir(dir).map_err(|error| Error::io("list", dir, error))?;
    for entry in entries {
        let entry = entry.map_err(|error| Error::io("list", dir, error))?;
        let name = entry.file_name();
        if let Some(name) = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)) {
            holds.push(Hold { name: name.to_owned(), first_sequence: read(&entry.path())? });
        }
    }
    holds.sort();
    Ok(holds)
}

/// Keeps everything from `hold.first_sequence` on in the log in `dir`, in the place of what was held under that name.
///
/// # Errors
/// [`Error::InvalidConfig`] of a name that is not 1 to 64 of `a-z`, `0-9`, `_` and `-`, or of one too many; [`Error::Io`].
pub fn hold(dir: &Path, hold: &Hold) -> Result<(), Error> {
    let path = path(dir, &hold.name)?;
    let others = holds(dir)?.into_iter().filter(|other| other.name != hold.name).count();
    if others >= MOST_HOLDS {
        let found = format!("{} there already", others);
        return Err(Error::InvalidConfig { setting: "hold", found, expected: "at most 64 holds" });
    }
    let beside = path.with_extension("hold.new");
    let text = format!("{FIRST_WORDS}{}\n", hold.first_sequence);
    let written = std::fs::write(&beside, text)
        .and_then(|()| std::fs::File::open(&beside)?.sync_all())
        .and_then(|()| SystemDisk.rename(&beside, &path))
        .and_then(|()| SystemDisk.sync_dir(dir));
    written.map_err(|error| Error::io("write", &path, error))
}

/// Gives up what is held under `name`; says whether anything was.
///
/// # Errors
/// As [`hold`].
pub fn release(dir: &Path, name: &str) -> Result<bool, Error> {
    let path = path(dir, name)?;
    match std::fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("remove", &path, error)),
    }
}

/// The first record that anybody needs; none is [`u64::MAX`].
pub(crate) fn first_held(dir: &Path) -> Result<u64, Error> {
    Ok(holds(dir)?.into_iter().map(|hold| hold.first_sequence).min().unwrap_or(u64::MAX))
}

fn path(dir: &Path, name: &str) -> Result<PathBuf, Error> {
    let plain =
        |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || b"_-".contains(&letter);
    if !(1..=MOST_LETTERS).contains(&name.len()) || !name.bytes().all(plain) {
        let expected = "1 to 64 of a-z, 0-9, `_` and `-`";
        return Err(Error::InvalidConfig { setting: "hold", found: format!("`{name}`"), expected });
    }
    Ok(dir.join(format!("{name}{SUFFIX}")))
}

fn read(path: &Path) -> Result<u64, Error> {
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(64).read_to_string(&mut text))
        .map_err(|error| Error::io("read", path, error))?;
    let sequence = text.strip_prefix(FIRST_WORDS).and_then(|rest| rest.trim_end().parse().ok());
    sequence.ok_or_else(|| Error::corrupted(path, 0, "it is not `augur hold 1` and a sequence"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_of_all_holds_counts_until_it_is_released() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(first_held(dir.path()).unwrap(), u64::MAX);
        for (name, first_sequence) in [("export", 70), ("audit-2", 40), ("export", 90)] {
            hold(dir.path(), &Hold { name: name.to_owned(), first_sequence }).unwrap();
        }
        let written = std::fs::read_to_string(dir.path().join("export.hold")).unwrap();
        assert_eq!(written, "augur hold 1 90\n", "the bytes of version 1");
        assert_eq!(first_held(dir.path()).unwrap(), 40);
        assert!(release(dir.path(), "audit-2").unwrap());
        assert!(!release(dir.path(), "audit-2").unwrap());
        assert_eq!(first_held(dir.path()).unwrap(), 90);
    }

    #[test]
    fn what_is_no_hold_is_told() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["", "../up", "Upper", "a.b", &"x".repeat(65)] {
            assert!(release(dir.path(), name).is_err(), "{name}");
        }
        for text in ["", "augur hold 2 7", "augur hold 1 x", "augur hold 1 7 8"] {
            std::fs::write(dir.path().join("export.hold"), text).unwrap();
            assert!(matches!(first_held(dir.path()), Err(Error::Corrupted { .. })), "{text}");
        }
    }

    #[test]
    fn there_are_no_more_than_are_documented() {
        let dir = tempfile::tempdir().unwrap();
        let named = |number: usize| Hold { name: format!("reader{number}"), first_sequence: 1 };
        for number in 0..MOST_HOLDS {
            hold(dir.path(), &named(number)).unwrap();
        }
        assert!(hold(dir.path(), &named(3)).is_ok());
        assert!(matches!(hold(dir.path(), &named(MOST_HOLDS)), Err(Error::InvalidConfig { .. })));
    }
}
