//! Named sets: lists of features that applications and models ask for together.
//!
//! Not here: the features themselves (`compile`). Sets change no value and no hash of the definitions.

use std::sync::Arc;

use augur_domain::ContentHash;
use augur_domain::feature::{FeatureInfo, NamedFeatures};
use toml::de::DeTable;

use super::complaints::{Complaints, did_you_mean};
use super::fields::{Fields, Located, refuse_unknown_keys};

const KEYS: [&str; 3] = ["name", "features", "description"];
/// Most sets in a file.
const MAX_SETS: usize = 64;
/// Most features of a set: as many as there can be.
const MAX_MEMBERS: usize = 512;
const MAX_DESCRIPTION_BYTES: usize = 1_000;

/// A set as declared, its members not yet looked up.
#[derive(Debug)]
pub(super) struct Declared {
    name: Located<String>,
    description: String,
    features: Vec<Located<String>>,
}

/// Reads every `[[feature_set]]` that can be read.
pub(super) fn read(root: &DeTable<'_>, complaints: &mut Complaints<'_>) -> Vec<Declared> {
    let Some(value) = root.get("feature_set") else { return Vec::new() };
    let expected = "tables headed `[[feature_set]]`";
    let Some(array) = value.get_ref().as_array() else {
        let kind = value.get_ref().type_str();
        complaints.add(value.span().start, format!("`feature_set` is a {kind}"), expected);
        return Vec::new();
    };
    if array.len() > MAX_SETS {
        let message = format!("{} feature sets", array.len());
        complaints.add(value.span().start, message, format!("at most {MAX_SETS}"));
        return Vec::new();
    }
    let tables = array.iter().filter_map(|item| {
        let table = item.get_ref().as_table();
        if table.is_none() {
            complaints.add(item.span().start, "a feature set that is no table", expected);
        }
        read_one(table?, item.span().start, complaints)
    });
    tables.collect()
}

fn read_one(table: &DeTable<'_>, start: usize, complaints: &mut Complaints<'_>) -> Option<Declared> {
    refuse_unknown_keys(table, |key| KEYS.contains(&key), &KEYS, complaints);
    let mut fields = Fields { table, start, complaints };
    let name = fields.name();
    let description = fields.short_text("description", MAX_DESCRIPTION_BYTES);
    let expected = "full names of features, like `features = [\"purchases_7d\", \"spend_1d\"]`";
    if !table.contains_key("features") {
        fields.missing("features", expected);
    }
    let mut features = Vec::new();
    for element in fields.elements("features", MAX_MEMBERS)? {
        let place = element.span().start;
        match element.get_ref().as_str() {
            Some(name) => features.push(Located { place, value: name.to_owned() }),
            None => {
                let quoted = fields.complaints.quote(element.span());
                fields.complaints.add(place, format!("{quoted} is not the name of a feature"), expected);
            }
        }
    }
    Some(Declared { name: name?, description, features })
}

/// Looks up the members; what there is not becomes a complaint.
pub(super) fn resolve(
    declared: &[Declared],
    features: &[FeatureInfo],
    complaints: &mut Complaints<'_>,
) -> Vec<NamedFeatures> {
    let mut named: Vec<NamedFeatures> = Vec::new();
    for set in declared {
        if named.iter().any(|known| *known.name == *set.name.value) {
            let message = format!("feature set `{}` is declared twice", set.name.value);
            complaints.add(set.name.place, message, "each name once");
            continue;
        }
        let slots = members(&set.features, features, complaints);
        named.push(NamedFeatures {
            name: set.name.value.as_str().into(),
            description: set.description.as_str().into(),
            version: version(&slots, features),
            slots,
        });
    }
    named
}

fn members(
    wanted: &[Located<String>],
    features: &[FeatureInfo],
    complaints: &mut Complaints<'_>,
) -> Vec<usize> {
    let mut slots = Vec::with_capacity(wanted.len());
    for Located { place, value: name } in wanted {
        match features.iter().position(|feature| *feature.name == **name) {
            None => {
                let shown: String = name.chars().take(100).collect();
                let known = features.iter().map(|feature| &*feature.name);
                let hint = did_you_mean(&shown, known);
                let expected = "the full name of a feature in this file";
                complaints.add_with_hint(*place, format!("there is no feature `{shown}`"), expected, hint);
            }
            Some(slot) if slots.contains(&slot) => {
                complaints.add(*place, format!("`{name}` is listed twice"), "each feature once");
            }
            Some(slot) => slots.push(slot),
        }
    }
    slots
}

