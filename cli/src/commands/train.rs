//! `augur train`: a model from what is stored, published and put to use.
//!
//! Not here: labels and features as of then (`augur_server::offline`), fitting (`augur_models`).

mod labels;
mod learning;
pub(crate) mod quality;
mod rows;
pub(crate) mod table;
mod task;
mod trigger;

use std::path::{Path, PathBuf};

use augur_loadtest::domain::ContentHash;
use augur_loadtest::domain::time::parse_duration_ms;
use augur_models::metrics::Metrics;
use augur_models::registry::Card;
use augur_models::train::{self, Family, Options, TrainingTable};
use augur_server::{App, Clock, SystemClock};
use clap::ValueEnum;
pub(crate) use learning::Learning;
pub(crate) use rows::Source;
use serde::Serialize;

use crate::data::Directory;
use crate::output::{Output, grouped, table as table_of_text};
use crate::{Error, Outcome, progress};

/// Small shops may train; the report warns where figures rest on little.
const MINIMUM_ROWS: usize = 60;
const MINIMUM_PER_CLASS: usize = 8;

/// Training reads every event as of earlier instants, which only the process that holds the directory can.
const IN_USE: &str = "stop the server for the training; whether that is worth it, it says itself: `augur models monitor --endpoint URL`";

const EXAMPLES: &str = "\
Examples:
  augur train --task conversion --data data
  augur train --task first_order --tasks tasks.toml --data data
  augur train --task conversion --event add_to_cart --horizon 24h --active 7d --cutoffs 8 --data data
  augur train --task churn --inactive 30d --no-promote --data data --json
  augur train --labels outcomes.csv --name winback --horizon 30d --data data      (columns user_id, timestamp, label)
  augur train --table visits.csv.gz --label bought --split part --group user --family auto --out model
  augur train --task churn --family auto --positive-weight balanced --data data
  augur train --task churn --family boosted --search quick --data data
  augur train --task churn --family ftrl --warm-from churn --every 5000 --data data
  augur train --task churn --warm-from churn --alpha 10 --l1-ratio 0.5 --data data
  augur train --task churn --if-drifted --data data        (from a timer: see docs/operations.md)
  augur train --task conversion --calibration isotonic --segment purchases_90d --data data

Tasks are declared in the tasks.toml of the configuration (augur tasks list); options win over it. A row is a user at a
cutoff. Cutoffs lie a horizon apart, the last one a horizon before the last stored event; the latest third of them is
held back and tells how good the model is on time it has not seen. Features are those that a
decision at the cutoff would have read. No server may be using the directory.";

/// Which kind of model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FamilyName {
    /// The best on users left out.
    Auto,
    /// Logistic regression.
    Logistic,
    /// One decision tree.
    Tree,
    /// A random forest.
    Forest,
    /// Gradient-boosted trees.
    Boosted,
    /// Logistic regression learned row by row in the order of time (FTRL-proximal); goes on with `--warm-from`.
    Ftrl,
}

impl FamilyName {
    /// The words that a task may name.
    pub(crate) fn words() -> Vec<&'static str> {
        vec!["auto", "logistic", "tree", "forest", "boosted", "ftrl"]
    }

    const fn family(self) -> Option<Family> {
        match self {
            Self::Auto => None,
            Self::Logistic => Some(Family::Logistic),
            Self::Tree => Some(Family::Tree),
            Self::Forest => Some(Family::Forest),
            Self::Boosted => Some(Family::Boosted),
            Self::Ftrl => Some(Family::Ftrl),
        }
    }
}

