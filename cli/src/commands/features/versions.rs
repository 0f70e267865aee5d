//! Versions of the feature definitions on a running server: build, list, switch, go back, retire.
//!
//! Not here: doing any of it (the server).

use std::path::{Path, PathBuf};
use std::time::Duration;

use augur_loadtest::{Client, v1};
use serde::Serialize;
use v1::FeatureVersionStatus as Status;

use crate::commands::block_on;
use crate::commands::policy::Fault;
use crate::output::{Output, grouped, table};
use crate::{Error, Outcome, progress};

/// How often a build is asked how far it is.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
struct Server {
    /// The server.
    #[arg(long, value_name = "URL")]
    endpoint: String,
}

impl Server {
    async fn client(&self) -> Result<Client, Error> {
        Ok(Client::connect(&self.endpoint, 1).await?)
    }
}

/// Build a new version beside the one that serves: aggregates whose definition did not change keep their state.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  augur features build features.toml --endpoint http://127.0.0.1:7401 --wait"
)]
pub(crate) struct Build {
    /// The new definitions.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Return only when the version is ready.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    server: Server,
}

/// List the versions, what serves, and how far a build is.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  augur features versions --endpoint http://127.0.0.1:7401")]
pub(crate) struct List {
    #[command(flatten)]
    server: Server,
}

/// Serve a version that is ready; policy and definitions change in one step.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  augur features switch 2 --policy policy.toml --endpoint http://127.0.0.1:7401

The server's configured files are not changed. Put the new ones in their place: a restart goes on with what was
switched to until a configured file changes.")]
pub(crate) struct Switch {
    /// The version.
    version: u32,
    /// The policy to decide by from then on; the present one unless given.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Switch although models in use were trained on other definitions of features that they read.
    #[arg(long)]
    accept_models: bool,
    /// Switch although users were set aside, because their events cannot all be read.
    #[arg(long)]
    accept_set_aside: bool,
    #[command(flatten)]
    server: Server,
}

/// Serve the version that served before, with the policy that decided then.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  augur features rollback --endpoint http://127.0.0.1:7401")]
pub(crate) struct Rollback {
    #[command(flatten)]
    server: Server,
}

/// Take a version out of use for ever and give its space back.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  augur features retire 2 --endpoint http://127.0.0.1:7401")]
pub(crate) struct Retire {
    /// The version.
    version: u32,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Serialize)]
struct Version {
    version: u32,
    status: &'static str,
    feature_set: String,
    /// RFC 3339; what was built knows of earlier events only those that were left.
    history_from: Option<String>,
    users_set_aside: u64,
    user_keys_set_aside: Vec<String>,
    build: Option<Progress>,
}

#[derive(Debug, Serialize)]
struct Progress {
    users_done: u64,
    users_total: u64,
    events_done: u64,
    aggregates_carried_over: u32,
    aggregates_built: u32,
    users_per_second: f64,
    seconds_left: Option<f64>,
    problem: Option<String>,
}

#[derive(Debug, Serialize)]
struct Switched {
    version: u32,
    feature_set: String,
    policy_id: String,
    previous_version: u32,
}

/// What was asked, or what is wrong with the files.
#[derive(Debug, Serialize)]
struct Report<T> {
    #[serde(flatten)]
    done: Option<T>,
    faults: Vec<Fault>,
}

/// Runs `augur features build`.
pub(super) fn build(args: &Build, output: Output) -> Result<Outcome, Error> {
    let features_toml = read(&args.file)?;
    let (done, faults) = block_on(async {
        let client = args.server.client().await?;
        let request = v1::BuildFeaturesRequest { features_toml };
        let answer = client
            .features()
            .build_features(request)
            .await
            .map_err(|status| augur_loadtest::Error::call("FeatureService/BuildFeatures", 0, &status))?;
        let v1::BuildFeaturesResponse { version, faults } = answer.into_inner();
        if !faults.is_empty() {
            return Ok((None, faults));
        }
        let built =
            if args.wait { wait_for(&client, version).await? } else { look(&client, version).await? };
        Ok((Some(built), faults))
    })?;
    let failed = done.as_ref().is_some_and(|version| problem_of(version).is_some());
    let outcome = tell(output, done, faults, Some(&args.file), |version| match &version.build {
        Some(Progress { problem: Some(problem), .. }) => format!("version {}: {problem}", version.version),
        _ => {
            let text = format!("version {} is {}", version.version, version.status);
            std::iter::once(text).chain(limits(version)).collect::<Vec<_>>().join("\n")
        }
    })?;
    Ok(if failed { Outcome::Refused } else { outcome })
}

