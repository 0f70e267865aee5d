//! How the two arms of a canary compare: counts as decisions come, looks at fixed counts, and what a look says.
//!
//! Fed by the serving process as well as from the log. Not here: which users are of which arm (`augur_domain::canary`), or
//! what follows from a verdict (`canaries`).

use augur_domain::canary::Arm;
use augur_domain::decision::Rung;
use augur_domain::{DecisionRecord, ModelRef, math};
use augur_models::registry::{Canary, Promotion};
use serde::{Deserialize, Serialize};

use crate::config;

/// Fewer decisions of the challenger say nothing. The first look; each other is at twice the decisions of the one before.
pub(crate) const FIRST_LOOK: u64 = 100;
/// The gates share out the probability of a false alarm.
const GATES: f64 = 3.0;

/// What was decided in one arm, at the present share.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ArmFigures {
    /// Decisions.
    pub decisions: u64,
    /// Of them without a score of the arm's version.
    pub unscored: u64,
    /// Of them worse than the best rung of the fallback ladder.
    pub fallbacks: u64,
    /// Of them slower than `canary.slow_us`.
    pub slow: u64,
    /// Mean score; 0 without any.
    pub mean_score: f64,
    /// Standard deviation of the scores.
    pub score_deviation: f64,
}

/// One gate at the last look.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CanaryGate {
    /// `unscored`, `fallbacks` or `slow`.
    pub gate: String,
    /// Share in the champion's arm.
    pub champion: f64,
    /// Share in the challenger's arm.
    pub challenger: f64,
    /// Probability of so many or more in the challenger's arm, were the arms alike; 1 when its share is not above.
    pub p_value: f64,
    /// Below which it trips at this look.
    pub level: f64,
    /// Whether it tripped.
    pub tripped: bool,
}

/// What has come of a canary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The challenger is worse; with the gates that say so.
    Worse(String),
    /// Its declared time and decisions are over, and no gate tripped.
    Passed(String),
}

/// The counts of one canary at its present share.
#[derive(Debug)]
pub(crate) struct Arms {
    canary: Canary,
    settings: config::Canary,
    champion: Tally,
    challenger: Tally,
    looks: i32,
    next_look: u64,
    gates: Vec<CanaryGate>,
    /// Whether that was told.
    passed: bool,
}

#[derive(Debug, Default)]
struct Tally {
    figures: ArmFigures,
    scored: u64,
    sum: f64,
    squares: f64,
}

impl Arms {
    pub(crate) fn new(canary: Canary, settings: config::Canary) -> Self {
        Self {
            canary,
            settings,
            champion: Tally::default(),
            challenger: Tally::default(),
            looks: 0,
            next_look: FIRST_LOOK,
            gates: Vec::new(),
            passed: false,
        }
    }

    /// Counts a decision, if it is of this canary and share, and says what has come of the canary by now. A gate that
    /// tripped once stays so.
    pub(crate) fn take(&mut self, record: &DecisionRecord) -> Option<Verdict> {
        let Canary { salt, share_ppm, .. } = &self.canary;
        let ours = |of: &&augur_domain::canary::CanaryArm| of.salt == *salt && of.share_ppm == *share_ppm;
        let arm = record.canary.as_ref().filter(ours)?.arm;
        let slow_us = self.settings.slow_us;
        match arm {
            Arm::Champion => self.champion.take(record, &self.canary.champion, slow_us),
            Arm::Challenger => self.challenger.take(record, &self.canary.challenger, slow_us),
        }
        if self.worse() {
            return None;
        }
        let passes = !self.passed && self.may_pass(record);
        let doubled = self.challenger.figures.decisions >= self.next_look;
        if !doubled && !passes {
            return None;
        }
        if doubled {
            self.next_look = self.next_look.saturating_mul(2);
        }
        self.look();
        if self.worse() {
            return Some(Verdict::Worse(self.reason()));
        }
        self.passed |= passes;
        let decisions = self.challenger.figures.decisions;
        passes.then(|| {
            Verdict::Passed(format!("its time is over, and no gate tripped in {decisions} decisions"))
        })
    }

    /// Whether a gate tripped.
    pub(crate) fn worse(&self) -> bool {
        self.gates.iter().any(|gate| gate.tripped)
    }

    /// The champion's figures and the challenger's.
    pub(crate) fn figures(&self) -> (ArmFigures, ArmFigures) {
        (self.champion.figures(), self.challenger.figures())
    }

    /// The gates at the last look; none before the first.
    pub(crate) fn gates(&self) -> &[CanaryGate] {
        &self.gates
    }

    fn may_pass(&self, record: &DecisionRecord) -> bool {
        self.canary.promotion.is_some_and(|promotion| {
            let decisions = self.challenger.figures.decisions;
            decisions >= promotion.min_decisions.max(FIRST_LOOK)
                && record.inputs.now >= self.canary.at.plus_millis(promotion.after_ms)
        })
    }

    fn look(&mut self) {
        self.gates = gates(&self.champion.figures, &self.challenger.figures, self.looks, &self.settings);
        self.looks = self.looks.saturating_add(1);
    }

    fn reason(&self) -> String {
        let tripped = self.gates.iter().filter(|gate| gate.tripped);
        let told = tripped.map(|gate| {
            format!(
                "{} {:.4} against {:.4}, p {:.1e}",
                gate.gate, gate.challenger, gate.champion, gate.p_value
            )
        });
        format!("worse than the champion: {}", told.collect::<Vec<_>>().join("; "))
    }
}

