//! Segments of users by k-means: from a table to an artifact that names the nearest of a few centres, and what there is
//! to say about them.
//!
//! Labels and parts of the table are not looked at. Not here: the rounds of k-means (`lloyd`), or reading tables.

mod lloyd;

use augur_domain::rng::{Purpose, Rng};
use augur_domain::{ContentHash, Timestamp, math};
use serde::Serialize;

use super::design::Matrix;
use super::table::{StoredRow, TrainingTable};
use super::{MAX_SHARE, shape, to_json};
use crate::Error;
use crate::artifact::{
    Artifact, Body, ClusterInput, Content, Lineage, MAX_CLUSTER_NAME_BYTES, MAX_CLUSTERS, MAX_COEFFICIENT,
    Transform,
};
use crate::calibrate::Calibrator;
use crate::scorer::squared_distance;

/// Most segments that [`Count::Auto`] tries.
pub const MAX_AUTO: usize = 10;
/// Rows that settings are tried on, and that the silhouette is taken over.
const SAMPLE_ROWS: usize = 20_000;
/// Beginnings that are tried; the one whose rows lie nearest to their centres is gone on with.
const STARTS: usize = 8;

/// How many segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// So many, 2 to [`MAX_CLUSTERS`].
    Given(usize),
    /// From 2 to [`MAX_AUTO`], whichever has the highest simplified silhouette on a sample of the rows.
    Auto,
}

/// Everything that segments depend on beside their table.
#[derive(Debug, Clone, PartialEq)]
pub struct SegmentOptions {
    /// The model's name.
    pub name: String,
    /// How many segments.
    pub count: Count,
    /// What they are called, in order; `s0`, `s1` and so on when there are none.
    pub names: Vec<String>,
    /// The column whose centres the segments are ordered by, the lowest first; `None` puts the largest segment first.
    pub order_by: Option<String>,
    /// The definitions behind the table's columns.
    pub feature_set: ContentHash,
    /// Of the table's columns, the hash of each one's own definition, by name; the artifact tells them if all are known.
    pub definitions: Vec<(String, ContentHash)>,
    /// For every column; `None` takes logarithms of the skewed ones.
    pub transform: Option<Transform>,
    /// Share of the values at either end of each column that is taken for the least or greatest of the others, 0 to 0.1.
    pub winsorise: f64,
    /// Of every draw.
    pub seed: u64,
    /// When, as the caller's clock says; part of the artifact.
    pub created_at: Timestamp,
    /// Version of the code, part of the artifact.
    pub code_version: String,
}

impl SegmentOptions {
    /// The defaults: four segments by size, signed logarithms, a thousandth of each end winsorised.
    pub fn new(name: &str, feature_set: ContentHash, created_at: Timestamp) -> Self {
        Self {
            name: name.to_owned(),
            count: Count::Given(4),
            names: Vec::new(),
            order_by: None,
            feature_set,
            definitions: Vec::new(),
            transform: Some(Transform::SignedLog1p),
            winsorise: 0.001,
            seed: 42,
            created_at,
            code_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    fn validate(&self, table: &TrainingTable) -> Result<(), Error> {
        let invalid = |option, found, expected| Err(Error::InvalidOption { option, found, expected });
        let most = match self.count {
            Count::Given(count) if !(2..=MAX_CLUSTERS).contains(&count) => {
                return invalid("k", count.to_string(), "2 to 32 segments, or `auto`");
            }
            Count::Given(count) => count,
            Count::Auto if !self.names.is_empty() => {
                return invalid("names", "given".to_owned(), "none with `auto`, or a number of segments");
            }
            Count::Auto => MAX_AUTO,
        };
        if !self.names.is_empty() && self.names.len() != most {
            let found = format!("{} names for {most} segments", self.names.len());
            return invalid("names", found, "one name for each segment");
        }
        for (index, name) in self.names.iter().enumerate() {
            if name.is_empty() || name.len() > MAX_CLUSTER_NAME_BYTES {
                return invalid("names", format!("a name of {} bytes", name.len()), "1 to 64 bytes");
            }
            if self.names.iter().take(index).any(|earlier| earlier == name) {
                return invalid("names", format!("`{name}` twice"), "each name once");
            }
        }
        if !(0.0..=MAX_SHARE).contains(&self.winsorise) {
            return invalid("winsorise", self.winsorise.to_string(), "0 to 0.1");
        }
        if table.len() < 2 * most {
            return invalid("k", format!("{most} of {} rows", table.len()), "at least twice as many rows");
        }
        Ok(())
    }
}

/// Segments and what there is to say about them.
#[derive(Debug, Clone)]
pub struct Segmented {
    /// To be published.
    pub artifact: Artifact,
    /// The same as the artifact's report.
    pub report: SegmentReport,
}

/// What came of it. Serialises to the report of the card.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SegmentReport {
    /// `k-means`
    pub family: String,
    /// Rows learned from.
    pub rows: usize,
    /// The segments, in order.
    pub clusters: Vec<ClusterReport>,
    /// The simplified silhouette, -1 to 1, on a sample: near 0, segments are parts of one cloud.
    pub silhouette: f64,
    /// Of `auto`, what was tried.
    pub counts_tried: Vec<CountTried>,
    /// Share of the standardised variance that lies between segments, 0 to 1.
    pub explained: f64,
    /// Rounds until no row changed its segment.
    pub rounds: usize,
    /// Whether that came about; otherwise rounds ran out.
    pub converged: bool,
    /// What distances are taken over.
    pub features: Vec<SegmentFeature>,
    /// Columns that never vary.
    pub dropped: Vec<String>,
    /// What to look at first.
    pub warnings: Vec<String>,
}

/// One segment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClusterReport {
    /// What rules call it.
    pub name: String,
    /// Rows in it.
    pub rows: usize,
    /// Of all rows.
    pub share: f64,
    /// The centre, one number per feature in the features' own units.
    pub center: Vec<f64>,
}

