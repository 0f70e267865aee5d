//! The rules of the house, held by `cargo test`: who may depend on whom, where third-party crates may be named, how
//! files are laid out, and what must be documented.
//!
//! Not here: what the compiler, clippy, rustfmt, buf and cargo-deny already check (see `.ci/run`), or the reasons for
//! the rules (`ARCHITECTURE.md`, `CONTRIBUTING.md`).
#![expect(clippy::expect_used, clippy::panic, reason = "a test program fails by panicking")]

mod arrows;
mod documentation;
mod manifests;
mod sources;
mod workspace;

use std::fmt;

use workspace::Workspace;

/// One breach of one rule, in words that say what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Breach {
    rule: &'static str,
    /// Path from the root of the repository, with a line where there is one.
    place: String,
    found: String,
    remedy: String,
}

impl Breach {
    fn new(
        rule: &'static str,
        place: impl Into<String>,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { rule, place: place.into(), found: found.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: [{}] {}; {}", self.place, self.rule, self.found, self.remedy)
    }
}

/// Fails with every breach on a line of its own.
#[track_caller]
fn assert_none(breaches: &[Breach]) {
    let lines: Vec<String> = breaches.iter().map(Breach::to_string).collect();
    assert!(lines.is_empty(), "{} breach(es) of the house rules\n{}\n", lines.len(), lines.join("\n"));
}

#[test]
fn dependencies_follow_the_drawn_arrows() {
    let workspace = Workspace::load();
    assert_none(&arrows::undrawn(&workspace.dependencies));
    assert_none(&arrows::unfenced(&workspace.dependencies));
    assert_none(&arrows::undocumented(&workspace.read("ARCHITECTURE.md")));
}

#[test]
fn manifests_inherit_from_the_workspace() {
    let workspace = Workspace::load();
    let manifests = workspace.manifests.iter().flat_map(|(path, text)| manifests::not_inherited(path, text));
    let mut breaches: Vec<Breach> = manifests.collect();
    breaches.extend(manifests::weak_root("Cargo.toml", &workspace.read("Cargo.toml")));
    for krate in manifests::PURE_CRATES {
        let path = format!("{krate}/clippy.toml");
        breaches.extend(manifests::missing_bans(&path, &workspace.read(&path)));
    }
    assert_none(&breaches);
}

#[test]
fn source_files_follow_the_layout() {
    let workspace = Workspace::load();
    assert!(workspace.sources.len() > 50, "the walk found {} source files only", workspace.sources.len());
    let breaches: Vec<Breach> =
        workspace.sources.iter().flat_map(|(path, text)| sources::breaches(path, text)).collect();
    assert_none(&breaches);
}

#[test]
fn everything_closed_is_documented() {
    let workspace = Workspace::load();
    let codes = workspace.read("docs/reason-codes.md");
    let mut breaches = Vec::new();
    for (source, section) in documentation::CLOSED_SETS {
        breaches.extend(documentation::undocumented_words(section, source, &workspace.read(source), &codes));
    }
    let example = "config/augur.toml";
    let configuration = workspace.read("docs/configuration.md");
    breaches.extend(documentation::undocumented_keys(example, &workspace.read(example), &configuration));
    assert_none(&breaches);
}

#[test]
fn links_between_documents_lead_somewhere() {
    let workspace = Workspace::load();
    assert!(workspace.documents.len() > 5, "the walk found {} documents only", workspace.documents.len());
    let links = workspace.documents.iter();
    let links =
        links.flat_map(|(path, text)| documentation::broken_links(path, text, |to| workspace.exists(to)));
    assert_none(&links.collect::<Vec<_>>());
}