impl Tally {
    fn take(&mut self, record: &DecisionRecord, version: &ModelRef, slow_us: u32) {
        let decision = &record.decision;
        self.figures.decisions += 1;
        self.figures.fallbacks += u64::from(decision.rung != Rung::Champion);
        self.figures.slow += u64::from(record.observed.decide_us > slow_us);
        let mut scores = decision.scores.iter();
        let outcome = scores.find(|outcome| outcome.model.as_ref() == Some(version));
        match outcome.and_then(|outcome| outcome.score) {
            Some(score) => {
                self.scored += 1;
                self.sum += score.calibrated;
                self.squares += score.calibrated * score.calibrated;
            }
            None => self.figures.unscored += 1,
        }
    }

    fn figures(&self) -> ArmFigures {
        let scored = (self.scored as f64).max(1.0);
        let mean_score = self.sum / scored;
        let score_deviation = math::sqrt((self.squares / scored - mean_score * mean_score).max(0.0));
        ArmFigures { mean_score, score_deviation, ..self.figures.clone() }
    }
}

/// What one share counts in an arm.
type Count = fn(&ArmFigures) -> u64;

/// The gates, by name.
const COUNTS: [(&str, Count); 3] =
    [("unscored", |arm| arm.unscored), ("fallbacks", |arm| arm.fallbacks), ("slow", |arm| arm.slow)];

/// Fisher's exact test per gate, one-sided, at the look with this number from 0. The k-th of all looks spends a half to the
/// k-th of the false alarms allowed, so that all of them together, and all gates, stay within.
fn gates(
    champion: &ArmFigures,
    challenger: &ArmFigures,
    look: i32,
    settings: &config::Canary,
) -> Vec<CanaryGate> {
    let level = settings.false_alarm / GATES / math::exp2(f64::from(look) + 1.0);
    let share = |count: u64, of: u64| if of == 0 { 0.0 } else { count as f64 / of as f64 };
    let gate = |(gate, count): (&'static str, Count)| {
        let (before, now) = (count(champion), count(challenger));
        let (of_champion, of_challenger) =
            (share(before, champion.decisions), share(now, challenger.decisions));
        let above = of_challenger > of_champion && champion.decisions > 0;
        let p_value = if above { fisher(now, challenger.decisions, before, champion.decisions) } else { 1.0 };
        CanaryGate {
            gate: gate.to_owned(),
            champion: of_champion,
            challenger: of_challenger,
            p_value,
            level,
            tripped: p_value < level && of_challenger - of_champion >= settings.margin,
        }
    };
    COUNTS.into_iter().map(gate).collect()
}

/// Probability that of `seen + other` marked decisions at least `seen` fall among `decisions`, drawn from both arms
/// without regard to the arm (R. A. Fisher, Statistical Methods for Research Workers, 1934): the hypergeometric tail. From
/// above the mean on its terms fall.
fn fisher(seen: u64, decisions: u64, other: u64, other_decisions: u64) -> f64 {
    let marked = seen + other;
    let all = ln_choose(decisions + other_decisions, marked);
    let ln_probability =
        |k: u64| ln_choose(decisions, k) + ln_choose(other_decisions, marked.saturating_sub(k)) - all;
    let mut tail = 0.0;
    for k in seen.max(marked.saturating_sub(other_decisions))..=marked.min(decisions) {
        let term = math::exp(ln_probability(k));
        tail += term;
        // What is far below the first terms adds nothing.
        if term < tail * 1e-12 {
            break;
        }
    }
    f64::min(tail, 1.0)
}

/// The logarithm of the number of ways to choose `k` of `n`, which are at least as many.
fn ln_choose(n: u64, k: u64) -> f64 {
    ln_factorial(n) - ln_factorial(k) - ln_factorial(n.saturating_sub(k))
}

/// Products below 16; Stirling's series from there on, exact to 1e-10.
fn ln_factorial(n: u64) -> f64 {
    if n < 16 {
        return (2..=n).fold(0.0, |sum, factor| sum + math::ln(factor as f64));
    }
    let x = n as f64;
    let inverse = 1.0 / x;
    let square = inverse * inverse;
    let series = inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square / 1260.0));
    x * math::ln(x) - x + 0.5 * math::ln(2.0 * std::f64::consts::PI * x) + series
}

/// How a canary stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CanaryReport {
    /// The model's name.
    pub model: String,
    /// The alias.
    pub alias: String,
    /// The version that it points at.
    pub champion_version: u32,
    /// The version on trial.
    pub version: u32,
    /// Share of users, in parts per million.
    pub share_ppm: u32,
    /// When this share began, in milliseconds since the epoch.
    pub since_unix_ms: i64,
    /// What promotes it by itself.
    pub promotion: Option<Promotion>,
    /// The champion's arm at this share.
    pub champion: ArmFigures,
    /// The challenger's arm at this share.
    pub challenger: ArmFigures,
    /// The gates at the last look; none before the first.
    pub gates: Vec<CanaryGate>,
    /// Decisions of the challenger at which the next look is.
    pub next_look: u64,
    /// Whether a gate tripped.
    pub worse: bool,
}

impl Arms {
    pub(crate) fn report(&self) -> CanaryReport {
        let (champion, challenger) = self.figures();
        let canary = &self.canary;
        CanaryReport {
            model: canary.challenger.name.to_string(),
            alias: canary.alias.clone(),
            champion_version: canary.champion.version,
            version: canary.challenger.version,
            share_ppm: canary.share_ppm,
            since_unix_ms: canary.at.unix_ms(),
            promotion: canary.promotion,
            champion,
            challenger,
            gates: self.gates().to_vec(),
            next_look: self.next_look,
            worse: self.worse(),
        }
    }
}

#[cfg(test)]
mod tests;