/// Hash of the members' names and definitions in order, each name with its length before it.
fn version(slots: &[usize], features: &[FeatureInfo]) -> ContentHash {
    let mut bytes = b"augur named features 1".to_vec();
    for feature in slots.iter().filter_map(|slot| features.get(*slot)) {
        let name: &Arc<str> = &feature.name;
        bytes.extend((name.len() as u64).to_le_bytes());
        bytes.extend(name.as_bytes());
        bytes.extend(feature.definition.as_bytes());
    }
    ContentHash::of(&[&bytes])
}

#[cfg(test)]
mod tests {
    use crate::FeatureSchema;

    const FEATURES: &str = r#"
version = 1

[[feature]]
name = "purchases"
kind = "decayed_count"
events = ["purchase"]
half_lives = ["1d", "7d"]
"#;

    fn parse(sets: &str) -> Result<FeatureSchema, String> {
        FeatureSchema::parse("features.toml", &format!("{FEATURES}{sets}"))
            .map_err(|list| list.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn a_set_has_its_members_in_order_and_a_version_of_their_definitions() {
        let plain = parse("").unwrap();
        let text = "[[feature_set]]\nname = \"checkout\"\nfeatures = [\"purchases_7d\", \"purchases_1d\"]\n";
        let schema = parse(text).unwrap();
        assert_eq!(schema.feature_set().hash(), plain.feature_set().hash(), "sets change no definition");
        let [set] = schema.feature_set().named() else { panic!("one set") };
        assert_eq!((&*set.name, set.slots.as_slice()), ("checkout", [1, 0].as_slice()));

        let version = |text: &str| parse(text).unwrap().feature_set().named()[0].version;
        assert_eq!(set.version, version(&format!("{text}description = \"on the way out\"\n")));
        assert_ne!(set.version, version(&text.replace("\"purchases_7d\", ", "")));
        let other = format!("{FEATURES}{text}")
            .replace("kind = \"decayed_count\"", "max_age = \"9d\"\nkind = \"decayed_count\"");
        let changed = FeatureSchema::parse("features.toml", &other).unwrap();
        assert_ne!(set.version, changed.feature_set().named()[0].version, "a member changed its meaning");
        let added = format!("{text}\n[[feature]]\nname = \"last\"\nkind = \"time_since_last\"\n");
        assert_eq!(set.version, version(&added), "a feature that is no member");
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (sets, expected) in [
            (
                "[[feature_set]]\nname = \"a\"\nfeatures = [\"purchase_7d\"]",
                "features.toml:11:13: there is no feature `purchase_7d`",
            ),
            (
                "[[feature_set]]\nname = \"a\"\nfeatures = [\"purchases_7d\", \"purchases_7d\"]",
                "features.toml:11:29: `purchases_7d` is listed twice",
            ),
            ("[[feature_set]]\nname = \"a\"\n", "`features` is missing"),
            ("[[feature_set]]\nname = \"a\"\nfeatures = []", "`features` has 0 elements"),
            ("[[feature_set]]\nname = \"A\"\nfeatures = [\"purchases_7d\"]", "`A` is not a feature name"),
            (
                "[[feature_set]]\nname = \"a\"\nmembers = 1\nfeatures = [\"purchases_7d\"]",
                "unknown key `members`",
            ),
            ("feature_set = 1", "unknown key"),
            (
                "[[feature_set]]\nname = \"a\"\nfeatures = [\"purchases_7d\"]\n[[feature_set]]\nname = \"a\"\nfeatures = [\"purchases_1d\"]",
                "feature set `a` is declared twice",
            ),
        ] {
            let told = parse(sets).unwrap_err();
            assert!(told.contains(expected), "{sets}: {told}");
        }
        let told = parse("[[feature_set]]\nname = \"a\"\nfeatures = [\"purchase_7d\"]").unwrap_err();
        assert!(told.contains("did you mean `purchases_7d`?"), "{told}");
    }
}
