//! The gRPC services, one file each: wire in, domain out, nothing decided here.
//!
//! Not here: listeners and layers (`serve`), or which error becomes which status (`error`).

mod answers;
mod breakers;
mod bulk;
mod decisions;
mod events;
mod features;
mod identity;
mod log;
mod models;
mod monitoring;
mod outcomes;
mod policies;
mod privacy;
pub(crate) mod profiles;
mod raw;
mod versions;

use std::sync::Arc;

use augur_proto::v1;
use tonic::server::NamedService;
use tonic::service::{Routes, RoutesBuilder};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::{App, Error};
use tokio_util::sync::CancellationToken;

type Breakers = v1::breaker_service_server::BreakerServiceServer<breakers::Breakers>;
type Events = v1::event_service_server::EventServiceServer<events::Events>;
type Features = v1::feature_service_server::FeatureServiceServer<features::Features>;
type Decisions = v1::decision_service_server::DecisionServiceServer<decisions::Decisions>;
type Identity = v1::identity_service_server::IdentityServiceServer<identity::Identity>;
type Logs = v1::log_service_server::LogServiceServer<log::Logs>;
type Models = v1::model_service_server::ModelServiceServer<models::Models>;
type Outcomes = v1::outcome_service_server::OutcomeServiceServer<outcomes::Outcomes>;
type Policies = v1::policy_service_server::PolicyServiceServer<policies::Policies>;
type Profiles = v1::profile_service_server::ProfileServiceServer<profiles::Profiles>;
type Privacy = v1::privacy_service_server::PrivacyServiceServer<privacy::Privacy>;

