//! Rows counted by distinct score: what every measure is computed from, so that ties are one thing and the order of rows
//! never shows.
//!
//! Not here: the measures.

/// Rows with one score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TieGroup {
    /// The score.
    pub score: f64,
    /// Rows that have it.
    pub rows: u64,
    /// Of them positive.
    pub positives: u64,
}

impl TieGroup {
    /// Rows that are not positive.
    pub const fn negatives(&self) -> u64 {
        self.rows - self.positives
    }
}

/// Rows grouped by score, highest first. A group may have lost its rows to a resample.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Counts {
    groups: Vec<TieGroup>,
    rows: u64,
    positives: u64,
}

impl Counts {
    /// Groups `(score, label)` pairs with finite scores, in any order.
    pub fn of(pairs: &[(f64, bool)]) -> Self {
        let mut sorted = pairs.to_vec();
        sorted.sort_unstable_by(|left, right| right.0.total_cmp(&left.0));
        let mut groups: Vec<TieGroup> = Vec::new();
        for (score, label) in sorted {
            match groups.last_mut() {
                // `<=` rather than bits: -0 and 0 tie.
                Some(last) if last.score <= score => {
                    last.rows += 1;
                    last.positives += u64::from(label);
                }
                _ => groups.push(TieGroup { score, rows: 1, positives: u64::from(label) }),
            }
        }
        Self::from_groups(groups)
    }

    /// Takes groups that are in order already: by score, highest first, each score once.
    pub(super) fn from_groups(groups: Vec<TieGroup>) -> Self {
        let rows = groups.iter().map(|group| group.rows).sum();
        let positives = groups.iter().map(|group| group.positives).sum();
        Self { groups, rows, positives }
    }

    /// The groups, by score, highest first.
    pub fn groups(&self) -> &[TieGroup] {
        &self.groups
    }

    /// All rows.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// All positive rows.
    pub const fn positives(&self) -> u64 {
        self.positives
    }

    /// All rows that are not positive.
    pub const fn negatives(&self) -> u64 {
        self.rows - self.positives
    }

    /// Forgets all rows and keeps the scores.
    pub(super) fn clear(&mut self) {
        for group in &mut self.groups {
            (group.rows, group.positives) = (0, 0);
        }
        (self.rows, self.positives) = (0, 0);
    }

    /// Adds rows to the group at `place`.
    pub(super) fn add(&mut self, place: usize, rows: u64, positives: u64) {
        if let Some(group) = self.groups.get_mut(place) {
            group.rows += rows;
            group.positives += positives;
            self.rows += rows;
            self.positives += positives;
        }
    }

    /// The place of the group with `score`.
    pub(super) fn place(&self, score: f64) -> usize {
        self.groups.partition_point(|group| group.score > score)
    }
}
