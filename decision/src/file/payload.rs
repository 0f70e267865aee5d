//! Any TOML value as canonical JSON text: keys in byte order, no spaces, one spelling per value.
//!
//! Not here: reading JSON, or JSON from anything but TOML.

use std::fmt::Write;

use toml::Spanned;
use toml::de::{DeFloat, DeInteger, DeValue};

/// Bytes of one payload.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 16 << 10;

/// What JSON cannot say, and where it stands in the file.
pub(crate) struct Unwritable {
    pub(crate) offset: usize,
    pub(crate) message: String,
    pub(crate) expected: &'static str,
}

/// Appends `value` to `out`. Depth is bounded by the TOML parser.
pub(crate) fn write_json(value: &Spanned<DeValue<'_>>, out: &mut String) -> Result<(), Unwritable> {
    let refuse = |message: String, expected| Unwritable { offset: value.span().start, message, expected };
    match value.get_ref() {
        DeValue::String(text) => write_text(text, out),
        DeValue::Boolean(boolean) => out.push_str(if *boolean { "true" } else { "false" }),
        DeValue::Integer(integer) => {
            let number = integer_value(integer)
                .ok_or_else(|| refuse(format!("`{integer}` does not fit 64 bits"), "a smaller number"))?;
            out.push_str(&number.to_string());
        }
        DeValue::Float(float) => {
            let number = float_value(float)
                .ok_or_else(|| refuse(format!("JSON has no number `{float}`"), "a finite number"))?;
            write_number(number, out);
        }
        DeValue::Datetime(datetime) => {
            return Err(refuse(format!("JSON has no date `{datetime}`"), "the date as text, in quotes"));
        }
        DeValue::Array(values) => {
            out.push('[');
            for (index, element) in values.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                write_json(element, out)?;
            }
            out.push(']');
        }
        DeValue::Table(table) => {
            // Sorted here, because the order of a TOML map depends on how the parser is built.
            let mut entries: Vec<_> = table.iter().collect();
            entries.sort_unstable_by(|(a, _), (b, _)| a.get_ref().cmp(b.get_ref()));
            out.push('{');
            for (index, (key, element)) in entries.into_iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                write_text(key.get_ref(), out);
                out.push(':');
                write_json(element, out)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

/// The keys of a table with the JSON text of each value, in byte order of the keys; `None` for any other value.
pub(crate) fn fields(value: &Spanned<DeValue<'_>>) -> Result<Option<Vec<(String, String)>>, Unwritable> {
    let DeValue::Table(table) = value.get_ref() else { return Ok(None) };
    let mut fields = Vec::with_capacity(table.len());
    for (key, element) in table.iter() {
        let mut json = String::new();
        write_json(element, &mut json)?;
        fields.push((key.get_ref().to_string(), json));
    }
    fields.sort_unstable();
    Ok(Some(fields))
}

/// The integer, `None` if it does not fit.
pub(super) fn integer_value(integer: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// The finite number, `None` if it is infinite or none.
pub(super) fn float_value(float: &DeFloat<'_>) -> Option<f64> {
    float.as_str().parse().ok().filter(|number: &f64| number.is_finite()).map(|number| number + 0.0)
}

/// Shortest digits that read back to the same bits; always with a point or an exponent, so that it stays a float.
fn write_number(number: f64, out: &mut String) {
    // Writing to a string cannot fail.
    let _ = write!(out, "{number:?}");
}

/// Appends `text` in quotes.
pub(crate) fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(toml: &str) -> Result<String, String> {
        let mut out = String::new();
        write_json(&DeValue::parse(toml).unwrap(), &mut out)
            .map_err(|e| format!("{}: {}", e.offset, e.message))?;
        Ok(out)
    }

    #[test]
    fn values_have_one_spelling() {
        for (toml, expected) in [
            ("{ b = 1, a = { y = true, x = [] } }", r#"{"a":{"x":[],"y":true},"b":1}"#),
            ("10.0", "10.0"),
            ("-0.0", "0.0"),
            ("1e300", "1e300"),
            ("0x1F", "31"),
            ("1_000", "1000"),
            ("-9223372036854775808", "-9223372036854775808"),
            (r#""q\"\\\n\u0001é""#, r#""q\"\\\n\u0001é""#),
            (r#"[1, "a", [2.5]]"#, r#"[1,"a",[2.5]]"#),
        ] {
            assert_eq!(json(toml).unwrap(), expected);
        }
    }

    #[test]
    fn what_json_cannot_say_is_refused_at_its_place() {
        assert_eq!(json("[1, inf]").unwrap_err(), "4: JSON has no number `inf`");
        assert_eq!(json("nan").unwrap_err(), "0: JSON has no number `nan`");
        assert_eq!(json("2026-01-01").unwrap_err(), "0: JSON has no date `2026-01-01`");
        assert_eq!(json("9223372036854775808").unwrap_err(), "0: `9223372036854775808` does not fit 64 bits");
    }
}
