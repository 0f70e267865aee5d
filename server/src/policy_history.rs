//! Which policy decided from when on, who made it so and why: lines of JSON in `<data>/policies/history`.
//!
//! Not here: the policies themselves (`active`), or the calls that change which one decides (`policies`).

use std::path::Path;

use augur_domain::{ContentHash, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::files::{self, Layout};

/// Changes that are kept; older ones make room.
pub(crate) const MAX_CHANGES: usize = 2_000;
/// Longest `who` and `why`, in bytes.
pub(crate) const MAX_REMARK_BYTES: usize = 4 * 1024;

/// From when on a policy decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyChange {
    /// When, by the server's clock.
    pub at: Timestamp,
    /// How it came about.
    pub kind: PolicyChangeKind,
    /// The policy that decides from here on.
    pub policy: ContentHash,
    /// The archived policy whose text was taken, where that is another one: the feature definitions had changed.
    pub restored: Option<ContentHash>,
    /// Who; empty if nobody said.
    pub who: String,
    /// The reason given; empty if none was.
    pub why: String,
}

/// How a policy came to decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyChangeKind {
    /// The server started with another policy than it had stopped with: the configured file was edited, or the feature
    /// definitions.
    Start,
    /// Someone activated it.
    Activate,
    /// Someone went back to it.
    Rollback,
    /// The feature definitions were switched.
    Switch,
}

impl PolicyChangeKind {
    /// The word used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Activate => "activate",
            Self::Rollback => "rollback",
            Self::Switch => "switch",
        }
    }
}

/// The line as written. Fields may be added, never renamed or removed.
#[derive(Serialize, Deserialize)]
struct Line {
    at_unix_ms: i64,
    kind: PolicyChangeKind,
    policy: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    restored: Option<String>,
    who: String,
    why: String,
}

