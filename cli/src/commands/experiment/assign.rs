//! `augur experiment assign`: how a user stands with the holdouts and experiments of a running server, or of a file,
//! without deciding.
//!
//! Not here: the sorting (`augur_decision`).

use std::path::{Path, PathBuf};

use augur_loadtest::domain::UserKey;
use augur_loadtest::{Client, v1};
use augur_server::{Clock as _, SystemClock};
use serde::Serialize;

use crate::Error;
use crate::commands::block_on;
use crate::commands::policy::Definitions;
use crate::output::{Output, table};

/// Show in which arms a user is, without deciding or recording anything.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  augur experiment assign --user u-1 --endpoint http://127.0.0.1:7401\n  augur experiment assign --anonymous b-7 --endpoint http://127.0.0.1:7401 --json\n  augur experiment assign --user-key 000102030405060708090a0b0c0d0e0f --policy policy.toml\n\nAn arm in brackets is the one that the user would be in. With --policy no server is asked: who sorts users elsewhere by the\npublished hash (docs/experiments.md) can compare."
)]
pub(crate) struct Args {
    /// The user's id, as events name it.
    #[arg(long, value_name = "ID", required_unless_present_any = ["anonymous", "user_key"], conflicts_with = "anonymous")]
    user: Option<String>,
    /// Instead of it, the anonymous id.
    #[arg(long, value_name = "ID")]
    anonymous: Option<String>,
    /// Instead of both, the pseudonym: 32 hexadecimal digits, as `user_key` of records and answers.
    #[arg(long, value_name = "HEX", requires = "policy", conflicts_with_all = ["user", "anonymous"])]
    user_key: Option<String>,
    /// The running server.
    #[arg(long, value_name = "URL", required_unless_present = "policy", conflicts_with = "policy")]
    endpoint: Option<String>,
    /// Instead of it, a policy's file, with features.toml beside it.
    #[arg(long, value_name = "FILE", requires = "user_key")]
    policy: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Standings {
    user_key: String,
    policy_id: String,
    standings: Vec<Standing>,
}

#[derive(Debug, Serialize)]
struct Standing {
    name: String,
    is_holdout: bool,
    standing: String,
    arm: String,
    bucket: u32,
    has_condition: bool,
    owner: String,
}

/// Runs the command.
pub(crate) fn run(args: &Args, output: Output) -> Result<(), Error> {
    let standings = match (&args.policy, &args.user_key) {
        (Some(policy), Some(key)) => of_policy(policy, key)?,
        _ => block_on(ask(args, args.endpoint.as_deref().unwrap_or_default()))?,
    };
    output.report(&standings, text)
}

/// How a user stands with what a file declares.
fn of_policy(policy: &Path, key: &str) -> Result<Standings, Error> {
    let user: UserKey = key.parse().map_err(|_| Error::Argument {
        argument: "--user-key",
        found: key.to_owned(),
        expected: "32 hexadecimal digits".to_owned(),
    })?;
    let checked = augur_server::check_definitions(&Definitions::of(policy).config())?;
    let standings = checked.policy.standings(user, SystemClock::new().now()).into_iter();
    let standings = standings.map(|standing| Standing {
        name: standing.name.to_string(),
        is_holdout: standing.is_holdout,
        standing: standing.standing.as_str().to_owned(),
        arm: standing.arm.to_string(),
        bucket: standing.bucket,
        has_condition: standing.has_condition,
        owner: standing.owner.as_deref().unwrap_or_default().to_owned(),
    });
    let policy_id = checked.policy.id().to_string();
    Ok(Standings { user_key: user.to_string(), policy_id, standings: standings.collect() })
}

async fn ask(args: &Args, endpoint: &str) -> Result<Standings, Error> {
    let id = match (&args.user, &args.anonymous) {
        (Some(id), _) => Some(v1::subject::Id::UserId(id.clone())),
        (None, id) => id.clone().map(v1::subject::Id::AnonymousId),
    };
    let client = Client::connect(endpoint, 1).await?;
    let request = v1::GetAssignmentsRequest { subject: Some(v1::Subject { id }) };
    let refused = |status| augur_loadtest::Error::call("DecisionService/GetAssignments", 0, &status);
    let answer = client.decisions().get_assignments(request).await.map_err(refused)?.into_inner();
    let standings = answer.standings.into_iter().map(|standing| Standing {
        name: standing.name,
        is_holdout: standing.is_holdout,
        standing: standing.standing,
        arm: standing.arm,
        bucket: standing.bucket,
        has_condition: standing.has_condition,
        owner: standing.owner,
    });
    Ok(Standings { user_key: answer.user_key, policy_id: answer.policy_id, standings: standings.collect() })
}

fn text(told: &Standings) -> String {
    if told.standings.is_empty() {
        return "the active policy has no holdouts and no experiments".to_owned();
    }
    let rows = told.standings.iter().map(|standing| {
        let kind = if standing.is_holdout { "holdout" } else { "experiment" };
        let is_in = standing.standing == "IN" || standing.is_holdout;
        let arm = if is_in { standing.arm.clone() } else { format!("({})", standing.arm) };
        let condition = if standing.has_condition { "if its condition holds" } else { "" };
        vec![
            standing.name.clone(),
            kind.to_owned(),
            standing.standing.clone(),
            arm,
            standing.bucket.to_string(),
            condition.to_owned(),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    format!("user {}\n{}", told.user_key, table(&["name", "kind", "standing", "arm", "bucket", ""], &rows))
}
