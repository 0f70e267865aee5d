//! What is kept of every policy that ever decided: its text, the files that it names, the definitions and its tests.
//!
//! Not here: which of them decides (the module above), or how a replay reads them (`augur_shadow_harness`).

use std::path::Path;

use augur_decision::{DefinitionsSeal, SourceFile};
use augur_domain::ContentHash;
use augur_feature_store::FeatureSchema;

use super::{Loaded, SENT_POLICY};
use crate::Error;
use crate::files::{self, Layout};

/// Where a policy's archive keeps its tests.
const TESTS_DIR: &str = "tests";

/// Keeps a policy's files under its id, so that whatever it decides can be decided again. Files that are there and
/// are not what they were are written again.
pub(crate) fn save_bundle(layout: &Layout, active: &Loaded, features: &SourceFile) -> Result<(), Error> {
    let dir = layout.policy(&active.policy.id());
    let definitions = active.policy.features().hash();
    // Other comments make the same definitions; a policy's id is of its text.
    let same_definitions = |kept: &str| {
        FeatureSchema::parse("features.toml", kept).is_ok_and(|kept| kept.feature_set().hash() == definitions)
    };
    let policy = &active.source.policy;
    keep(&dir.join(SENT_POLICY), &policy.text, |kept| kept == policy.text)?;
    for (name, file) in &active.source.files {
        keep(&dir.join(name), &file.text, |kept| kept == file.text)?;
    }
    let kept_features = dir.join("features.toml");
    keep(&kept_features, &features.text, same_definitions)?;
    let seal = DefinitionsSeal::new(definitions, &files::read_text(&kept_features)?).to_string();
    keep(&dir.join(DefinitionsSeal::FILE), &seal, |kept| kept == seal)
}

/// Keeps a policy's tests under its id, in the place of those that were there.
pub(crate) fn save_tests(layout: &Layout, id: &ContentHash, tests: &[SourceFile]) -> Result<(), Error> {
    let dir = layout.policy(id).join(TESTS_DIR);
    for kept in archived_tests(layout, id)? {
        if !tests.iter().any(|file| test_file_name(file) == kept.name) {
            let path = dir.join(&kept.name);
            std::fs::remove_file(&path).map_err(Error::file("remove", &path))?;
        }
    }
    for file in tests {
        let path = dir.join(test_file_name(file));
        if !files::read_text(&path).is_ok_and(|kept| kept == file.text) {
            files::write_whole(&path, file.text.as_bytes(), 0o644)?;
        }
    }
    Ok(())
}

/// The last part of its name: tests lie beside their policy.
fn test_file_name(file: &SourceFile) -> &str {
    Path::new(&file.name).file_name().and_then(|name| name.to_str()).unwrap_or("policy_tests.toml")
}

/// The tests that are kept under a policy's id, by name.
pub(crate) fn archived_tests(layout: &Layout, id: &ContentHash) -> Result<Vec<SourceFile>, Error> {
    tests_beside(&layout.policy(id).join("policy.toml"))
}

/// The tests that are kept beside an archived `policy.toml`, by name.
pub(crate) fn tests_beside(archived: &Path) -> Result<Vec<SourceFile>, Error> {
    let dir = archived.with_file_name(TESTS_DIR);
    let entries = match std::fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::file("list", &dir)(error)),
    };
    let mut tests = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::file("list", &dir))?;
        if let Some(name) = entry.file_name().to_str().filter(|name| name.ends_with(".toml")) {
            tests.push(SourceFile { name: name.to_owned(), text: files::read_text(&entry.path())? });
        }
    }
    tests.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tests)
}

fn keep(path: &Path, text: &str, same: impl FnOnce(&str) -> bool) -> Result<(), Error> {
    if path.exists() {
        if files::read_text(path).is_ok_and(|kept| same(&kept)) {
            return Ok(());
        }
        tracing::warn!(file = %path.display(), "a kept policy file is not what it was; writing it again");
    }
    files::write_whole(path, text.as_bytes(), 0o644)
}
