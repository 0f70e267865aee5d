//! Calls about the policy that decides: check another one, run its tests, activate it, go back to an earlier one.
//!
//! A change takes effect in one step, under load too: whoever decides holds one policy from beginning to end. All of
//! this blocks on files and belongs off the async threads. Not here: what a test is (`policy_tests`), the history's
//! lines (`policy_history`).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;

use augur_decision::{PolicySource, SourceFile, TestOutcome};
use augur_domain::{ContentHash, Diagnostic, Timestamp};
use augur_feature_store::FeatureSchema;

use crate::active::{self, Loaded, Registered, SENT_POLICY};
use crate::admin::sent;
use crate::config::Config;
use crate::files::Layout;
use crate::policy_history::{self, PolicyChange, PolicyChangeKind};
use crate::policy_tests::{self, PolicyTestRun};
use crate::{App, Error};

/// Fewest digits by which a policy's id may be named.
const LEAST_ID_DIGITS: usize = 6;

/// A policy that somebody hands in.
#[derive(Debug, Clone, Default)]
pub struct Proposal {
    /// The text of `policy.toml`.
    pub text: String,
    /// Other files that it names, such as those of tables; what it does not name is left out.
    pub files: Vec<SourceFile>,
    /// Its files of tests, by the names that it calls them; others may be with them.
    pub tests: Vec<SourceFile>,
}

/// Who changes what decides, and why.
#[derive(Debug, Clone, Default)]
pub struct Remark {
    /// Who; may be empty.
    pub who: String,
    /// Why; may be empty.
    pub why: String,
}

/// A policy without a fault, and what came of its tests.
#[derive(Debug)]
pub struct CheckedPolicy {
    /// Its id.
    pub id: ContentHash,
    /// One per test.
    pub tests: Vec<TestOutcome>,
}

impl CheckedPolicy {
    /// Whether no test failed.
    pub fn passed(&self) -> bool {
        self.tests.iter().all(TestOutcome::passed)
    }
}

/// What came of asking to decide by another policy.
#[derive(Debug)]
pub struct Activation {
    /// The policy asked for.
    pub policy: CheckedPolicy,
    /// The policy that decided before; `None` when a test failed, and then nothing changed.
    pub previous: Option<ContentHash>,
    /// The archived policy whose text was taken, when one was. Another id than the policy's says that the feature
    /// definitions have changed since.
    pub restored: Option<ContentHash>,
}

/// A policy as it was archived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedPolicy {
    /// Its id.
    pub id: ContentHash,
    /// The text of `policy.toml`.
    pub policy: String,
    /// The files that it names, save those of tests.
    pub files: Vec<SourceFile>,
    /// The text of `features.toml`.
    pub features: String,
    /// Its files of tests.
    pub tests: Vec<SourceFile>,
}

/// Every policy that is archived, and which decided when.
#[derive(Debug)]
pub struct PolicyListing {
    /// The one that decides.
    pub active: ContentHash,
    /// Every archived one, ascending.
    pub archived: Vec<ContentHash>,
    /// Newest first, the last 2000.
    pub changes: Vec<PolicyChange>,
}

impl App {
    /// Loads a policy against the served features and the registry and runs its tests, without using it.
    ///
    /// # Errors
    /// [`Error::Diagnostics`] with everything wrong in the policy or its tests.
    pub fn check_policy(&self, proposal: &Proposal) -> Result<CheckedPolicy, Error> {
        Ok(self.checked(proposal)?.1)
    }

    /// Loads a policy, runs its tests, keeps its files, and decides by it from now on, unless a test failed.
    ///
    /// # Errors
    /// [`Error::Diagnostics`] with everything wrong in it, and then nothing changed; [`Error::InvalidField`] for a
    /// remark that is too long; [`Error::File`].
    pub fn activate_policy(&self, proposal: &Proposal, remark: Remark) -> Result<Activation, Error> {
        check_remark(&remark)?;
        let _one_at_a_time = self.admin.lock();
        let (next, checked) = self.checked(proposal)?;
        if !checked.passed() {
            return Ok(Activation { policy: checked, previous: None, restored: None });
        }
        let previous =
            self.decide_by((next, &checked), &proposal.tests, (PolicyChangeKind::Activate, None), remark)?;
        Ok(Activation { policy: checked, previous: Some(previous), restored: None })
    }