/// Train a model on stored events, publish it, and let alias `champion` point at it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The data directory.
    #[arg(long, value_name = "DIR", required_unless_present = "table")]
    data: Option<PathBuf>,
    /// Train on this table of features instead (CSV or Parquet, `.csv.gz` too), without a data directory. Nothing is
    /// published.
    #[arg(long, value_name = "FILE", requires = "label", conflicts_with_all = ["task", "data", "event", "horizon", "inactive", "no_promote", "if_drifted"])]
    table: Option<PathBuf>,
    /// Of the table, the column that holds the label: 1, 0, true or false.
    #[arg(long, value_name = "COLUMN", requires = "table")]
    label: Option<String>,
    /// Of the table, the column that names each row's part. Rows of part `train` are fitted on, every other part is
    /// measured; without such a column a fifth of the rows, or groups, is held back.
    #[arg(long, value_name = "COLUMN", requires = "table")]
    split: Option<String>,
    /// Of the table, the column that says whom a row is about; rows of one group never part between folds.
    #[arg(long, value_name = "COLUMN", requires = "table")]
    group: Option<String>,
    /// Of the table, the column that holds each row's instant, as a number that grows with time, e.g. Unix milliseconds:
    /// what `--family ftrl` learns in the order of.
    #[arg(long, value_name = "COLUMN", requires = "table")]
    time: Option<String>,
    /// Of the table, columns that are no features.
    #[arg(long, value_name = "COLUMN", value_delimiter = ',', requires = "table")]
    ignore: Vec<String>,
    /// Of a table's model, the directory that it and its figures are written to.
    #[arg(long, value_name = "DIR", requires = "table")]
    out: Option<PathBuf>,
    #[command(flatten)]
    task: task::TaskArgs,
    #[command(flatten)]
    labels: labels::LabelArgs,
    #[command(flatten)]
    learning: Learning,
    #[command(flatten)]
    quality: quality::QualityArgs,
    /// Who trains; the user of this shell unless given. It goes into the model card.
    #[arg(long, env = "USER", default_value = "unknown")]
    by: String,
    /// Publish the version, but leave alias `champion` where it is.
    #[arg(long)]
    no_promote: bool,
    /// Train only if decisions of this time (7d unless given) tell that the champion has drifted, or there is none; the
    /// reason goes into the lineage and the alias's history.
    #[arg(long, value_name = "TIME", value_parser = parse_duration_ms, num_args = 0..=1, default_missing_value = "7d")]
    if_drifted: Option<i64>,
}

impl Args {
    fn table_order<'a>(&'a self, path: &'a Path, label: &'a str) -> Result<table::Order<'a>, Error> {
        let mut options = Options::new("table", label, ContentHash::default(), SystemClock::new().now());
        self.learning.apply(&mut options, None)?;
        options.calibration = self.quality.calibration.calibration();
        options.evaluating = self.quality.evaluating();
        Ok(table::Order {
            path,
            label,
            split: self.split.as_deref(),
            group: self.group.as_deref(),
            time: self.time.as_deref(),
            segment: self.quality.segment.as_deref(),
            ignore: &self.ignore,
            out: self.out.as_deref(),
            card: Card {
                published_by: self.by.clone(),
                published_at: options.created_at,
                notes: format!("trained on {}", path.display()),
            },
            options,
        })
    }
}

/// A training to be done.
#[derive(Debug)]
pub(crate) struct Order {
    /// What to foretell, and of whom.
    pub(crate) source: Source,
    /// How to learn.
    pub(crate) learning: Learning,
    /// How to calibrate, and how closely to look at what came of it.
    pub(crate) quality: quality::QualityArgs,
    /// Who trains.
    pub(crate) by: String,
    /// Whether alias `champion` is moved to it.
    pub(crate) promote: bool,
    /// What made someone train, if it was not a person.
    pub(crate) trigger: Option<String>,
}

/// What came of a training: the model card.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    model: String,
    version: u32,
    /// Every version that was published, the last one last.
    versions: Vec<u32>,
    artifact: String,
    promoted: bool,
    positive_class: String,
    cutoffs: Vec<String>,
    held_back_cutoffs: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<labels::Read>,
    feature_set: String,
    report: train::Report,
}

