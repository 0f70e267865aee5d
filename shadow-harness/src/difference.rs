//! How two answers to the same question differ, field by field, in the order in which a decision is made.
//!
//! Not here: whether they differ at all. That is a comparison of bytes (`check`).

use std::fmt;
use std::sync::Arc;

use augur_domain::decision::{CandidateOutcome, Score, ScoreOutcome};
use augur_domain::{Decision, Reason, ReasonCode, Timestamp};
use serde::Serialize;

/// Most fields listed of one decision.
pub const MAX_FIELDS: usize = 16;

/// The step of a decision at which a difference shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// A model's margin or raw probability, or which model was asked.
    Score,
    /// A model's calibrated probability, from the same margin.
    Calibration,
    /// Eligibility, or an allow, deny or force rule.
    Rule,
    /// An action's value.
    Value,
    /// A frequency cap, or when it ends.
    Cap,
    /// Which action was chosen, and how probably.
    Arbitration,
    /// What comes with the action.
    Payload,
    /// The reasons given.
    Explanation,
    /// Bytes that no field accounts for.
    Encoding,
}

impl Stage {
    /// The word used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Score => "score",
            Self::Calibration => "calibration",
            Self::Rule => "rule",
            Self::Value => "value",
            Self::Cap => "cap",
            Self::Arbitration => "arbitration",
            Self::Payload => "payload",
            Self::Explanation => "explanation",
            Self::Encoding => "encoding",
        }
    }
}

/// One field with its two values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldDifference {
    /// The step it belongs to.
    pub stage: Stage,
    /// Its path, e.g. `scores.churn.margin`.
    pub field: String,
    /// As logged; numbers with their bits in hexadecimal.
    pub logged: String,
    /// As decided again.
    pub replayed: String,
}

/// One decision that came out differently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Its position in the log.
    pub sequence: u64,
    /// The segment.
    pub file: String,
    /// The byte at which its frame begins.
    pub offset: u64,
    /// Its id.
    pub decision_id: String,
    /// Where it was asked for.
    pub decision_point: String,
    /// The policy that decided.
    pub policy: String,
    /// What differs, earliest step first, at most [`MAX_FIELDS`].
    pub fields: Vec<FieldDifference>,
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "record {} ({} byte {}), decision {} at `{}`, policy {}",
            self.sequence,
            self.file,
            self.offset,
            self.decision_id,
            self.decision_point,
            self.policy.get(..12).unwrap_or(&self.policy),
        )?;
        for field in &self.fields {
            write!(
                formatter,
                "\n    {}: {}: logged {}, replayed {}",
                field.stage.as_str(),
                field.field,
                field.logged,
                field.replayed
            )?;
        }
        Ok(())
    }
}

/// The fields in which `replayed` differs from `logged`, earliest step first.
pub(crate) fn compare(logged: &Decision, replayed: &Decision) -> Vec<FieldDifference> {
    let mut found = Found::default();
    found.scores(&logged.scores, &replayed.scores);
    found.candidates(&logged.candidates, &replayed.candidates);
    found.outcome(logged, replayed);
    found.reasons(&logged.reasons, &replayed.reasons);
    // Stable: within a step the order of declaration stays.
    found.fields.sort_by_key(|field| field.stage);
    if found.fields.is_empty() {
        found.field(Stage::Encoding, || "decision".to_owned(), "other bytes", "equal fields");
    }
    found.fields.truncate(MAX_FIELDS);
    found.fields
}

#[derive(Default)]
struct Found {
    fields: Vec<FieldDifference>,
}

impl Found {
    fn field(
        &mut self,
        stage: Stage,
        field: impl FnOnce() -> String,
        logged: impl Into<String>,
        replayed: impl Into<String>,
    ) {
        let (logged, replayed) = (logged.into(), replayed.into());
        if logged != replayed {
            self.fields.push(FieldDifference { stage, field: field(), logged, replayed });
        }
    }

    fn scores(&mut self, logged: &[ScoreOutcome], replayed: &[ScoreOutcome]) {
        let aliases = |scores: &[ScoreOutcome]| names(scores.iter().map(|score| &score.alias));
        self.field(Stage::Score, || "scores".to_owned(), aliases(logged), aliases(replayed));
        for (logged, replayed) in pairs(logged, replayed, |score| &score.alias) {
            let path = |part: &str| format!("scores.{}.{part}", logged.alias);
            let model = |outcome: &ScoreOutcome| {
                let model = outcome.model.as_ref();
                model
                    .map_or_else(none, |model| format!("{} {} {}", model.name, model.version, model.artifact))
            };
            self.field(Stage::Score, || path("model"), model(logged), model(replayed));
            let part =
                |outcome: &ScoreOutcome, part: fn(&Score) -> f64| number(outcome.score.as_ref().map(part));
            for (name, stage, get) in [
                ("margin", Stage::Score, (|score| score.margin) as fn(&Score) -> f64),
                ("raw", Stage::Score, |score| score.raw),
                ("calibrated", Stage::Calibration, |score| score.calibrated),
            ] {
                self.field(stage, || path(name), part(logged, get), part(replayed, get));
            }
        }
    }

