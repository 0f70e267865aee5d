//! A policy in plain English: one sentence for each rule, made of what is evaluated and not of what was written.
//!
//! Not here: the words of expressions (`augur_expression`), or where sentences are shown.

use augur_domain::ValueType;
use augur_expression::{Expression, Slot};

use crate::names::Input;
use crate::rule::{Effect, Hit, Mode, RuleInfo, TableRow};
use crate::snapshot::{Candidate, PolicySnapshot};

impl PolicySnapshot {
    /// `rule` as a sentence, e.g. `if the number of purchases_30d is at least 5 then refuse discount_10
    /// (REGULARS_PAY_FULL)`.
    pub fn rule_in_english(&self, rule: &RuleInfo) -> String {
        let place = rule.points.as_ref().map_or_else(String::new, |points| {
            format!("at {}: ", listed(points.iter().map(|point| &**point), "and"))
        });
        let place = match &rule.row {
            None => place,
            Some(TableRow { table, hit, row }) => {
                let which = match hit {
                    Hit::First => ", of which the first that holds acts",
                    Hit::Priority => ", of which the one of highest priority acts",
                    Hit::Collect => "",
                };
                format!("row {row} of table {table}{which}: {place}")
            }
        };
        let condition = match &rule.when {
            Some(when) => self.in_english(when.expression()),
            None => "never".to_owned(),
        };
        format!("{place}if {condition} then {} ({}){}", deed(rule), rule.reason, limits(rule))
    }

    /// When the action called `action` may be given at `point`, and what it is worth there; `None` if the point does not
    /// offer it. E.g. `may be given if the request's cart_value is at least 40; is worth the score churn, or 0.5`.
    pub fn action_in_english(&self, point: &str, action: &str) -> Option<String> {
        let mut candidates = self.point(point)?.candidates.iter();
        let candidate = candidates.find(|candidate| *candidate.action.name == *action)?;
        let Candidate { action, value, eligible_when, .. } = candidate;
        let eligible = match eligible_when {
            Some(question) => format!("may be given if {}", self.in_english(question.expression())),
            None => "may always be given".to_owned(),
        };
        let worth = match value {
            Some(question) => {
                format!("{}, or {}", self.in_english(question.expression()), action.value_fallback)
            }
            None => action.value_fallback.to_string(),
        };
        Some(format!("{eligible}; is worth {worth}"))
    }

    /// An expression of this policy as an English clause.
    fn in_english(&self, expression: &Expression) -> String {
        expression.in_english(&|slot| self.name_in_english(slot))
    }

    fn name_in_english(&self, slot: Slot) -> String {
        let path = self.inputs.path(slot);
        let name = path.split_once('.').map_or(&*path, |(_, name)| name);
        match self.inputs.get(slot) {
            Some(Input::Feature(index, value_type)) => {
                let unit = self.features.features().get(*index).map_or("", |feature| &*feature.unit);
                match (value_type, unit) {
                    (ValueType::Number, "") => format!("the number of {name}"),
                    (ValueType::Number, unit) => format!("{name} in {unit}"),
                    _ => format!("the feature {name}"),
                }
            }
            Some(Input::Score(_)) => format!("the score {name}"),
            Some(Input::Segment(_)) => format!("the segment {name}"),
            Some(Input::Context(_)) => format!("the request's {name}"),
            Some(Input::Experiment(_)) => format!("the arm of {name}"),
            Some(Input::Trait(_)) => format!("the user's {name}"),
            Some(Input::TimeZone) => "the user's time zone".to_owned(),
            Some(Input::Now) | None => path,
        }
    }
}

/// What the rule does to its actions.
fn deed(rule: &RuleInfo) -> String {
    let named = |last_word| listed(rule.actions.iter().map(|action| &**action), last_word);
    match rule.effect {
        Effect::Allow => format!("leave nothing but {}", named("and")),
        Effect::Deny => format!("refuse {}", named("and")),
        Effect::Force if rule.actions.len() == 1 => format!("give {}", named("or")),
        Effect::Force => format!("give the best of {}", named("and")),
        Effect::Boost => {
            let times = format!("multiply the value of {} by {}", named("and"), rule.boost.factor);
            let add = |add: f64| format!("add {add} to the value of {}", named("and"));
            match (rule.boost.factor - 1.0 == 0.0, rule.boost.add == 0.0) {
                (true, _) => add(rule.boost.add),
                (false, true) => times,
                (false, false) => format!("{times} and add {}", rule.boost.add),
            }
        }
        Effect::Set => {
            let fields: Vec<String> =
                rule.set.iter().map(|(key, value)| format!("{key} to {value}")).collect();
            let fields = listed(fields.iter().map(String::as_str), "and");
            format!("set {fields} in the payload of {}", named("and"))
        }
    }
}

/// When it holds, and whether it acts; nothing for a rule that always does.
fn limits(rule: &RuleInfo) -> String {
    let from = rule.validity.from.map_or_else(String::new, |from| format!(", from {from}"));
    let until = rule.validity.until.map_or_else(String::new, |until| format!(", until {until}"));
    let mode = match rule.mode {
        Mode::On => "",
        Mode::Shadow => ", in shadow: recorded, without effect",
        Mode::Off => ", switched off",
    };
    format!("{from}{until}{mode}")
}

/// `a, b and c`
fn listed<'n>(names: impl Iterator<Item = &'n str>, last_word: &str) -> String {
    let names: Vec<&str> = names.collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, first)) => format!("{} {last_word} {last}", first.join(", ")),
        None => String::new(),
    }
}