/// One number of segments that was tried.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CountTried {
    /// How many.
    pub segments: usize,
    /// The simplified silhouette on the sample.
    pub silhouette: f64,
}

/// One feature.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SegmentFeature {
    /// Its name.
    pub feature: String,
    /// What is done to it first.
    pub transform: String,
    /// Share of its variance that lies between segments, 0 to 1.
    pub importance: f64,
    /// Share of rows without a value; they are taken for the mean.
    pub missing_share: f64,
}

/// Finds segments among all rows of `table`. The same table and options give the same bytes.
///
/// # Errors
/// [`Error::InvalidOption`] for options out of bounds and for fewer different rows than segments,
/// [`Error::NothingToLearn`] when no column varies.
pub fn segment(
    table: &TrainingTable,
    options: &SegmentOptions,
    progress: &mut dyn FnMut(&str),
) -> Result<Segmented, Error> {
    options.validate(table)?;
    progress("standardising");
    let (columns, dropped) = columns(table, options);
    if columns.is_empty() {
        return Err(Error::NothingToLearn { columns: table.columns().len() });
    }
    if let Some(column) = options.order_by.as_ref().filter(|name| !columns.iter().any(|c| c.is(name))) {
        let expected = "a column of the table that varies";
        return Err(Error::InvalidOption { option: "order-by", found: column.clone(), expected });
    }
    let matrix = matrix(table, &columns, 1);
    let sample = matrix_of_sample(table, &columns);
    let (best, counts_tried) = choose(&sample, options, progress)?;
    progress("moving the centres");
    let fit = lloyd::settle(&matrix, best.centroids);
    let order = order(&fit, &columns, options);
    let names = (0..order.len()).map(|at| options.names.get(at).cloned().unwrap_or_else(|| format!("s{at}")));
    let names: Vec<String> = names.collect();
    let silhouette = lloyd::silhouette(&matrix, &fit.centroids, SAMPLE_ROWS);
    let report = report(&fit, &order, &names, &columns, Measured { silhouette, counts_tried, dropped });
    let artifact = artifact(table, options, columns, &fit, &order, names, &report)?;
    Ok(Segmented { artifact, report })
}

/// A column that varies.
struct Column {
    index: usize,
    input: ClusterInput,
    missing_share: f64,
}

impl Column {
    fn is(&self, name: &str) -> bool {
        self.input.feature == name
    }

    fn standardised(&self, row: &StoredRow<'_>) -> f64 {
        self.input.standardise(row.value(self.index).unwrap_or(f64::NAN))
    }

    /// Back from standard deviations to the feature's own units.
    fn in_units(&self, at: f64) -> f64 {
        let transformed = at * self.input.scale + self.input.mean;
        match self.input.transform {
            Transform::Identity => transformed,
            Transform::SignedLog1p if transformed < 0.0 => 1.0 - math::exp(-transformed),
            Transform::SignedLog1p => math::exp(transformed) - 1.0,
        }
    }
}

fn columns(table: &TrainingTable, options: &SegmentOptions) -> (Vec<Column>, Vec<String>) {
    let (mut columns, mut dropped) = (Vec::new(), Vec::new());
    for (index, feature) in table.columns().iter().enumerate() {
        match column(table, index, feature, options) {
            Some(column) => columns.push(column),
            None => dropped.push(feature.clone()),
        }
    }
    if columns.iter().any(|column| column.input.definition.is_none()) {
        columns.iter_mut().for_each(|column| column.input.definition = None);
    }
    (columns, dropped)
}

