//! Opening a data directory: bounded memory, every column family, recovery that refuses silent loss, and an
//! error that says which directory and what to do.
//!
//! Not here: reads and writes (`rocks`).

use std::path::Path;

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode, IteratorMode,
    Options, WriteBufferManager,
};

use crate::{Config, Error};

/// The directory's format. Raise it with any change that an older version would misread.
pub(super) const FORMAT: u32 = 4;
pub(super) const FORMAT_KEY: &[u8] = b"format";

/// Latest state per user, of the first generation.
pub(super) const STATES: &str = "states";
/// Latest state per generation and user, of all later generations.
pub(super) const LATER_STATES: &str = "later_states";
/// Every event, by user and sequence.
pub(super) const EVENTS: &str = "events";
/// Which messages of a user were stored.
pub(super) const MESSAGES: &str = "messages";
/// What stands for removed events, by user.
pub(super) const BASES: &str = "bases";
/// On which day something of which user is due.
pub(super) const DUE: &str = "due";
/// What users were given.
pub(super) const EXPOSURES: &str = "exposures";
/// What people said of themselves.
pub(super) const PROFILES: &str = "profiles";
/// Answers kept under their callers' keys.
pub(super) const ANSWERS: &str = "answers";
/// Events set aside.
pub(super) const QUARANTINE: &str = "quarantine";
/// Users who were erased.
pub(super) const TOMBSTONES: &str = "tombstones";
/// Which id is another name of which person, and back.
pub(super) const IDENTITY: &str = "identity";
/// Format, definitions, counters.
pub(super) const META: &str = "meta";

/// Every table; each has a column family of its name.
pub(super) const TABLES: [&str; 13] = [
    STATES,
    LATER_STATES,
    EVENTS,
    MESSAGES,
    BASES,
    DUE,
    EXPOSURES,
    PROFILES,
    ANSWERS,
    QUARANTINE,
    TOMBSTONES,
    IDENTITY,
    META,
];
/// The engine's own family, which stays empty.
const DEFAULT_FAMILY: &str = "default";
/// Open files cost memory outside the block cache.
const MAX_OPEN_FILES: i32 = 512;
const BLOOM_BITS_PER_KEY: f64 = 10.0;
/// Of a write buffer, for its own filter.
const MEMTABLE_BLOOM_SHARE: f64 = 0.02;
const EVENT_BLOCK_BYTES: usize = 16 << 10;
/// A write cut short by a crash is dropped; anything else unreadable refuses to open instead of losing what was
/// acknowledged.
const WAL_RECOVERY: DBRecoveryMode = DBRecoveryMode::TolerateCorruptedTailRecords;
const INFO_LOGS_KEPT: usize = 4;

pub(super) fn open(config: &Config) -> Result<(DB, Cache), Error> {
    let stored = stored_families(&config.dir)?;
    refuse_incomplete(&config.dir, &stored)?;
    refuse_other_formats(&config.dir, &stored)?;
    let cache = Cache::new_lru_cache(config.block_cache_bytes);
    let options = database_options(config);
    let family = |name: String| {
        let options = family_options(config, &cache, &name);
        ColumnFamilyDescriptor::new(name, options)
    };
    // Ours and whatever a newer version may have added: an engine that is not asked for all opens none.
    let mut names: Vec<String> = TABLES.map(str::to_owned).into();
    names.extend(stored.into_iter().filter(|name| !TABLES.contains(&name.as_str())));
    if !names.iter().any(|name| name == DEFAULT_FAMILY) {
        names.push(DEFAULT_FAMILY.to_owned());
    }
    let families = names.iter().cloned().map(family);
    let db = DB::open_cf_descriptors(&options, &config.dir, families)
        .map_err(|error| opening_error(&config.dir, &error))?;
    if !has_known_format(&db, &config.dir)? {
        refuse_data(&db, &config.dir, &names)?;
    }
    // Also over an older one: from here on there may be what its versions would misread.
    write_format(&db)?;
    Ok((db, cache))
}

