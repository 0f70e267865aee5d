//! The few file operations that the registry needs, each durable and each naming the path it failed on.
//!
//! Not here: what the files mean.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use crate::Error;

/// Creates `dir` and its parents, and syncs the parent so that the new entry survives a crash.
pub(super) fn create_dir(dir: &Path) -> Result<(), Error> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_dir(parent)?;
    }
    match fs::create_dir(dir) {
        Ok(()) => sync_parent(dir),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        Err(error) => Err(Error::io("create directory", dir)(error)),
    }
}

/// Writes `bytes` beside `path` and renames them into place: readers see the old file, or the new one, whole.
/// The caller holds the lock, so the temporary name is its own.
pub(super) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary).map_err(Error::io("create", &temporary))?;
    file.write_all(bytes).map_err(Error::io("write", &temporary))?;
    file.sync_all().map_err(Error::io("sync", &temporary))?;
    fs::rename(&temporary, path).map_err(Error::io("rename into place", path))?;
    sync_parent(path)
}

/// Appends `line` and a newline, synced. Bytes after the last newline are what a crash left of an append that
/// never returned; they are cut off first.
pub(super) fn append_line(path: &Path, complete_bytes: u64, line: &str) -> Result<(), Error> {
    let is_new = !path.exists();
    let mut options = OpenOptions::new();
    let mut file =
        options.create(true).append(true).open(path).map_err(Error::io("open for appending", path))?;
    file.set_len(complete_bytes).map_err(Error::io("truncate", path))?;
    file.write_all(format!("{line}\n").as_bytes()).map_err(Error::io("append to", path))?;
    file.sync_all().map_err(Error::io("sync", path))?;
    if is_new { sync_parent(path) } else { Ok(()) }
}

/// The bytes of `path`, `None` if it is not there.
pub(super) fn read(path: &Path, limit_bytes: u64) -> Result<Option<Vec<u8>>, Error> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("open", path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(limit_bytes + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    if bytes.len() as u64 > limit_bytes {
        let problem = format!("over {limit_bytes} bytes long");
        return Err(Error::Corrupted { file: path.to_owned(), problem });
    }
    Ok(Some(bytes))
}

/// Names of the entries of `dir` that are UTF-8, sorted.
pub(super) fn entries(dir: &Path) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::io("list", dir))? {
        let entry = entry.map_err(Error::io("list", dir))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

fn sync_parent(path: &Path) -> Result<(), Error> {
    // Directories can be opened and synced on Unix; elsewhere the rename is as durable as the system makes it.
    #[cfg(unix)]
    {
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let dir = File::open(parent).map_err(Error::io("open directory", parent))?;
        dir.sync_all().map_err(Error::io("sync directory", parent))?;
    }
    Ok(())
}

/// An exclusive lock on a file, across threads and processes, until dropped.
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the lock. Holders only write a few small files, so the wait is short.
    pub(super) fn take(path: &Path) -> Result<Self, Error> {
        let mut options = OpenOptions::new();
        let file =
            options.create(true).write(true).truncate(false).open(path).map_err(Error::io("open", path))?;
        file.lock().map_err(Error::io("lock", path))?;
        Ok(Self { _file: file })
    }
}
