//! `PolicyService`.

use std::sync::Arc;

use augur_decision::{PolicySource, SourceFile};
use augur_domain::Diagnostic;
use augur_proto::convert::timestamp_to_wire;
use augur_proto::v1;
use augur_proto::v1::policy_service_server::PolicyService;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use super::blocking;
use crate::admin::sent;
use crate::policies::{Activation, CheckedPolicy, PolicyListing, Proposal, Remark};
use crate::policy_history::PolicyChange;
use crate::{App, Error, Mismatch, TestOutcome};

/// Policies that are loaded at once: a large one with many faults costs seconds and tens of megabytes.
const MAX_LOADING: usize = 2;
/// Files of tests that may come with a policy.
const MAX_TEST_FILES: usize = 16;

#[derive(Debug)]
pub(super) struct Policies {
    app: Arc<App>,
    loading: Arc<Semaphore>,
}

impl Policies {
    pub(super) fn new(app: Arc<App>) -> Self {
        Self { app, loading: Arc::new(Semaphore::new(MAX_LOADING)) }
    }

    /// Runs what loads a policy when its turn has come. A caller that goes away makes no room before that is done.
    async fn load<T: Send + 'static>(
        &self,
        work: impl FnOnce(&App) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let turn = Arc::clone(&self.loading).acquire_owned().await.map_err(|_| Error::ShuttingDown)?;
        blocking(&self.app, move |app| {
            let _turn = turn;
            work(app)
        })
        .await
    }
}

#[tonic::async_trait]
impl PolicyService for Policies {
    async fn get_policy(
        &self,
        _request: Request<v1::GetPolicyRequest>,
    ) -> Result<Response<v1::GetPolicyResponse>, Status> {
        let active = self.app.active();
        let policy = active.policy();
        Ok(Response::new(v1::GetPolicyResponse {
            policy_id: policy.id().to_string(),
            feature_set: policy.features().hash().to_string(),
            policy_toml: active.source().policy.text.clone(),
            files: active.source().files.iter().map(file_to_wire).collect(),
            decision_points: policy.decision_points().iter().map(|point| point.name().to_string()).collect(),
        }))
    }

    async fn check_policy(
        &self,
        request: Request<v1::CheckPolicyRequest>,
    ) -> Result<Response<v1::CheckPolicyResponse>, Status> {
        let v1::CheckPolicyRequest { policy_toml, tests, files } = request.into_inner();
        let proposal = proposal_from_wire(policy_toml, files, tests)?;
        let response = match self.load(move |app| app.check_policy(&proposal)).await {
            Ok(checked) => v1::CheckPolicyResponse {
                policy_id: checked.id.to_string(),
                faults: Vec::new(),
                tests_run: count(checked.tests.len()),
                failed_tests: failed_to_wire(&checked),
            },
            Err(error) => v1::CheckPolicyResponse { faults: faults(error)?, ..Default::default() },
        };
        Ok(Response::new(response))
    }

    async fn activate_policy(
        &self,
        request: Request<v1::ActivatePolicyRequest>,
    ) -> Result<Response<v1::ActivatePolicyResponse>, Status> {
        let v1::ActivatePolicyRequest { policy_toml, tests, policy_id, reason, activated_by, files } =
            request.into_inner();
        let is_sent = !policy_toml.is_empty() || !tests.is_empty() || !files.is_empty();
        if !policy_id.is_empty() && is_sent {
            let problem = "beside `policy_toml` or `tests`";
            return Err(
                Error::field("policy_id", problem, "the text, or the id of an archived policy").into()
            );
        }
        let proposal = proposal_from_wire(policy_toml, files, tests)?;
        let remark = Remark { who: activated_by, why: reason };
        let activated = self.load(move |app| match policy_id.is_empty() {
            true => app.activate_policy(&proposal, remark),
            false => app.activate_archived(&policy_id, remark),
        });
        let response = match activated.await {
            Ok(Activation { policy, previous, .. }) => v1::ActivatePolicyResponse {
                policy_id: previous.map_or_else(String::new, |_| policy.id.to_string()),
                previous_policy_id: previous.map_or_else(String::new, |previous| previous.to_string()),
                faults: Vec::new(),
                tests_run: count(policy.tests.len()),
                failed_tests: failed_to_wire(&policy),
            },
            Err(error) => v1::ActivatePolicyResponse { faults: faults(error)?, ..Default::default() },
        };
        Ok(Response::new(response))
    }

    async fn rollback_policy(
        &self,
        request: Request<v1::RollbackPolicyRequest>,
    ) -> Result<Response<v1::RollbackPolicyResponse>, Status> {
        let v1::RollbackPolicyRequest { policy_id, reason, moved_by } = request.into_inner();
        let remark = Remark { who: moved_by, why: reason };
        let returned =
            self.load(move |app| app.roll_back_policy(Some(&*policy_id).filter(|id| !id.is_empty()), remark));
        let Activation { policy, previous, restored } = returned.await?;
        let id = |id: Option<augur_domain::ContentHash>| id.map_or_else(String::new, |id| id.to_string());
        Ok(Response::new(v1::RollbackPolicyResponse {
            policy_id: policy.id.to_string(),
            restored_policy_id: id(restored),
            previous_policy_id: id(previous),
            tests_run: count(policy.tests.len()),
            failed_tests: failed_to_wire(&policy),
        }))
    }