/// Runs `augur features versions`.
pub(super) fn list(args: &List, output: Output) -> Result<Outcome, Error> {
    let versions = block_on(async { versions(&args.server.client().await?).await })?;
    output.report(&versions, |versions| {
        let rows: Vec<Vec<String>> = versions.iter().map(row).collect();
        let header =
            ["version", "status", "feature set", "users", "events read", "carried over", "built", "left"];
        let limits = versions.iter().flat_map(limits).map(|limit| format!("{limit}\n"));
        std::iter::once(table(&header, &rows)).chain(limits).collect::<String>()
    })?;
    Ok(Outcome::Fine)
}

/// Runs `augur features switch`.
pub(super) fn switch(args: &Switch, output: Output) -> Result<Outcome, Error> {
    let policy = args.policy.as_deref().map(read_policy).transpose()?;
    let (policy_toml, policy_files) = policy.unwrap_or_default();
    let (version, accept_models, accept_set_aside) =
        (args.version, args.accept_models, args.accept_set_aside);
    let answer = block_on(async {
        let client = args.server.client().await?;
        let request =
            v1::SwitchFeaturesRequest { version, policy_toml, accept_models, accept_set_aside, policy_files };
        let answer = client
            .features()
            .switch_features(request)
            .await
            .map_err(|status| augur_loadtest::Error::call("FeatureService/SwitchFeatures", 0, &status))?;
        Ok(answer.into_inner())
    })?;
    let sent = args.policy.as_deref();
    tell(output, answer.switched.map(Switched::from), answer.faults, sent, switched_text)
}

/// Runs `augur features rollback`.
pub(super) fn roll_back(args: &Rollback, output: Output) -> Result<Outcome, Error> {
    let answer = block_on(async {
        let client = args.server.client().await?;
        let request = v1::RollbackFeaturesRequest {};
        let answer =
            client.features().rollback_features(request).await.map_err(|status| {
                augur_loadtest::Error::call("FeatureService/RollbackFeatures", 0, &status)
            })?;
        Ok(answer.into_inner())
    })?;
    tell(output, answer.switched.map(Switched::from), Vec::new(), None, switched_text)
}

/// Runs `augur features retire`.
pub(super) fn retire(args: &Retire, output: Output) -> Result<Outcome, Error> {
    let version = args.version;
    let retired = block_on(async {
        let client = args.server.client().await?;
        let request = v1::RetireFeaturesRequest { version };
        client
            .features()
            .retire_features(request)
            .await
            .map_err(|status| augur_loadtest::Error::call("FeatureService/RetireFeatures", 0, &status))?;
        look(&client, version).await
    })?;
    tell(output, Some(retired), Vec::new(), None, |it| format!("version {} is {}", it.version, it.status))
}

/// The answer, or the faults with exit code 3: of the file whose text was sent, if one was.
fn tell<T: Serialize>(
    output: Output,
    done: Option<T>,
    faults: Vec<v1::PolicyFault>,
    sent: Option<&Path>,
    text: impl FnOnce(&T) -> String,
) -> Result<Outcome, Error> {
    let faults = faults.into_iter().map(Fault::from).map(|fault| match sent {
        Some(file) => fault.in_file(file),
        None => fault,
    });
    let report = Report { done, faults: faults.collect() };
    output.report(&report, |report| match &report.done {
        Some(done) => text(done),
        None => report.faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
    })?;
    Ok(if report.faults.is_empty() { Outcome::Fine } else { Outcome::Refused })
}

fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(Error::file("read", path))
}

/// A policy and the files beside it that it names.
fn read_policy(path: &Path) -> Result<(String, Vec<v1::PolicyFile>), Error> {
    let text = read(path)?;
    let files = crate::commands::policy::files_of(path, &text)?;
    Ok((text, files))
}

async fn versions(client: &Client) -> Result<Vec<Version>, Error> {
    let request = v1::GetFeatureVersionsRequest {};
    let answer = client.features().get_feature_versions(request).await;
    let answer = answer
        .map_err(|status| augur_loadtest::Error::call("FeatureService/GetFeatureVersions", 0, &status))?
        .into_inner();
    Ok(answer.versions.into_iter().map(|version| Version::new(version, answer.users_total)).collect())
}

