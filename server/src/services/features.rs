//! `FeatureService`.

use std::sync::Arc;

use augur_domain::{FeatureSet, FeatureVector, Timestamp, UserKey};
use augur_proto::convert::features::{feature_set_to_wire, feature_to_wire};
use augur_proto::convert::timestamp_to_wire;
use augur_proto::convert::value::subject_from_wire;
use augur_proto::v1;
use augur_proto::v1::feature_service_server::FeatureService;
use tonic::{Request, Response, Status};

use crate::error::code_name;
use crate::{App, Error, ManyFeatures};

/// Subjects of one batch.
const MAX_SUBJECTS: usize = 1_000;
/// Values of one batch; about 10 MB of answer.
const MAX_VALUES: usize = 100_000;

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
        let features = self.app.features(user).await?;
        Ok(Response::new(to_wire(
            &self.app.feature_set(),
            &features.vector,
            features.now,
            &features.windows,
            &slots,
        )))
    }

    async fn batch_get_features(
        &self,
        request: Request<v1::BatchGetFeaturesRequest>,
    ) -> Result<Response<v1::BatchGetFeaturesResponse>, Status> {
        let request = request.into_inner();
        let subjects = request.subjects.len();
        if subjects > MAX_SUBJECTS {
            let problem = format!("{subjects} subjects");
            return Err(Error::field("subjects", problem, format!("at most {MAX_SUBJECTS}")).into());
        }
        let slots = self.app.names.select(&request.features)?;
        if subjects * slots.len() > MAX_VALUES {
            let problem = format!("{} features of {subjects} subjects", slots.len());
            let expected = format!("at most {MAX_VALUES} values in all: name the features that are needed");
            return Err(Error::field("subjects", problem, expected).into());
        }
        Ok(Response::new(self.batch(&request.subjects, slots).await?))
    }

    async fn describe_features(
        &self,
        _request: Request<v1::DescribeFeaturesRequest>,
    ) -> Result<Response<v1::DescribeFeaturesResponse>, Status> {
        Ok(Response::new(feature_set_to_wire(&self.app.feature_set())))
    }
}

impl Features {
    async fn batch(
        &self,
        subjects: &[v1::Subject],
        slots: Vec<usize>,
    ) -> Result<v1::BatchGetFeaturesResponse, Error> {
        let named = subjects.iter().enumerate();
        let users: Vec<Result<UserKey, Error>> = named
            .map(|(index, subject)| user(&self.app, Some(subject), &format!("subjects[{index}]")))
            .collect();
        let known: Vec<UserKey> = users.iter().filter_map(|user| user.as_ref().ok()).copied().collect();
        let read = self.app.features_of_many(&known).await?;
        let set = self.app.feature_set();
        // Tens of thousands of values would hold an async thread too long.
        self.app.storage.run(move || batch_to_wire(&set, users, read, &slots)).await
    }
}

fn batch_to_wire(
    set: &FeatureSet,
    users: Vec<Result<UserKey, Error>>,
    read: ManyFeatures,
    slots: &[usize],
) -> v1::BatchGetFeaturesResponse {
    let mut vectors = read.vectors.into_iter();
    let mut answer = v1::BatchGetFeaturesResponse::default();
    for (index, user) in (0..).zip(users) {
        let vector = user.and_then(|_| vectors.next().unwrap_or(Err(Error::Internal)));
        let result = vector.map(|vector| to_wire(set, &vector, read.now, &read.windows, slots));
        answer.results.push(result.unwrap_or_else(|error| {
            let status = Status::from(error);
            let code = code_name(status.code().into()).to_owned();
            let message = status.message().to_owned();
            answer.failures.push(v1::SubjectFailure { index, code, message });
            v1::GetFeaturesResponse::default()
        }));
    }
    answer
}

fn user(app: &App, subject: Option<&v1::Subject>, field: &str) -> Result<UserKey, Error> {
    Ok(app.user_key(subject_from_wire(subject, field)?))
}

fn to_wire(
    set: &FeatureSet,
    vector: &FeatureVector,
    now: Timestamp,
    windows: &[Option<Timestamp>],
    slots: &[usize],
) -> v1::GetFeaturesResponse {
    let values = slots
        .iter()
        .filter_map(|slot| feature_to_wire(set, vector, *slot, windows.get(*slot).copied().flatten()));
    v1::GetFeaturesResponse {
        features: values.collect(),
        effective_time: Some(timestamp_to_wire(now)),
        feature_set: vector.feature_set.to_string(),
        events_applied: vector.watermark,
    }
}
