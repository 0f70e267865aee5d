//! The replay against the golden log of the repository, whole and with one fault at a time.
//!
//! Not here: recording that log (`examples/record_golden.rs`).
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking, as tests do")]

mod approved;
#[path = "../copies/mod.rs"]
mod copies;
mod faults;
mod golden;
mod sealed;

use std::path::{Path, PathBuf};

use augur_shadow_harness::{DataDirectory, Error, Options, VerifyReport, verify};

/// The recorded data directory.
fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/golden")
}

/// A copy of it that may be damaged.
fn copy() -> tempfile::TempDir {
    copies::copy_of(&golden())
}

fn replay_on(dir: &Path, threads: usize) -> Result<VerifyReport, Error> {
    let data = DataDirectory::new(dir);
    verify(&data.decisions_dir(), &data, Options { threads, ..Options::default() })
}

fn replay(dir: &Path) -> VerifyReport {
    replay_on(dir, 2).unwrap()
}

/// The segments of the log in `dir`, in order.
fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        std::fs::read_dir(dir.join("decisions")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}