/// One version as it is now.
async fn look(client: &Client, number: u32) -> Result<Version, Error> {
    let versions = versions(client).await?;
    let found = versions.into_iter().find(|version| version.version == number);
    found.ok_or_else(|| Error::Argument {
        argument: "VERSION",
        found: number.to_string(),
        expected: "a version that `augur features versions` lists".to_owned(),
    })
}

/// Until the version is built, or its build failed.
async fn wait_for(client: &Client, number: u32) -> Result<Version, Error> {
    let bar = progress::bar("users built", 0);
    loop {
        let version = look(client, number).await?;
        if let Some(build) = &version.build {
            bar.set_length(build.users_total);
            bar.set_position(build.users_done);
        }
        if version.status != "building" || problem_of(&version).is_some() {
            bar.finish_and_clear();
            return Ok(version);
        }
        // sleep: the server tells how far it is when asked.
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

fn problem_of(version: &Version) -> Option<&str> {
    version.build.as_ref().and_then(|build| build.problem.as_deref())
}

impl Version {
    fn new(version: v1::FeatureVersion, users_total: u64) -> Self {
        let status = match version.status() {
            Status::Unspecified => "unknown",
            Status::Building => "building",
            Status::Ready => "ready",
            Status::Serving => "serving",
            Status::Previous => "previous",
            Status::Retiring => "retiring",
            Status::Retired => "retired",
        };
        let build = version.build.map(|build| Progress {
            users_done: build.users_done,
            users_total,
            events_done: build.events_done,
            aggregates_carried_over: build.aggregates_carried_over,
            aggregates_built: build.aggregates_built,
            users_per_second: build.users_per_second,
            seconds_left: build.seconds_left,
            problem: Some(build.problem).filter(|problem| !problem.is_empty()),
        });
        let history_from =
            version.history_from.and_then(|at| jiff::Timestamp::new(at.seconds, at.nanos).ok());
        Self {
            version: version.version,
            status,
            feature_set: version.feature_set,
            history_from: history_from.map(|at| at.to_string()),
            users_set_aside: version.users_set_aside,
            user_keys_set_aside: version.user_keys_set_aside,
            build,
        }
    }
}

impl From<v1::FeaturesSwitched> for Switched {
    fn from(switched: v1::FeaturesSwitched) -> Self {
        let v1::FeaturesSwitched { version, feature_set, policy_id, previous_version } = switched;
        Self { version, feature_set, policy_id, previous_version }
    }
}

fn switched_text(switched: &Switched) -> String {
    let Switched { version, policy_id, previous_version, .. } = switched;
    format!("version {version} serves in place of {previous_version}, with policy {policy_id}")
}

/// What a version does not know.
fn limits(version: &Version) -> Vec<String> {
    let Version { version: number, user_keys_set_aside: keys, .. } = version;
    let history = version.history_from.as_ref().map(|from| {
        format!("version {number}: what was built knows of events before {from} only those that were left")
    });
    let set_aside = (version.users_set_aside > 0).then(|| {
        let count = grouped(version.users_set_aside);
        let more = if version.users_set_aside > keys.len() as u64 { ", .." } else { "" };
        format!("version {number}: {count} users lack events that cannot be read: {}{more}", keys.join(", "))
    });
    history.into_iter().chain(set_aside).collect()
}

fn row(version: &Version) -> Vec<String> {
    let set = version.feature_set.chars().take(12).collect();
    let mut row = vec![version.version.to_string(), version.status.to_owned(), set];
    let Some(build) = &version.build else {
        row.extend(std::iter::repeat_n("-".to_owned(), 5));
        return row;
    };
    let left = match (&build.problem, build.seconds_left) {
        (Some(problem), _) => problem.clone(),
        (None, Some(seconds)) => format!("{seconds:.0} s"),
        (None, None) => "-".to_owned(),
    };
    row.extend([
        format!("{} of {}", grouped(build.users_done), grouped(build.users_total)),
        grouped(build.events_done),
        build.aggregates_carried_over.to_string(),
        build.aggregates_built.to_string(),
        left,
    ]);
    row
}
