//! `ModelService`.

use std::sync::Arc;

use augur_models::registry::{CanaryChange, Gates, Promotion, PublishedCard};
use augur_proto::convert::timestamp_to_wire;
use augur_proto::v1;
use augur_proto::v1::model_service_server::ModelService;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::blocking;
use super::monitoring::{self, Comparisons};
use crate::admin::ModelListing;
use crate::{App, Error};

#[derive(Debug)]
pub(super) struct Models {
    app: Arc<App>,
    comparisons: Comparisons,
}

impl Models {
    pub(super) fn new(app: Arc<App>, stopping: CancellationToken) -> Self {
        let comparisons = Comparisons::new(Arc::clone(&app), stopping);
        Self { app, comparisons }
    }
}

#[tonic::async_trait]
impl ModelService for Models {
    async fn list_models(
        &self,
        _request: Request<v1::ListModelsRequest>,
    ) -> Result<Response<v1::ListModelsResponse>, Status> {
        let listings = blocking(&self.app, App::models).await?;
        let models = listings.into_iter().map(listing_to_wire).collect();
        Ok(Response::new(v1::ListModelsResponse { models }))
    }

    async fn set_alias(
        &self,
        request: Request<v1::SetAliasRequest>,
    ) -> Result<Response<v1::SetAliasResponse>, Status> {
        let v1::SetAliasRequest { model, alias, version, reason, moved_by } = request.into_inner();
        require_remarks(&reason, &moved_by)?;
        let previous_version =
            blocking(&self.app, move |app| app.set_alias(&model, &alias, version, &moved_by, &reason))
                .await?;
        Ok(Response::new(v1::SetAliasResponse { previous_version }))
    }

    async fn get_model(
        &self,
        request: Request<v1::GetModelRequest>,
    ) -> Result<Response<v1::GetModelResponse>, Status> {
        let v1::GetModelRequest { model, version_or_alias } = request.into_inner();
        let selector = or_champion(version_or_alias);
        let told = blocking(&self.app, move |app| {
            let description = app.describe_model(&model, &selector)?;
            let card = app.model_card(&model, description.version)?;
            Ok((description, card))
        });
        let (description, card) = told.await?;
        let card_json = String::from_utf8_lossy(&card).into_owned();
        Ok(Response::new(v1::GetModelResponse { description_json: json(&description)?, card_json }))
    }

    async fn diff_models(
        &self,
        request: Request<v1::DiffModelsRequest>,
    ) -> Result<Response<v1::DiffModelsResponse>, Status> {
        let v1::DiffModelsRequest { model, first, second } = request.into_inner();
        let difference = blocking(&self.app, move |app| app.compare_models(&model, &first, &second)).await?;
        Ok(Response::new(v1::DiffModelsResponse { difference_json: json(&difference)? }))
    }

    async fn promote_model(
        &self,
        request: Request<v1::PromoteModelRequest>,
    ) -> Result<Response<v1::PromoteModelResponse>, Status> {
        let asked = request.into_inner();
        require_remarks(&asked.reason, &asked.moved_by)?;
        let alias = or_champion(asked.alias);
        let gates = Gates { min_roc_auc_gain: asked.min_roc_auc_gain, max_ece: asked.max_ece };
        let (model, version, force) = (asked.model, asked.version, asked.force);
        let promoted = blocking(&self.app, move |app| {
            app.promote(&model, &alias, version, gates, force, &asked.moved_by, &asked.reason)
        })
        .await?;
        let gates = promoted.gates.into_iter().map(|outcome| v1::ModelGate {
            gate: outcome.gate,
            found: outcome.found,
            bound: outcome.bound,
            passed: outcome.passed,
        });
        let (moved, previous_version) = (promoted.moved, promoted.previous_version);
        Ok(Response::new(v1::PromoteModelResponse { previous_version, gates: gates.collect(), moved }))
    }

    async fn rollback_alias(
        &self,
        request: Request<v1::RollbackAliasRequest>,
    ) -> Result<Response<v1::RollbackAliasResponse>, Status> {
        let v1::RollbackAliasRequest { model, alias, reason, moved_by } = request.into_inner();
        require_remarks(&reason, &moved_by)?;
        let alias = or_champion(alias);
        let back =
            blocking(&self.app, move |app| app.rollback_alias(&model, &alias, &moved_by, &reason)).await?;
        let (previous_version, version) = (back.previous_version, back.target.version);
        Ok(Response::new(v1::RollbackAliasResponse { previous_version, version }))
    }

