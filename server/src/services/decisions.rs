//! `DecisionService`.

use std::sync::Arc;

use augur_decision::UserStanding;
use augur_decision_log::Durability;
use augur_domain::ReasonCode;
use augur_proto::convert::FieldError;
use augur_proto::convert::value::subject_from_wire;
use augur_proto::v1;
use augur_proto::v1::decision_service_server::DecisionService;
use prost::Message as _;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status, Streaming};

use super::bulk::{Answers, Bulk};
use super::raw::Received;
use super::{answers, blocking};
use crate::decide::DecideCall;
use crate::layers::Arrival;
use crate::{App, Error};

/// Metadata of an answer to `Decide`: what has happened to its record.
const DURABILITY: &str = "augur-durability";

#[derive(Debug)]
pub(super) struct Decisions {
    app: Arc<App>,
    bulk: Bulk,
}

impl Decisions {
    pub(super) fn new(app: Arc<App>, stopping: CancellationToken) -> Self {
        Self { bulk: Bulk::new(Arc::clone(&app), stopping), app }
    }

    /// `Decide`, with the request's bytes as they came over the wire.
    pub(super) async fn decide_received(
        &self,
        request: Request<Received>,
    ) -> Result<Response<v1::DecideResponse>, Status> {
        let arrival = self.arrival(request.extensions());
        let Received { bytes, request } = request.into_inner();
        self.answer(bytes.into(), request, arrival).await
    }

    fn arrival(&self, extensions: &tonic::Extensions) -> Arrival {
        let known = extensions.get::<Arrival>().copied();
        known.unwrap_or_else(|| Arrival { at: self.app.clock().monotonic(), allowed: None })
    }

    async fn answer(
        &self,
        bytes: Vec<u8>,
        request: v1::DecideRequest,
        arrival: Arrival,
    ) -> Result<Response<v1::DecideResponse>, Status> {
        let call = DecideCall { bytes, request, arrived: arrival.at, allowed: arrival.allowed };
        let answer = answers::answer(&self.app, call).await?;
        let durability = self.durability(&answer);
        let mut response = Response::new(answer);
        response.metadata_mut().insert(DURABILITY, MetadataValue::from_static(durability));
        Ok(response)
    }

    /// What has happened to the record of an answer. One that was kept under a key was recorded before; whatever was
    /// written is synced by now if that is what is done today, since opening the log syncs it.
    fn durability(&self, answer: &v1::DecideResponse) -> &'static str {
        let unrecorded = ReasonCode::LogUnavailable.as_str();
        match self.app.log().durability() {
            _ if answer.reasons.iter().any(|reason| reason.code == unrecorded) => "none",
            Durability::Written => "written",
            Durability::Synced => "synced",
        }
    }
}

#[tonic::async_trait]
impl DecisionService for Decisions {
    /// Not reached over the wire, where the bytes are kept as received; here they are made.
    async fn decide(
        &self,
        request: Request<v1::DecideRequest>,
    ) -> Result<Response<v1::DecideResponse>, Status> {
        let arrival = self.arrival(request.extensions());
        let request = request.into_inner();
        self.answer(request.encode_to_vec(), request, arrival).await
    }

    async fn batch_decide(
        &self,
        request: Request<v1::BatchDecideRequest>,
    ) -> Result<Response<v1::BatchDecideResponse>, Status> {
        let arrival = self.arrival(request.extensions());
        let results = self.bulk.batch(request.into_inner().requests, arrival).await?;
        Ok(Response::new(v1::BatchDecideResponse { results }))
    }

    type DecideStreamStream = Answers;

    async fn decide_stream(
        &self,
        request: Request<Streaming<v1::DecideStreamRequest>>,
    ) -> Result<Response<Answers>, Status> {
        Ok(Response::new(self.bulk.stream(request.into_inner())?))
    }

    async fn explain(
        &self,
        request: Request<v1::ExplainRequest>,
    ) -> Result<Response<v1::ExplainResponse>, Status> {
        let id =
            request.into_inner().decision_id.parse().map_err(|error: augur_domain::ids::ParseIdError| {
                Error::InvalidField(FieldError::new(
                    "decision_id",
                    error.to_string(),
                    "the id that Decide gave",
                ))
            })?;
        let explanation = blocking(&self.app, move |app| app.explain(id)).await?;
        Ok(Response::new(explanation.to_wire(&self.app.feature_set())))
    }

    async fn get_assignments(
        &self,
        request: Request<v1::GetAssignmentsRequest>,
    ) -> Result<Response<v1::GetAssignmentsResponse>, Status> {
        let subject =
            subject_from_wire(request.get_ref().subject.as_ref(), "subject").map_err(Error::from)?;
        let user = self.app.user_key(subject);
        let active = self.app.active();
        let policy = active.policy();
        let standings = policy.standings(user, self.app.clock().now());
        Ok(Response::new(v1::GetAssignmentsResponse {
            user_key: user.to_string(),
            policy_id: policy.id().to_string(),
            standings: standings.into_iter().map(standing_to_wire).collect(),
        }))
    }
}

fn standing_to_wire(standing: UserStanding) -> v1::UserStanding {
    v1::UserStanding {
        name: standing.name.to_string(),
        is_holdout: standing.is_holdout,
        standing: standing.standing.as_str().to_owned(),
        arm: standing.arm.to_string(),
        bucket: standing.bucket,
        has_condition: standing.has_condition,
        owner: standing.owner.as_deref().unwrap_or_default().to_owned(),
    }
}
