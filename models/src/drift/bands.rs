//! How far two samples of one distribution lie apart by chance: the bands that a shift must leave before it counts.
//!
//! Not here: what is compared (`drift`).

use augur_domain::math;

/// The PSI that two samples of one distribution exceed with probability `alpha`: `(1/n + 1/m)` times a chi-square of
/// `bins - 1` degrees of freedom, as B. Yurdakul and J. Naranjo, "Statistical properties of the population stability
/// index", Journal of Risk Model Validation 14(4), 2020. Infinite when either sample is empty.
pub fn psi_band(rows: u64, reference_rows: u64, bins: usize, alpha: f64) -> f64 {
    if rows == 0 || reference_rows == 0 {
        return f64::INFINITY;
    }
    if bins < 2 {
        return 0.0;
    }
    (1.0 / rows as f64 + 1.0 / reference_rows as f64) * chi_square_quantile(bins - 1, alpha)
}

/// The Kolmogorov-Smirnov distance that two samples of one distribution exceed with probability `alpha`, at most:
/// `sqrt(-ln(alpha / 2) / 2 * (1/n + 1/m))` (N. Smirnov, Annals of Mathematical Statistics 19(2), 1948). Seen at bin
/// borders only, the distance is smaller, never larger. Infinite when either sample is empty.
pub fn ks_band(rows: u64, reference_rows: u64, alpha: f64) -> f64 {
    if rows == 0 || reference_rows == 0 {
        return f64::INFINITY;
    }
    math::sqrt(-math::ln(alpha / 2.0) / 2.0 * (1.0 / rows as f64 + 1.0 / reference_rows as f64))
}

/// The difference of two shares that two samples of one distribution exceed, in either direction, with probability
/// `alpha`: the pooled two-proportion z-test. Infinite when either sample is empty.
pub fn share_band(share: f64, rows: u64, reference_share: f64, reference_rows: u64, alpha: f64) -> f64 {
    if rows == 0 || reference_rows == 0 {
        return f64::INFINITY;
    }
    let (n, m) = (rows as f64, reference_rows as f64);
    let pooled = (share * n + reference_share * m) / (n + m);
    normal_quantile(alpha / 2.0) * math::sqrt((pooled * (1.0 - pooled)).max(0.0) * (1.0 / n + 1.0 / m))
}

/// What a chi-square exceeds with probability `alpha`, by E. Wilson and M. Hilferty (1931): within 1 % from three
/// degrees of freedom on, and a little too wide below.
pub fn chi_square_quantile(degrees: usize, alpha: f64) -> f64 {
    let spread = 2.0 / (9.0 * degrees as f64);
    let root = 1.0 - spread + normal_quantile(alpha) * math::sqrt(spread);
    degrees as f64 * root * root * root
}

/// What a standard normal variable exceeds with probability `alpha`, 0 < alpha < 1: P. Acklam's rational approximation,
/// relative error below 1.2e-9.
pub fn normal_quantile(alpha: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969_683_028_665_376e1,
        2.209_460_984_245_205e2,
        -2.759_285_104_469_687e2,
        1.383_577_518_672_69e2,
        -3.066_479_806_614_716e1,
        2.506_628_277_459_239,
    ];
    const B: [f64; 6] = [
        -5.447_609_879_822_406e1,
        1.615_858_368_580_409e2,
        -1.556_989_798_598_866e2,
        6.680_131_188_771_972e1,
        -1.328_068_155_288_572e1,
        1.0,
    ];
    const C: [f64; 6] = [
        -7.784_894_002_430_293e-3,
        -3.223_964_580_411_365e-1,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 5] = [
        7.784_695_709_041_462e-3,
        3.224_671_290_700_398e-1,
        2.445_134_137_142_996,
        3.754_408_661_907_416,
        1.0,
    ];
    const TAIL: f64 = 0.024_25;
    let alpha = alpha.clamp(1e-300, 1.0 - 1e-16);
    let horner = |terms: &[f64], x: f64| terms.iter().fold(0.0, |sum, term| sum * x + term);
    let tail = |share: f64| {
        let q = math::sqrt(-2.0 * math::ln(share));
        horner(&C, q) / horner(&D, q)
    };
    if alpha < TAIL {
        // The approximation is of the lower tail; the upper one mirrors it.
        -tail(alpha)
    } else if alpha > 1.0 - TAIL {
        tail(1.0 - alpha)
    } else {
        let q = 0.5 - alpha;
        let r = q * q;
        horner(&A, r) * q / horner(&B, r)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64, tolerance: f64) {
        assert!((found - expected).abs() <= tolerance, "{found} is not {expected}");
    }

    #[test]
    fn quantiles_match_published_tables() {
        for (alpha, expected) in [
            (0.5, 0.0),
            (0.025, 1.959_963_984_540_054),
            (0.001, 3.090_232_306_167_813),
            (0.975, -1.959_963_984_540_054),
            (0.999_9, -3.719_016_485_455_709),
        ] {
            close(normal_quantile(alpha), expected, 1e-8);
        }
        // NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.4.
        for (degrees, alpha, expected) in
            [(9, 0.05, 16.919), (9, 0.01, 21.666), (19, 0.001, 43.820), (4, 0.01, 13.277)]
        {
            close(chi_square_quantile(degrees, alpha), expected, 0.01 * expected);
        }
        close(ks_band(100, 100, 0.05), 0.192_06, 1e-4);
    }

    #[test]
    fn empty_samples_prove_nothing() {
        assert_eq!(psi_band(0, 10, 10, 0.01), f64::INFINITY);
        assert_eq!(ks_band(10, 0, 0.01), f64::INFINITY);
        assert_eq!(share_band(0.0, 0, 0.5, 10, 0.01), f64::INFINITY);
        assert_eq!(psi_band(10, 10, 1, 0.01), 0.0);
    }
}