/// What is in the directory now, with the part of the write-ahead log that is not in tables yet; nothing is written, and
/// nobody is kept from writing.
pub(super) fn open_read_only(config: &Config) -> Result<(DB, Cache), Error> {
    let stored = stored_families(&config.dir)?;
    refuse_incomplete(&config.dir, &stored)?;
    if stored.is_empty() {
        let detail = "there is no store in it; expected the `store` of a data directory".to_owned();
        return Err(Error::Damaged { dir: config.dir.clone(), detail });
    }
    let cache = Cache::new_lru_cache(config.block_cache_bytes);
    let mut options = database_options(config);
    options.create_if_missing(false);
    options.create_missing_column_families(false);
    // Whoever writes may remove a table at any time: one that is open stays readable.
    options.set_max_open_files(-1);
    let families = stored.iter().map(|name| {
        let options = family_options(config, &cache, name);
        ColumnFamilyDescriptor::new(name, options)
    });
    let db = DB::open_cf_descriptors_read_only(&options, &config.dir, families, false)
        .map_err(|error| opening_error(&config.dir, &error))?;
    if !has_known_format(&db, &config.dir)? {
        refuse_data(&db, &config.dir, &stored)?;
    }
    Ok((db, cache))
}

/// Looks at the format before anything is changed. What cannot be read here is left to the real opening, which tells a
/// directory in use from a damaged one.
fn refuse_other_formats(dir: &Path, families: &[String]) -> Result<(), Error> {
    if families.is_empty() {
        return Ok(());
    }
    let mut options = Options::default();
    options.set_wal_recovery_mode(WAL_RECOVERY);
    // As for the real opening: without it, the engine wants to strike tracked logs out of the manifest, and crashes over
    // that when it may only read.
    options.set_track_and_verify_wals_in_manifest(true);
    let open = |names: &[&str]| DB::open_cf_for_read_only(&options, dir, names, false);
    // Only the family that tells, since the others' part of the write-ahead log would be read twice.
    if families.iter().any(|name| name == META) {
        let Ok(db) = open(&[META]) else { return Ok(()) };
        match has_known_format(&db, dir) {
            Ok(false) => {}
            Err(error @ Error::NewerFormat { .. }) => return Err(error),
            Ok(true) | Err(_) => return Ok(()),
        }
    }
    let names: Vec<&str> = families.iter().map(String::as_str).collect();
    open(&names).map_or(Ok(()), |db| refuse_data(&db, dir, families))
}

/// Data without a format is not ours, or is ours and damaged. A first start that was cut off leaves neither.
fn refuse_data(db: &DB, dir: &Path, families: &[String]) -> Result<(), Error> {
    for name in families {
        let Some(family) = db.cf_handle(name) else { continue };
        let first = db.iterator_cf(family, IteratorMode::Start).next().transpose();
        if first.map_err(|error| opening_error(dir, &error))?.is_some() {
            let detail = format!("its column family `{name}` has data, but nothing tells its format");
            return Err(Error::Damaged { dir: dir.to_owned(), detail });
        }
    }
    Ok(())
}

/// Files that the engine would not miss. Without `CURRENT` it takes a full directory for an empty one; without any
/// write-ahead log it opens as of the last flush, as if nothing had been acknowledged since.
fn refuse_incomplete(dir: &Path, families: &[String]) -> Result<(), Error> {
    if !dir.exists() {
        return Ok(());
    }
    let entries = std::fs::read_dir(dir).map_err(|error| Error::File {
        action: "listing",
        path: dir.to_owned(),
        detail: error.to_string(),
    })?;
    let names = entries.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned());
    let names: Vec<String> = names.collect();
    let damaged = |detail: String| Err(Error::Damaged { dir: dir.to_owned(), detail });
    if names.iter().any(|name| name == "CURRENT") {
        // Our families are made after the first log, so a first start that was cut off is not mistaken for a loss.
        let is_ours = families.iter().any(|name| name == META);
        if is_ours && !names.iter().any(|name| name.ends_with(".log")) {
            return damaged("its write-ahead log (a file called *.log) is missing".to_owned());
        }
        return Ok(());
    }
    let is_data =
        |name: &&String| name.starts_with("MANIFEST-") || name.ends_with(".sst") || name.ends_with(".log");
    match names.iter().find(is_data) {
        Some(name) => damaged(format!("the file CURRENT is missing although {name} is there")),
        None => Ok(()),
    }
}