    async fn set_canary(
        &self,
        request: Request<v1::SetCanaryRequest>,
    ) -> Result<Response<v1::SetCanaryResponse>, Status> {
        let request = request.into_inner();
        require_remarks(&request.reason, &request.moved_by)?;
        blocking(&self.app, move |app| {
            let alias = or_champion(request.alias);
            let promotion = request.promote_after_ms.map(|after_ms| Promotion {
                after_ms: after_ms.max(0),
                min_decisions: request.promote_min_decisions,
            });
            let change = CanaryChange {
                alias: &alias,
                version: request.version,
                share_ppm: request.share_ppm,
                promotion,
                who: &request.moved_by,
                why: &request.reason,
                at: app.clock().now(),
            };
            app.set_canary(&request.model, &change)
        })
        .await?;
        Ok(Response::new(v1::SetCanaryResponse {}))
    }

    async fn get_canary(
        &self,
        request: Request<v1::GetCanaryRequest>,
    ) -> Result<Response<v1::GetCanaryResponse>, Status> {
        let v1::GetCanaryRequest { model, alias } = request.into_inner();
        let alias = or_champion(alias);
        let report = blocking(&self.app, move |app| app.canary(&model, &alias)).await?;
        let canary_json = report.as_ref().map(json).transpose()?.unwrap_or_default();
        Ok(Response::new(v1::GetCanaryResponse { canary_json }))
    }

    type MonitorModelsStream = ReceiverStream<monitoring::Answer>;

    async fn monitor_models(
        &self,
        request: Request<v1::MonitorModelsRequest>,
    ) -> Result<Response<Self::MonitorModelsStream>, Status> {
        let v1::MonitorModelsRequest { model, version_or_alias, since_ms } = request.into_inner();
        let model = Some(model).filter(|model| !model.is_empty());
        let stream = self.comparisons.begin(model, or_champion(version_or_alias), since_ms)?;
        Ok(Response::new(stream))
    }

    async fn reload_models(
        &self,
        _request: Request<v1::ReloadModelsRequest>,
    ) -> Result<Response<v1::ReloadModelsResponse>, Status> {
        let reloaded = blocking(&self.app, App::reload_models).await?;
        Ok(Response::new(v1::ReloadModelsResponse {
            loaded: reloaded.loaded.iter().map(ToString::to_string).collect(),
            missing: reloaded.missing.iter().map(ToString::to_string).collect(),
        }))
    }
}

fn require_remarks(reason: &str, moved_by: &str) -> Result<(), Error> {
    for (field, text) in [("reason", reason), ("moved_by", moved_by)] {
        if text.trim().is_empty() {
            return Err(Error::field(field, "it is empty", "a few words for the alias's history"));
        }
    }
    Ok(())
}

fn or_champion(named: String) -> String {
    if named.is_empty() { "champion".to_owned() } else { named }
}

pub(super) fn json(value: &impl serde::Serialize) -> Result<String, Status> {
    // Texts and numbers only: there is nothing that JSON could refuse.
    serde_json::to_string(value).map_err(|_| Error::Internal.into())
}

fn listing_to_wire(listing: ModelListing) -> v1::Model {
    let versions = listing.versions.iter().map(|(model, card)| v1::ModelVersion {
        version: model.version,
        artifact: model.artifact.to_string(),
        card_json: card_json(card),
    });
    let aliases = listing.aliases.iter().map(|change| v1::ModelAlias {
        alias: change.alias.clone(),
        version: change.version,
        moved_by: change.who.clone(),
        reason: change.why.clone(),
        moved_at: Some(timestamp_to_wire(change.at)),
    });
    v1::Model { versions: versions.collect(), aliases: aliases.collect(), name: listing.name }
}

fn card_json(card: &PublishedCard) -> String {
    serde_json::json!({
        "version": card.version,
        "artifact": card.artifact.to_string(),
        "task": card.task,
        "positive_class": card.positive_class,
        "feature_set": card.feature_set.to_string(),
        "features": card.features,
        "published_by": card.card.published_by,
        "published_at": card.card.published_at.to_string(),
        "notes": card.card.notes,
        "report": card.report,
    })
    .to_string()
}
