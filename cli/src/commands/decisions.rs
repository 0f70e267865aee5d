//! `augur decisions explain`: one decision of the log, in words.
//!
//! Not here: finding it (`augur_server::App::explain`), or what a reason means (`augur_domain::ReasonCode::sentence`).

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use augur_loadtest::convert::timestamp_from_wire;
use augur_loadtest::domain::decision::Rung;
use augur_loadtest::domain::{DecisionId, ReasonCode};
use augur_loadtest::{Client, v1};
use augur_server::{App, SystemClock};
use serde::Serialize;

use crate::data::Directory;
use crate::output::{Output, table};
use crate::{Error, Outcome};

/// Inputs shown per model in text; JSON has all.
const SHOWN_INPUTS: usize = 5;

/// Look at logged decisions.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Say why a decision came out as it did: the action, its reasons in sentences, every other action and why not, the
    /// scores and what moved them.
    #[command(
        after_help = "Examples:\n  augur decisions explain 019ab0c4d1e2f3a4b5c6d7e8f9a0b1c2 --endpoint http://127.0.0.1:7401\n  augur decisions explain 019ab0c4d1e2f3a4b5c6d7e8f9a0b1c2 --data data --json        no server may be using the directory"
    )]
    Explain(Explain),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    /// The decision's id, as Decide gave it.
    id: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Place {
    /// The running server.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Instead of it, the data directory of one that does not run.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Explained {
    decision_id: String,
    decided_at: String,
    sequence: u64,
    decision_point: String,
    user_key: String,
    action: String,
    payload: Option<serde_json::Value>,
    category: String,
    value: f64,
    probability: f64,
    rung: String,
    expires_at: Option<String>,
    holds_until: Option<String>,
    policy_id: String,
    assignments: Vec<Assigned>,
    reasons: Vec<Why>,
    candidates: Vec<Candidate>,
    scores: Vec<Score>,
    shadow: Vec<Why>,
}

#[derive(Debug, Serialize)]
struct Assigned {
    experiment: String,
    arm: String,
    enrolled: bool,
}

/// A reason with its sentence.
#[derive(Debug, Serialize)]
struct Why {
    code: String,
    detail: String,
    sentence: &'static str,
}

#[derive(Debug, Serialize)]
struct Candidate {
    action: String,
    value: Option<f64>,
    probability: f64,
    reason: Why,
    next_eligible_at: Option<String>,
}

#[derive(Debug, Serialize)]
struct Score {
    alias: String,
    model: String,
    version: u32,
    calibrated: Option<f64>,
    raw: Option<f64>,
    margin: Option<f64>,
    /// Largest first.
    moved_by: Vec<Moved>,
}

#[derive(Debug, Serialize)]
struct Moved {
    feature: String,
    margin: f64,
    value: Option<f64>,
}

/// Runs the command.
pub(crate) fn run(command: &Command, output: Output) -> Result<Outcome, Error> {
    let Command::Explain(args) = command;
    let id: DecisionId = args.id.parse().map_err(|_| Error::Argument {
        argument: "the decision",
        found: args.id.clone(),
        expected: "the id that Decide gave: 32 hexadecimal digits".to_owned(),
    })?;
    let answer = match (&args.place.endpoint, &args.place.data) {
        (Some(endpoint), _) => super::block_on(asked(endpoint, id))?,
        (None, data) => found(data.as_deref().unwrap_or(Path::new(".")), id)?,
    };
    output.report(&explained(answer), text)?;
    Ok(Outcome::Fine)
}

async fn asked(endpoint: &str, id: DecisionId) -> Result<v1::ExplainResponse, Error> {
    let client = Client::connect(endpoint, 1).await?;
    let request = v1::ExplainRequest { decision_id: id.to_string() };
    let refused = |status| augur_loadtest::Error::call("DecisionService/Explain", 0, &status);
    Ok(client.decisions().explain(request).await.map_err(refused)?.into_inner())
}

fn found(data: &Path, id: DecisionId) -> Result<v1::ExplainResponse, Error> {
    let app = App::open(Directory::open(data)?.config()?, SystemClock::new())?;
    let explanation = app.explain(id);
    let answer = explanation.map(|explanation| explanation.to_wire(&app.feature_set()));
    app.close()?;
    Ok(answer?)
}

