//! A small name table and rows over it, for every test of this crate.
//!
//! Not here: expectations.

use augur_domain::ValueType;
use augur_expression::{CompileError, Expression, Names, Operand, Row, Slot};

/// Path, type; the slot is the position.
pub(crate) const NAMES: [(&str, ValueType); 18] = [
    ("features.purchases_30d", ValueType::Number),
    ("features.visits", ValueType::Number),
    ("features.balance", ValueType::Number),
    ("scores.churn", ValueType::Number),
    ("user.country", ValueType::Text),
    ("user.language", ValueType::Text),
    ("context.channel", ValueType::Text),
    ("user.subscribed", ValueType::Boolean),
    ("context.returning", ValueType::Boolean),
    ("now", ValueType::Timestamp),
    ("features.last_order", ValueType::Timestamp),
    ("features.first_visit", ValueType::Timestamp),
    ("features.session_length", ValueType::Duration),
    ("context.wait", ValueType::Duration),
    ("segments.value", ValueType::Text),
    ("user.plan", ValueType::Text),
    ("user.member_since", ValueType::Timestamp),
    ("user.age", ValueType::Number),
];

/// Names that hold only some texts, with these.
pub(crate) const ENUMS: [(&str, &[&str]); 2] =
    [("context.channel", &["email", "push", "web"]), ("user.plan", &["free", "pro"])];

/// The table above; some names hold some texts only.
pub(crate) struct Shop;

impl Names for Shop {
    fn lookup(&self, path: &str) -> Option<(Slot, ValueType)> {
        let index = NAMES.iter().position(|(name, _)| *name == path)?;
        Some((Slot(index as u32), NAMES[index].1))
    }

    fn known(&self) -> Vec<String> {
        NAMES.iter().map(|(name, _)| (*name).to_owned()).collect()
    }

    fn allowed_texts(&self, path: &str) -> Option<Vec<String>> {
        let (_, texts) = ENUMS.iter().find(|(known, _)| *known == path)?;
        Some(texts.iter().map(|text| (*text).to_owned()).collect())
    }
}

/// Values by slot; what is past the end is missing too.
#[derive(Debug, Clone, Default)]
pub(crate) struct Values(pub(crate) Vec<Option<Operand<'static>>>);

impl Row for Values {
    fn operand(&self, slot: Slot) -> Option<Operand<'_>> {
        self.0.get(slot.0 as usize).copied().flatten()
    }
}

impl Values {
    /// The same row with one more value.
    pub(crate) fn with(mut self, path: &str, value: Operand<'static>) -> Self {
        let slot = slot(path);
        self.0.resize(self.0.len().max(slot.0 as usize + 1), None);
        self.0[slot.0 as usize] = Some(value);
        self
    }
}

pub(crate) fn slot(path: &str) -> Slot {
    Shop.lookup(path).expect("a name of the table").0
}

pub(crate) fn compile(source: &str, expected: ValueType) -> Result<Expression, CompileError> {
    Expression::compile(source, &Shop, expected)
}
