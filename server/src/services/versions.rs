//! The part of `FeatureService` that changes the definitions, wire in and out.
//!
//! Not here: what the calls do (`crate::versions`).

use augur_domain::Diagnostic;
use augur_feature_store::{GenerationStatus, Version};
use augur_proto::convert::timestamp_to_wire;
use augur_proto::v1;

use super::policies::{fault_to_wire, sent_policy};
use crate::versions::{Accepted, Switched};
use crate::{App, Error};

pub(super) fn build(app: &App, text: &str) -> Result<v1::BuildFeaturesResponse, Error> {
    let (version, faults) = or_faults(app.build_features(text))?;
    Ok(v1::BuildFeaturesResponse { version: version.unwrap_or(0), faults })
}

pub(super) fn list(app: &App) -> v1::GetFeatureVersionsResponse {
    let users_total = app.store().stats().users_total;
    let versions = app.feature_versions();
    let versions = versions.into_iter().map(|version| version_to_wire(version, users_total)).collect();
    v1::GetFeatureVersionsResponse { versions, users_total }
}

pub(super) fn switch(
    app: &App,
    request: v1::SwitchFeaturesRequest,
) -> Result<v1::SwitchFeaturesResponse, Error> {
    let v1::SwitchFeaturesRequest { version, policy_toml, accept_models, accept_set_aside, policy_files } =
        request;
    let policy = (!policy_toml.is_empty()).then(|| sent_policy(policy_toml, policy_files));
    let accepted = Accepted { models: accept_models, set_aside: accept_set_aside };
    let (switched, faults) = or_faults(app.switch_features(version, policy, accepted))?;
    Ok(v1::SwitchFeaturesResponse { switched: switched.map(switched_to_wire), faults })
}

pub(super) fn roll_back(app: &App) -> Result<v1::RollbackFeaturesResponse, Error> {
    Ok(v1::RollbackFeaturesResponse { switched: Some(switched_to_wire(app.roll_back_features()?)) })
}

pub(super) fn retire(app: &App, version: u32) -> Result<v1::RetireFeaturesResponse, Error> {
    app.retire_features(version)?;
    Ok(v1::RetireFeaturesResponse {})
}

/// Faults in a file that somebody sent are an answer; everything else is a failure of the call.
fn or_faults<T>(result: Result<T, Error>) -> Result<(Option<T>, Vec<v1::PolicyFault>), Error> {
    let to_wire = |faults: Vec<Diagnostic>| faults.into_iter().map(fault_to_wire).collect();
    match result {
        Ok(done) => Ok((Some(done), Vec::new())),
        Err(Error::Diagnostics(faults)) => Ok((None, to_wire(faults))),
        Err(error) => Err(error),
    }
}

fn switched_to_wire(switched: Switched) -> v1::FeaturesSwitched {
    v1::FeaturesSwitched {
        version: switched.version,
        feature_set: switched.feature_set.to_string(),
        policy_id: switched.policy.to_string(),
        previous_version: switched.previous_version,
    }
}

fn version_to_wire(version: Version, users_total: u64) -> v1::FeatureVersion {
    use v1::FeatureVersionStatus as Wire;
    let status = match version.status {
        GenerationStatus::Building => Wire::Building,
        GenerationStatus::Ready => Wire::Ready,
        GenerationStatus::Serving => Wire::Serving,
        GenerationStatus::Previous => Wire::Previous,
        GenerationStatus::Retiring => Wire::Retiring,
        GenerationStatus::Retired => Wire::Retired,
    };
    let build = version.build.map(|build| {
        let users_left = users_total.saturating_sub(build.users_done) as f64;
        let seconds_left = (build.users_per_second > 0.0).then(|| users_left / build.users_per_second);
        v1::FeatureBuild {
            users_done: build.users_done,
            events_done: build.events_done,
            aggregates_carried_over: u32::try_from(build.carried_over).unwrap_or(u32::MAX),
            aggregates_built: u32::try_from(build.built).unwrap_or(u32::MAX),
            users_per_second: build.users_per_second,
            seconds_left,
            problem: build.problem.unwrap_or_default(),
        }
    });
    v1::FeatureVersion {
        version: version.generation.number(),
        status: status.into(),
        feature_set: version.feature_set.to_string(),
        build,
        history_from: version.history_from.map(timestamp_to_wire),
        users_set_aside: version.set_aside,
        user_keys_set_aside: version.set_aside_users.iter().map(ToString::to_string).collect(),
    }
}
