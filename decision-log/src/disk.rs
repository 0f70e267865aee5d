//! The few operations that the writing side needs of an operating system, behind a trait so that tests can make them
//! fail at a chosen byte.
//!
//! Not here: what to do about failures (`writer`).

use std::fs::{File, OpenOptions};
use std::hash::BuildHasher as _;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

/// A file system.
pub(crate) trait Disk: Send {
    /// Creates a file that must not exist.
    fn create(&mut self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a file that must exist, for writing.
    fn open(&mut self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Removes a file.
    fn remove(&mut self, path: &Path) -> io::Result<()>;
    /// Gives a file another name, in the place of the file that has it.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&mut self, dir: &Path) -> io::Result<()>;
    /// A number that nobody outside can guess.
    fn salt(&mut self) -> u64;
    /// The same disk, for another thread.
    fn again(&self) -> Box<dyn Disk>;
}

/// A file being written.
pub(crate) trait DiskFile: Send {
    /// Writes all of `bytes` at `offset`; on failure some of them may have been written.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts or extends the file.
    fn set_len(&mut self, length: u64) -> io::Result<()>;
    /// Makes the content durable, and of the metadata what is needed to read it.
    fn sync(&mut self) -> io::Result<()>;
}

/// The operating system's.
#[derive(Debug)]
pub(crate) struct SystemDisk;

impl Disk for SystemDisk {
    fn create(&mut self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().write(true).create_new(true).open(path)?))
    }

    fn open(&mut self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().write(true).open(path)?))
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn salt(&mut self) -> u64 {
        // Keyed by the operating system's randomness.
        std::hash::RandomState::new().hash_one(())
    }

    fn again(&self) -> Box<dyn Disk> {
        Box::new(Self)
    }
}

impl DiskFile for File {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.seek(SeekFrom::Start(offset))?;
        self.write_all(bytes)
    }

    fn set_len(&mut self, length: u64) -> io::Result<()> {
        Self::set_len(self, length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}
