//! One rule: which outcomes of a decision count, and what number they make together.
//!
//! Not here: where outcomes come from (`join`), or reading files (the command line does).

use augur_domain::OutcomeKind;
use augur_domain::time::{DAY_MS, parse_duration_ms};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Longest window: ten years.
const MAX_WITHIN_MS: i64 = 3_650 * DAY_MS;

/// Which of a decision's outcomes make its reward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Take {
    /// The one that happened first.
    First,
    /// The one that happened last.
    Last,
    /// All of them together.
    #[default]
    Sum,
    /// The one that is worth most.
    Max,
    /// How many there are.
    Count,
}

impl Take {
    /// The word in files and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Last => "last",
            Self::Sum => "sum",
            Self::Max => "max",
            Self::Count => "count",
        }
    }

    /// Every word.
    pub const ALL: [Self; 5] = [Self::First, Self::Last, Self::Sum, Self::Max, Self::Count];
}

/// How the outcomes of a decision become one number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewardRule {
    /// By which it is asked for.
    #[serde(default)]
    pub name: String,
    /// Which outcomes count.
    #[serde(serialize_with = "write_kind", deserialize_with = "read_kind")]
    pub kind: OutcomeKind,
    /// Which of them make the reward.
    #[serde(default)]
    pub take: Take,
    /// Outcomes later than so many milliseconds after their decision do not count, and of younger decisions nobody knows
    /// yet: they have no reward. In files a length such as `14d`.
    #[serde(rename = "within", deserialize_with = "read_length")]
    pub within_ms: i64,
    /// The reward of a decision that is old enough and has no such outcome.
    #[serde(default)]
    pub default: f64,
    /// What every outcome is worth. Left out: the value it carries, or 1 without one.
    #[serde(default)]
    pub value: Option<f64>,
}

impl RewardRule {
    /// The sum of the values of outcomes of this kind, 0 without any.
    pub fn sum_of(kind: OutcomeKind, within_ms: i64) -> Self {
        let name = kind.as_str().to_ascii_lowercase();
        Self { name, kind, take: Take::Sum, within_ms, default: 0.0, value: None }
    }

    /// The reward of outcomes worth `worths`, in the order in which they happened; `None` without any.
    pub fn of(&self, worths: &[f64]) -> Option<f64> {
        let (first, last) = (worths.first()?, worths.last()?);
        Some(match self.take {
            Take::First => *first,
            Take::Last => *last,
            Take::Sum => worths.iter().fold(0.0, |sum, worth| sum + worth),
            Take::Max => worths.iter().fold(*first, |most, worth| most.max(*worth)),
            Take::Count => worths.len() as f64,
        })
    }
}

/// A file of rules.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewardFile {
    /// Of the format: 1.
    pub version: u32,
    /// The rules.
    #[serde(rename = "reward")]
    pub rewards: Vec<RewardRule>,
}

impl RewardFile {
    /// Most rules in one file.
    pub const MAX_RULES: usize = 32;

    /// What is wrong with it, if anything is: the problem, and what was expected.
    pub fn fault(&self) -> Option<(String, &'static str)> {
        if self.version != 1 {
            return Some((format!("version {}", self.version), "version = 1"));
        }
        if self.rewards.is_empty() || self.rewards.len() > Self::MAX_RULES {
            return Some((format!("{} rules", self.rewards.len()), "1 to 32 tables [[reward]]"));
        }
        for (index, rule) in self.rewards.iter().enumerate() {
            let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
            if rule.name.is_empty() || !rule.name.chars().all(is_word) {
                return Some((format!("the name `{}`", rule.name), "letters, digits and `_`"));
            }
            if self.rewards.iter().take(index).any(|other| other.name == rule.name) {
                return Some((format!("two rules called `{}`", rule.name), "each name once"));
            }
            if !rule.default.is_finite() || rule.value.is_some_and(|value| !value.is_finite()) {
                return Some((format!("a number of `{}` that is none", rule.name), "finite numbers"));
            }
        }
        None
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it so")]
fn write_kind<S: Serializer>(kind: &OutcomeKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&kind.as_str().to_ascii_lowercase())
}

fn read_kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OutcomeKind, D::Error> {
    let text = String::deserialize(deserializer)?;
    let known = OutcomeKind::ALL.iter().find(|kind| kind.as_str().eq_ignore_ascii_case(&text));
    known.copied().ok_or_else(|| {
        let words: Vec<String> =
            OutcomeKind::ALL.iter().map(|kind| kind.as_str().to_ascii_lowercase()).collect();
        de::Error::custom(format!("`{text}` is no kind of outcome; expected one of {}", words.join(", ")))
    })
}

fn read_length<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let length = parse_duration_ms(&String::deserialize(deserializer)?).map_err(de::Error::custom)?;
    if length > MAX_WITHIN_MS {
        return Err(de::Error::custom("expected a length of at most 3650d"));
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_take_outcomes() {
        let worths = [2.0, 5.0, -1.0];
        let rule = |take| RewardRule { take, ..RewardRule::sum_of(OutcomeKind::Value, DAY_MS) };
        let taken: Vec<f64> = Take::ALL.iter().map(|take| rule(*take).of(&worths).unwrap()).collect();
        assert_eq!(taken, [2.0, -1.0, 6.0, 5.0, 3.0]);
        assert!(Take::ALL.iter().all(|take| rule(*take).of(&[]).is_none()));
    }

    #[test]
    fn a_file_is_held_to_its_bounds() {
        let rule =
            |name: &str| RewardRule { name: name.into(), ..RewardRule::sum_of(OutcomeKind::Clicked, 1) };
        let file = |rewards| RewardFile { version: 1, rewards };
        assert_eq!(file(vec![rule("one"), rule("two")]).fault(), None);
        for (wrong, what) in [
            (file(vec![]), "0 rules"),
            (file(vec![rule("a b")]), "a b"),
            (file(vec![rule("one"), rule("one")]), "two rules"),
            (file(vec![RewardRule { default: f64::NAN, ..rule("one") }]), "none"),
            (RewardFile { version: 2, ..file(vec![rule("one")]) }, "version 2"),
        ] {
            assert!(wrong.fault().unwrap().0.contains(what), "{wrong:?}");
        }
    }
}
