//! `FeatureService`.

use std::collections::BTreeMap;
use std::sync::Arc;

use augur_domain::{FeatureSet, Timestamp, UserKey, Value};
use augur_feature_store::{Definitions, FeatureSchema};
use augur_proto::convert::features::{feature_set_to_wire, feature_to_wire};
use augur_proto::convert::timestamp_to_wire;
use augur_proto::convert::value::{subject_from_wire, values_from_wire};
use augur_proto::v1;
use augur_proto::v1::feature_service_server::FeatureService;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use super::{blocking, versions};

use crate::error::code_name;
use crate::read::{Selection, check_context, select};
use crate::{App, Error, ManyFeatures, Reading};

/// Subjects of one batch.
const MAX_SUBJECTS: usize = 1_000;
/// Values of one batch; about 10 MB of answer.
const MAX_VALUES: usize = 100_000;

#[derive(Debug)]
pub(super) struct Features {
    app: Arc<App>,
    changing: Arc<Semaphore>,
}

impl Features {
    pub(super) fn new(app: Arc<App>) -> Self {
        Self { app, changing: Arc::new(Semaphore::new(1)) }
    }
}

#[tonic::async_trait]
impl FeatureService for Features {
    async fn get_features(
        &self,
        request: Request<v1::GetFeaturesRequest>,
    ) -> Result<Response<v1::GetFeaturesResponse>, Status> {
        let v1::GetFeaturesRequest { subject, features, context, named_set } = request.into_inner();
        let definitions = self.app.store().definitions();
        let set = definitions.schema().feature_set();
        let selection = select(set, &features, &named_set)?;
        let context = declared_context(definitions.schema(), context)?;
        let user = user(&self.app, subject.as_ref(), "subject")?;
        let read = self.app.features(&definitions, user, context).await?;
        Ok(Response::new(to_wire(set, &read.reading, read.now, &selection)))
    }

    async fn batch_get_features(
        &self,
        request: Request<v1::BatchGetFeaturesRequest>,
    ) -> Result<Response<v1::BatchGetFeaturesResponse>, Status> {
        let v1::BatchGetFeaturesRequest { subjects, features, context, named_set } = request.into_inner();
        let count = subjects.len();
        if count > MAX_SUBJECTS {
            let problem = format!("{count} subjects");
            return Err(Error::field("subjects", problem, format!("at most {MAX_SUBJECTS}")).into());
        }
        let definitions = self.app.store().definitions();
        let selection = select(definitions.schema().feature_set(), &features, &named_set)?;
        let width = selection.slots.len();
        if count * width > MAX_VALUES {
            let problem = format!("{width} features of {count} subjects");
            let expected = format!("at most {MAX_VALUES} values in all: name the features that are needed");
            return Err(Error::field("subjects", problem, expected).into());
        }
        let context = declared_context(definitions.schema(), context)?;
        Ok(Response::new(self.batch(definitions, &subjects, context, selection).await?))
    }

    async fn describe_features(
        &self,
        _request: Request<v1::DescribeFeaturesRequest>,
    ) -> Result<Response<v1::DescribeFeaturesResponse>, Status> {
        let schema = self.app.store().schema();
        Ok(Response::new(feature_set_to_wire(schema.feature_set(), schema.context())))
    }

    async fn build_features(
        &self,
        request: Request<v1::BuildFeaturesRequest>,
    ) -> Result<Response<v1::BuildFeaturesResponse>, Status> {
        let text = request.into_inner().features_toml;
        Ok(Response::new(self.changing(move |app| versions::build(app, &text)).await?))
    }

    async fn get_feature_versions(
        &self,
        _request: Request<v1::GetFeatureVersionsRequest>,
    ) -> Result<Response<v1::GetFeatureVersionsResponse>, Status> {
        Ok(Response::new(blocking(&self.app, |app| Ok(versions::list(app))).await?))
    }

    async fn switch_features(
        &self,
        request: Request<v1::SwitchFeaturesRequest>,
    ) -> Result<Response<v1::SwitchFeaturesResponse>, Status> {
        let request = request.into_inner();
        Ok(Response::new(self.changing(move |app| versions::switch(app, request)).await?))
    }

    async fn rollback_features(
        &self,
        _request: Request<v1::RollbackFeaturesRequest>,
    ) -> Result<Response<v1::RollbackFeaturesResponse>, Status> {
        Ok(Response::new(self.changing(versions::roll_back).await?))
    }

    async fn retire_features(
        &self,
        request: Request<v1::RetireFeaturesRequest>,
    ) -> Result<Response<v1::RetireFeaturesResponse>, Status> {
        let version = request.into_inner().version;
        Ok(Response::new(self.changing(move |app| versions::retire(app, version)).await?))
    }
}

impl Features {
    /// Runs what changes the definitions, one call at a time: each may hold a policy and a set of definitions in
    /// memory. A caller that goes away makes no room before that is done.
    async fn changing<T: Send + 'static>(
        &self,
        work: impl FnOnce(&App) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let turn = Arc::clone(&self.changing).acquire_owned().await.map_err(|_| Error::ShuttingDown)?;
        blocking(&self.app, move |app| {
            let _turn = turn;
            work(app)
        })
        .await
    }

    async fn batch(
        &self,
        definitions: Arc<Definitions>,
        subjects: &[v1::Subject],
        context: Vec<(Arc<str>, Value)>,
        selection: Selection,
    ) -> Result<v1::BatchGetFeaturesResponse, Error> {
        let named = subjects.iter().enumerate();
        let users: Vec<Result<UserKey, Error>> = named
            .map(|(index, subject)| user(&self.app, Some(subject), &format!("subjects[{index}]")))
            .collect();
        let known: Vec<UserKey> = users.iter().filter_map(|user| user.as_ref().ok()).copied().collect();
        let read = self.app.features_of_many(&definitions, &known, context).await?;
        let set = Arc::clone(definitions.schema().feature_set());
        // Tens of thousands of values would hold an async thread too long.
        self.app.storage.run(move || batch_to_wire(&set, users, read, &selection)).await
    }
}

fn batch_to_wire(
    set: &FeatureSet,
    users: Vec<Result<UserKey, Error>>,
    read: ManyFeatures,
    selection: &Selection,
) -> v1::BatchGetFeaturesResponse {
    let mut readings = read.readings.into_iter();
    let mut answer = v1::BatchGetFeaturesResponse::default();
    for (index, user) in (0..).zip(users) {
        let reading = user.and_then(|_| readings.next().unwrap_or(Err(Error::Internal)));
        let result = reading.map(|reading| to_wire(set, &reading, read.now, selection));
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

fn declared_context(
    schema: &FeatureSchema,
    context: BTreeMap<String, v1::Value>,
) -> Result<Vec<(Arc<str>, Value)>, Error> {
    let context = values_from_wire(context, "context").map_err(|fault| fault.error)?;
    check_context(schema.context(), "the feature definitions do", &context)?;
    Ok(context)
}

fn to_wire(
    set: &FeatureSet,
    reading: &Reading,
    now: Timestamp,
    selection: &Selection,
) -> v1::GetFeaturesResponse {
    let Reading { vector, details } = reading;
    let values = selection.slots.iter().filter_map(|slot| {
        feature_to_wire(set, vector, *slot, details.get(*slot).copied().unwrap_or_default())
    });
    v1::GetFeaturesResponse {
        features: values.collect(),
        effective_time: Some(timestamp_to_wire(now)),
        feature_set: vector.feature_set.to_string(),
        events_applied: vector.watermark,
        named_set_version: selection.version.map(|version| version.to_string()).unwrap_or_default(),
    }
}
