//! `FeatureService`.

use std::sync::Arc;

use augur_domain::UserKey;
use augur_proto::convert::features::{feature_set_to_wire, feature_to_wire};
use augur_proto::convert::timestamp_to_wire;
use augur_proto::convert::value::subject_from_wire;
use augur_proto::v1;
use augur_proto::v1::feature_service_server::FeatureService;
use tonic::{Request, Response, Status};

use super::blocking;
use crate::{App, Error, read};

/// Subjects of one batch.
const MAX_SUBJECTS: usize = 500;

#[derive(Debug)]
pub(super) struct Features {
    app: Arc<App>,
}

impl Features {
    pub(super) fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl FeatureService for Features {
    async fn get_features(
        &self,
        request: Request<v1::GetFeaturesRequest>,
    ) -> Result<Response<v1::GetFeaturesResponse>, Status> {
        let request = request.into_inner();
        let slots = self.app.names.select(&request.features)?;
        let user = user(&self.app, request.subject.as_ref(), "subject")?;
        let features = self.app.features(user)?;
        Ok(Response::new(to_wire(&self.app, &features, &slots)))
    }

    async fn batch_get_features(
        &self,
        request: Request<v1::BatchGetFeaturesRequest>,
    ) -> Result<Response<v1::BatchGetFeaturesResponse>, Status> {
        let request = request.into_inner();
        if request.subjects.len() > MAX_SUBJECTS {
            let problem = format!("{} subjects", request.subjects.len());
            return Err(Error::field("subjects", problem, format!("at most {MAX_SUBJECTS}")).into());
        }
        let slots = self.app.names.select(&request.features)?;
        let subjects = request.subjects.iter().enumerate();
        let users =
            subjects.map(|(index, subject)| user(&self.app, Some(subject), &format!("subjects[{index}]")));
        let users: Vec<UserKey> = users.collect::<Result<_, Error>>()?;
        // Hundreds of lookups in a row would hold an async thread too long.
        let read = move |app: &App| {
            let now = app.clock().now();
            let results =
                users.into_iter().map(|user| Ok(to_wire(app, &app.features_at(user, now)?, &slots)));
            results.collect::<Result<Vec<_>, Error>>()
        };
        let results = blocking(&self.app, read).await?;
        Ok(Response::new(v1::BatchGetFeaturesResponse { results }))
    }

    async fn describe_features(
        &self,
        _request: Request<v1::DescribeFeaturesRequest>,
    ) -> Result<Response<v1::DescribeFeaturesResponse>, Status> {
        Ok(Response::new(feature_set_to_wire(self.app.feature_set())))
    }
}

fn user(app: &App, subject: Option<&v1::Subject>, field: &str) -> Result<UserKey, Error> {
    Ok(app.user_key(subject_from_wire(subject, field)?))
}

fn to_wire(app: &App, features: &read::Features, slots: &[usize]) -> v1::GetFeaturesResponse {
    let described = app.feature_set();
    let values = slots.iter().filter_map(|slot| {
        let window_start = features.windows.get(*slot).copied().flatten();
        feature_to_wire(described, &features.vector, *slot, window_start)
    });
    v1::GetFeaturesResponse {
        features: values.collect(),
        effective_time: Some(timestamp_to_wire(features.now)),
        feature_set: features.vector.feature_set.to_string(),
        events_applied: features.vector.watermark,
    }
}