fn column(table: &TrainingTable, index: usize, feature: &str, options: &SegmentOptions) -> Option<Column> {
    // The shape of a column is told with labels beside it, which do not matter here.
    let mut present: Vec<(f64, bool)> =
        table.rows().filter_map(|row| row.value(index)).map(|value| (value, false)).collect();
    let missing_share = 1.0 - present.len() as f64 / table.len().max(1) as f64;
    let transform = options.transform.unwrap_or_else(|| shape::transform(&present));
    present.iter_mut().for_each(|(value, _)| *value = transform.apply(*value));
    let clip = shape::clip(&present, options.winsorise);
    let (low, high) = clip.unwrap_or((f64::MIN, f64::MAX));
    let values = || present.iter().map(|(value, _)| value.max(low).min(high));
    let count = present.len() as f64;
    let mean = values().fold(0.0, |sum, value| sum + value / count);
    let variance = values().fold(0.0, |sum, value| sum + (value - mean) * (value - mean) / count);
    let scale = math::sqrt(variance);
    let usable = mean.abs() <= MAX_COEFFICIENT && scale.is_finite() && scale > mean.abs() * 1e-12;
    let definition = options.definitions.iter().find(|(name, _)| name == feature);
    let definition = definition.map(|(_, definition)| *definition);
    let input = ClusterInput { feature: feature.to_owned(), transform, mean, scale, clip, definition };
    (usable && scale >= 1e-300).then_some(Column { index, input, missing_share })
}

fn matrix(table: &TrainingTable, columns: &[Column], stride: usize) -> Matrix {
    let rows = table.rows().step_by(stride.max(1));
    let values = rows.flat_map(|row| columns.iter().map(move |column| column.standardised(&row)));
    Matrix { width: columns.len(), values: values.collect() }
}

fn matrix_of_sample(table: &TrainingTable, columns: &[Column]) -> Matrix {
    matrix(table, columns, table.len().div_ceil(SAMPLE_ROWS))
}

/// The best beginning on the sample, and how every number of segments did if the number was to be chosen.
fn choose(
    sample: &Matrix,
    options: &SegmentOptions,
    progress: &mut dyn FnMut(&str),
) -> Result<(lloyd::Fit, Vec<CountTried>), Error> {
    let mut rng = Rng::new(options.seed, Purpose::Training);
    let too_many = |count: usize| Error::InvalidOption {
        option: "k",
        found: count.to_string(),
        expected: "at most as many segments as there are different rows",
    };
    let count = match options.count {
        Count::Given(count) => {
            progress("looking for centres");
            let fit = best_of_starts(sample, count, &mut rng).ok_or_else(|| too_many(count))?;
            return Ok((fit, Vec::new()));
        }
        Count::Auto => 2..=MAX_AUTO,
    };
    let mut tried = Vec::new();
    let mut best: Option<(f64, lloyd::Fit)> = None;
    for count in count {
        progress(&format!("trying {count} segments"));
        let Some(fit) = best_of_starts(sample, count, &mut rng) else { break };
        let silhouette = lloyd::silhouette(sample, &fit.centroids, SAMPLE_ROWS);
        tried.push(CountTried { segments: count, silhouette });
        if best.as_ref().is_none_or(|(known, _)| silhouette > *known) {
            best = Some((silhouette, fit));
        }
    }
    best.map(|(_, fit)| (fit, tried)).ok_or_else(|| too_many(2))
}

fn best_of_starts(sample: &Matrix, count: usize, rng: &mut Rng) -> Option<lloyd::Fit> {
    let mut best: Option<lloyd::Fit> = None;
    for _ in 0..STARTS {
        let seeds = lloyd::seeds(sample, count, rng);
        if seeds.len() < count {
            return None;
        }
        let fit = lloyd::settle(sample, seeds);
        if best.as_ref().is_none_or(|best| fit.inertia < best.inertia) {
            best = Some(fit);
        }
    }
    best
}

/// The segments' indices in the order in which they are named.
fn order(fit: &lloyd::Fit, columns: &[Column], options: &SegmentOptions) -> Vec<usize> {
    let mut order: Vec<usize> = (0..fit.centroids.len()).collect();
    let by = options.order_by.as_ref().and_then(|name| columns.iter().position(|column| column.is(name)));
    // Stable: among equals the order in which the centres were drawn stands.
    match by {
        Some(column) => {
            let at = |segment: &usize| {
                fit.centroids.get(*segment).and_then(|centroid| centroid.get(column)).copied().unwrap_or(0.0)
            };
            order.sort_by(|a, b| at(a).total_cmp(&at(b)));
        }
        None => order.sort_by_key(|segment| std::cmp::Reverse(rows_of(fit, *segment))),
    }
    order
}

