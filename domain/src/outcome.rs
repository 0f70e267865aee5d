//! What came of a decision: delivered, opened, clicked, converted, worth so much.
//!
//! Not here: how outcomes are stored (`decision-log`) or reckoned with (`shadow-harness`).

use std::fmt;

use crate::ids::{DecisionId, OutcomeKey};
use crate::time::Timestamp;
use crate::value::Finite;

macro_rules! outcome_kinds {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $word:literal;)*) => {
        /// What kind of thing came of a decision. Numbers are stored and on the wire: never renumber.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum OutcomeKind {
            $($(#[$doc])* $variant = $number,)*
        }

        impl OutcomeKind {
            /// Every kind, in numeric order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word used on the wire, in metrics and in the documentation.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// The kind with this stored number.
            pub const fn from_u8(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

outcome_kinds! {
    /// The message reached the person, or the offer was shown.
    Delivered = 1, "DELIVERED";
    /// It did not and will not: bounced, suppressed, never shown.
    NotDelivered = 2, "NOT_DELIVERED";
    /// It was opened.
    Opened = 3, "OPENED";
    /// It was clicked.
    Clicked = 4, "CLICKED";
    /// The person did what the decision was for.
    Converted = 5, "CONVERTED";
    /// Something of value came of it; several add up.
    Value = 6, "VALUE";
}

impl OutcomeKind {
    /// Whether an outcome of this kind may carry a value.
    pub const fn may_have_value(self) -> bool {
        matches!(self, Self::Converted | Self::Value)
    }
}

impl fmt::Display for OutcomeKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// One outcome, as the log keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct OutcomeRecord {
    /// Position in the log, counted from 1 without gaps.
    pub sequence: u64,
    /// By which a repetition is known: of several records with the same key, the first counts.
    pub outcome: OutcomeKey,
    /// The decision that it came of; it need not be one that is in the decision log.
    pub decision: DecisionId,
    /// What kind of thing it is.
    pub kind: OutcomeKind,
    /// What it is worth, in units of the caller's own, negative for a loss.
    pub value: Option<Finite>,
    /// When it happened, by the reporter's clock.
    pub occurred_at: Timestamp,
    /// When it was reported, by the server's clock.
    pub received_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_words_are_unique_and_reversible() {
        let mut words: Vec<_> = OutcomeKind::ALL.iter().map(|kind| kind.as_str()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), OutcomeKind::ALL.len());
        for kind in OutcomeKind::ALL {
            assert_eq!(OutcomeKind::from_u8(*kind as u8), Some(*kind));
        }
        assert_eq!(OutcomeKind::from_u8(0), None);
    }
}
