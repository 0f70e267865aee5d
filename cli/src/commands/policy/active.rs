//! `augur policy activate`, `rollback`, `list` and `show`: which policy decides, through a running server.
//!
//! Not here: what an activation does to a server that decides (`augur_server`).

use std::path::{Path, PathBuf};

use augur_loadtest::{Client, v1};
use clap::Args;
use serde::Serialize;

use super::Fault;
use super::test::USUAL_TESTS;
use crate::output::{Output, table};
use crate::{Error, Outcome};

#[derive(Debug, Args)]
pub(crate) struct Server {
    /// The running server.
    #[arg(long, value_name = "URL")]
    endpoint: String,
}

#[derive(Debug, Args)]
struct Why {
    /// Why; it goes into the history.
    #[arg(long)]
    reason: String,
    /// Who; the user of this shell unless given.
    #[arg(long, env = "USER", default_value = "")]
    by: String,
}

#[derive(Debug, Args)]
#[group(id = "what", required = true, multiple = false)]
struct What {
    /// The policy's file. Its tests are sent along: those that it names, or policy_tests.toml beside it.
    #[arg(group = "what")]
    file: Option<PathBuf>,
    /// Instead of it, an archived policy: its id, or its first digits.
    #[arg(long, value_name = "ID", group = "what")]
    id: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Activate {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// The archived policy to return to, by its id or its first digits; the one before the present one unless given.
    #[arg(long, value_name = "ID")]
    to: Option<String>,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// An archived policy, by its id or its first digits; the one that decides unless given.
    id: Option<String>,
    #[command(flatten)]
    server: Server,
}

/// What came of a change of the policy.
#[derive(Debug, Serialize)]
struct Changed {
    changed: bool,
    policy_id: String,
    previous_policy_id: String,
    /// The archived policy returned to; another one than the policy's says that feature definitions changed since.
    restored_policy_id: Option<String>,
    tests_run: u32,
    failed_tests: Vec<FailedTest>,
    faults: Vec<Fault>,
}

#[derive(Debug, Serialize)]
struct FailedTest {
    name: String,
    file: String,
    line: u32,
    mismatches: Vec<Mismatch>,
}

#[derive(Debug, Serialize)]
struct Mismatch {
    key: String,
    expected: String,
    found: String,
}

impl From<v1::PolicyTestFailure> for FailedTest {
    fn from(failure: v1::PolicyTestFailure) -> Self {
        let v1::PolicyTestFailure { name, file, line, mismatches } = failure;
        let mismatch = |v1::PolicyTestMismatch { key, expected, found }| Mismatch { key, expected, found };
        Self { name, file, line, mismatches: mismatches.into_iter().map(mismatch).collect() }
    }
}

#[derive(Debug, Serialize)]
struct Listing {
    active_policy_id: String,
    archived_policy_ids: Vec<String>,
    changes: Vec<Change>,
}

#[derive(Debug, Serialize)]
struct Change {
    at: String,
    kind: String,
    policy_id: String,
    restored_policy_id: String,
    who: String,
    why: String,
}

#[derive(Debug, Serialize)]
struct Shown {
    policy_id: String,
    policy_toml: String,
    features_toml: String,
    tests: Vec<File>,
    files: Vec<File>,
}

#[derive(Debug, Serialize)]
struct File {
    name: String,
    text: String,
}

pub(super) fn activate(args: &Activate, output: Output) -> Result<Outcome, Error> {
    let (policy_toml, tests, files) = match &args.what.file {
        Some(file) => {
            let policy_toml = read(file)?;
            let tests = tests_of(file, &policy_toml)?;
            let files = files_of(file, &policy_toml)?;
            (policy_toml, tests, files)
        }
        None => (String::new(), Vec::new(), Vec::new()),
    };
    let request = v1::ActivatePolicyRequest {
        policy_toml,
        tests,
        policy_id: args.what.id.clone().unwrap_or_default(),
        reason: args.why.reason.clone(),
        activated_by: args.why.by.clone(),
        files,
    };
    let answer = super::super::block_on(async {
        let client = Client::connect(&args.server.endpoint, 1).await?;
        let refused = |status| augur_loadtest::Error::call("PolicyService/ActivatePolicy", 0, &status);
        Ok(client.policy().activate_policy(request).await.map_err(refused)?.into_inner())
    })?;
    let faults = answer.faults.into_iter().map(Fault::from);
    let faults = faults.map(|fault| match &args.what.file {
        Some(file) if fault.is_of("policy.toml") => fault.in_file(file),
        _ => fault,
    });
    tell(
        Changed {
            changed: !answer.policy_id.is_empty(),
            policy_id: answer.policy_id,
            previous_policy_id: answer.previous_policy_id,
            restored_policy_id: None,
            tests_run: answer.tests_run,
            failed_tests: answer.failed_tests.into_iter().map(FailedTest::from).collect(),
            faults: faults.collect(),
        },
        output,
    )
}

pub(super) fn rollback(args: &Rollback, output: Output) -> Result<Outcome, Error> {
    let request = v1::RollbackPolicyRequest {
        policy_id: args.to.clone().unwrap_or_default(),
        reason: args.why.reason.clone(),
        moved_by: args.why.by.clone(),
    };
    let answer = super::super::block_on(async {
        let client = Client::connect(&args.server.endpoint, 1).await?;
        let refused = |status| augur_loadtest::Error::call("PolicyService/RollbackPolicy", 0, &status);
        Ok(client.policy().rollback_policy(request).await.map_err(refused)?.into_inner())
    })?;
    tell(
        Changed {
            changed: true,
            policy_id: answer.policy_id,
            previous_policy_id: answer.previous_policy_id,
            restored_policy_id: Some(answer.restored_policy_id),
            tests_run: answer.tests_run,
            failed_tests: answer.failed_tests.into_iter().map(FailedTest::from).collect(),
            faults: Vec::new(),
        },
        output,
    )
}

fn tell(changed: Changed, output: Output) -> Result<Outcome, Error> {
    output.report(&changed, changed_text)?;
    Ok(if changed.changed { Outcome::Fine } else { Outcome::Refused })
}

fn changed_text(changed: &Changed) -> String {
    let mut text: String = changed.faults.iter().map(|fault| format!("{fault}\n")).collect();
    for FailedTest { name, file, line, mismatches } in &changed.failed_tests {
        text.push_str(&format!("FAILED  {name} ({file}:{line})\n"));
        for Mismatch { key, expected, found } in mismatches {
            text.push_str(&format!("          {key}: expected {expected}, found {found}\n"));
        }
    }
    let Changed { policy_id, previous_policy_id, tests_run, .. } = changed;
    text.push_str(&if changed.changed {
        let passed = (*tests_run as usize).saturating_sub(changed.failed_tests.len());
        format!(
            "decides now: {policy_id}\nbefore: {previous_policy_id}\ntests: {passed} of {tests_run} passed"
        )
    } else {
        "nothing was changed".to_owned()
    });
    if let Some(restored) = changed.restored_policy_id.as_ref().filter(|restored| *restored != policy_id) {
        text.push_str(&format!(
            "\nit has the text of {restored}; the feature definitions changed since, so its id is another one"
        ));
    }
    text
}

pub(super) fn list(server: &Server, output: Output) -> Result<Outcome, Error> {
    let answer = super::super::block_on(async {
        let client = Client::connect(&server.endpoint, 1).await?;
        let refused = |status| augur_loadtest::Error::call("PolicyService/ListPolicies", 0, &status);
        Ok(client.policy().list_policies(v1::ListPoliciesRequest {}).await.map_err(refused)?.into_inner())
    })?;
    let change = |change: v1::PolicyChange| Change {
        at: change.at.unwrap_or_default().to_string(),
        kind: change.kind,
        policy_id: change.policy_id,
        restored_policy_id: change.restored_policy_id,
        who: change.who,
        why: change.why,
    };
    let listing = Listing {
        active_policy_id: answer.active_policy_id,
        archived_policy_ids: answer.archived_policy_ids,
        changes: answer.changes.into_iter().map(change).collect(),
    };
    output.report(&listing, listing_text)?;
    Ok(Outcome::Fine)
}

fn listing_text(listing: &Listing) -> String {
    let short = |id: &str| id.chars().take(12).collect::<String>();
    let rows = listing.changes.iter().map(|change| {
        vec![
            change.at.clone(),
            change.kind.clone(),
            short(&change.policy_id),
            change.who.clone(),
            change.why.clone(),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let untold = listing
        .archived_policy_ids
        .iter()
        .filter(|id| !listing.changes.iter().any(|change| change.policy_id == **id));
    let untold: Vec<String> = untold.map(|id| short(id)).collect();
    let others =
        if untold.is_empty() { String::new() } else { format!("also archived: {}\n", untold.join(", ")) };
    format!(
        "decides now: {}\n{}{others}",
        listing.active_policy_id,
        table(&["since", "how", "policy", "who", "why"], &rows)
    )
}

pub(super) fn show(args: &Show, output: Output) -> Result<Outcome, Error> {
    let answer = super::super::block_on(async {
        let client = Client::connect(&args.server.endpoint, 1).await?;
        let policy_id = match &args.id {
            Some(id) => id.clone(),
            None => {
                let refused = |status| augur_loadtest::Error::call("PolicyService/GetPolicy", 0, &status);
                let active = client.policy().get_policy(v1::GetPolicyRequest {}).await.map_err(refused)?;
                active.into_inner().policy_id
            }
        };
        let request = v1::GetArchivedPolicyRequest { policy_id };
        let refused = |status| augur_loadtest::Error::call("PolicyService/GetArchivedPolicy", 0, &status);
        Ok(client.policy().get_archived_policy(request).await.map_err(refused)?.into_inner())
    })?;
    let shown = Shown {
        policy_id: answer.policy_id,
        policy_toml: answer.policy_toml,
        features_toml: answer.features_toml,
        tests: answer.tests.into_iter().map(|file| File { name: file.name, text: file.text }).collect(),
        files: answer.files.into_iter().map(|file| File { name: file.name, text: file.text }).collect(),
    };
    output.report(&shown, |shown| shown.policy_toml.clone())?;
    Ok(Outcome::Fine)
}

/// The other files beside the policy `text` that it names. One that is missing is a fault that the server tells with its
/// place.
pub(crate) fn files_of(file: &Path, text: &str) -> Result<Vec<v1::PolicyFile>, Error> {
    let mut files = Vec::new();
    for name in augur_server::files_named_by(text) {
        let beside = file.with_file_name(&name);
        if beside.exists() {
            files.push(v1::PolicyFile { name, text: read(&beside)? });
        }
    }
    Ok(files)
}

fn read(file: &Path) -> Result<String, Error> {
    std::fs::read_to_string(file).map_err(Error::file("read", file))
}

/// The files of tests that belong to the policy `text`, read from `file`. What is wrong with its form the server says.
pub(super) fn tests_of(file: &Path, text: &str) -> Result<Vec<v1::PolicyTestFile>, Error> {
    let table: toml::Table = text.parse().unwrap_or_default();
    let named = table.get("tests").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    let mut names: Vec<String> = named.iter().filter_map(|name| name.as_str()).map(str::to_owned).collect();
    // No path leads out of the policy's own directory.
    names.retain(|name| !name.contains(['/', '\\']));
    if named.is_empty() && file.with_file_name(USUAL_TESTS).exists() {
        names.push(USUAL_TESTS.to_owned());
    }
    let read = |name: String| {
        let text = read(&file.with_file_name(&name))?;
        Ok(v1::PolicyTestFile { name, text })
    };
    names.into_iter().map(read).collect()
}