/// Runs the command.
pub(crate) fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    if let (Some(path), Some(label)) = (&args.table, &args.label) {
        return table::run(&args.table_order(path, label)?, output);
    }
    let data = args.data.as_deref().unwrap_or_else(|| Path::new("."));
    let mut config = Directory::open(data)?.config()?;
    let order = Order {
        source: match args.labels.resolve(args.task.horizon)? {
            Some(labels) => Source::Labels(labels),
            None => Source::Task(args.task.resolve(&mut config)?),
        },
        learning: args.learning.clone(),
        quality: args.quality.clone(),
        by: args.by.clone(),
        promote: !args.no_promote,
        trigger: None,
    };
    let app = App::open(config, SystemClock::new()).map_err(Error::opening(IN_USE))?;
    let trained = train_if(&app, order, args.if_drifted);
    app.close()?;
    match trained? {
        Done::Trained(report) => output.report(&report, |report| report.text(data))?,
        Done::Rested(rested) => output.report(&rested, |rested| rested.text())?,
    }
    Ok(Outcome::Fine)
}

/// What came of the command.
enum Done {
    Trained(Box<Report>),
    Rested(Box<trigger::Rested>),
}

/// Trains; when `if_drifted_ms` is given, only if the decisions of that time give a reason.
fn train_if(app: &App, mut order: Order, if_drifted_ms: Option<i64>) -> Result<Done, Error> {
    if let Some(since_ms) = if_drifted_ms {
        match trigger::trigger(app, order.source.name(), since_ms)? {
            trigger::Trigger::Train(why) => order.trigger = Some(why),
            trigger::Trigger::Rest(rested) => return Ok(Done::Rested(rested)),
        }
    }
    train(app, &order).map(|report| Done::Trained(Box::new(report)))
}

/// Trains, publishes and, if ordered, promotes.
pub(crate) fn train(app: &App, order: &Order) -> Result<Report, Error> {
    let Order { source, learning, quality, by, promote, trigger } = order;
    let name = source.name();
    let working = progress::steps(&format!("training {name}"), 4);
    let (found, learning) = match source {
        Source::Task(task) => (rows::of_task(app, task, || working.inc(1))?, learning.declared_by(task)),
        Source::Labels(labels) => (labels.rows(app)?, learning.clone()),
    };
    let rows = found.table()?;
    let segments = match &quality.segment {
        Some(feature) => {
            let rows = found.set.rows().map(|row| row.0);
            Some(quality::by_feature(feature, &found.set.columns, rows)?)
        }
        None => None,
    };
    working.set_position(3);

    let feature_set = app.feature_set().hash();
    let positive_class = found.positive_class;
    let mut options = Options::new(name, &positive_class, feature_set, app.clock().now());
    options.definitions = found.set.columns.into_iter().zip(found.set.definitions).collect();
    options.task_definition = found.task;
    options.label_readers = found.label_readers;
    learning.apply(&mut options, Some(app.registry()))?;
    options.calibration = quality.calibration.calibration();
    options.evaluating = quality.evaluating();
    options.evaluating.segments = segments;
    options.trigger.clone_from(trigger);
    options.minimum_rows = MINIMUM_ROWS;
    options.minimum_per_class = MINIMUM_PER_CLASS;
    let mut versions = Vec::new();
    let (trained, model) = {
        let publish = |rows: &TrainingTable, options: &Options| -> Result<_, Error> {
            let trained =
                train::fit_with_progress(rows, options, &mut |step| working.set_message(step.to_owned()))?;
            let model = app.publish(&trained.artifact, by, &positive_class)?;
            versions.push(model.version);
            Ok((trained, model))
        };
        learning::in_parts(&rows, options, learning.every(), publish)?
    };
    working.finish_and_clear();
    if *promote {
        let why = trigger.as_deref().unwrap_or("newly trained");
        app.set_alias(name, "champion", model.version, by, why)?;
    }
    Ok(Report {
        model: name.to_owned(),
        version: model.version,
        versions,
        artifact: model.artifact.to_string(),
        promoted: *promote,
        positive_class,
        cutoffs: found.cutoffs,
        held_back_cutoffs: found.held_back_cutoffs,
        labels: found.labels,
        feature_set: feature_set.to_string(),
        report: trained.report,
    })
}

