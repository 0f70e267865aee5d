//! The rule language: a strict, typed subset of CEL, compiled once and evaluated on every decision.
//!
//! Not here: what the names mean (the caller's [`Names`] and [`Row`]), rules, priorities or decision tables.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::float_cmp,
        reason = "tests may fail loudly and compare bits"
    )
)]

mod call;
mod check;
mod error;
mod evaluate;
mod fold;
mod parse;
mod row;
mod scan;
mod suggest;
mod syntax;
mod tree;

use augur_domain::ValueType;

use check::Checker;
use tree::Tree;

pub use error::CompileError;
pub use row::{Evaluated, Names, Operand, Row, Slot};

/// A compiled expression: immutable, cheap to share, evaluated without allocation.
#[derive(Debug, Clone)]
pub struct Expression {
    source: Box<str>,
    slots: Box<[Slot]>,
    tree: Tree,
}

/// A source that follows the grammar. Parsing is the dear part: whoever compiles one source against several name
/// tables parses it once.
#[derive(Debug)]
pub struct Parsed<'a> {
    source: &'a str,
    written: syntax::Node,
}

impl<'a> Parsed<'a> {
    /// Parses `source`.
    ///
    /// # Errors
    /// The first thing wrong, with its place: syntax, anything outside the subset, or a source, nesting or node count
    /// past its bound.
    pub fn new(source: &'a str) -> Result<Self, CompileError> {
        Ok(Self { source, written: parse::parse(source)? })
    }

    /// Type-checks and lowers it; it must come to a value of type `expected`.
    ///
    /// # Errors
    /// The first unknown name, or types that do not go together, with its place.
    pub fn compile(&self, names: &dyn Names, expected: ValueType) -> Result<Expression, CompileError> {
        let mut checker = Checker { names, slots: Vec::new() };
        let tree = checker.check_root(&self.written, expected)?;
        let mut slots = checker.slots;
        slots.sort_unstable();
        slots.dedup();
        Ok(Expression { source: self.source.into(), slots: slots.into(), tree })
    }
}

impl Expression {
    /// Parses, type-checks and lowers `source`, which must come to a value of type `expected`.
    ///
    /// # Errors
    /// The first thing wrong, with its place: syntax, anything outside the subset, an unknown name, types that do
    /// not go together, or a source, nesting or node count past its bound.
    pub fn compile(source: &str, names: &dyn Names, expected: ValueType) -> Result<Self, CompileError> {
        Parsed::new(source)?.compile(names, expected)
    }

    /// The value of the expression on `row`. Never NaN or infinite, never allocates, never panics.
    pub fn evaluate<'a, R: Row + ?Sized>(&'a self, row: &'a R) -> Evaluated<'a> {
        self.tree.evaluate(row)
    }

    /// The text it was compiled from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The slots of the names in it, ascending, each once; no other slot is ever read.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The type of its value, as asked of [`Self::compile`].
    pub fn value_type(&self) -> ValueType {
        self.tree.value_type()
    }
}
