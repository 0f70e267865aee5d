//! Which settings of a family are tried when they are looked for: one kind of setting after the other, each from where
//! the last one left off, so that the number of fits is a sum and not a product.
//!
//! Not here: how good a setting is (`family`). Rows held back are never looked at.

use std::fmt;

use super::{Family, Options};
use crate::artifact::Transform;

/// How widely settings are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Search {
    /// Not at all: the settings are those of the options.
    None,
    /// A handful per family, at most 8 fits.
    Quick,
    /// Every kind of setting, at most 20 fits per family.
    Thorough,
}

impl Search {
    /// The word used in reports and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quick => "quick",
            Self::Thorough => "thorough",
        }
    }
}

/// One value of one kind of setting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Setting {
    Transform(Option<Transform>),
    Alpha(f64),
    L1Ratio(f64),
    Winsorise(f64),
    MaxDepth(usize),
    MinRows(usize),
    ColumnsPerSplit(f64),
    MaxLeaves(usize),
    LearningRate(f64),
    RowShare(f64),
    ColumnShare(f64),
    Lambda(f64),
}

/// Kinds of settings in the order in which they are tried, each with its values; the options' own come first anyway.
pub(super) fn kinds(search: Search, family: Family) -> Vec<Vec<Setting>> {
    use Setting::{
        Alpha, ColumnShare, ColumnsPerSplit, L1Ratio, Lambda, LearningRate, MaxDepth, MaxLeaves, MinRows,
        RowShare,
    };
    let transforms = || {
        let all = [None, Some(Transform::SignedLog1p), Some(Transform::Identity)];
        all.into_iter().map(Setting::Transform).collect::<Vec<_>>()
    };
    match (search, family) {
        (Search::None, _) | (_, Family::Ftrl) => Vec::new(),
        (Search::Quick, Family::Logistic) => vec![transforms(), vec![Alpha(10.0), Alpha(100.0)]],
        (Search::Quick, Family::Tree) => {
            vec![vec![MinRows(20), MinRows(150)], vec![MaxDepth(4), MaxDepth(9)]]
        }
        (Search::Quick, Family::Forest) => vec![vec![MinRows(15), MinRows(50)]],
        (Search::Quick, Family::Boosted) => vec![vec![MaxLeaves(6)], vec![MinRows(100)]],
        (Search::Thorough, Family::Logistic) => vec![
            transforms(),
            vec![Setting::Winsorise(0.001), Setting::Winsorise(0.01)],
            vec![Alpha(0.1), Alpha(10.0), Alpha(30.0), Alpha(100.0), Alpha(300.0)],
            vec![L1Ratio(0.5), L1Ratio(1.0)],
        ],
        (Search::Thorough, Family::Tree) => vec![
            vec![MinRows(10), MinRows(20), MinRows(100), MinRows(200), MinRows(400)],
            vec![MaxDepth(3), MaxDepth(4), MaxDepth(5), MaxDepth(8), MaxDepth(12)],
        ],
        (Search::Thorough, Family::Forest) => vec![
            vec![MinRows(2), MinRows(15), MinRows(50), MinRows(100)],
            vec![ColumnsPerSplit(0.3), ColumnsPerSplit(0.6)],
            vec![MaxDepth(8), MaxDepth(24)],
        ],
        (Search::Thorough, Family::Boosted) => vec![
            vec![MaxLeaves(4), MaxLeaves(6), MaxLeaves(31)],
            vec![MinRows(5), MinRows(100), MinRows(300)],
            vec![ColumnShare(0.4), ColumnShare(1.0)],
            vec![RowShare(0.5), RowShare(1.0)],
            vec![Lambda(10.0)],
            vec![LearningRate(0.02)],
        ],
    }
}

impl Setting {
    /// The options with this setting; `None` when they have it already or the family does not know it.
    pub(super) fn applied(self, family: Family, options: &Options) -> Option<Options> {
        let mut changed = options.clone();
        match (self, family) {
            (Self::Transform(transform), Family::Logistic) => changed.default_transform = transform,
            (Self::Alpha(alpha), Family::Logistic) => changed.alpha = alpha,
            (Self::L1Ratio(ratio), Family::Logistic) => changed.l1_ratio = ratio,
            (Self::Winsorise(share), Family::Logistic) => changed.winsorise = share,
            (Self::MaxDepth(depth), Family::Tree) => changed.tree.max_depth = depth,
            (Self::MaxDepth(depth), Family::Forest) => changed.forest.max_depth = depth,
            (Self::MinRows(rows), Family::Tree) => changed.tree.min_rows = rows,
            (Self::MinRows(rows), Family::Forest) => changed.forest.min_rows = rows,
            (Self::MinRows(rows), Family::Boosted) => changed.boosting.min_rows = rows,
            (Self::ColumnsPerSplit(share), Family::Forest) => changed.forest.columns_per_split = Some(share),
            (Self::MaxLeaves(leaves), Family::Boosted) => changed.boosting.max_leaves = leaves,
            (Self::LearningRate(rate), Family::Boosted) => changed.boosting.learning_rate = rate,
            (Self::RowShare(share), Family::Boosted) => changed.boosting.row_share = share,
            (Self::ColumnShare(share), Family::Boosted) => changed.boosting.column_share = share,
            (Self::Lambda(lambda), Family::Boosted) => changed.boosting.lambda = lambda,
            _ => return None,
        }
        (changed != *options).then_some(changed)
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transform(None) => formatter.write_str("transform by skewness"),
            Self::Transform(Some(transform)) => write!(formatter, "transform {}", transform.as_str()),
            Self::Alpha(alpha) => write!(formatter, "alpha {alpha}"),
            Self::L1Ratio(ratio) => write!(formatter, "l1_ratio {ratio}"),
            Self::Winsorise(share) => write!(formatter, "winsorise {share}"),
            Self::MaxDepth(depth) => write!(formatter, "max_depth {depth}"),
            Self::MinRows(rows) => write!(formatter, "min_rows {rows}"),
            Self::ColumnsPerSplit(share) => write!(formatter, "columns_per_split {share}"),
            Self::MaxLeaves(leaves) => write!(formatter, "max_leaves {leaves}"),
            Self::LearningRate(rate) => write!(formatter, "learning_rate {rate}"),
            Self::RowShare(share) => write!(formatter, "row_share {share}"),
            Self::ColumnShare(share) => write!(formatter, "column_share {share}"),
            Self::Lambda(lambda) => write!(formatter, "lambda {lambda}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use augur_domain::{ContentHash, Timestamp};

    use super::*;

    #[test]
    fn every_setting_is_one_of_its_family_and_the_number_of_fits_is_bounded() {
        let options = Options::new("churn", "gone", ContentHash::default(), Timestamp::MIN);
        for (search, most) in [(Search::None, 0), (Search::Quick, 7), (Search::Thorough, 19)] {
            for family in Family::ALL {
                let settings: Vec<Setting> = kinds(search, family).into_iter().flatten().collect();
                assert!(settings.len() <= most, "{search:?} {family:?}");
                for setting in settings {
                    let own = matches!(setting, Setting::Transform(Some(Transform::SignedLog1p)));
                    assert_eq!(setting.applied(family, &options).is_none(), own, "{setting} of {family:?}");
                }
            }
        }
    }
}
