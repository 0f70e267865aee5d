//! Definitions that stand by themselves: what a taxonomy said of the properties that conditions read is written into
//! the copies that are kept, so that they mean the same when the taxonomy has gone on.
//!
//! Not here: where copies are kept, or the taxonomy.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use augur_domain::ValueType;

/// By declaration, the properties that its condition reads and does not type itself.
pub(super) type ResolvedTypes = BTreeMap<String, BTreeMap<Arc<str>, ValueType>>;

/// The table of a copy.
pub(super) const KEY: &str = "resolved_types";
const MARK: &str = "\n# Added to this copy: the types of properties, as the taxonomy had them.\n";

/// The text with these types in place of those that an earlier copy had.
pub(super) fn self_contained(text: &str, resolved: &ResolvedTypes) -> String {
    let own = text.split_once(MARK).map_or(text, |(own, _)| own);
    let mut copy = own.to_owned();
    if resolved.is_empty() {
        return copy;
    }
    copy.push_str(MARK);
    for (declaration, types) in resolved {
        // Writing to a string does not fail.
        let _ = writeln!(copy, "[{KEY}.{declaration}]");
        for (property, value_type) in types {
            let _ = writeln!(copy, "{} = \"{value_type}\"", quoted(property));
        }
    }
    copy
}

/// A key of TOML in quotes.
fn quoted(key: &str) -> String {
    let mut quoted = String::from("\"");
    for character in key.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => {
                let _ = write!(quoted, "\\U{:08X}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
