//! `ModelService`.

use std::sync::Arc;

use augur_models::registry::PublishedCard;
use augur_proto::convert::timestamp_to_wire;
use augur_proto::v1;
use augur_proto::v1::model_service_server::ModelService;
use tonic::{Request, Response, Status};

use super::blocking;
use crate::admin::ModelListing;
use crate::{App, Error};

#[derive(Debug)]
pub(super) struct Models {
    app: Arc<App>,
}

impl Models {
    pub(super) fn new(app: Arc<App>) -> Self {
        Self { app }
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
        for (field, text) in [("reason", &reason), ("moved_by", &moved_by)] {
            if text.trim().is_empty() {
                return Err(Error::field(field, "it is empty", "a few words for the alias's history").into());
            }
        }
        let previous_version =
            blocking(&self.app, move |app| app.set_alias(&model, &alias, version, &moved_by, &reason))
                .await?;
        Ok(Response::new(v1::SetAliasResponse { previous_version }))
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
