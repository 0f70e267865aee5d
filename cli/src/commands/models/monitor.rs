//! `augur models monitor`: whether models still do what they did in training, and what came of their decisions.
//!
//! Not here: the comparison itself (`augur_server::offline`).

use augur_loadtest::domain::time::parse_duration_ms;
use augur_loadtest::{Error as Refused, v1};
use augur_server::offline::Monitored;
use augur_server::{App, SystemClock};
use indicatif::ProgressBar;

use super::{Opened, Place};
use crate::output::{Output, grouped, table};
use crate::{Error, Outcome, progress};

/// Most inputs in the text, those that shifted most; `--json` has all.
const MOST_INPUTS: usize = 20;

/// What to do about a server in the way.
const IN_USE: &str = "ask the server that uses it: `augur models monitor --endpoint URL`; or stop it";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The model's name; every model that the policy asks unless given.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// A version's number, or an alias.
    #[arg(long, value_name = "VERSION", default_value = "champion")]
    version: String,
    /// Only decisions of this time before now; all unless given.
    #[arg(long, value_name = "TIME", value_parser = parse_duration_ms)]
    since: Option<i64>,
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    let looked_at = progress::counter("decisions and users");
    let monitored = match args.place.open()? {
        Opened::Directory { directory, .. } => {
            let app = App::open(directory.config()?, SystemClock::new()).map_err(Error::opening(IN_USE))?;
            let (model, since_ms) = (args.model.as_deref(), args.since.unwrap_or_default());
            let monitored = app.monitor_all(model, &args.version, since_ms, &mut |count| {
                looked_at.set_position(count);
                Ok(())
            });
            app.close()?;
            monitored?
        }
        Opened::Server(endpoint) => ask(&endpoint, args, &looked_at)?,
    };
    looked_at.finish_and_clear();
    output.report(&monitored, |monitored| monitored.iter().map(text).collect())?;
    Ok(if monitored.iter().any(|model| model.drifted) { Outcome::Refused } else { Outcome::Fine })
}

fn ask(endpoint: &str, args: &Args, looked_at: &ProgressBar) -> Result<Vec<Monitored>, Error> {
    let request = v1::MonitorModelsRequest {
        model: args.model.clone().unwrap_or_default(),
        version_or_alias: args.version.clone(),
        since_ms: args.since.unwrap_or_default(),
    };
    let reports = super::ask(endpoint, async |client| {
        let refused = |status| Refused::call("ModelService/MonitorModels", 0, &status);
        let mut answers = client.models().monitor_models(request).await.map_err(refused)?.into_inner();
        let mut reports = Vec::new();
        while let Some(answer) = answers.message().await.map_err(refused)? {
            looked_at.set_position(answer.looked_at);
            reports.extend(Some(answer.monitored_json).filter(|json| !json.is_empty()));
        }
        Ok(reports)
    })?;
    reports.iter().map(|json| super::read_json(json)).collect()
}

const fn word(drifted: bool, grows: bool) -> &'static str {
    match (drifted, grows) {
        (true, _) => "drifted",
        (false, true) => "grows by itself",
        (false, false) => "",
    }
}

fn text(monitored: &Monitored) -> String {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let verdict = if monitored.drifted { "drifted" } else { "as in training" };
    let mut text = format!(
        "{} version {}: {verdict}\n  {} decisions from {} to {}, of {} people\n  without a score {}, without features {}, \
         default action {}\n",
        monitored.model,
        monitored.version,
        grouped(monitored.decisions),
        monitored.from.as_deref().unwrap_or("-"),
        monitored.to.as_deref().unwrap_or("-"),
        grouped(monitored.people),
        percent(monitored.unscored_share),
        percent(monitored.without_features_share),
        percent(monitored.default_share),
    );
    if let Some(drift) = &monitored.drift {
        let row = |name: &str, shift: &augur_models::drift::Shift, missing: String, drifted: &str| {
            vec![
                name.to_owned(),
                format!("{:.4}", shift.psi),
                format!("{:.4}", shift.psi_band),
                format!("{:.4}", shift.ks),
                format!("{:.4}", shift.ks_band),
                missing,
                drifted.to_owned(),
            ]
        };
        let mut inputs: Vec<_> = drift.inputs.iter().collect();
        inputs.sort_by(|a, b| b.shift.psi.total_cmp(&a.shift.psi));
        let mut rows = vec![row("scores", &drift.scores, String::new(), word(drift.scores.drifted, false))];
        rows.extend(inputs.iter().take(MOST_INPUTS).map(|input| {
            let missing =
                format!("{} ({})", percent(input.missing_share), percent(input.reference_missing_share));
            row(&input.feature, &input.shift, missing, word(input.drifted, input.grows))
        }));
        text.push_str(&table(&["", "PSI", "band", "KS", "band", "missing (training)", ""], &rows));
        text.push('\n');
    }
    if let Some(outcomes) = &monitored.outcomes {
        let (foretold, came) = match outcomes.matured {
            0 => ("-".to_owned(), "-".to_owned()),
            _ => (percent(outcomes.expected), percent(outcomes.observed)),
        };
        text.push_str(&format!(
            "  {}: {} outcomes certain, {} waiting; {} foretold, {} came true\n",
            outcomes.positive_class,
            grouped(outcomes.matured),
            grouped(outcomes.waiting),
            foretold,
            came,
        ));
        if let Some(metrics) = &outcomes.metrics {
            let roc_auc = metrics.roc_auc.map_or("-".to_owned(), |roc_auc| format!("{roc_auc:.4}"));
            text.push_str(&format!(
                "  ROC-AUC {roc_auc}, log loss {:.4}, Brier {:.4}, ECE {:.4}\n",
                metrics.log_loss, metrics.brier, metrics.ece
            ));
        }
    }
    for note in &monitored.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    text
}
