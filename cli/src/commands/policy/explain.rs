//! `augur policy explain`: a policy as a page for people.
//!
//! Not here: the sentences (`augur_decision`).

use std::fmt::Write as _;

use augur_server::{ActionDescription, PointDescription, RuleDescription};
use serde::Serialize;

use super::{Definitions, Fault};
use crate::output::Output;
use crate::{Error, Outcome};

#[derive(Debug, Serialize)]
struct Report {
    policy_id: String,
    decision_points: Vec<Point>,
    faults: Vec<Fault>,
}

#[derive(Debug, Serialize)]
struct Point {
    name: String,
    deadline_ms: i64,
    default_action: String,
    default_without_features: bool,
    models: Vec<String>,
    fallback: Vec<String>,
    diversity: Vec<String>,
    context: Vec<Context>,
    actions: Vec<Action>,
    rules: Vec<Rule>,
}

#[derive(Debug, Serialize)]
struct Context {
    name: String,
    r#type: String,
}

#[derive(Debug, Serialize)]
struct Action {
    name: String,
    channel: String,
    sentence: String,
    caps: Vec<String>,
    quiet: Vec<String>,
    budget: String,
}

#[derive(Debug, Serialize)]
struct Rule {
    id: String,
    effect: &'static str,
    mode: &'static str,
    priority: i64,
    reason: String,
    owner: String,
    sentence: String,
}

impl From<PointDescription> for Point {
    fn from(point: PointDescription) -> Self {
        let PointDescription { name, deadline_ms, default_action, default_without_features, .. } = point;
        let context = point.context.into_iter().map(|(name, r#type)| Context { name, r#type });
        let action = |action: ActionDescription| {
            let ActionDescription { name, channel, sentence, caps, quiet, budget } = action;
            Action { name, channel, sentence, caps, quiet, budget }
        };
        let rule = |rule: RuleDescription| {
            let RuleDescription { id, effect, mode, priority, reason, owner, sentence } = rule;
            Rule { id, effect, mode, priority, reason, owner, sentence }
        };
        Self {
            name,
            deadline_ms,
            default_action,
            default_without_features,
            models: point.models,
            fallback: point.fallback,
            diversity: point.diversity,
            context: context.collect(),
            actions: point.actions.into_iter().map(action).collect(),
            rules: point.rules.into_iter().map(rule).collect(),
        }
    }
}

pub(super) fn run(definitions: &Definitions, output: Output) -> Result<Outcome, Error> {
    let checked = match augur_server::check_definitions(&definitions.config()) {
        Ok(checked) => checked,
        Err(augur_server::Error::Diagnostics(complaints)) => {
            let text: Vec<String> = complaints.iter().map(ToString::to_string).collect();
            let faults = complaints.into_iter().map(Fault::from).collect();
            let report = Report { policy_id: String::new(), decision_points: Vec::new(), faults };
            output.report(&report, |_| text.join("\n"))?;
            return Ok(Outcome::Refused);
        }
        Err(other) => return Err(other.into()),
    };
    let points = checked.policy.describe().into_iter().map(Point::from);
    let report = Report {
        policy_id: checked.policy.id().to_string(),
        decision_points: points.collect(),
        faults: Vec::new(),
    };
    output.report(&report, text)?;
    Ok(Outcome::Fine)
}

fn text(report: &Report) -> String {
    let mut text = format!("policy {}\n", report.policy_id);
    report.decision_points.iter().for_each(|point| point_text(point, &mut text));
    text
}

/// Writing to a String does not fail.
fn point_text(point: &Point, text: &mut String) {
    let Point { name, deadline_ms, default_action, .. } = point;
    let _written =
        writeln!(text, "\n{name}: answers within {deadline_ms} ms; {default_action} unless there is better");
    if !point.models.is_empty() {
        let _written = writeln!(text, "  asks the models {}", point.models.join(", "));
    }
    let _written = writeln!(text, "  falls back: {}", point.fallback.join(", then "));
    for rule in &point.diversity {
        let _written = writeln!(text, "  of the same {rule}");
    }
    if !point.context.is_empty() {
        let context: Vec<String> =
            point.context.iter().map(|Context { name, r#type }| format!("{name} ({type})")).collect();
        let _written = writeln!(text, "  the request tells {}", context.join(", "));
    }
    if point.default_without_features {
        let _written = writeln!(text, "  without features: {default_action} at once");
    }
    text.push_str("  actions, the first wins at equal value:\n");
    for Action { name, channel, sentence, caps, quiet, budget } in &point.actions {
        let channel = if channel.is_empty() { String::new() } else { format!(" ({channel})") };
        let part = |words: &str, list: &[String]| {
            if list.is_empty() { String::new() } else { format!("; {words} {}", list.join(" and ")) }
        };
        let caps = part("at most", caps);
        let quiet = part("quiet", quiet);
        let budget = if budget.is_empty() { String::new() } else { format!("; budget {budget}") };
        let _written = writeln!(text, "    {name}{channel}: {sentence}{caps}{quiet}{budget}");
    }
    if !point.rules.is_empty() {
        text.push_str("  rules, in the order in which they are asked:\n");
    }
    for (number, Rule { id, sentence, owner, .. }) in point.rules.iter().enumerate() {
        let owner = if owner.is_empty() { String::new() } else { format!(" [{owner}]") };
        let _written = writeln!(text, "    {}. {id}: {sentence}{owner}", number + 1);
    }
}