    /// [`Self::activate_policy`] with the text and the tests that are archived under `id`, or under the one id that
    /// begins with it.
    ///
    /// # Errors
    /// [`Error::NotFound`]; otherwise as there.
    pub fn activate_archived(&self, id: &str, remark: Remark) -> Result<Activation, Error> {
        check_remark(&remark)?;
        let archived = self.archived_policy(id)?;
        let proposal = Proposal { text: archived.policy, files: archived.files, tests: archived.tests };
        let _one_at_a_time = self.admin.lock();
        let (next, checked) = self.checked(&proposal)?;
        let restored = Some(archived.id);
        if !checked.passed() {
            return Ok(Activation { policy: checked, previous: None, restored });
        }
        let previous = self.decide_by(
            (next, &checked),
            &proposal.tests,
            (PolicyChangeKind::Activate, restored),
            remark,
        )?;
        Ok(Activation { policy: checked, previous: Some(previous), restored })
    }

    /// Decides by an earlier policy again: the one archived under `id`, or the one before the present one. Going back
    /// must be possible: tests that fail now are told and do not prevent it, and a model that cannot be used any more
    /// is missing.
    ///
    /// # Errors
    /// [`Error::NotNow`] when there is none before; [`Error::NotFound`] for an id that is not archived;
    /// [`Error::Diagnostics`] when its text cannot be loaded any more. Then nothing changed.
    pub fn roll_back_policy(&self, id: Option<&str>, remark: Remark) -> Result<Activation, Error> {
        check_remark(&remark)?;
        let _one_at_a_time = self.admin.lock();
        let archived = match id {
            Some(id) => self.archived_policy(id)?,
            None => self.archived_policy(&self.policy_before()?.to_string())?,
        };
        let source = sent(archived.policy, &archived.files);
        let next = Loaded::load(source, &self.feature_set(), Registered::lenient(&self.registry))?;
        let tests = self.run_tests(&next, &archived.tests).map_or_else(
            |error| {
                tracing::warn!(%error, "the tests of the policy that is returned to cannot be run any more");
                Vec::new()
            },
            |run| run.outcomes,
        );
        let checked = CheckedPolicy { id: next.policy().id(), tests };
        let restored = Some(archived.id);
        let previous = self.decide_by(
            (next, &checked),
            &archived.tests,
            (PolicyChangeKind::Rollback, restored),
            remark,
        )?;
        Ok(Activation { policy: checked, previous: Some(previous), restored })
    }

    /// Every archived policy, and which decided when.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::DataDirectory`] for a damaged history.
    pub fn policies(&self) -> Result<PolicyListing, Error> {
        let mut changes = policy_history::read(&self.layout)?;
        changes.reverse();
        Ok(PolicyListing { active: self.active().policy().id(), archived: self.archived_ids()?, changes })
    }

    /// The policy that is archived under `id`, or under the one id that begins with it.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::InvalidField`] for fewer than six digits or several policies that begin so.
    pub fn archived_policy(&self, id: &str) -> Result<ArchivedPolicy, Error> {
        let id = self.find_id(id)?;
        let dir = self.layout.policy(&id);
        let PolicySource { policy, files } = active::policy_source(&dir.join(SENT_POLICY))?;
        Ok(ArchivedPolicy {
            id,
            policy: policy.text,
            files: files.into_iter().map(|(name, file)| SourceFile { name, ..file }).collect(),
            features: crate::files::read_text(&dir.join("features.toml"))?,
            tests: active::archived_tests(&self.layout, &id)?,
        })
    }

