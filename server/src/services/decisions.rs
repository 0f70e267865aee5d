//! `DecisionService`.

use std::sync::Arc;

use augur_domain::DecisionRecord;
use augur_proto::convert::FieldError;
use augur_proto::convert::decisions::{decision_to_wire, record_to_wire};
use augur_proto::v1;
use augur_proto::v1::decision_service_server::DecisionService;
use prost::Message as _;
use tonic::{Request, Response, Status};

use super::blocking;
use super::raw::Received;
use crate::decide::DecideCall;
use crate::layers::Arrival;
use crate::{App, Error};

#[derive(Debug)]
pub(super) struct Decisions {
    app: Arc<App>,
}

impl Decisions {
    pub(super) fn new(app: Arc<App>) -> Self {
        Self { app }
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
        let record = self.app.decide(call).await?;
        let DecisionRecord { policy, inputs, decision, .. } = &record;
        Ok(Response::new(decision_to_wire(decision, &inputs.decision_id, policy, inputs.now)))
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
        let contributions = explanation.contributions.iter().map(|contribution| v1::Contribution {
            alias: contribution.alias.to_string(),
            feature: contribution.feature.to_string(),
            margin: contribution.margin,
        });
        Ok(Response::new(v1::ExplainResponse {
            record: Some(record_to_wire(&explanation.record, Some(&self.app.feature_set()))),
            contributions: contributions.collect(),
        }))
    }
}