    async fn list_policies(
        &self,
        _request: Request<v1::ListPoliciesRequest>,
    ) -> Result<Response<v1::ListPoliciesResponse>, Status> {
        let PolicyListing { active, archived, changes } = blocking(&self.app, App::policies).await?;
        Ok(Response::new(v1::ListPoliciesResponse {
            active_policy_id: active.to_string(),
            archived_policy_ids: archived.iter().map(ToString::to_string).collect(),
            changes: changes.into_iter().map(change_to_wire).collect(),
        }))
    }

    async fn get_archived_policy(
        &self,
        request: Request<v1::GetArchivedPolicyRequest>,
    ) -> Result<Response<v1::GetArchivedPolicyResponse>, Status> {
        let id = request.into_inner().policy_id;
        let archived = blocking(&self.app, move |app| app.archived_policy(&id)).await?;
        let tests = archived.tests.into_iter();
        let files = archived.files.into_iter();
        Ok(Response::new(v1::GetArchivedPolicyResponse {
            policy_id: archived.id.to_string(),
            policy_toml: archived.policy,
            files: files.map(|SourceFile { name, text }| v1::PolicyFile { name, text }).collect(),
            features_toml: archived.features,
            tests: tests.map(|SourceFile { name, text }| v1::PolicyTestFile { name, text }).collect(),
        }))
    }
}

/// Files as they came; a policy takes those that it names.
fn files_from_wire(files: Vec<v1::PolicyFile>) -> Vec<SourceFile> {
    files.into_iter().map(|v1::PolicyFile { name, text }| SourceFile { name, text }).collect()
}

/// A policy as it came, with the files that came with it.
pub(super) fn sent_policy(text: String, files: Vec<v1::PolicyFile>) -> PolicySource {
    sent(text, &files_from_wire(files))
}

fn file_to_wire((name, file): (&String, &SourceFile)) -> v1::PolicyFile {
    v1::PolicyFile { name: name.clone(), text: file.text.clone() }
}

fn proposal_from_wire(
    text: String,
    named: Vec<v1::PolicyFile>,
    tests: Vec<v1::PolicyTestFile>,
) -> Result<Proposal, Error> {
    if tests.len() > MAX_TEST_FILES {
        let problem = format!("{} files", tests.len());
        return Err(Error::field("tests", problem, format!("at most {MAX_TEST_FILES}")));
    }
    let mut files: Vec<SourceFile> = Vec::with_capacity(tests.len());
    for (index, v1::PolicyTestFile { name, text }) in tests.into_iter().enumerate() {
        let fits = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        let is_name =
            name.len() <= 100 && name.ends_with(".toml") && !name.starts_with('.') && name.chars().all(fits);
        if !is_name || files.iter().any(|file| file.name == name) {
            let shown: String = name.chars().take(100).collect();
            let expected = "the name of a file that ends with `.toml`, each once, without a path";
            return Err(Error::field(format!("tests[{index}].name"), format!("`{shown}`"), expected));
        }
        files.push(SourceFile { name, text });
    }
    Ok(Proposal { text, files: files_from_wire(named), tests: files })
}

fn failed_to_wire(policy: &CheckedPolicy) -> Vec<v1::PolicyTestFailure> {
    let failed = policy.tests.iter().filter(|outcome| !outcome.passed());
    let mismatch = |mismatch: &Mismatch| v1::PolicyTestMismatch {
        key: mismatch.what.clone(),
        expected: mismatch.expected.clone(),
        found: mismatch.found.clone(),
    };
    let failure = |outcome: &TestOutcome| v1::PolicyTestFailure {
        name: outcome.name.clone(),
        file: outcome.file.clone(),
        line: count(outcome.line),
        mismatches: outcome.mismatches.iter().map(mismatch).collect(),
    };
    failed.map(failure).collect()
}

fn change_to_wire(change: PolicyChange) -> v1::PolicyChange {
    v1::PolicyChange {
        at: Some(timestamp_to_wire(change.at)),
        kind: change.kind.as_str().to_owned(),
        policy_id: change.policy.to_string(),
        restored_policy_id: change.restored.map_or_else(String::new, |restored| restored.to_string()),
        who: change.who,
        why: change.why,
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Faults of a policy are an answer; everything else is a failure of the call.
fn faults(error: Error) -> Result<Vec<v1::PolicyFault>, Error> {
    match error {
        Error::Diagnostics(complaints) => Ok(complaints.into_iter().map(fault_to_wire).collect()),
        other => Err(other),
    }
}

pub(super) fn fault_to_wire(complaint: Diagnostic) -> v1::PolicyFault {
    v1::PolicyFault {
        file: complaint.file,
        line: u32::try_from(complaint.line).unwrap_or(u32::MAX),
        column: u32::try_from(complaint.column).unwrap_or(u32::MAX),
        message: complaint.message,
        expected: complaint.expected,
        hint: complaint.hint,
    }
}
