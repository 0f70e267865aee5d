//! How `augur train` learns, whatever it learns from: the family, its settings, and where the fit sets out.
//!
//! Not here: rows and labels, or the fits themselves (`augur_models::train`).

use std::path::Path;

use augur_models::artifact::Transform;
use augur_models::train::{self, Family, Online, Options, PositiveWeight, Search, Trained, TrainingTable};
use augur_models::{Artifact, Registry};
use augur_server::offline::Task;
use clap::ValueEnum;

use super::FamilyName;
use crate::Error;

/// What is done to the values that logistic regression reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TransformName {
    /// Signed logarithms, ln(1 + |x|), of every column.
    Log,
    /// Signed logarithms of the columns that are skewed.
    Auto,
    /// Nothing.
    None,
}

/// How widely settings are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SearchName {
    /// The settings as given.
    None,
    /// A handful per family.
    Quick,
    /// Every kind of setting, up to 20 fits per family.
    Thorough,
}

/// How to learn.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Learning")]
pub(crate) struct Learning {
    /// Which kind of model. `auto` tries logistic regression, a forest and boosted trees, and takes the one with the least
    /// log loss on users left out.
    /// `logistic` unless the task declares another.
    #[arg(long, value_enum)]
    family: Option<FamilyName>,
    /// Look for the family's settings on training rows, users left out telling which are best; every one that was tried
    /// is told. Rows held back are never looked at. `quick` for logistic regression with no setting given, else `none`.
    #[arg(long, value_enum)]
    search: Option<SearchName>,
    /// What a positive row weighs in the fit, a negative one weighing 1, or `balanced`: as much as makes both classes
    /// weigh the same. Calibration undoes what it does to probabilities.
    /// 1 unless the task declares another.
    #[arg(long, value_name = "WEIGHT", value_parser = positive_weight)]
    positive_weight: Option<PositiveWeight>,
    /// Of logistic regression, the strength of the penalty on weights.
    #[arg(long, default_value_t = 1.0, value_name = "NUMBER")]
    alpha: f64,
    /// Of logistic regression, the share of the penalty that is L1, 0 to 1: more of it sets more weights to 0.
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    l1_ratio: f64,
    /// Of logistic regression, what is done to values first.
    #[arg(long, value_enum, default_value_t = TransformName::Log)]
    transform: TransformName,
    /// Of logistic regression, take this share of the values at either end of each column for the least or greatest of
    /// the others, 0 to 0.1.
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    winsorise: f64,
    /// Set out from an earlier model: logistic regression from its weights, with fewer steps to the same optimum; `ftrl`
    /// from all that it has learned, with the rows later than those. MODEL is what alias `champion` points at,
    /// MODEL@VERSION a version, and a path a `.augurmdl` file.
    #[arg(long, value_name = "MODEL[@VERSION]|FILE")]
    warm_from: Option<String>,
    /// Of `ftrl`, publish a version after every so many rows, at the end of an instant; each goes on where the last one
    /// ended. At the end alone unless given.
    #[arg(long, value_name = "ROWS", requires = "data", conflicts_with_all = ["segment", "table"], value_parser = clap::value_parser!(u32).range(60..))]
    every: Option<u32>,
    /// Of `ftrl`, how far the first steps go: above 0, at most 10. A model that is gone on from keeps its own.
    #[arg(long, default_value_t = 0.1, value_name = "NUMBER")]
    learning_rate: f64,
    /// Seeds the split into folds, and every draw of rows and columns; 1 unless the task declares another.
    #[arg(long)]
    seed: Option<u64>,
}

impl Learning {
    /// The defaults with another seed.
    pub(crate) fn with_seed(seed: u64) -> Self {
        Self {
            family: None,
            search: Some(SearchName::None),
            positive_weight: None,
            alpha: 1.0,
            l1_ratio: 0.0,
            transform: TransformName::Log,
            winsorise: 0.0,
            warm_from: None,
            every: None,
            learning_rate: Online::default().learning_rate,
            seed: Some(seed),
        }
    }

    /// The same, with what the task declares where no option was given.
    pub(crate) fn declared_by(&self, task: &Task) -> Self {
        let declared = task.family.as_deref().and_then(|word| FamilyName::from_str(word, false).ok());
        Self {
            family: self.family.or(declared),
            positive_weight: self.positive_weight.or(Some(PositiveWeight::Fixed(task.positive_weight))),
            seed: self.seed.or(Some(task.seed)),
            ..self.clone()
        }
    }

    /// Whether settings may be looked for unasked: a few fits of logistic regression cost seconds, those of trees minutes,
    /// and what was given by hand is meant.
    fn leaves_settings_open(&self) -> bool {
        matches!(self.family, None | Some(FamilyName::Logistic))
            && self.warm_from.is_none()
            && matches!(self.transform, TransformName::Log)
            && [(self.alpha, 1.0), (self.l1_ratio, 0.0), (self.winsorise, 0.0)]
                .into_iter()
                .all(|(given, default)| given.total_cmp(&default).is_eq())
    }

