//! A report in words.
//!
//! Not here: the same for machines (`serde` on the report).

use std::fmt;

use super::interval::Interval;
use super::report::{ArmReport, Comparison, Differences, Report};

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.confidence * 100.0;
        writeln!(formatter, "{} units in {} arms; intervals at {percent} %", self.units, self.arms.len())?;
        let width = self.arms.iter().map(|arm| arm.arm.chars().count()).max().unwrap_or_default().max(4);
        for arm in &self.arms {
            write_arm(formatter, arm, width)?;
        }
        self.write_ratio(formatter)?;
        if self.units_of_several_arms > 0 {
            let moved = self.units_of_several_arms;
            writeln!(formatter, "  {moved} units were met in several arms; each counts in its first one")?;
        }
        for comparison in &self.comparisons {
            write_comparison(formatter, comparison)?;
        }
        if self.comparisons.is_empty() {
            writeln!(formatter, "one arm only: there is nothing to compare it with")?;
        } else {
            writeln!(
                formatter,
                "`any time` holds however often this report is read (narrowest at {} units); `once` only at a time fixed beforehand",
                self.tuned_for
            )?;
        }
        Ok(())
    }
}

impl Report {
    fn write_ratio(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(check) = &self.sample_ratio else { return Ok(()) };
        let declared = if self.weights_given {
            "the declared weights"
        } else {
            "equal shares, as no weights were given"
        };
        let p = probability(check.p_value);
        if check.mismatch {
            writeln!(
                formatter,
                "  SAMPLE RATIO MISMATCH (p {p}) against {declared}: the arms were not filled as declared.\n  \
                 Do not believe the differences below before you know why: bots, redirects, lost logs, late enrolment."
            )
        } else {
            writeln!(formatter, "  sample ratio: as declared (p {p}) against {declared}")
        }
    }
}

fn write_arm(formatter: &mut fmt::Formatter<'_>, arm: &ArmReport, width: usize) -> fmt::Result {
    let name = &arm.arm;
    write!(
        formatter,
        "  {name:<width$}  {:>10} units  {:>8} converted, {} {}",
        arm.units,
        arm.conversions,
        share(arm.conversion_rate),
        shares(arm.conversion_interval),
    )?;
    match arm.value_deviation {
        Some(deviation) if deviation > 0.0 => {
            writeln!(formatter, "  value {} a unit, deviation {}", figure(arm.value_mean), figure(deviation))
        }
        _ => writeln!(formatter),
    }
}

fn write_comparison(formatter: &mut fmt::Formatter<'_>, comparison: &Comparison) -> fmt::Result {
    writeln!(formatter, "{} against {}", comparison.arm, comparison.control)?;
    write_differences(formatter, "conversion", &comparison.conversion, points, spans)?;
    match &comparison.value {
        Some(value) => write_differences(formatter, "value", value, figure, figures),
        None => Ok(()),
    }
}

fn write_differences(
    formatter: &mut fmt::Formatter<'_>,
    what: &str,
    found: &Differences,
    number: impl Fn(f64) -> String,
    span: impl Fn(Interval) -> String,
) -> fmt::Result {
    let relative =
        found.relative.map(|relative| format!(" ({:+.1} %)", relative * 100.0)).unwrap_or_default();
    writeln!(formatter, "  {what:<10} {}{relative}", number(found.difference))?;
    match found.always {
        Some(always) => {
            let verdict = verdict(always.interval);
            let (span, p) = (span(always.interval), probability(always.p_value));
            writeln!(formatter, "    any time   {span}  p {p}  {verdict}")?;
        }
        None => writeln!(formatter, "    any time   too few yet, or nothing varies")?,
    }
    if let (Some(once), p) = (found.once, found.p_value_once) {
        let p = p.map(|p| format!("  p {}", probability(p))).unwrap_or_default();
        writeln!(formatter, "    once       {}{p}", span(once))?;
    }
    let Some(adjusted) = &found.adjusted else { return Ok(()) };
    writeln!(
        formatter,
        "    with CUPED {} {}, variance {:.1} % smaller, {} units",
        number(adjusted.once.difference),
        span(adjusted.once.interval),
        adjusted.variance_reduction * 100.0,
        adjusted.units,
    )?;
    match adjusted.always {
        Some(always) => {
            let (verdict, p) = (verdict(always.interval), probability(always.p_value));
            writeln!(formatter, "      any time {}  p {p}  {verdict}", span(always.interval))
        }
        None => Ok(()),
    }
}

const fn verdict(interval: Interval) -> &'static str {
    if interval.low > 0.0 {
        "better"
    } else if interval.high < 0.0 {
        "worse"
    } else {
        "not told apart yet"
    }
}

fn share(rate: f64) -> String {
    format!("{:.2} %", rate * 100.0)
}

fn shares(interval: Interval) -> String {
    format!("[{:.2}, {:.2}]", interval.low * 100.0, interval.high * 100.0)
}

fn points(difference: f64) -> String {
    format!("{:+.3} points", difference * 100.0)
}

fn spans(interval: Interval) -> String {
    format!("[{:+.3}, {:+.3}]", interval.low * 100.0, interval.high * 100.0)
}

fn figure(number: f64) -> String {
    format!("{number:.4}")
}

fn figures(interval: Interval) -> String {
    format!("[{:.4}, {:.4}]", interval.low, interval.high)
}

fn probability(p: f64) -> String {
    if p < 0.0001 { "< 0.0001".to_owned() } else { format!("{p:.4}") }
}