pub(crate) fn explained(answer: v1::ExplainResponse) -> Explained {
    let v1::ExplainResponse { record, contributions } = answer;
    let record = record.unwrap_or_default();
    let decision = record.decision.unwrap_or_default();
    let value_of = |feature: &str| {
        record.features.iter().find(|found| found.name == feature).and_then(|found| found.value)
    };
    let moved_by = |alias: &str| {
        let ours = contributions.iter().filter(|contribution| contribution.alias == alias);
        ours.map(|contribution| Moved {
            feature: contribution.feature.clone(),
            margin: contribution.margin,
            value: value_of(&contribution.feature),
        })
        .collect()
    };
    let score = |score: &v1::ModelScore| Score {
        alias: score.alias.clone(),
        model: score.model.clone(),
        version: score.version,
        calibrated: score.calibrated,
        raw: score.raw,
        margin: score.margin,
        moved_by: moved_by(&score.alias),
    };
    let instant = |wire: Option<_>| Some(timestamp_from_wire(&wire?, "at").ok()?.to_string());
    let rung = u8::try_from(decision.rung).ok().and_then(Rung::from_u8);
    Explained {
        decided_at: instant(decision.decided_at).unwrap_or_default(),
        sequence: record.sequence,
        decision_point: record.decision_point,
        user_key: record.user_key,
        payload: serde_json::from_str(&decision.payload_json).ok(),
        category: decision.category,
        value: decision.value,
        probability: decision.propensity,
        rung: rung.map_or_else(|| decision.rung.to_string(), |rung| rung.as_str().to_owned()),
        expires_at: instant(decision.expires_at),
        holds_until: instant(decision.holds_until),
        policy_id: decision.policy_id,
        assignments: decision
            .assignments
            .into_iter()
            .map(|v1::Assignment { experiment, arm, enrolled }| Assigned { experiment, arm, enrolled })
            .collect(),
        reasons: decision.reasons.into_iter().map(why).collect(),
        candidates: decision.candidates.into_iter().map(candidate).collect(),
        scores: decision.scores.iter().map(score).collect(),
        shadow: decision.shadow.into_iter().map(why).collect(),
        decision_id: decision.decision_id,
        action: decision.action,
    }
}

fn why(reason: v1::Reason) -> Why {
    let known = ReasonCode::ALL.iter().find(|code| code.as_str() == reason.code);
    let sentence =
        known.map_or("A reason that only a later version of this program knows.", |code| code.sentence());
    Why { code: reason.code, detail: reason.detail, sentence }
}

fn candidate(candidate: v1::Candidate) -> Candidate {
    let next = candidate.next_eligible_at.and_then(|at| timestamp_from_wire(&at, "next_eligible_at").ok());
    Candidate {
        action: candidate.action,
        value: candidate.value,
        probability: candidate.probability,
        reason: why(candidate.reason.unwrap_or_default()),
        next_eligible_at: next.map(|at| at.to_string()),
    }
}

pub(crate) fn text(told: &Explained) -> String {
    let mut text = format!("{} at {}, decided {}\n", told.action, told.decision_point, told.decided_at);
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            // Writing to a String does not fail.
            let _written = writeln!(text, "  {name:<12} {value}");
        }
    };
    line("decision", &format!("{}, record {} of the log", told.decision_id, told.sequence));
    line("user", &told.user_key);
    line("payload", &told.payload.as_ref().map(ToString::to_string).unwrap_or_default());
    line("value", &format!("{}, chosen with probability {}", told.value, told.probability));
    line("rung", &told.rung);
    line("expires", told.expires_at.as_deref().unwrap_or_default());
    line("holds until", told.holds_until.as_deref().unwrap_or_default());
    line("policy", &told.policy_id);
    for Assigned { experiment, arm, enrolled } in &told.assignments {
        line(
            "experiment",
            &format!("{experiment}: {arm}{}", if *enrolled { "" } else { ", not counted in" }),
        );
    }
    text.push_str("why\n");
    text.push_str(&whys(&told.reasons));
    text.push_str("every action\n");
    let rows: Vec<Vec<String>> = told.candidates.iter().map(row).collect();
    text.push_str(&table(&["action", "value", "probability", "reason", "detail", "again from"], &rows));
    for score in &told.scores {
        text.push_str(&score_text(score));
    }
    if !told.shadow.is_empty() {
        text.push_str("rules on trial would have said\n");
        text.push_str(&whys(&told.shadow));
    }
    text
}

fn whys(reasons: &[Why]) -> String {
    let mut text = String::new();
    for Why { code, detail, sentence } in reasons {
        let detail = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
        // Writing to a String does not fail.
        let _written = writeln!(text, "  {code}{detail}\n    {sentence}");
    }
    text
}

fn row(candidate: &Candidate) -> Vec<String> {
    vec![
        candidate.action.clone(),
        candidate.value.map(|value| value.to_string()).unwrap_or_default(),
        candidate.probability.to_string(),
        candidate.reason.code.clone(),
        candidate.reason.detail.clone(),
        candidate.next_eligible_at.clone().unwrap_or_default(),
    ]
}

fn score_text(score: &Score) -> String {
    let Score { alias, model, version, calibrated, moved_by, .. } = score;
    let mut text = match calibrated {
        Some(calibrated) => format!("score {alias}: {calibrated:.4} ({model} {version})\n"),
        None => format!("score {alias}: none\n"),
    };
    for Moved { feature, margin, value } in moved_by.iter().take(SHOWN_INPUTS) {
        let value = value.map(|value| format!(" = {value}")).unwrap_or_default();
        // Writing to a String does not fail.
        let _written = writeln!(text, "  {margin:+.4}  {feature}{value}");
    }
    text
}
