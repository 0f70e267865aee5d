//! What the tests of both sides share: small logs, and a disk that fails on demand.
//!
//! Not here: sample records (`samples`).

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use parking_lot::Mutex;

use crate::disk::{Disk, DiskFile, SystemDisk};
use crate::samples::numbered_record;
use crate::{Config, Durability, Error, Log, Reader};

/// The salt of every segment that a [`FaultyDisk`] holds.
pub(crate) const SALT: u64 = 0x0123_4567_89ab_cdef;

/// A log with the smallest segments: about five sample records each, which stay as they are written.
pub(crate) fn small(dir: &Path) -> Config {
    Config { segment_bytes: 4096, seal: false, sync_interval: Duration::from_secs(60), ..Config::new(dir) }
}

/// Appends a record and waits for what became of it.
pub(crate) fn append(log: &Log, number: u64) -> Result<u64, Error> {
    let (sender, receiver) = channel();
    log.append(&numbered_record(number), move |outcome| sender.send(outcome).unwrap())?;
    receiver.recv().unwrap()
}

/// Writes records 1 to `count` into a new log in `dir`, the request of each holding its number.
pub(crate) fn write_log(dir: &Path, count: u64) {
    let (log, _) = Log::open(small(dir)).unwrap();
    for number in 1..=count {
        assert_eq!(append(&log, number).unwrap(), number);
    }
    log.close().unwrap();
}

/// The numbers in the requests of all records, and the error that reading ended with.
pub(crate) fn read_all(dir: &Path) -> (Vec<u64>, Option<Error>) {
    let mut numbers = Vec::new();
    for item in Reader::open(dir).unwrap() {
        match item {
            Ok((position, record)) => {
                assert_eq!(record.sequence, position.sequence);
                assert_eq!(record.sequence, numbers.len() as u64 + 1);
                numbers.push(String::from_utf8(record.request).unwrap().parse().unwrap());
            }
            Err(error) => return (numbers, Some(error)),
        }
    }
    (numbers, None)
}

/// What a [`FaultyDisk`] refuses.
#[derive(Default)]
pub(crate) struct Faults {
    /// Bytes that can still be written; unlimited if absent.
    pub(crate) writable_bytes: Option<u64>,
    pub(crate) fail_set_len: bool,
    pub(crate) fail_sync: bool,
    /// Of what changes a directory or a file, how much still succeeds; all of it if absent.
    pub(crate) operations: Option<u64>,
    /// Only the syncs that nobody waits for fail.
    pub(crate) fail_background_sync: bool,
    /// Told of every sync before it begins, with the name of its thread.
    pub(crate) syncing: Option<Sender<String>>,
    /// Told of every sync.
    pub(crate) synced: Option<Sender<()>>,
    /// Syncs wait until it is unlocked.
    pub(crate) sync_gate: Option<Arc<Mutex<()>>>,
}

/// The real disk, with faults.
#[derive(Clone, Default)]
pub(crate) struct FaultyDisk {
    pub(crate) faults: Arc<Mutex<Faults>>,
}

struct FaultyFile {
    inner: Box<dyn DiskFile>,
    faults: Arc<Mutex<Faults>>,
}

impl FaultyDisk {
    /// Opens a log on this disk.
    pub(crate) fn log(&self, config: Config) -> Log {
        Log::open_on(Box::new(self.clone()), config).unwrap().0
    }

    fn count(&self) -> io::Result<()> {
        self.faults.lock().count()
    }

    fn wrap(&self, inner: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(FaultyFile { inner, faults: Arc::clone(&self.faults) })
    }
}

impl Faults {
    fn count(&mut self) -> io::Result<()> {
        let Some(left) = &mut self.operations else { return Ok(()) };
        *left = left.checked_sub(1).ok_or_else(|| io::Error::other("the power went away"))?;
        Ok(())
    }
}

impl Disk for FaultyDisk {
    fn create(&mut self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.count()?;
        let file = SystemDisk.create(path)?;
        Ok(self.wrap(file))
    }

