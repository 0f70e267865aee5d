//! Everything that is closed is documented, nothing documented is made up, and links lead somewhere.
//!
//! Not here: whether the prose is right; people read it.

use toml::{Table, Value};

use crate::Breach;

/// Closed sets of words, the source that defines each, and the heading of its section in `docs/reason-codes.md`.
pub(crate) const CLOSED_SETS: &[(&str, &str)] = &[
    ("domain/src/reason.rs", "Decision reasons"),
    ("domain/src/event.rs", "Quarantine reasons"),
    ("domain/src/decision.rs", "Rungs and availability"),
    ("domain/src/canary.rs", "Canary arms"),
    ("domain/src/live_shadow.rs", "Live shadow"),
    ("domain/src/feature.rs", "Feature statuses"),
    ("decision/src/lint/mod.rs", "Findings about policies"),
    ("domain/src/outcome.rs", "Outcome kinds"),
    ("server/src/outcomes.rs", "Outcome answers"),
    ("decision/src/experiment.rs", "Standings"),
    ("server/src/refusal.rs", "Causes of refusal"),
    ("server/src/access/fault.rs", "Refused credentials"),
];

/// Words that `source` defines and `section` of the document lacks, and rows of the section that nothing defines.
/// A word is defined by an upper-case string literal on a line that maps a variant to it, and documented by a table
/// row that begins with it.
pub(crate) fn undocumented_words(section: &str, path: &str, source: &str, document: &str) -> Vec<Breach> {
    const PLACE: &str = "docs/reason-codes.md";
    let defined = defined_words(source);
    let rows = documented_words(section, document);
    if defined.is_empty() {
        let found = format!("`{path}` defines no words");
        return vec![Breach::new(
            "reason-codes",
            PLACE,
            found,
            "point the test at the file that defines them",
        )];
    }
    let missing = defined.iter().filter(|word| !rows.contains(word)).map(|word| {
        Breach::new(
            "reason-codes",
            PLACE,
            format!("`{word}` of {path} has no row"),
            format!("explain it in the section `{section}`: when it is given, and what to do"),
        )
    });
    let invented = rows.iter().filter(|word| !defined.contains(word)).map(|word| {
        Breach::new(
            "reason-codes",
            PLACE,
            format!("`{word}` is explained in `{section}` but {path} does not define it"),
            "take the row out",
        )
    });
    missing.chain(invented).collect()
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_uppercase() || c == '_')
}

fn defined_words(source: &str) -> Vec<String> {
    let production = source.split("#[cfg(test)]").next().unwrap_or_default();
    let maps = production.lines().filter(|line| line.contains("=>") || line.trim_end().ends_with("\";"));
    let mut words: Vec<String> = maps
        .filter_map(|line| line.split('"').nth(1))
        .filter(|word| is_word(word))
        .map(str::to_owned)
        .collect();
    words.sort();
    words.dedup();
    words
}

fn documented_words(section: &str, document: &str) -> Vec<String> {
    let from = document.lines().skip_while(|line| line.trim_start_matches('#').trim() != section).skip(1);
    let rows = from.take_while(|line| !line.starts_with("## ")).filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split('`').next()).filter(|word| is_word(word)).map(str::to_owned).collect()
}

/// Keys of a configuration file, those in comments as `# key = value` too, that the document does not name as
/// `table.key` in backticks.
pub(crate) fn undocumented_keys(path: &str, text: &str, document: &str) -> Vec<Breach> {
    let keys = keys(path, text);
    assert!(!keys.is_empty(), "{path} has no keys");
    let missing = keys.iter().filter(|key| !document.contains(&format!("`{key}`")));
    missing
        .map(|key| {
            Breach::new(
                "configuration",
                "docs/configuration.md",
                format!("`{key}` of {path} is not described"),
                "add a row with its unit, default and bounds",
            )
        })
        .collect()
}

fn keys(path: &str, text: &str) -> Vec<String> {
    let switched_on =
        text.lines().map(|line| match line.strip_prefix("# ").and_then(|line| line.split_once(" = ")) {
            Some((key, value)) if key.chars().all(|c| c.is_ascii_lowercase() || "_.".contains(c)) => {
                format!("{key} = {value}\n")
            }
            _ => format!("{line}\n"),
        });
    let table: Table =
        switched_on.collect::<String>().parse().unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut keys = Vec::new();
    flatten("", &table, &mut keys);
    keys
}

fn flatten(prefix: &str, table: &Table, keys: &mut Vec<String>) {
    for (key, value) in table {
        let full = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Table(inner) => flatten(&full, inner, keys),
            _ => keys.push(full),
        }
    }
}

/// Relative links of a Markdown file whose target does not exist.
pub(crate) fn broken_links(path: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<Breach> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut breaches = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") || file.starts_with("mailto:") {
                continue;
            }
            if !exists(&joined(folder, file)) {
                breaches.push(Breach::new(
                    "link",
                    format!("{path}:{}", number + 1),
                    format!("`{target}` leads nowhere"),
                    "correct the path, counted from the document's own folder",
                ));
            }
        }
    }
    breaches
}

fn joined(folder: &str, file: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in file.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[test]
fn missing_and_invented_words_are_told() {
    let source =
        "Self::A => \"ALPHA\",\n    /// B\n    B = 2, \"BETA\";\n#[cfg(test)]\nSelf::C => \"GAMMA\",\n";
    let whole = "# Codes\n\n## Letters\n\n| code | meaning |\n| `ALPHA` | a |\n| `BETA` | b |\n\n## Other\n| `DELTA` | d |\n";
    assert_eq!(undocumented_words("Letters", "a.rs", source, whole), []);
    let missing = undocumented_words("Letters", "a.rs", source, &whole.replace("| `BETA` | b |\n", ""));
    assert!(missing[0].found.contains("`BETA` of a.rs has no row"));
    let invented =
        undocumented_words("Letters", "a.rs", source, &whole.replace("`BETA`", "`BETA` | |\n| `ZETA`"));
    assert!(invented[0].found.contains("`ZETA`"));
    assert_eq!(undocumented_words("Letters", "a.rs", "fn main() {}", whole).len(), 1);
}

#[test]
fn undescribed_keys_are_told() {
    let text = "top = 1\n# A sentence = not a key.\n[server]\nlisten = 'x'\n# tls = 'y'\n[server.limits]\nbytes = 3\n";
    let document = "`top` `server.listen` `server.tls` `server.limits.bytes`";
    assert_eq!(undocumented_keys("a.toml", text, document), []);
    let found = undocumented_keys("a.toml", text, &document.replace("`server.tls`", "server.tls"));
    assert_eq!(found.len(), 1);
    assert!(found[0].found.contains("`server.tls`"));
}

#[test]
fn broken_links_are_told() {
    let exists = |path: &str| ["README.md", "docs/policy.md"].contains(&path);
    let text = "[a](policy.md#caps) [b](../README.md) [c](#here) [d](https://example.com/x)";
    assert_eq!(broken_links("docs/features.md", text, exists), []);
    let found = broken_links("docs/features.md", "one\n[e](gone.md)", exists);
    assert_eq!(found[0].place, "docs/features.md:2");
}
