//! `augur replay --verify --differences` and `--approved`: all that differs, written down, or held against what was approved.
//!
//! Not here: deciding again (`augur_shadow_harness::approved`).

use std::path::{Path, PathBuf};

use augur_shadow_harness::DataDirectory;
use augur_shadow_harness::approved::{Differences, Unapproved};
use serde::Serialize;

use crate::output::{Output, grouped};
use crate::{Error, Outcome, progress};

/// Decisions told one by one in text; JSON has all.
const MOST_SHOWN: usize = 20;

#[derive(Debug, Serialize)]
struct Report {
    /// Decisions that come out otherwise.
    different: u64,
    /// Where they were written to.
    #[serde(skip_serializing_if = "Option::is_none")]
    written: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unapproved: Option<Unapproved>,
}

/// Writes the differences, or holds them against the approved ones.
pub(super) fn run(
    (write_to, approved): (Option<&Path>, Option<&Path>),
    stored: &Path,
    log: &Path,
    output: Output,
) -> Result<Outcome, Error> {
    let approved =
        approved.map(|path| std::fs::read_to_string(path).map_err(Error::file("read", path))).transpose()?;
    let bar = progress::counter("replayed decisions");
    let found = Differences::of(log, &DataDirectory::new(stored), &|records| bar.set_position(records))?;
    bar.finish_and_clear();
    if let Some(path) = write_to {
        std::fs::write(path, found.to_text()).map_err(Error::file("write", path))?;
    }
    let unapproved = approved.map(|approved| found.held_against(&approved));
    let is_fine = unapproved.as_ref().is_none_or(Unapproved::is_nothing);
    let report = Report { different: found.count(), written: write_to.map(Path::to_owned), unapproved };
    output.report(&report, Report::text)?;
    Ok(if is_fine { Outcome::Fine } else { Outcome::Refused })
}

impl Report {
    fn text(&self) -> String {
        let mut text = format!("{} decisions come out otherwise\n", grouped(self.different));
        if let Some(path) = &self.written {
            text.push_str(&format!("written to {}\n", path.display()));
        }
        let Some(Unapproved { new, gone }) = &self.unapproved else { return text };
        if new.is_empty() && gone.is_empty() {
            text.push_str("exactly as approved\n");
            return text;
        }
        for (what, blocks) in [("not approved", new), ("approved, and no longer so", gone)] {
            text.push_str(&format!("{what}: {}\n", grouped(blocks.len() as u64)));
            for block in blocks.iter().take(MOST_SHOWN) {
                text.push_str(block);
                text.push('\n');
            }
        }
        text
    }
}
