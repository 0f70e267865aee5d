//! Every method has a rule, no rule is for a method that there is not, and the document says the same.

use std::collections::BTreeMap;

use super::*;
use crate::services::described_methods;

const DOCUMENT: &str = include_str!("../../../../docs/security.md");

#[test]
fn every_method_has_a_rule_and_every_rule_a_method() {
    let mut methods = described_methods();
    methods
        .extend(RULES.iter().map(|(name, _)| (*name).to_owned()).filter(|name| name.starts_with("/grpc.")));
    let ruled: Vec<&str> = RULES.iter().map(|(name, _)| *name).collect();
    assert!(ruled.is_sorted(), "the rules are searched by name");
    for method in &methods {
        assert!(
            ruled.contains(&method.as_str()),
            "{method} has no rule in RULES: say which roles may call it"
        );
    }
    for method in &ruled {
        assert!(methods.contains(*method), "{method} is ruled and does not exist");
    }
}

#[test]
fn only_health_is_open_and_nothing_is_closed_to_everybody() {
    for (method, rule) in RULES {
        let is_open = rule.admission == Admission::Anyone;
        assert_eq!(is_open, method.starts_with("/grpc.health."), "{method}");
        assert_ne!(rule.admission, Admission::OneOf(&[]), "{method}");
    }
    assert_eq!(rule("/augur.v1.DecisionService/Dcide").admission, Admission::OneOf(&[]));
    assert_eq!(rule("").admission, Admission::OneOf(&[]));
}

/// Rows `| Service/Method | role, role |` of the document, by method.
fn documented() -> BTreeMap<String, String> {
    let rows = DOCUMENT.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let methods = rows.filter(|(name, _)| name.contains("Service/"));
    methods
        .map(|(name, rest)| (format!("/augur.v1.{name}"), rest.trim_end_matches(" |").replace('`', "")))
        .collect()
}

#[test]
fn the_document_names_the_roles_of_every_method() {
    let ours = RULES.iter().filter(|(name, _)| name.starts_with("/augur."));
    let ours: BTreeMap<String, String> = ours
        .map(|(name, rule)| {
            let Admission::OneOf(roles) = rule.admission else { panic!("{name}") };
            let words: Vec<&str> = roles.iter().map(|role| role.word()).collect();
            let audited = if rule.audited { "yes" } else { "" };
            ((*name).to_owned(), format!("{} | {audited}", words.join(", ")).trim_end().to_owned())
        })
        .collect();
    let documented: BTreeMap<String, String> =
        documented().into_iter().map(|(name, row)| (name, row.trim_end().to_owned())).collect();
    assert_eq!(ours, documented);
}

#[test]
fn words_lead_back_to_their_role_and_sets_keep_them_apart() {
    for role in Role::ALL {
        assert_eq!(Role::parse(role.word()), Ok(role));
        let only: Roles = [role].into_iter().collect();
        assert_eq!(only.iter().collect::<Vec<_>>(), [role]);
        assert!(Roles::all().has(role) && !Roles::NONE.has(role));
    }
    let two: Roles = [Role::Operator, Role::Ingest].into_iter().collect();
    assert_eq!((two.to_string(), two.or(Roles::NONE)), ("ingest, operator".to_owned(), two));
    assert!(Role::parse("root").is_err());
}