    fn checked(&self, proposal: &Proposal) -> Result<(Loaded, CheckedPolicy), Error> {
        let source = sent(proposal.text.clone(), &proposal.files);
        let next = Loaded::load(source, &self.feature_set(), Registered::strict(&self.registry))?;
        let absent = |name: &&String| !proposal.tests.iter().any(|file| file.name == **name);
        let missing: Vec<Diagnostic> =
            next.policy().test_files().iter().filter(absent).map(not_sent).collect();
        if !missing.is_empty() {
            return Err(Error::Diagnostics(missing));
        }
        let outcomes = self.run_tests(&next, &proposal.tests)?.outcomes;
        let checked = CheckedPolicy { id: next.policy().id(), tests: outcomes };
        Ok((next, checked))
    }

    fn run_tests(&self, next: &Loaded, tests: &[SourceFile]) -> Result<PolicyTestRun, Error> {
        policy_tests::run(next.source(), tests, self.active().definitions().schema())
    }

    /// Archives `next` and decides by it. The files and the history are written before anything changes, so that
    /// whatever decides can be found.
    fn decide_by(
        &self,
        (next, checked): (Loaded, &CheckedPolicy),
        tests: &[SourceFile],
        (kind, restored): (PolicyChangeKind, Option<ContentHash>),
        remark: Remark,
    ) -> Result<ContentHash, Error> {
        let failed = checked.tests.iter().filter(|outcome| !outcome.passed()).count();
        let before = self.active();
        let (id, previous) = (next.policy().id(), before.policy().id());
        active::save_bundle(&self.layout, &next, &active::features_source(before.definitions().schema()))?;
        active::save_tests(&self.layout, &id, tests)?;
        let restored = restored.filter(|restored| *restored != id);
        let Remark { who, why } = remark;
        let change = PolicyChange { at: self.clock.now(), kind, policy: id, restored, who, why };
        policy_history::append(&self.layout, change)?;
        self.remember(&next)?;
        drop(before);
        self.begin(next);
        self.failed_policy_tests.store(failed as u64, Ordering::Relaxed);
        tracing::info!(policy = %id.short(), previous = %previous.short(), kind = kind.as_str(), "policy activated");
        Ok(previous)
    }

    /// What a rollback returns to: the policy before the one that decides.
    fn policy_before(&self) -> Result<ContentHash, Error> {
        let standing = policy_history::standing(&policy_history::read(&self.layout)?);
        let earlier = standing.iter().rev().skip(1);
        let archived = self.archived_ids()?;
        let present = self.active().policy().id();
        earlier.copied().find(|id| *id != present && archived.contains(id)).ok_or_else(|| Error::NotNow {
            problem: "no earlier policy is known".to_owned(),
            next_step: "name one of `augur policy list` by its id".to_owned(),
        })
    }

    fn archived_ids(&self) -> Result<Vec<ContentHash>, Error> {
        let dir = self.layout.policies();
        let entries = fs::read_dir(&dir).map_err(Error::file("list", &dir))?;
        let mut ids = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Error::file("list", &dir))?;
            let id = entry.file_name().to_str().and_then(|name| name.parse::<ContentHash>().ok());
            ids.extend(id.filter(|_| entry.path().join("policy.toml").is_file()));
        }
        ids.sort_unstable();
        Ok(ids)
    }

    fn find_id(&self, wanted: &str) -> Result<ContentHash, Error> {
        let shown: String = wanted.chars().take(100).collect();
        if shown.len() < LEAST_ID_DIGITS {
            let expected =
                format!("an id of `augur policy list`, or its first {LEAST_ID_DIGITS} digits or more");
            return Err(Error::field("policy_id", format!("`{shown}`"), expected));
        }
        let ids = self.archived_ids()?;
        let found: BTreeMap<String, ContentHash> =
            ids.iter().map(|id| (id.to_string(), *id)).filter(|(text, _)| text.starts_with(wanted)).collect();
        match found.len() {
            1 => Ok(found.into_values().next().unwrap_or_default()),
            0 => Err(Error::NotFound {
                kind: "archived policy",
                name: shown,
                hint: "`augur policy list` has every one".to_owned(),
            }),
            several => {
                let problem = format!("`{shown}`, with which {several} ids begin");
                Err(Error::field("policy_id", problem, "more of its digits"))
            }
        }
    }

    /// Notes that another policy decides since the definitions were switched. It decides already: a history that
    /// cannot be written is told in the log and takes nothing back.
    pub(crate) fn note_switch(&self, policy: ContentHash) {
        let (who, why) = (String::new(), "the feature definitions were switched".to_owned());
        let (at, kind) = (self.clock.now(), PolicyChangeKind::Switch);
        let change = PolicyChange { at, kind, policy, restored: None, who, why };
        if let Err(error) = policy_history::append(&self.layout, change) {
            tracing::error!(%error, "the history of policies cannot be written");
        }
    }
}

