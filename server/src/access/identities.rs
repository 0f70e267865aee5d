//! The file that says which roles a certificate's name, or a claim of a token, stands for.
//!
//! ```toml
//! version = 1
//!
//! [certificates]
//! "spiffe://shop.example/checkout" = ["decide", "ingest"]
//!
//! [claims]
//! "shop-analysts" = ["replay", "audit_read"]
//! ```
//! Without `[claims]` a token's claims are the words of roles themselves. Not here: certificates (`tls`) or tokens.

use std::collections::BTreeMap;
use std::path::Path;

use augur_domain::Diagnostic;
use toml::de::{DeTable, DeValue};

use super::roles::{Role, Roles};
use crate::Error;
use crate::suggest::did_you_mean;

/// Most names of either kind.
const MAX_NAMES: usize = 10_000;
const KEYS: [&str; 3] = ["version", "certificates", "claims"];

/// What names stand for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Identities {
    certificates: BTreeMap<String, Roles>,
    claims: Option<BTreeMap<String, Roles>>,
}

impl Identities {
    /// Reads the file at `path`.
    pub(crate) fn load(path: &Path) -> Result<Self, Error> {
        let text = crate::files::read_text(path)?;
        Self::parse(&path.display().to_string(), &text).map_err(Error::Diagnostics)
    }

    /// Reads `text`, called `file` in complaints.
    pub(crate) fn parse(file: &str, text: &str) -> Result<Self, Vec<Diagnostic>> {
        let complain = |offset, message: String, expected: String| {
            Diagnostic::at_offset(file, text, offset, message, expected)
        };
        let document = DeTable::parse(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            vec![complain(offset, error.message().replace('\n', ", "), "valid TOML".to_owned())]
        })?;
        let mut identities = Self::default();
        let mut complaints = Vec::new();
        let mut version = false;
        for (name, value) in document.get_ref() {
            match (name.get_ref().as_ref(), value.get_ref()) {
                ("version", DeValue::Integer(number)) if number.to_string() == "1" => version = true,
                ("certificates", DeValue::Table(table)) => {
                    identities.certificates = names(table, &complain, &mut complaints);
                }
                ("claims", DeValue::Table(table)) => {
                    identities.claims = Some(names(table, &complain, &mut complaints));
                }
                (known, _) if KEYS.contains(&known) => complaints.push(complain(
                    value.span().start,
                    format!("`{known}` is not what it should be"),
                    "`version = 1` and the sections `[certificates]` and `[claims]`".to_owned(),
                )),
                (other, _) => complaints.push(
                    complain(
                        name.span().start,
                        format!("unknown key `{}`", other.chars().take(40).collect::<String>()),
                        format!("one of {}", KEYS.join(", ")),
                    )
                    .with_hint(did_you_mean(other, KEYS)),
                ),
            }
        }
        if !version && complaints.is_empty() {
            complaints.push(complain(0, "there is no `version`".to_owned(), "`version = 1`".to_owned()));
        }
        if complaints.is_empty() { Ok(identities) } else { Err(complaints) }
    }

    /// The roles of a certificate with `names`, and the first name that has some.
    pub(crate) fn of_certificate<'n>(&self, names: &'n [String]) -> Option<(&'n str, Roles)> {
        names.iter().find_map(|name| Some((name.as_str(), *self.certificates.get(name)?)))
    }

    /// The roles that `claims` stand for together. A claim that stands for nothing gives nothing.
    pub(crate) fn of_claims<'c>(&self, claims: impl IntoIterator<Item = &'c str>) -> Roles {
        let roles_of = |claim: &str| match &self.claims {
            Some(declared) => declared.get(claim).copied().unwrap_or_default(),
            None => Role::parse(claim).into_iter().collect(),
        };
        claims.into_iter().fold(Roles::NONE, |roles, claim| roles.or(roles_of(claim)))
    }
}

fn names(
    table: &DeTable<'_>,
    complain: &impl Fn(usize, String, String) -> Diagnostic,
    complaints: &mut Vec<Diagnostic>,
) -> BTreeMap<String, Roles> {
    let mut found = BTreeMap::new();
    for (name, value) in table {
        if found.len() >= MAX_NAMES {
            let message = format!("more than {MAX_NAMES} names");
            complaints.push(complain(name.span().start, message, "fewer names".to_owned()));
            break;
        }
        let DeValue::Array(words) = value.get_ref() else {
            let message = format!("`{}` has no list of roles", name.get_ref());
            complaints.push(complain(value.span().start, message, "like `[\"decide\"]`".to_owned()));
            continue;
        };
        let mut roles = Vec::new();
        for word in words {
            match word.get_ref() {
                DeValue::String(text) => match Role::parse(text) {
                    Ok(role) => roles.push(role),
                    Err(problem) => {
                        let (message, expected) = problem.split_once("; ").unwrap_or((&problem, ""));
                        let expected = expected.trim_start_matches("expected ").to_owned();
                        complaints.push(complain(word.span().start, message.to_owned(), expected));
                    }
                },
                _ => complaints.push(complain(
                    word.span().start,
                    "a role is not text".to_owned(),
                    "a word in quotes".to_owned(),
                )),
            }
        }
        found.insert(name.get_ref().to_string(), roles.into_iter().collect());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "version = 1\n[certificates]\n\"spiffe://shop.example/checkout\" = [\"decide\", \"ingest\"]\n[claims]\nanalysts = [\"replay\"]\n";

    #[test]
    fn names_stand_for_roles_and_others_for_none() {
        let identities = Identities::parse("i.toml", FILE).unwrap();
        let names = ["shop.example".to_owned(), "spiffe://shop.example/checkout".to_owned()];
        let (name, roles) = identities.of_certificate(&names).unwrap();
        assert_eq!(
            (name, roles.to_string()),
            ("spiffe://shop.example/checkout", "ingest, decide".to_owned())
        );
        assert!(identities.of_certificate(&names[..1]).is_none());
        assert_eq!(identities.of_claims(["analysts", "decide"]).to_string(), "replay", "declared ones alone");
        let undeclared = Identities::parse("i.toml", "version = 1\n").unwrap();
        assert_eq!(undeclared.of_claims(["decide", "DECIDE", "root"]).to_string(), "decide");
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (text, part) in [
            ("", "1:1: there is no `version`; expected `version = 1`"),
            ("version = 2\n", "1:11: `version` is not what it should be"),
            ("version = 1\n[certificate]\n", "did you mean `certificates`?"),
            ("version = 1\n[claims]\na = \"decide\"\n", "3:5: `a` has no list of roles"),
            (
                "version = 1\n[claims]\na = [\"decides\"]\n",
                "3:6: `decides` is no role; expected one of ingest",
            ),
            ("version = 1\n[claims]\na = [1]\n", "3:6: a role is not text"),
            ("version = 1\n[claims]\na = [", "expected valid TOML"),
        ] {
            let told = Identities::parse("i.toml", text).unwrap_err();
            let told: String = told.iter().map(ToString::to_string).collect();
            assert!(told.contains(part), "{text}\n{told}");
        }
    }
}