    fn open(&mut self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = SystemDisk.open(path)?;
        Ok(self.wrap(file))
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.count()?;
        SystemDisk.remove(path)
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.count()?;
        SystemDisk.rename(from, to)
    }

    fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        self.count()?;
        SystemDisk.sync_dir(dir)
    }

    fn salt(&mut self) -> u64 {
        SALT
    }

    fn again(&self) -> Box<dyn Disk> {
        Box::new(self.clone())
    }
}

impl DiskFile for FaultyFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut faults = self.faults.lock();
        faults.count()?;
        let Some(left) = &mut faults.writable_bytes else { return self.inner.write_at(offset, bytes) };
        let fitting = (*left).min(bytes.len() as u64);
        *left -= fitting;
        self.inner.write_at(offset, &bytes[..fitting as usize])?;
        if fitting < bytes.len() as u64 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn set_len(&mut self, length: u64) -> io::Result<()> {
        if self.faults.lock().fail_set_len {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        self.inner.set_len(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        let background = thread == "decision-log-sync";
        let gate = self.faults.lock().sync_gate.clone();
        if let Some(sender) = &self.faults.lock().syncing {
            let _ = sender.send(thread);
        }
        let _passed = gate.as_ref().map(|gate| gate.lock());
        let mut faults = self.faults.lock();
        faults.count()?;
        if faults.fail_sync || (background && faults.fail_background_sync) {
            return Err(io::Error::other("the device went away"));
        }
        self.inner.sync()?;
        if let Some(sender) = &faults.synced {
            let _ = sender.send(());
        }
        Ok(())
    }
}

/// A configuration that syncs before it tells.
pub(crate) fn synced(dir: &Path) -> Config {
    Config { durability: Durability::Synced, ..small(dir) }
}

/// The first sequences of the segments in `dir`.
pub(crate) fn list(dir: &Path) -> Vec<u64> {
    crate::bases::list(&crate::format::DECISIONS, dir).unwrap().into_vec()
}

/// What the checksums of the frames of this segment go on from.
pub(crate) fn seed(path: &Path) -> u32 {
    let bytes = std::fs::read(path).unwrap();
    crate::header::Header::decode(&crate::format::DECISIONS, &bytes).unwrap().layout.seed()
}

/// Seals every closed segment of the log of decisions in `dir`, on `disk`, and says how many were not sealed before.
pub(crate) fn seal_all(disk: &mut dyn Disk, dir: &Path) -> Result<u64, Error> {
    use crate::file::{Ending, ending};
    let format = &crate::format::DECISIONS;
    let bases = list(dir);
    let mut previous = crate::Anchor::read(format, dir)?.previous;
    let mut sealed = 0;
    for (base, successor) in bases.iter().zip(&bases[1..]) {
        previous = match ending(format, dir, *base)?.1 {
            Ending::Sealed(footer) => footer.hash,
            _ => {
                sealed += 1;
                let mut rest = |_| true;
                let of = crate::sealed::seal::<augur_domain::DecisionRecord>;
                of(disk, dir, *base, *successor, previous, &mut rest)?.hash
            }
        };
    }
    Ok(sealed)
}

/// Copies the files of a log.
pub(crate) fn copy_log(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Makes a segment one of version 1: without a salt.
pub(crate) fn make_plain(path: &Path) {
    use crate::header::{Header, Layout};
    use crate::segment::{FRAME_HEADER_BYTES, FrameHeader, frame};
    let bytes = std::fs::read(path).unwrap();
    let header = Header::decode(&crate::format::DECISIONS, &bytes).unwrap();
    let mut plain = Header { layout: Layout::Plain, ..header }.encode(&crate::format::DECISIONS);
    let mut rest = &bytes[header.layout.header_bytes()..];
    while let Some((head, behind)) = rest.split_first_chunk::<FRAME_HEADER_BYTES>() {
        let head = FrameHeader::decode(*head);
        let (payload, behind) = behind.split_at(head.length as usize);
        assert!(head.matches(header.layout.seed(), payload));
        plain.extend_from_slice(&frame(0, head.kind, payload));
        rest = behind;
    }
    std::fs::write(path, plain).unwrap();
}