impl Report {
    /// The demo's one line.
    pub(crate) fn line(&self) -> String {
        let out_of_time = self.report.out_of_time.as_ref();
        let figure = |figure: Option<f64>| figure.map_or("-".to_owned(), |figure| format!("{figure:.3}"));
        format!(
            "  {:<11} {}: ROC-AUC {} out of time ({} rows, {} positive), calibration error {}\n",
            self.model,
            self.positive_class,
            figure(out_of_time.and_then(|metrics| metrics.roc_auc)),
            grouped(self.report.test_rows as u64),
            grouped(self.report.test_positives as u64),
            figure(out_of_time.map(|metrics| metrics.ece)),
        )
    }

    fn text(&self, data: &Path) -> String {
        let report = &self.report;
        let mut text = format!(
            "{} version {} ({}, {}): {}\n",
            self.model,
            self.version,
            report.family,
            if self.promoted { "champion" } else { "not promoted" },
            self.positive_class,
        );
        match &self.labels {
            Some(labels) => text.push_str(&labels.text()),
            None => text.push_str(&format!(
                "{} cutoffs from {} to {}, the last {} held back\n",
                self.cutoffs.len(),
                self.cutoffs.first().map_or("-", String::as_str),
                self.cutoffs.last().map_or("-", String::as_str),
                self.held_back_cutoffs,
            )),
        }
        let measured = [("train", &report.train), ("out of time", &report.out_of_time)];
        let rows: Vec<_> = measured
            .iter()
            .filter_map(|(name, metrics)| metrics.as_ref().map(|metrics| metrics_row(name, metrics)))
            .collect();
        text.push_str(&table_of_text(&METRICS_HEADER, &rows));
        text.push_str(&quality::text(report));
        text.push_str(&notes(report));
        let (model, data) = (&self.model, data.display());
        text.push_str(&format!("next: augur models show {model} {} --data {data}", self.version));
        text
    }
}

/// Of [`metrics_row`].
pub(crate) const METRICS_HEADER: [&str; 9] =
    ["", "rows", "positive", "ROC-AUC", "PR-AUC", "log loss", "Brier", "ECE", "lift"];

/// What was tried, what was left out, and what to look at, a line each.
fn notes(report: &train::Report) -> String {
    let mut text = String::new();
    for tried in &report.considered {
        let figure = |figure: Option<f64>| figure.map_or("-".to_owned(), |figure| format!("{figure:.4}"));
        let (log_loss, roc_auc) = (figure(tried.log_loss), figure(tried.roc_auc));
        let mut name = tried.family.as_str().to_owned();
        if !tried.settings.is_empty() {
            name.push_str(&format!(" with {}", tried.settings));
        }
        text.push_str(&format!("tried {name}: log loss {log_loss}, ROC-AUC {roc_auc} on rows left out\n"));
    }
    if !report.dropped.is_empty() {
        let names = report.dropped.join(", ");
        text.push_str(&format!("note: never vary in training, left out: {names}\n"));
    }
    // Each left-out column has a warning of its own, told in one line above.
    let told = |warning: &&String| {
        report.dropped.iter().any(|name| warning.contains(&format!("`{name}` never varies")))
    };
    for warning in report.warnings.iter().filter(|warning| !told(warning)) {
        text.push_str(&format!("note: {warning}\n"));
    }
    text
}

/// A part's measures as cells of a table.
pub(crate) fn metrics_row(name: &str, metrics: &Metrics) -> Vec<String> {
    let figure = |figure: Option<f64>| figure.map_or("-".to_owned(), |figure| format!("{figure:.4}"));
    vec![
        name.to_owned(),
        grouped(metrics.rows as u64),
        grouped(metrics.positives as u64),
        figure(metrics.roc_auc),
        figure(metrics.pr_auc),
        figure(Some(metrics.log_loss)),
        figure(Some(metrics.brier)),
        figure(Some(metrics.ece)),
        metrics.top_decile_lift.map_or("-".to_owned(), |lift| format!("{lift:.2}")),
    ]
}