    fn candidates(&mut self, logged: &[CandidateOutcome], replayed: &[CandidateOutcome]) {
        let actions = |list: &[CandidateOutcome]| names(list.iter().map(|candidate| &candidate.action));
        self.field(Stage::Rule, || "candidates".to_owned(), actions(logged), actions(replayed));
        for (logged, replayed) in pairs(logged, replayed, |candidate| &candidate.action) {
            let path = |part: &str| format!("candidates.{}.{part}", logged.action);
            let stage = stage_of(&logged.reason).min(stage_of(&replayed.reason));
            self.field(stage, || path("reason"), reason(&logged.reason), reason(&replayed.reason));
            self.field(Stage::Value, || path("value"), number(logged.value), number(replayed.value));
            let (until, again) = (instant(logged.next_eligible_at), instant(replayed.next_eligible_at));
            self.field(Stage::Cap, || path("next_eligible_at"), until, again);
            let (probability, again) = (number(Some(logged.probability)), number(Some(replayed.probability)));
            self.field(Stage::Arbitration, || path("probability"), probability, again);
        }
    }

    fn outcome(&mut self, logged: &Decision, replayed: &Decision) {
        let mut field = |stage, name: &str, logged: String, replayed: String| {
            self.field(stage, || name.to_owned(), logged, replayed);
        };
        let rung = |decision: &Decision| decision.rung.as_str().to_owned();
        field(Stage::Arbitration, "action", logged.action.to_string(), replayed.action.to_string());
        field(Stage::Arbitration, "rung", rung(logged), rung(replayed));
        field(Stage::Arbitration, "value", number(Some(logged.value)), number(Some(replayed.value)));
        let propensity = |decision: &Decision| number(Some(decision.propensity));
        field(Stage::Arbitration, "propensity", propensity(logged), propensity(replayed));
        field(Stage::Payload, "channel", logged.channel.to_string(), replayed.channel.to_string());
        field(Stage::Payload, "payload", logged.payload.to_string(), replayed.payload.to_string());
        let counts = |decision: &Decision| decision.counts_against_caps.to_string();
        field(Stage::Payload, "counts_against_caps", counts(logged), counts(replayed));
        field(Stage::Payload, "expires_at", instant(logged.expires_at), instant(replayed.expires_at));
    }

    fn reasons(&mut self, logged: &[Reason], replayed: &[Reason]) {
        let list = |reasons: &[Reason]| reasons.iter().map(reason).collect::<Vec<_>>().join(", ");
        self.field(Stage::Explanation, || "reasons".to_owned(), list(logged), list(replayed));
    }
}

/// The step that gives a candidate this reason.
const fn stage_of(reason: &Reason) -> Stage {
    match reason.code {
        ReasonCode::NotEligible
        | ReasonCode::MissingInput
        | ReasonCode::RuleDenied
        | ReasonCode::RuleNotAllowed
        | ReasonCode::RuleForced
        | ReasonCode::RuleBoosted => Stage::Rule,
        ReasonCode::ValueUnknown => Stage::Value,
        ReasonCode::FrequencyCap => Stage::Cap,
        _ => Stage::Arbitration,
    }
}

/// Items of both lists under the same name.
fn pairs<'a, T>(
    logged: &'a [T],
    replayed: &'a [T],
    name: fn(&T) -> &Arc<str>,
) -> impl Iterator<Item = (&'a T, &'a T)> {
    logged
        .iter()
        .filter_map(move |item| Some((item, replayed.iter().find(|other| name(other) == name(item))?)))
}

fn names<'a>(names: impl Iterator<Item = &'a Arc<str>>) -> String {
    names.map(|name| &**name).collect::<Vec<_>>().join(", ")
}

fn none() -> String {
    "none".to_owned()
}

/// A number with its bits: two that look alike may still differ.
fn number(number: Option<f64>) -> String {
    number.map_or_else(none, |number| format!("{number} [{:016x}]", number.to_bits()))
}

