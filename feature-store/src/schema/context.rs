//! What a request tells about itself, for the features that are computed from it.
//!
//! Not here: which names and types are declared (`document`), or the expressions that read them (`computed`).

use std::sync::Arc;

use augur_domain::Value;

/// The context of one read, by name.
pub trait Context {
    /// The value called `name`, `None` if the request does not tell it.
    fn value(&self, name: &str) -> Option<&Value>;
}

/// A read without a request: everything that is computed from context has no value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NoContext;

impl Context for NoContext {
    fn value(&self, _name: &str) -> Option<&Value> {
        None
    }
}

/// Ordered by name, each name once, as decision inputs keep it.
impl Context for Vec<(Arc<str>, Value)> {
    fn value(&self, name: &str) -> Option<&Value> {
        let place = self.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        self.get(place).map(|(_, value)| value)
    }
}
