//! Gates as a person writes them: a TOML file, read strictly.
//!
//! Not here: what gates mean (`gates`).

use std::collections::BTreeMap;

use augur_domain::Diagnostic;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::gates::{Gates, ScoreGates};

/// Words less alike than this (Jaro-Winkler, 0 to 1) are not offered.
const LEAST_LIKENESS: f64 = 0.75;
/// Entries of one table, and bytes of the file.
const MAX_ENTRIES: usize = 1_000;
const MAX_BYTES: usize = 1 << 20;

const SHARE: &str = "a share from 0 to 1";
const RATIO: &str = "a number above 0";
const COUNT: &str = "a number, at least 0";
const ANY: &str = "a number; it may be negative";

impl Gates {
    /// Reads gates. `file` is for complaints.
    ///
    /// # Errors
    /// Everything that does not fit, with its place: unknown keys, values out of their range.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<Diagnostic>> {
        let mut reading = Reading { file, text, complaints: Vec::new() };
        if text.len() > MAX_BYTES {
            reading.complain(0, format!("{} bytes", text.len()), "at most 1 MiB");
            return Err(reading.complaints);
        }
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            reading.complain(error.span().map_or(0, |span| span.start), error.message(), "TOML");
        }
        let gates = reading.gates(document.get_ref());
        if reading.complaints.is_empty() { Ok(gates) } else { Err(reading.complaints) }
    }
}

/// A file being read.
struct Reading<'a> {
    file: &'a str,
    text: &'a str,
    complaints: Vec<Diagnostic>,
}

impl Reading<'_> {
    fn complain(&mut self, offset: usize, message: impl Into<String>, expected: impl Into<String>) {
        self.complaints.push(Diagnostic::at_offset(self.file, self.text, offset, message, expected));
    }

    fn gates(&mut self, table: &DeTable<'_>) -> Gates {
        let mut gates = Gates::default();
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "min_decisions" => gates.min_decisions = self.number(value, COUNT),
                "max_flip_share" => gates.max_flip_share = self.number(value, SHARE),
                "max_changed_user_share" => gates.max_changed_user_share = self.number(value, SHARE),
                "max_uncompared_share" => gates.max_uncompared_share = self.number(value, SHARE),
                "max_fallback_share" => gates.max_fallback_share = self.number(value, SHARE),
                "max_cost_ratio" => gates.max_cost_ratio = self.number(value, RATIO),
                "min_value_ratio" => gates.min_value_ratio = self.number(value, COUNT),
                "max_flip_share_at" => gates.max_flip_share_at = self.numbers(value, SHARE),
                "max_growth" => gates.max_growth = self.numbers(value, COUNT),
                "scores" => gates.scores = self.scores(value),
                _ => self.unknown(
                    key,
                    &[
                        "min_decisions",
                        "max_flip_share",
                        "max_flip_share_at",
                        "max_changed_user_share",
                        "max_uncompared_share",
                        "max_fallback_share",
                        "max_growth",
                        "max_cost_ratio",
                        "min_value_ratio",
                        "scores",
                    ],
                ),
            }
        }
        gates
    }

    fn scores(&mut self, value: &Spanned<DeValue<'_>>) -> BTreeMap<String, ScoreGates> {
        let mut all = BTreeMap::new();
        for (alias, table) in self.entries(value, "tables headed `[scores.NAME]`") {
            let mut gates = ScoreGates::default();
            for (key, value) in self.entries(table, "a table headed `[scores.NAME]`") {
                match key.get_ref().as_ref() {
                    "max_psi" => gates.max_psi = self.number(value, COUNT),
                    "max_ks" => gates.max_ks = self.number(value, SHARE),
                    "min_auc_change" => gates.min_auc_change = self.number(value, ANY),
                    "max_log_loss_change" => gates.max_log_loss_change = self.number(value, ANY),
                    "max_ece" => gates.max_ece = self.number(value, SHARE),
                    _ => self.unknown(
                        key,
                        &["max_psi", "max_ks", "min_auc_change", "max_log_loss_change", "max_ece"],
                    ),
                }
            }
            all.insert(alias.get_ref().to_string(), gates);
        }
        all
    }

    /// A table of numbers by name.
    fn numbers(&mut self, value: &Spanned<DeValue<'_>>, expected: &str) -> BTreeMap<String, f64> {
        let entries = self.entries(value, "a table with a number for each name");
        let read = entries
            .into_iter()
            .filter_map(|(name, value)| Some((name.get_ref().to_string(), self.number(value, expected)?)));
        read.collect()
    }

    /// The entries of a table, at most 1000.
    fn entries<'v, 't>(&mut self, value: &'v Spanned<DeValue<'t>>, expected: &str) -> Entries<'v, 't> {
        let Some(table) = value.get_ref().as_table() else {
            self.complain(value.span().start, "this is no table", expected);
            return Vec::new();
        };
        if table.len() > MAX_ENTRIES {
            let found = format!("{} entries", table.len());
            self.complain(value.span().start, found, format!("at most {MAX_ENTRIES}"));
        }
        table.iter().take(MAX_ENTRIES).collect()
    }

    /// A finite number in the range that `expected` says.
    fn number(&mut self, value: &Spanned<DeValue<'_>>, expected: &str) -> Option<f64> {
        let found = match value.get_ref() {
            DeValue::Integer(number) => number.to_string().parse::<f64>().ok(),
            DeValue::Float(number) => number.to_string().parse::<f64>().ok(),
            _ => None,
        };
        let fits = |number: &f64| match expected {
            SHARE => (0.0..=1.0).contains(number),
            RATIO => *number > 0.0,
            COUNT => *number >= 0.0,
            _ => true,
        };
        let found = found.filter(|number| number.is_finite() && fits(number));
        if found.is_none() {
            let quoted = self.text.get(value.span()).unwrap_or_default().to_owned();
            self.complain(value.span().start, format!("the bound is `{quoted}`"), expected);
        }
        found
    }

    fn unknown(&mut self, key: &Spanned<toml::de::DeString<'_>>, known: &[&str]) {
        let word = key.get_ref().as_ref();
        let near = known.iter().map(|name| (strsim::jaro_winkler(word, name), *name));
        let nearest = near
            .filter(|(likeness, _)| *likeness > LEAST_LIKENESS)
            .max_by(|one, other| one.0.total_cmp(&other.0));
        let complaint = Diagnostic::at_offset(
            self.file,
            self.text,
            key.span().start,
            format!("there is no gate `{word}`"),
            format!("one of {}", known.join(", ")),
        );
        self.complaints.push(match nearest {
            Some((_, name)) => complaint.with_hint(format!("did you mean `{name}`?")),
            None => complaint,
        });
    }
}

