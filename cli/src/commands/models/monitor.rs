//! `augur models monitor`: whether models still do what they did in training, and what came of their decisions.
//!
//! Not here: the comparison itself (`augur_server::offline`).

use std::path::PathBuf;

use augur_loadtest::domain::time::parse_duration_ms;
use augur_server::offline::{Monitored, Watch};
use augur_server::{App, SystemClock};

use crate::data::Directory;
use crate::output::{Output, grouped, table};
use crate::{Error, Outcome};

/// Most inputs in the text, those that shifted most; `--json` has all.
const MOST_INPUTS: usize = 20;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The data directory. No server may be using it.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The model's name; every model that the policy asks unless given.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// A version's number, or an alias.
    #[arg(long, value_name = "VERSION", default_value = "champion")]
    version: String,
    /// Only decisions of this time before now; all unless given.
    #[arg(long, value_name = "TIME", value_parser = parse_duration_ms)]
    since: Option<i64>,
}

pub(super) fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    let app = App::open(Directory::open(&args.data)?.config()?, SystemClock::new())?;
    let monitored = watch(&app, args);
    app.close()?;
    let monitored = monitored?;
    output.report(&monitored, |monitored| monitored.iter().map(text).collect())?;
    Ok(if monitored.iter().any(|model| model.drifted) { Outcome::Refused } else { Outcome::Fine })
}

fn watch(app: &App, args: &Args) -> Result<Vec<Monitored>, Error> {
    let names = match &args.model {
        Some(name) => vec![name.clone()],
        None => asked(app, &args.version)?,
    };
    let since = args.since.map(|length_ms| app.clock().now().plus_millis(-length_ms));
    let watch = |model: String| app.monitor(&Watch { model, selector: args.version.clone(), since });
    Ok(names.into_iter().map(watch).collect::<Result<_, _>>()?)
}

/// Models that the policy asks and that have such a version.
fn asked(app: &App, selector: &str) -> Result<Vec<String>, Error> {
    let active = app.active();
    let mut names: Vec<String> =
        active.policy().declared_models().iter().map(|model| model.registered_name().to_string()).collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| app.registry().find(name, selector).is_ok());
    if names.is_empty() {
        return Err(Error::TooLittle {
            problem: format!("the policy asks no model that has a version `{selector}`"),
            expected: "a trained model".to_owned(),
            next_step: "train one with `augur train`, or name one with `--model`",
        });
    }
    Ok(names)
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
