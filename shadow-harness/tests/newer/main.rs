//! Golden decisions of newer records: with people, budgets, holds, experiments and texts; recorded once, replayed as
//! they are and by candidates.
//!
//! Not here: the first golden log (`tests/verify`).
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking, as tests do"
)]

mod candidate;
#[path = "../copies/mod.rs"]
mod copies;
mod record;
mod replay;

use std::path::{Path, PathBuf};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/golden_newer")
}

/// A copy of it, to which outcomes can be added.
fn copy() -> tempfile::TempDir {
    copies::copy_of(&golden())
}