fn rows_of(fit: &lloyd::Fit, segment: usize) -> usize {
    fit.owners.iter().filter(|owner| **owner == segment).count()
}

struct Measured {
    silhouette: f64,
    counts_tried: Vec<CountTried>,
    dropped: Vec<String>,
}

fn report(
    fit: &lloyd::Fit,
    order: &[usize],
    names: &[String],
    columns: &[Column],
    measured: Measured,
) -> SegmentReport {
    let rows = fit.owners.len();
    let share = |count: usize| count as f64 / rows.max(1) as f64;
    let ordered = || order.iter().filter_map(|segment| Some((*segment, fit.centroids.get(*segment)?)));
    let clusters: Vec<ClusterReport> = ordered()
        .zip(names)
        .map(|((segment, centroid), name)| ClusterReport {
            name: name.clone(),
            rows: rows_of(fit, segment),
            share: share(rows_of(fit, segment)),
            center: columns.iter().zip(centroid).map(|(column, at)| column.in_units(*at)).collect(),
        })
        .collect();
    // Of standardised columns, whose mean is 0.
    let between = |column: usize| {
        let parts = ordered().zip(&clusters);
        parts.fold(0.0, |sum, ((_, centroid), cluster)| {
            let at = centroid.get(column).copied().unwrap_or(0.0);
            sum + cluster.share * at * at
        })
    };
    let features = columns.iter().enumerate().map(|(index, column)| SegmentFeature {
        feature: column.input.feature.clone(),
        transform: column.input.transform.as_str().to_owned(),
        // Rows without a value stand at the mean and vary less.
        importance: (between(index) / (1.0 - column.missing_share)).min(1.0),
        missing_share: column.missing_share,
    });
    let within = fit.inertia;
    let all = ordered().zip(&clusters).fold(within, |sum, ((_, centroid), cluster)| {
        sum + cluster.rows as f64 * squared_distance(centroid, &vec![0.0; centroid.len()])
    });
    SegmentReport {
        family: "k-means".to_owned(),
        rows,
        features: features.collect(),
        silhouette: measured.silhouette,
        counts_tried: measured.counts_tried,
        explained: if all > 0.0 { (1.0 - within / all).max(0.0) } else { 0.0 },
        rounds: fit.rounds,
        converged: fit.converged,
        warnings: warnings(fit, &clusters, measured.silhouette),
        dropped: measured.dropped,
        clusters,
    }
}

fn warnings(fit: &lloyd::Fit, clusters: &[ClusterReport], silhouette: f64) -> Vec<String> {
    /// Below this, segments are cut through one cloud more than they are apart.
    const CLOUD: f64 = 0.25;
    const SMALL_SHARE: f64 = 0.01;
    let mut warnings = Vec::new();
    if silhouette < CLOUD {
        warnings.push(format!(
            "the silhouette of {silhouette:.2} is low: the segments part one cloud of users rather than groups of them"
        ));
    }
    for cluster in clusters.iter().filter(|cluster| cluster.share < SMALL_SHARE) {
        let (name, rows) = (&cluster.name, cluster.rows);
        warnings
            .push(format!("segment `{name}` has only {rows} rows: users who stray, or too many segments"));
    }
    if !fit.converged {
        warnings.push(format!("centres still moved after {} rounds", lloyd::MAX_ROUNDS));
    }
    warnings
}

fn artifact(
    table: &TrainingTable,
    options: &SegmentOptions,
    columns: Vec<Column>,
    fit: &lloyd::Fit,
    order: &[usize],
    names: Vec<String>,
    report: &SegmentReport,
) -> Result<Artifact, Error> {
    let parameters = serde_json::json!({
        "family": "k-means",
        "segments": match options.count {
            Count::Given(count) => serde_json::json!(count),
            Count::Auto => serde_json::json!("auto"),
        },
        "order_by": options.order_by,
        "transform": options.transform.map_or("auto", Transform::as_str),
        "winsorise": options.winsorise,
    });
    Artifact::new(Content {
        name: options.name.clone(),
        task: "segments".to_owned(),
        positive_class: "the nearest of a few centres".to_owned(),
        feature_set: options.feature_set,
        body: Body::Clusters {
            inputs: columns.into_iter().map(|column| column.input).collect(),
            centroids: order.iter().filter_map(|segment| fit.centroids.get(*segment)).cloned().collect(),
            names,
        },
        calibrator: Calibrator::Identity,
        lineage: Lineage {
            data: table.hash(),
            seed: options.seed,
            parameters: to_json("parameters", &parameters)?,
            created_at: options.created_at,
            code_version: options.code_version.clone(),
        },
        report: to_json("report", report)?,
        reference: None,
    })
}

#[cfg(test)]
mod tests;
