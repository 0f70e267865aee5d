//! `PolicyService`.

use std::sync::Arc;

use augur_domain::Diagnostic;
use augur_proto::v1;
use augur_proto::v1::policy_service_server::PolicyService;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use super::blocking;
use crate::{App, Error};

/// Policies that are loaded at once: a large one with many faults costs seconds and tens of megabytes.
const MAX_LOADING: usize = 2;

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
            policy_toml: active.source().text.clone(),
            decision_points: policy.decision_points().iter().map(|point| point.name().to_string()).collect(),
        }))
    }

    async fn check_policy(
        &self,
        request: Request<v1::CheckPolicyRequest>,
    ) -> Result<Response<v1::CheckPolicyResponse>, Status> {
        let text = request.into_inner().policy_toml;
        let response = match self.load(move |app| app.check_policy(text)).await {
            Ok(id) => v1::CheckPolicyResponse { policy_id: id.to_string(), faults: Vec::new() },
            Err(error) => v1::CheckPolicyResponse { faults: faults(error)?, ..Default::default() },
        };
        Ok(Response::new(response))
    }

    async fn activate_policy(
        &self,
        request: Request<v1::ActivatePolicyRequest>,
    ) -> Result<Response<v1::ActivatePolicyResponse>, Status> {
        let text = request.into_inner().policy_toml;
        let response = match self.load(move |app| app.activate_policy(text)).await {
            Ok((id, previous)) => v1::ActivatePolicyResponse {
                policy_id: id.to_string(),
                previous_policy_id: previous.to_string(),
                faults: Vec::new(),
            },
            Err(error) => v1::ActivatePolicyResponse { faults: faults(error)?, ..Default::default() },
        };
        Ok(Response::new(response))
    }
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