fn instant(instant: Option<Timestamp>) -> String {
    instant.map_or_else(none, |instant| instant.to_string())
}

fn reason(reason: &Reason) -> String {
    match &reason.detail {
        None => reason.code.to_string(),
        Some(detail) => format!("{}({detail})", reason.code),
    }
}

#[cfg(test)]
mod tests {
    use augur_domain::decision::Rung;

    use super::*;

    fn decision() -> Decision {
        let candidate = |action: &str| CandidateOutcome {
            action: Arc::from(action),
            value: Some(1.0),
            probability: 0.0,
            reason: Reason::new(ReasonCode::Outranked),
            next_eligible_at: None,
        };
        Decision {
            action: Arc::from("offer"),
            payload: Arc::from("{}"),
            channel: Arc::from("email"),
            counts_against_caps: false,
            value: 1.0,
            propensity: 1.0,
            rung: Rung::Champion,
            scores: vec![ScoreOutcome {
                alias: Arc::from("churn"),
                model: None,
                score: Some(Score { margin: 0.1, raw: 0.5, calibrated: 0.5 }),
            }],
            candidates: vec![candidate("offer"), candidate("none")],
            reasons: vec![Reason::new(ReasonCode::HighestValue)],
            expires_at: None,
            category: Arc::default(),
            holds_until: None,
            assignments: Vec::new(),
            shadow: Vec::new(),
        }
    }

    #[test]
    fn the_earliest_step_comes_first_and_numbers_show_their_bits() {
        let logged = decision();
        let mut replayed = decision();
        replayed.action = Arc::from("none");
        replayed.candidates[1].reason = Reason::with(ReasonCode::RuleDenied, Arc::from("VIP"));
        if let Some(score) = &mut replayed.scores[0].score {
            score.margin = 0.1 + f64::EPSILON / 8.0;
        }
        let fields = compare(&logged, &replayed);
        let stages: Vec<_> = fields.iter().map(|field| (field.stage, field.field.as_str())).collect();
        assert_eq!(
            stages,
            [
                (Stage::Score, "scores.churn.margin"),
                (Stage::Rule, "candidates.none.reason"),
                (Stage::Arbitration, "action")
            ]
        );
        assert_eq!(fields[0].logged, "0.1 [3fb999999999999a]");
        assert_eq!(fields[1].replayed, "RULE_DENIED(VIP)");
    }

    #[test]
    fn every_field_is_looked_at() {
        type Change = fn(&mut Decision);
        let changes: [(&str, Change); 18] = [
            ("action", |d| d.action = Arc::from("x")),
            ("payload", |d| d.payload = Arc::from("x")),
            ("channel", |d| d.channel = Arc::from("x")),
            ("counts_against_caps", |d| d.counts_against_caps = true),
            ("value", |d| d.value = -0.0),
            ("propensity", |d| d.propensity = 0.5),
            ("rung", |d| d.rung = Rung::RulesOnly),
            ("scores", |d| d.scores.clear()),
            ("scores.churn.calibrated", |d| d.scores[0].score.as_mut().unwrap().calibrated = 0.25),
            ("scores.churn.raw", |d| d.scores[0].score.as_mut().unwrap().raw = 0.25),
            ("scores.churn.margin", |d| d.scores[0].score.as_mut().unwrap().margin = 0.25),
            ("candidates", |d| drop(d.candidates.pop())),
            ("candidates.none.value", |d| d.candidates[1].value = None),
            ("candidates.none.probability", |d| d.candidates[1].probability = 1.0),
            ("candidates.none.reason", |d| d.candidates[1].reason = Reason::new(ReasonCode::NotEligible)),
            ("candidates.none.next_eligible_at", |d| {
                d.candidates[1].next_eligible_at = Some(Timestamp::from_unix_ms(5));
            }),
            ("reasons", |d| d.reasons.clear()),
            ("expires_at", |d| d.expires_at = Some(Timestamp::from_unix_ms(5))),
        ];
        for (field, change) in changes {
            let mut replayed = decision();
            change(&mut replayed);
            let fields = compare(&decision(), &replayed);
            assert_eq!(fields.len(), 1, "{field}: {fields:?}");
            assert_eq!(fields[0].field, field);
        }
        let mut changed = decision();
        changed.scores[0].model =
            Some(augur_domain::ModelRef { name: Arc::from("m"), version: 1, artifact: Default::default() });
        assert_eq!(compare(&decision(), &changed)[0].field, "scores.churn.model");
        assert_eq!(compare(&decision(), &decision())[0].stage, Stage::Encoding);
    }
}