/// Archives the tests of the policy that a start goes on with, runs them, and notes the start if another policy decided
/// before. Says how many tests failed; 1 when they could not be run. It decides all the same: a server that does not
/// start decides nothing.
pub(crate) fn at_start(
    layout: &Layout,
    config: &Config,
    loaded: &Loaded,
    schema: &FeatureSchema,
    now: Timestamp,
) -> u64 {
    let id = loaded.policy().id();
    let noted = policy_history::read(layout).and_then(|changes| {
        if changes.last().is_some_and(|last| last.policy == id) {
            return Ok(());
        }
        let (who, why) =
            (String::new(), "the configured file, or the definitions, changed before a start".to_owned());
        let kind = PolicyChangeKind::Start;
        policy_history::append(layout, PolicyChange { at: now, kind, policy: id, restored: None, who, why })
    });
    if let Err(error) = noted {
        tracing::error!(%error, "the history of policies cannot be written");
    }
    let run = tests_at_start(layout, config, loaded, schema)
        .and_then(|tests| policy_tests::run(loaded.source(), &tests, schema));
    match run {
        Ok(run) => {
            let failed = run.outcomes.iter().filter(|outcome| !outcome.passed());
            let names: Vec<&str> = failed.map(|outcome| &*outcome.name).collect();
            if !names.is_empty() {
                tracing::error!(policy = %id.short(), tests = names.join("; "), "tests of the policy fail; run `augur policy test`");
            }
            names.len() as u64
        }
        Err(error) => {
            tracing::error!(policy = %id.short(), %error, "the tests of the policy cannot be run");
            1
        }
    }
}

fn tests_at_start(
    layout: &Layout,
    config: &Config,
    loaded: &Loaded,
    schema: &FeatureSchema,
) -> Result<Vec<SourceFile>, Error> {
    let source = loaded.source();
    let tests = if source.policy.name == config.data.policy.display().to_string() {
        policy_tests::beside(&config.data.policy, source, schema)?
    } else {
        active::tests_beside(Path::new(&source.policy.name))?
    };
    active::save_tests(layout, &loaded.policy().id(), &tests)?;
    Ok(tests)
}

fn not_sent(name: &String) -> Diagnostic {
    let message = format!("the policy names the tests `{name}`, which were not sent with it");
    Diagnostic::at_offset(SENT_POLICY, "", 0, message, "every file of `tests`")
        .with_hint("`augur policy activate` sends them along")
}

fn check_remark(remark: &Remark) -> Result<(), Error> {
    for (field, text) in [("activated_by", &remark.who), ("reason", &remark.why)] {
        if text.len() > policy_history::MAX_REMARK_BYTES {
            let expected = format!("at most {}", policy_history::MAX_REMARK_BYTES);
            return Err(Error::field(field, format!("{} bytes", text.len()), expected));
        }
    }
    Ok(())
}