/// Keys with their values.
type Entries<'v, 't> = Vec<(&'v Spanned<toml::de::DeString<'t>>, &'v Spanned<DeValue<'t>>)>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_gate_is_read() {
        let text = "min_decisions = 1_000\nmax_flip_share = 0.05\nmax_changed_user_share = 0.2\n\
                    max_uncompared_share = 0\nmax_fallback_share = 0.01\nmax_cost_ratio = 2\nmin_value_ratio = 1.0\n\
                    [max_growth]\ndiscount_10 = 1.2\n[max_flip_share_at]\nweekly_email = 0.1\n[scores.churn]\n\
                    max_psi = 0.2\nmax_ks = 0.1\nmin_auc_change = -0.005\nmax_log_loss_change = 0.001\nmax_ece = 0.03\n";
        let gates = Gates::parse("gates.toml", text).unwrap();
        assert_eq!((gates.min_decisions, gates.max_cost_ratio), (Some(1_000.0), Some(2.0)));
        assert_eq!(gates.max_growth.get("discount_10"), Some(&1.2));
        assert_eq!(gates.max_flip_share_at.get("weekly_email"), Some(&0.1));
        let scores = gates.scores.get("churn").copied().unwrap();
        assert_eq!((scores.min_auc_change, scores.max_ece), (Some(-0.005), Some(0.03)));
        assert_eq!(Gates::parse("gates.toml", "").unwrap(), Gates::default());
    }

    #[test]
    fn what_does_not_fit_is_told_with_its_place_and_what_was_meant() {
        let complaints = |text: &str| {
            let found = Gates::parse("gates.toml", text).unwrap_err();
            found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        let text =
            "max_flip_share = 1.5\nmax_flips = 1\n[scores.churn]\nmax_pis = 0.1\nmin_auc_change = 'none'\n";
        let found = complaints(text);
        for expected in [
            "gates.toml:1:18: the bound is `1.5`; expected a share from 0 to 1",
            "gates.toml:2:1: there is no gate `max_flips`",
            "did you mean `max_flip_share`?",
            "gates.toml:4:1: there is no gate `max_pis`",
            "did you mean `max_psi`?",
            "the bound is `'none'`",
        ] {
            assert!(found.contains(expected), "{found}");
        }
        assert!(complaints("max_growth = 3").contains("this is no table"));
        assert!(complaints("max_flip_share = nan").contains("the bound is `nan`"));
        assert!(complaints("max_flip_share =").contains("gates.toml:1:"));
    }
}