/// All changes that are kept, oldest first; none if there is no file yet.
pub(crate) fn read(layout: &Layout) -> Result<Vec<PolicyChange>, Error> {
    let path = layout.policy_history();
    let text = match files::read_text(&path) {
        Ok(text) => text,
        Err(Error::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    text.lines().enumerate().map(|(index, line)| parse(line, index + 1, &path)).collect()
}

fn parse(line: &str, number: usize, path: &Path) -> Result<PolicyChange, Error> {
    let damaged = |problem: String| Error::DataDirectory {
        path: path.to_owned(),
        problem: format!("line {number}: {problem}"),
        next_step: "restore it from a backup, or remove it: it only tells what decided when",
    };
    let line: Line = serde_json::from_str(line).map_err(|error| damaged(error.to_string()))?;
    let hash = |text: &str| text.parse::<ContentHash>().map_err(|error| damaged(error.to_string()));
    Ok(PolicyChange {
        at: Timestamp::from_unix_ms(line.at_unix_ms),
        kind: line.kind,
        policy: hash(&line.policy)?,
        restored: line.restored.as_deref().map(hash).transpose()?,
        who: line.who,
        why: line.why,
    })
}

/// Adds a change; the file is whole at any time. The caller holds the lock of changes.
pub(crate) fn append(layout: &Layout, change: PolicyChange) -> Result<(), Error> {
    let mut changes = read(layout)?;
    changes.push(change);
    let newest = changes.len().saturating_sub(MAX_CHANGES);
    let mut text = String::new();
    for change in changes.iter().skip(newest) {
        let line = Line {
            at_unix_ms: change.at.unix_ms(),
            kind: change.kind,
            policy: change.policy.to_string(),
            restored: change.restored.map(|restored| restored.to_string()),
            who: change.who.clone(),
            why: change.why.clone(),
        };
        let line = serde_json::to_string(&line).map_err(|error| Error::DataDirectory {
            path: layout.policy_history(),
            problem: format!("a change of the policy cannot be written: {error}"),
            next_step: "say the reason in other words",
        })?;
        text.push_str(&line);
        text.push('\n');
    }
    files::write_whole(&layout.policy_history(), text.as_bytes(), 0o644)
}

/// The policies that still stand, oldest first, the one that decides last: a rollback takes back everything after the
/// policy that it returns to.
pub(crate) fn standing(changes: &[PolicyChange]) -> Vec<ContentHash> {
    let mut standing: Vec<ContentHash> = Vec::new();
    for change in changes {
        if change.kind == PolicyChangeKind::Rollback {
            let target = change.restored.unwrap_or(change.policy);
            if let Some(place) = standing.iter().rposition(|policy| *policy == target) {
                standing.truncate(place);
            }
        }
        if standing.last() != Some(&change.policy) {
            standing.push(change.policy);
        }
    }
    standing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(kind: PolicyChangeKind, policy: u8, restored: Option<u8>) -> PolicyChange {
        let id = |byte| ContentHash::from_bytes([byte; 32]);
        PolicyChange {
            at: Timestamp::from_unix_ms(i64::from(policy)),
            kind,
            policy: id(policy),
            restored: restored.map(id),
            who: "ada".to_owned(),
            why: "a \"reason\"\nof two lines".to_owned(),
        }
    }

    #[test]
    fn what_was_appended_is_read_and_damage_is_told_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        assert_eq!(read(&layout).unwrap(), []);
        let changes =
            [change(PolicyChangeKind::Start, 1, None), change(PolicyChangeKind::Rollback, 2, Some(3))];
        for change in &changes {
            append(&layout, change.clone()).unwrap();
        }
        assert_eq!(read(&layout).unwrap(), changes);
        let first = std::fs::read_to_string(layout.policy_history()).unwrap();
        let golden = format!(
            "{{\"at_unix_ms\":1,\"kind\":\"start\",\"policy\":\"{}\",\"who\":\"ada\",\"why\":\"a \\\"reason\\\"\\nof two lines\"}}",
            "01".repeat(32)
        );
        assert_eq!(first.lines().next(), Some(&*golden));
        std::fs::write(layout.policy_history(), format!("{golden}\n{{\n")).unwrap();
        let refused = read(&layout).unwrap_err().to_string();
        assert!(refused.contains("line 2: "), "{refused}");
    }

    #[test]
    fn a_rollback_takes_back_everything_after_what_it_returns_to() {
        use PolicyChangeKind::{Activate, Rollback, Start};
        let top = |changes: &[PolicyChange]| -> Vec<u8> {
            standing(changes).iter().map(|policy| policy.as_bytes()[0]).collect()
        };
        let mut changes = vec![
            change(Start, 1, None),
            change(Activate, 2, None),
            change(Activate, 2, None),
            change(Activate, 3, None),
        ];
        assert_eq!(top(&changes), [1, 2, 3]);
        changes.push(change(Rollback, 2, None));
        assert_eq!(top(&changes), [1, 2]);
        changes.push(change(Rollback, 1, None));
        assert_eq!(top(&changes), [1]);
        // Under changed definitions the same text has another id.
        changes.extend([change(Activate, 4, None), change(Rollback, 5, Some(1))]);
        assert_eq!(top(&changes), [5]);
        // One that is not in the history is just the next.
        changes.push(change(Rollback, 9, None));
        assert_eq!(top(&changes), [5, 9]);
    }

    #[test]
    fn the_oldest_make_room() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let line = |at: usize| {
            format!(
                "{{\"at_unix_ms\":{at},\"kind\":\"switch\",\"policy\":\"{}\",\"who\":\"\",\"why\":\"\"}}\n",
                "07".repeat(32)
            )
        };
        let text: String = (0..MAX_CHANGES).map(line).collect();
        files::write_whole(&layout.policy_history(), text.as_bytes(), 0o644).unwrap();
        append(&layout, change(PolicyChangeKind::Activate, 1, None)).unwrap();
        let kept = read(&layout).unwrap();
        assert_eq!((kept.len(), kept[0].at.unix_ms()), (MAX_CHANGES, 1));
    }
}
