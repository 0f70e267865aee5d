//! `OutcomeService`.

use std::sync::Arc;

use augur_proto::v1;
use augur_proto::v1::outcome_service_server::OutcomeService;
use tonic::{Request, Response, Status};

use crate::App;
use crate::outcomes::Reported;

#[derive(Debug)]
pub(super) struct Outcomes {
    app: Arc<App>,
}

impl Outcomes {
    pub(super) fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl OutcomeService for Outcomes {
    async fn report_outcomes(
        &self,
        request: Request<v1::ReportOutcomesRequest>,
    ) -> Result<Response<v1::ReportOutcomesResponse>, Status> {
        let outcomes = request.into_inner().outcomes;
        let reported = self.app.report_outcomes(&outcomes).await?;
        let results = outcomes.into_iter().zip(reported).map(|(outcome, reported)| result(outcome, reported));
        Ok(Response::new(v1::ReportOutcomesResponse { results: results.collect() }))
    }
}

fn result(outcome: v1::Outcome, reported: Reported) -> v1::OutcomeResult {
    let status = match reported {
        Reported::Accepted => v1::OutcomeStatus::Accepted,
        Reported::Duplicate => v1::OutcomeStatus::Duplicate,
        Reported::UnknownDecision => v1::OutcomeStatus::UnknownDecision,
        Reported::Rejected(_) => v1::OutcomeStatus::Rejected,
    };
    let (field, detail) = match reported {
        Reported::Rejected(fault) => (fault.field, format!("{}; expected {}", fault.problem, fault.expected)),
        _ => Default::default(),
    };
    v1::OutcomeResult { outcome_id: outcome.outcome_id, status: status as i32, field, detail }
}
