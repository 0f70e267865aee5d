//! Rules that never fire: a condition that contradicts itself, a window that is over, a feature that forgets too soon.
//!
//! Not here: conditions of actions (`refused`).

use augur_domain::time::{SECOND_MS, format_duration_ms};

use super::{FindingCode, Lint};
use crate::names::Input;
use crate::rule::Mode;

pub(super) fn check(lint: &mut Lint<'_>) {
    let mut found = Vec::new();
    for rule in &lint.rules {
        let title = rule.title();
        let Some(cases) = rule.cases.as_ref().filter(|_| rule.info.mode != Mode::Off) else { continue };
        if let Some(until) = rule.info.validity.until.filter(|until| *until <= lint.context.now) {
            let message = format!("{title} holds no more since {until}");
            found.push((
                FindingCode::WindowOver,
                rule.offset,
                message,
                "take it out, or give it another `valid_until`",
            ));
        }
        if cases.is_never() {
            let message = format!("{title} never fires: its condition contradicts itself");
            found.push((FindingCode::NeverTrue, rule.offset, message, "mend `when`, or take the rule out"));
            continue;
        }
        let Some(when) = &rule.info.when else { continue };
        for slot in when.slots() {
            let Some(Input::Feature(feature, _)) = lint.policy.inputs.get(*slot) else { continue };
            let Some(most) = lint.context.features.get(*feature).and_then(|feature| feature.greatest) else {
                continue;
            };
            if cases.at_most(*slot, most).is_never() {
                let name = lint.policy.inputs.path(*slot);
                let length = format_duration_ms((most * SECOND_MS as f64) as i64);
                let message = format!(
                    "{title} never fires: `{name}` is forgotten after {length}, sooner than the condition asks"
                );
                let next_step = "give the feature a longer `max_age`, or ask for less";
                found.push((FindingCode::StaleFeature, rule.offset, message, next_step));
            }
        }
    }
    for (code, offset, message, next_step) in found {
        lint.add(code, offset, message, next_step);
    }
}
