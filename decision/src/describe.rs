//! A policy as a page for people: per decision point what is asked, in which order, and every rule as a sentence.
//!
//! Not here: the sentences (`english`), or how the page is laid out.

use crate::diversity::Diversity;
use crate::ladder::Step;
use crate::rule::{Effect, Mode, RuleInfo};
use crate::snapshot::{Point, PolicySnapshot, WhenFeaturesUnavailable};

/// One decision point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointDescription {
    /// Its name.
    pub name: String,
    /// How long a decision may take, in milliseconds.
    pub deadline_ms: i64,
    /// The action that is never refused.
    pub default_action: String,
    /// Whether the default is given at once when features cannot be read.
    pub default_without_features: bool,
    /// Models asked.
    pub models: Vec<String>,
    /// The steps of its fallback ladder, best first.
    pub fallback: Vec<String>,
    /// What it gives no more of, or values less.
    pub diversity: Vec<String>,
    /// What the request may tell, with its type.
    pub context: Vec<(String, String)>,
    /// In the order that breaks ties.
    pub actions: Vec<ActionDescription>,
    /// In the order in which they are asked.
    pub rules: Vec<RuleDescription>,
}

/// One action as offered there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionDescription {
    /// Its name.
    pub name: String,
    /// Its channel, empty if it has none.
    pub channel: String,
    /// When it may be given and what it is worth.
    pub sentence: String,
    /// Its caps.
    pub caps: Vec<String>,
    /// When it is not given: its quiet hours and its channel's.
    pub quiet: Vec<String>,
    /// How much of it there is; empty if that is not bounded.
    pub budget: String,
}

/// One rule as it holds there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleDescription {
    /// Its id.
    pub id: String,
    /// `deny`, `allow`, `boost`, `force` or `set`.
    pub effect: &'static str,
    /// `on`, `shadow` or `off`.
    pub mode: &'static str,
    /// Highest first.
    pub priority: i64,
    /// The code that answers give.
    pub reason: String,
    /// Who answers for it; empty if nobody is named.
    pub owner: String,
    /// What it does when.
    pub sentence: String,
}

/// The order in which rules are asked in a decision.
const ORDER: [Effect; 5] = [Effect::Deny, Effect::Allow, Effect::Boost, Effect::Force, Effect::Set];

impl PolicySnapshot {
    /// Every decision point in file order.
    pub fn describe(&self) -> Vec<PointDescription> {
        self.points.iter().map(|point| self.describe_point(point)).collect()
    }

    fn describe_point(&self, point: &Point) -> PointDescription {
        let actions = point.candidates.iter().map(|candidate| ActionDescription {
            name: candidate.action.name.to_string(),
            channel: candidate.action.channel.to_string(),
            sentence: self.action_in_english(&point.name, &candidate.action.name).unwrap_or_default(),
            caps: candidate.action.limits.caps.iter().map(|cap| cap.words.to_string()).collect(),
            quiet: candidate.action.limits.quiet.iter().map(|quiet| quiet.words.to_string()).collect(),
            budget: candidate
                .action
                .limits
                .budget
                .as_ref()
                .map_or_else(String::new, |budget| budget.words.to_string()),
        });
        let context = point.context.iter();
        PointDescription {
            name: point.name.to_string(),
            deadline_ms: point.deadline_ms,
            default_action: point.default_action().to_string(),
            default_without_features: point.when_features_unavailable == WhenFeaturesUnavailable::Default,
            models: point.models(self).map(|model| model.name().to_string()).collect(),
            diversity: point.diversity.iter().map(Diversity::in_words).collect(),
            fallback: point.ladder.steps().iter().map(Step::in_words).collect(),
            context: context.map(|(name, value_type)| (name.to_string(), value_type.to_string())).collect(),
            actions: actions.collect(),
            rules: self.rules_at(point).into_iter().map(|rule| self.describe_rule(rule)).collect(),
        }
    }

    /// The rules that hold at `point` in the order in which they are asked; those that do nothing last.
    fn rules_at(&self, point: &Point) -> Vec<&RuleInfo> {
        let named = |rule: &&RuleInfo| rule.points.as_ref().is_none_or(|points| points.contains(&point.name));
        let offered = |rule: &&RuleInfo| point.actions().any(|action| rule.actions.contains(action));
        let mut rules: Vec<&RuleInfo> = self.rules.iter().filter(named).filter(offered).collect();
        let stage = |rule: &RuleInfo| ORDER.iter().position(|effect| *effect == rule.effect);
        rules.sort_by_key(|rule| (rule.mode != Mode::On, stage(rule), std::cmp::Reverse(rule.priority)));
        rules
    }

    fn describe_rule(&self, rule: &RuleInfo) -> RuleDescription {
        RuleDescription {
            id: rule.id.to_string(),
            effect: rule.effect.as_str(),
            mode: rule.mode.as_str(),
            priority: rule.priority,
            reason: rule.reason.to_string(),
            owner: rule.owner.as_ref().map_or_else(String::new, ToString::to_string),
            sentence: self.rule_in_english(rule),
        }
    }
}