    /// Rows after which a version is published.
    pub(crate) fn every(&self) -> Option<usize> {
        self.every.map(|rows| rows as usize)
    }

    /// Writes what was asked for over `options`; `registry` is where models are found by name.
    pub(crate) fn apply(&self, options: &mut Options, registry: Option<&Registry>) -> Result<(), Error> {
        options.family = self.family.unwrap_or(FamilyName::Logistic).family();
        options.search = match self.search {
            None if self.leaves_settings_open() => Search::Quick,
            None | Some(SearchName::None) => Search::None,
            Some(SearchName::Quick) => Search::Quick,
            Some(SearchName::Thorough) => Search::Thorough,
        };
        options.positive_weight = self.positive_weight.unwrap_or(PositiveWeight::EVEN);
        options.alpha = self.alpha;
        options.l1_ratio = self.l1_ratio;
        options.default_transform = match self.transform {
            TransformName::Log => Some(Transform::SignedLog1p),
            TransformName::Auto => None,
            TransformName::None => Some(Transform::Identity),
        };
        options.winsorise = self.winsorise;
        options.online.learning_rate = self.learning_rate;
        options.seed = self.seed.unwrap_or(1);
        if self.every.is_some() && options.family != Some(Family::Ftrl) {
            return Err(Error::Usage {
                problem: "--every does not belong to this family".to_owned(),
                expected: "`--family ftrl`, which alone goes on row by row",
            });
        }
        options.warm_start = self.warm_from.as_deref().map(|from| earlier(from, registry)).transpose()?;
        Ok(())
    }
}

/// Hands `publish` all rows, or one part after the other, each to set out from what came of the one before; gives the last.
pub(crate) fn in_parts<M>(
    rows: &TrainingTable,
    mut options: Options,
    every: Option<usize>,
    mut publish: impl FnMut(&TrainingTable, &Options) -> Result<(Trained, M), Error>,
) -> Result<(Trained, M), Error> {
    let Some(every) = every else { return publish(rows, &options) };
    let mut parts = train::batches(rows, every)?;
    let last = parts.pop();
    for part in &parts {
        let (trained, _) = publish(part, &options)?;
        options.warm_start = Some(trained.artifact);
    }
    publish(last.as_ref().unwrap_or(rows), &options)
}

/// The model that a fit sets out from.
fn earlier(from: &str, registry: Option<&Registry>) -> Result<Artifact, Error> {
    let path = Path::new(from);
    let unknown = |problem: String| Error::Usage {
        problem,
        expected: "`--warm-from MODEL`, `MODEL@VERSION` of the data directory, or a `.augurmdl` file",
    };
    let artifact = if path.extension().is_some_and(|extension| extension == "augurmdl") {
        Artifact::decode(&std::fs::read(path).map_err(Error::file("read", path))?)?
    } else {
        let registry =
            registry.ok_or_else(|| unknown(format!("there is no registry to find `{from}` in")))?;
        let (name, version) = match from.split_once('@') {
            Some((name, version)) => (name, Some(version)),
            None => (from, None),
        };
        let found = match version {
            Some(version) => {
                let number: Option<u32> = version.trim_start_matches('v').parse().ok();
                registry.versions(name)?.into_iter().find(|model| Some(model.version) == number)
            }
            None => registry.resolve(name, "champion")?,
        };
        registry.load(&found.ok_or_else(|| unknown(format!("there is no model `{from}`")))?)?
    };
    if artifact.content().body.linear().is_none() {
        return Err(unknown(format!("`{from}` has trees, and no weights to set out from")));
    }
    Ok(artifact)
}

fn positive_weight(text: &str) -> Result<PositiveWeight, String> {
    if text == "balanced" {
        return Ok(PositiveWeight::Balanced);
    }
    text.parse()
        .map(PositiveWeight::Fixed)
        .map_err(|_| "a number from 0.001 to 1000, or `balanced`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_numbers_or_balanced() {
        assert_eq!(positive_weight("balanced"), Ok(PositiveWeight::Balanced));
        assert_eq!(positive_weight("2.5"), Ok(PositiveWeight::Fixed(2.5)));
        assert!(positive_weight("heavy").unwrap_err().contains("balanced"));
    }

    #[test]
    fn what_a_fit_cannot_set_out_from_is_named() {
        let error = earlier("churn@3", None).unwrap_err().to_string();
        assert!(error.contains("churn@3"), "{error}");
        let error = earlier("no/such.augurmdl", None).unwrap_err().to_string();
        assert!(error.contains("no/such.augurmdl"), "{error}");
    }
}
