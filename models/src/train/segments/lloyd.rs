//! k-means on standardised rows: centres seeded apart from each other (k-means++, Arthur and Vassilvitskii 2007), then
//! moved to the means of their rows until no row changes its centre (Lloyd 1982).
//!
//! Of our own rather than `linfa-clustering`, whose means count the centre of the round before as one row more, and whose
//! draws come from a generator that is not pinned. Not here: how rows are standardised, or which number of centres is best.

use augur_domain::rng::Rng;

use crate::scorer::{nearest, squared_distance};
use crate::train::design::Matrix;

/// Most rounds of one fit.
pub(super) const MAX_ROUNDS: usize = 100;

/// Centres and which rows are theirs.
#[derive(Debug, Clone)]
pub(super) struct Fit {
    pub(super) centroids: Vec<Vec<f64>>,
    /// Per row, the index of its centre.
    pub(super) owners: Vec<usize>,
    /// Sum of the squared distances of the rows to their centres.
    pub(super) inertia: f64,
    pub(super) rounds: usize,
    pub(super) converged: bool,
}

/// `count` rows drawn one after another, each with a chance that grows with the square of its distance to those drawn
/// before; fewer when there are not as many different rows.
pub(super) fn seeds(matrix: &Matrix, count: usize, rng: &mut Rng) -> Vec<Vec<f64>> {
    let rows: Vec<&[f64]> = matrix.rows().collect();
    let Some(first) = rows.get(usize::try_from(rng.below(rows.len() as u64)).unwrap_or(0)) else {
        return Vec::new();
    };
    let mut seeds = vec![first.to_vec()];
    let mut distances: Vec<f64> = rows.iter().map(|row| squared_distance(row, first)).collect();
    while seeds.len() < count {
        let total = distances.iter().fold(0.0, |sum, distance| sum + distance);
        let mut left = rng.next_f64() * total;
        // Should rounding leave something over, the last row that is no centre yet is taken.
        let mut drawn = None;
        for (row, distance) in rows.iter().zip(&distances).filter(|(_, distance)| **distance > 0.0) {
            drawn = Some(row);
            left -= distance;
            if left < 0.0 {
                break;
            }
        }
        let Some(drawn) = drawn else { break };
        for (distance, row) in distances.iter_mut().zip(&rows) {
            *distance = distance.min(squared_distance(row, drawn));
        }
        seeds.push(drawn.to_vec());
    }
    seeds
}

/// Lloyd's rounds from `centroids` on, at most [`MAX_ROUNDS`]. A centre that lost all its rows moves to the row farthest
/// from its own centre.
pub(super) fn settle(matrix: &Matrix, mut centroids: Vec<Vec<f64>>) -> Fit {
    let mut owners = Vec::new();
    let mut rounds = 0;
    loop {
        let found: Vec<(usize, f64)> =
            matrix.rows().map(|row| nearest(row, centroids.iter().map(Vec::as_slice))).collect();
        let now: Vec<usize> = found.iter().map(|(owner, _)| *owner).collect();
        let converged = now == owners;
        if converged || rounds == MAX_ROUNDS {
            let inertia = found.iter().fold(0.0, |sum, (_, distance)| sum + distance);
            return Fit { centroids, owners: now, inertia, rounds, converged };
        }
        rounds += 1;
        owners = now;
        centroids = means(matrix, &found, &centroids);
    }
}

fn means(matrix: &Matrix, found: &[(usize, f64)], before: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let mut sums = vec![vec![0.0; matrix.width]; before.len()];
    let mut counts = vec![0_u64; before.len()];
    for (row, (owner, _)) in matrix.rows().zip(found) {
        if let (Some(sum), Some(count)) = (sums.get_mut(*owner), counts.get_mut(*owner)) {
            sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
            *count += 1;
        }
    }
    let mut farthest: Vec<usize> = Vec::new();
    for (sum, count) in sums.iter_mut().zip(&counts) {
        if *count > 0 {
            sum.iter_mut().for_each(|sum| *sum /= *count as f64);
            continue;
        }
        let rows = found.iter().enumerate().filter(|(row, _)| !farthest.contains(row));
        let away = rows.reduce(|best, other| if other.1.1 > best.1.1 { other } else { best });
        if let Some((place, row)) = away.and_then(|(place, _)| Some((place, matrix.rows().nth(place)?))) {
            farthest.push(place);
            sum.copy_from_slice(row);
        }
    }
    sums
}

/// The simplified silhouette (Hruschka, de Castro and Campello 2004), -1 to 1: how much nearer rows are to their own
/// centre than to the next one, on average over at most `most` rows that lie evenly through the table.
pub(super) fn silhouette(matrix: &Matrix, centroids: &[Vec<f64>], most: usize) -> f64 {
    let count = matrix.values.len() / matrix.width.max(1);
    let stride = count.div_ceil(most.max(1)).max(1);
    let (mut sum, mut rows) = (0.0, 0_u64);
    for row in matrix.rows().step_by(stride) {
        let (mut own, mut next) = (f64::INFINITY, f64::INFINITY);
        for distance in centroids.iter().map(|centroid| squared_distance(row, centroid)) {
            if distance < own {
                (own, next) = (distance, own);
            } else if distance < next {
                next = distance;
            }
        }
        rows += 1;
        if next > 0.0 && next.is_finite() {
            let (own, next) = (augur_domain::math::sqrt(own), augur_domain::math::sqrt(next));
            sum += (next - own) / next;
        }
    }
    sum / rows.max(1) as f64
}
