//! Changes of a policy from the command line: rules switched off or reordered, caps put in the place of others.
//!
//! The text is read as a document, changed and written again; whether the outcome is a policy is for the policy's own
//! checks. Not here: these checks (`augur_decision`).

use augur_shadow_harness::{PolicySource, SourceFile};
use toml::{Table, Value};

/// Another priority for a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PriorityChange {
    id: String,
    priority: i64,
}

/// Another cap for an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CapChange {
    action: String,
    /// Counted from 1; `None` is all of them.
    place: Option<usize>,
    /// `None` takes it away.
    cap: Option<String>,
}

pub(super) fn priority(text: &str) -> Result<PriorityChange, String> {
    let pair =
        text.split_once('=').and_then(|(id, number)| Some((id.to_owned(), number.trim().parse().ok()?)));
    let (id, priority) = pair.ok_or("expected ID=N, such as `vip=10`")?;
    Ok(PriorityChange { id, priority })
}

pub(super) fn cap(text: &str) -> Result<CapChange, String> {
    const EXPECTED: &str = "expected ACTION=CAP or ACTION/N=CAP, such as `offer=3 per 7d`, `offer/2=1 per 24h per channel` or `offer=none`";
    let (whose, cap) = text.split_once('=').ok_or(EXPECTED)?;
    let (action, place) = match whose.split_once('/') {
        Some((action, place)) => {
            (action, Some(place.parse().ok().filter(|place| *place > 0).ok_or(EXPECTED)?))
        }
        None => (whose, None),
    };
    let cap = Some(cap.trim().to_owned()).filter(|cap| cap != "none");
    if action.is_empty() || cap.as_deref() == Some("") {
        return Err(EXPECTED.to_owned());
    }
    Ok(CapChange { action: action.to_owned(), place, cap })
}

/// The policy with the changes; the error names what is not there.
pub(super) fn edited(
    source: &PolicySource,
    rules_off: &[String],
    priorities: &[PriorityChange],
    caps: &[CapChange],
) -> Result<PolicySource, String> {
    let mut document: Table =
        source.policy.text.parse().map_err(|error: toml::de::Error| error.to_string())?;
    for id in rules_off {
        rule(&mut document, id)?.insert("mode".to_owned(), Value::String("off".to_owned()));
    }
    for PriorityChange { id, priority } in priorities {
        rule(&mut document, id)?.insert("priority".to_owned(), Value::Integer(*priority));
    }
    for change in caps {
        change_cap(&mut document, change)?;
    }
    let text = toml::to_string(&document).map_err(|error| error.to_string())?;
    let policy = SourceFile { name: format!("{} (changed)", source.policy.name), text };
    Ok(PolicySource { policy, files: source.files.clone() })
}

/// Tables of an array of tables.
fn tables<'a>(document: &'a mut Table, name: &str) -> impl Iterator<Item = &'a mut Table> {
    let array = document.get_mut(name).and_then(Value::as_array_mut);
    array.into_iter().flatten().filter_map(Value::as_table_mut)
}

fn called<'a>(table: &'a Table, key: &str) -> &'a str {
    table.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The rule or the table of rules called `id`.
fn rule<'a>(document: &'a mut Table, id: &str) -> Result<&'a mut Table, String> {
    let kinds = [("rule", "id"), ("table", "name")];
    let found =
        kinds.into_iter().find(|(kind, key)| tables(document, kind).any(|table| called(table, key) == id));
    let place = found.and_then(|(kind, key)| tables(document, kind).find(|table| called(table, key) == id));
    place.ok_or_else(|| format!("there is no rule `{id}` in the policy"))
}

fn change_cap(document: &mut Table, change: &CapChange) -> Result<(), String> {
    let CapChange { action, place, cap } = change;
    let found = tables(document, "action").find(|table| called(table, "name") == action);
    let table = found.ok_or_else(|| format!("there is no action `{action}` in the policy"))?;
    let new = cap.clone().map(Value::String);
    let Some(place) = place else {
        table.insert("caps".to_owned(), Value::Array(new.into_iter().collect()));
        return Ok(());
    };
    let caps = table.entry("caps").or_insert_with(|| Value::Array(Vec::new()));
    let caps = caps.as_array_mut().ok_or_else(|| format!("the caps of `{action}` are no list"))?;
    let count = caps.len();
    match (caps.get_mut(place - 1), new) {
        (Some(old), Some(new)) => *old = new,
        (Some(_), None) => drop(caps.remove(place - 1)),
        (None, Some(new)) if *place == count + 1 => caps.push(new),
        (None, _) => return Err(format!("`{action}` has {count} caps, and no {place}")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = r#"
version = 1
[[action]]
name = "offer"
caps = ["5 per 7d", "1 per 24h per channel"]
[[rule]]
id = "vip"
when = "true"
[[table]]
name = "rows"
"#;

    fn changed(rules: &[&str], priorities: &[&str], caps: &[&str]) -> Result<String, String> {
        let source =
            PolicySource::from(SourceFile { name: "policy.toml".to_owned(), text: POLICY.to_owned() });
        let rules: Vec<String> = rules.iter().map(|&id| id.to_owned()).collect();
        let priorities: Vec<_> = priorities.iter().map(|text| priority(text).unwrap()).collect();
        let caps: Vec<_> = caps.iter().map(|text| cap(text).unwrap()).collect();
        edited(&source, &rules, &priorities, &caps).map(|source| source.policy.text)
    }

    #[test]
    fn rules_and_caps_are_changed_in_their_place() {
        let text = changed(&["rows"], &["vip=-7"], &["offer=3 per week"]).unwrap();
        let document: Table = text.parse().unwrap();
        assert_eq!(document["table"][0]["mode"].as_str(), Some("off"));
        assert_eq!(document["rule"][0]["priority"].as_integer(), Some(-7));
        assert_eq!(document["action"][0]["caps"], Value::Array(vec!["3 per week".into()]));
        let caps = |change| {
            changed(&[], &[], &[change]).unwrap().parse::<Table>().unwrap()["action"][0]["caps"].clone()
        };
        assert_eq!(
            caps("offer/1=2 per 7d"),
            Value::Array(vec!["2 per 7d".into(), "1 per 24h per channel".into()])
        );
        assert_eq!(caps("offer/2=none"), Value::Array(vec!["5 per 7d".into()]));
        assert_eq!(caps("offer=none"), Value::Array(vec![]));
    }

    #[test]
    fn what_is_not_there_is_named() {
        assert!(changed(&["gone"], &[], &[]).unwrap_err().contains("`gone`"));
        assert!(changed(&[], &[], &["other=1 per 7d"]).unwrap_err().contains("`other`"));
        assert!(changed(&[], &[], &["offer/4=1 per 7d"]).unwrap_err().contains("2 caps"));
        for wrong in ["offer", "offer/0=1 per 7d", "=1 per 7d", "offer="] {
            assert!(cap(wrong).unwrap_err().contains("ACTION/N=CAP"), "{wrong}");
        }
        assert!(priority("vip=high").is_err());
    }
}