/// The column families in the directory; none when it is new.
fn stored_families(dir: &Path) -> Result<Vec<String>, Error> {
    if dir.join("CURRENT").exists() {
        DB::list_cf(&Options::default(), dir).map_err(|error| opening_error(dir, &error))
    } else {
        Ok(Vec::new())
    }
}

fn database_options(config: &Config) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_wal_recovery_mode(WAL_RECOVERY);
    // Refuses a log that the manifest knows and the directory lacks.
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_paranoid_checks(true);
    let buffers = WriteBufferManager::new_write_buffer_manager(config.write_buffer_bytes, false);
    options.set_write_buffer_manager(&buffers);
    options.set_max_total_wal_size(4 * config.write_buffer_bytes as u64);
    options.set_max_open_files(MAX_OPEN_FILES);
    options.set_keep_log_file_num(INFO_LOGS_KEPT);
    options.set_max_background_jobs(2);
    options
}

/// How a table is read decides how it is laid out; docs/performance.md has the figures.
fn family_options(config: &Config, cache: &Cache, name: &str) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    let mut options = Options::default();
    if name == EVENTS {
        // Read in runs, of known users: larger blocks compress better, and nobody asks a filter.
        blocks.set_block_size(EVENT_BLOCK_BYTES);
    } else {
        blocks.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
        // Most marks that are looked up are not there.
        options.set_memtable_prefix_bloom_ratio(MEMTABLE_BLOOM_SHARE);
        options.set_memtable_whole_key_filtering(true);
    }
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size(config.write_buffer_bytes / 4);
    options
}

/// Whether the directory says its format; fails for one that is not known here.
fn has_known_format(db: &DB, dir: &Path) -> Result<bool, Error> {
    let damaged = |detail: String| Error::Damaged { dir: dir.to_owned(), detail };
    let meta = db.cf_handle(META).ok_or_else(|| damaged(format!("column family `{META}` is missing")))?;
    let stored = db.get_cf(meta, FORMAT_KEY).map_err(|error| opening_error(dir, &error))?;
    let Some(bytes) = stored else { return Ok(false) };
    match bytes.as_slice().try_into().map(u32::from_le_bytes) {
        Ok(found) if (1..=FORMAT).contains(&found) => Ok(true),
        Ok(found) => Err(Error::NewerFormat { dir: dir.to_owned(), found, supported: FORMAT }),
        Err(_) => Err(damaged(format!("its format number has {} bytes instead of 4", bytes.len()))),
    }
}

fn write_format(db: &DB) -> Result<(), Error> {
    let failed =
        |error: rocksdb::Error| Error::Storage { action: "writing the format", detail: error.to_string() };
    let meta = db.cf_handle(META).ok_or_else(|| Error::Storage {
        action: "writing the format",
        detail: format!("column family `{META}` is not open"),
    })?;
    db.put_cf(meta, FORMAT_KEY, FORMAT.to_le_bytes()).map_err(failed)
}

fn opening_error(dir: &Path, error: &rocksdb::Error) -> Error {
    let (dir, detail) = (dir.to_owned(), error.to_string());
    let locked = detail.contains("lock hold by") || detail.contains("While lock file");
    let missing = detail.contains("No such file") && !detail.contains("While mkdir");
    match error.kind() {
        _ if locked => Error::InUse { dir },
        rocksdb::ErrorKind::Corruption => Error::Damaged { dir, detail },
        _ if missing => Error::Damaged { dir, detail },
        _ => Error::Storage {
            action: "opening the data directory",
            detail: format!("{}: {detail}", dir.display()),
        },
    }
}
