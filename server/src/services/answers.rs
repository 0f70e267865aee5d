//! The answer to one request for a decision, made for it or kept under its key. `Decide` and its kin in bulk share it.
//!
//! Not here: how a decision is made (`crate::decide`), or how keys are kept apart (`crate::idempotency`).

use std::sync::Arc;

use augur_domain::DecisionRecord;
use augur_proto::convert::decisions::decision_to_wire;
use augur_proto::v1;
use prost::Message as _;

use crate::decide::DecideCall;
use crate::{App, Error, room};

/// Decides, unless the request has a key under which an answer is kept.
pub(super) async fn answer(app: &Arc<App>, call: DecideCall) -> Result<v1::DecideResponse, Error> {
    if call.request.idempotency_key.is_empty() {
        let record = app.decide(call).await?;
        let answer = to_wire(&record);
        if let Some(record) = app.offer_to_shadow(record) {
            room::give_back(record);
        }
        return Ok(answer);
    }
    let bytes = app.decide_once(call, |record| to_wire(record).encode_to_vec()).await?;
    v1::DecideResponse::decode(&*bytes).map_err(|error| {
        tracing::error!(%error, "a kept answer is not a message; it was written by another version");
        Error::Internal
    })
}

fn to_wire(record: &DecisionRecord) -> v1::DecideResponse {
    let DecisionRecord { policy, inputs, decision, .. } = record;
    decision_to_wire(decision, &inputs.decision_id, policy, inputs.now)
}