/// Every service by name, for health.
pub(crate) const NAMES: [&str; 11] = [
    Events::NAME,
    Features::NAME,
    Decisions::NAME,
    Logs::NAME,
    Models::NAME,
    Outcomes::NAME,
    Policies::NAME,
    Privacy::NAME,
    Profiles::NAME,
    Identity::NAME,
    Breakers::NAME,
];
/// The service that cannot serve when the decision log has failed.
pub(crate) const DECISIONS: &str = Decisions::NAME;
/// The service that cannot serve when the log of outcomes has failed.
pub(crate) const OUTCOMES: &str = Outcomes::NAME;
/// Every method, for metrics.
pub(crate) const METHODS: &[&str] = &[
    "/augur.v1.BreakerService/ListBreakers",
    "/augur.v1.BreakerService/ForceBreaker",
    "/augur.v1.BreakerService/ReleaseBreaker",
    "/augur.v1.DecisionService/Decide",
    "/augur.v1.DecisionService/BatchDecide",
    "/augur.v1.DecisionService/DecideStream",
    "/augur.v1.DecisionService/Explain",
    "/augur.v1.DecisionService/GetAssignments",
    "/augur.v1.EventService/Ingest",
    "/augur.v1.EventService/IngestStream",
    "/augur.v1.EventService/ListQuarantine",
    "/augur.v1.EventService/ReplayQuarantine",
    "/augur.v1.EventService/DeleteQuarantine",
    "/augur.v1.FeatureService/GetFeatures",
    "/augur.v1.FeatureService/BatchGetFeatures",
    "/augur.v1.FeatureService/DescribeFeatures",
    "/augur.v1.FeatureService/BuildFeatures",
    "/augur.v1.FeatureService/GetFeatureVersions",
    "/augur.v1.FeatureService/SwitchFeatures",
    "/augur.v1.FeatureService/RollbackFeatures",
    "/augur.v1.FeatureService/RetireFeatures",
    "/augur.v1.IdentityService/DescribePerson",
    "/augur.v1.IdentityService/LinkId",
    "/augur.v1.IdentityService/UnlinkId",
    "/augur.v1.LogService/TailDecisions",
    "/augur.v1.ModelService/ListModels",
    "/augur.v1.ModelService/SetAlias",
    "/augur.v1.ModelService/GetModel",
    "/augur.v1.ModelService/DiffModels",
    "/augur.v1.ModelService/PromoteModel",
    "/augur.v1.ModelService/RollbackAlias",
    "/augur.v1.ModelService/SetCanary",
    "/augur.v1.ModelService/GetCanary",
    "/augur.v1.ModelService/MonitorModels",
    "/augur.v1.ModelService/ReloadModels",
    "/augur.v1.OutcomeService/ReportOutcomes",
    "/augur.v1.PolicyService/GetPolicy",
    "/augur.v1.PolicyService/CheckPolicy",
    "/augur.v1.PolicyService/ActivatePolicy",
    "/augur.v1.PolicyService/RollbackPolicy",
    "/augur.v1.PolicyService/ListPolicies",
    "/augur.v1.PolicyService/GetArchivedPolicy",
    "/augur.v1.PrivacyService/EraseUser",
    "/augur.v1.PrivacyService/ReadmitUser",
    "/augur.v1.ProfileService/UpdateProfile",
    "/augur.v1.ProfileService/GetProfile",
    "/grpc.health.v1.Health/Check",
    // Whatever is not listed.
    "other",
];
/// Methods whose answers go on: a deadline for the whole call is the caller's to set.
pub(crate) const STREAMING: &[&str] = &[
    "/augur.v1.DecisionService/DecideStream",
    "/augur.v1.EventService/IngestStream",
    "/augur.v1.LogService/TailDecisions",
    "/augur.v1.ModelService/MonitorModels",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Every service with its message limits, and the reporter of their health.
pub(crate) async fn routes(
    app: &Arc<App>,
    stopping: &CancellationToken,
) -> Result<(Routes, HealthReporter), Error> {
    let limit = app.config().server.max_request_bytes;
    let ingest_limit = app.config().server.max_ingest_request_bytes;
    let mut routes = RoutesBuilder::default();
    let events = Events::new(events::Events::new(Arc::clone(app), stopping.clone()));
    routes.add_service(events.max_decoding_message_size(ingest_limit));
    let features = Features::new(features::Features::new(Arc::clone(app)));
    // Definitions and policies have limits of their own, which are larger.
    routes.add_service(features.max_decoding_message_size(ingest_limit));
    let decisions = Arc::new(decisions::Decisions::new(Arc::clone(app), stopping.clone()));
    // A batch may be as large as one of events; each request in it is held to the smaller limit.
    let generated = Decisions::from_arc(Arc::clone(&decisions)).max_decoding_message_size(ingest_limit);
    routes.add_service(raw::RawDecide::new(decisions, generated, limit));
    let logs = Logs::new(log::Logs::new(Arc::clone(app), stopping.clone()));
    routes.add_service(logs.max_decoding_message_size(limit));
    let models = Models::new(models::Models::new(Arc::clone(app), stopping.clone()));
    routes.add_service(models.max_decoding_message_size(limit));
    let outcomes = Outcomes::new(outcomes::Outcomes::new(Arc::clone(app)));
    routes.add_service(outcomes.max_decoding_message_size(limit));
    let policies = Policies::new(policies::Policies::new(Arc::clone(app)));
    // A policy may be larger than any other request: its own limit is that of its format.
    routes.add_service(policies.max_decoding_message_size(ingest_limit));
    let privacy = Privacy::new(privacy::Privacy::new(Arc::clone(app)));
    routes.add_service(privacy.max_decoding_message_size(limit));
    let profiles = Profiles::new(profiles::Profiles::new(Arc::clone(app)));
    routes.add_service(profiles.max_decoding_message_size(limit));
    let identity = Identity::new(identity::Identity::new(Arc::clone(app)));
    routes.add_service(identity.max_decoding_message_size(limit));
    let breakers = Breakers::new(breakers::Breakers::new(Arc::clone(app)));
    routes.add_service(breakers.max_decoding_message_size(limit));

    let (health, health_service) = tonic_health::server::health_reporter();
    for name in NAMES {
        health.set_service_status(name, ServingStatus::Serving).await;
    }
    routes.add_service(health_service);
    if app.config().server.reflection {
        add_reflection(&mut routes)?;
    }
    Ok((routes.routes(), health))
}

fn add_reflection(routes: &mut RoutesBuilder) -> Result<(), Error> {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(augur_proto::DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let problem = |error: tonic_reflection::server::Error| Error::Telemetry {
        problem: error.to_string(),
        expected: "a readable descriptor set",
    };
    routes.add_service(builder().build_v1().map_err(problem)?);
    // grpcurl and older tools still ask the alpha.
    routes.add_service(builder().build_v1alpha().map_err(problem)?);
    Ok(())
}

/// Runs what blocks on files off the async threads.
async fn blocking<T: Send + 'static>(
    app: &Arc<App>,
    work: impl FnOnce(&App) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let app = Arc::clone(app);
    let done = tokio::task::spawn_blocking(move || work(&app)).await;
    done.map_err(|_| Error::Internal)?
}

#[cfg(test)]
pub(crate) use tests::described_methods;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message as _;

    use super::*;

    // The few fields of `google/protobuf/descriptor.proto` that are read here.
    #[derive(Clone, PartialEq, prost::Message)]
    struct Files {
        #[prost(message, repeated, tag = "1")]
        files: Vec<File>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct File {
        #[prost(string, tag = "2")]
        package: String,
        #[prost(message, repeated, tag = "6")]
        services: Vec<Service>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct Service {
        #[prost(string, tag = "1")]
        name: String,
        #[prost(message, repeated, tag = "2")]
        methods: Vec<Method>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct Method {
        #[prost(string, tag = "1")]
        name: String,
        #[prost(bool, tag = "6")]
        server_streaming: bool,
    }

    /// The methods, and those that answer with a stream, of every service in a descriptor set.
    fn described(descriptors: &[u8]) -> (BTreeSet<String>, BTreeSet<String>) {
        let (mut methods, mut streaming) = (BTreeSet::new(), BTreeSet::new());
        for file in &Files::decode(descriptors).unwrap().files {
            for service in &file.services {
                for method in &service.methods {
                    let path = format!("/{}.{}/{}", file.package, service.name, method.name);
                    if method.server_streaming {
                        streaming.insert(path.clone());
                    }
                    methods.insert(path);
                }
            }
        }
        (methods, streaming)
    }

    /// Every method of our own services, as the descriptors have them.
    pub(crate) fn described_methods() -> BTreeSet<String> {
        described(augur_proto::DESCRIPTOR_SET).0
    }

    #[test]
    fn the_list_of_methods_is_that_of_the_descriptors() {
        let (methods, streaming) = described(augur_proto::DESCRIPTOR_SET);
        let ours = |list: &[&str]| -> BTreeSet<String> {
            let ours = list.iter().filter(|method| method.starts_with("/augur.v1."));
            ours.map(|method| (*method).to_owned()).collect()
        };
        assert_eq!(ours(METHODS), methods);
        assert_eq!(ours(STREAMING), streaming);
    }
}
