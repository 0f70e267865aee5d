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
mod cases;
mod check;
mod compared;
mod english;
mod error;
mod evaluate;
mod fold;
mod parse;
mod row;
mod scan;
mod suggest;
mod syntax;
mod tree;

use std::borrow::Cow;

use augur_domain::ValueType;

use check::Checker;
use syntax::Node;
use tree::Tree;

pub use cases::{Cases, Covered, Domain, Example, Outside};
pub use error::CompileError;
pub use row::{Evaluated, Names, Operand, Row, Slot};

/// A compiled expression: immutable, cheap to share, evaluated without allocation.
#[derive(Debug, Clone)]
pub struct Expression {
    source: Box<str>,
    slots: Box<[Slot]>,
    reads_time_zones: bool,
    tree: Tree,
}

/// A source that follows the grammar. Parsing is the dear part: whoever compiles one source against several name
/// tables parses it once, and whoever has many sources parses them together.
#[derive(Debug, Clone)]
pub struct Parsed<'a> {
    source: Cow<'a, str>,
    written: Node,
}

impl<'a> Parsed<'a> {
    /// Parses `source`.
    ///
    /// # Errors
    /// The first thing wrong, with its place: syntax, anything outside the subset, or a source, nesting or node count
    /// past its bound.
    pub fn new(source: &'a str) -> Result<Self, CompileError> {
        Ok(Self { source: source.into(), written: parse::parse(source)? })
    }

    /// Parses each of `sources`, in order, much faster than one by one; errors as of [`Self::new`].
    pub fn all(sources: &[&'a str]) -> Vec<Result<Self, CompileError>> {
        let parsed = parse::parse_all(sources).into_iter().zip(sources);
        parsed.map(|(written, source)| Ok(Self { source: (*source).into(), written: written? })).collect()
    }

    /// What is true when each of `terms` is: their sources with ` && ` between them, each in brackets. With it goes the
    /// byte at which each term begins. `None` without terms.
    pub fn conjunction(terms: &[&Self]) -> Option<(Self, Vec<usize>)> {
        let mut source = String::new();
        let (mut nodes, mut starts) = (Vec::with_capacity(terms.len()), Vec::with_capacity(terms.len()));
        for term in terms {
            source.push_str(if source.is_empty() { "(" } else { " && (" });
            starts.push(source.len());
            let mut node = term.written.clone();
            node.shift(source.len());
            nodes.push(node);
            source.push_str(&term.source);
            source.push(')');
        }
        let written = match <[Node; 1]>::try_from(nodes) {
            Ok([only]) => only,
            Err(nodes) if nodes.is_empty() => return None,
            Err(nodes) => Node { start: 0, kind: syntax::Kind::All(nodes) },
        };
        Some((Self { source: source.into(), written }, starts))
    }

    /// The text it was parsed from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Type-checks and lowers it; it must come to a value of type `expected`.
    ///
    /// # Errors
    /// The first unknown name, or types that do not go together, with its place.
    pub fn compile(&self, names: &dyn Names, expected: ValueType) -> Result<Expression, CompileError> {
        let mut checker = Checker { names, slots: Vec::new(), reads_time_zones: false };
        let tree = checker.check_root(&self.written, expected)?;
        let Checker { mut slots, reads_time_zones, .. } = checker;
        slots.sort_unstable();
        slots.dedup();
        Ok(Expression { source: (&*self.source).into(), slots: slots.into(), reads_time_zones, tree })
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

    /// What it says, as a plain English clause such as `the feature visits is at least 5`; `name` says a slot's name. Made
    /// of the lowered tree, so it tells what is evaluated and not what was meant.
    pub fn in_english(&self, name: &dyn Fn(Slot) -> String) -> String {
        english::clause(&self.tree, name)
    }

    /// Whether its value hangs on the tables of time zones, which another release of them may change.
    pub fn reads_time_zones(&self) -> bool {
        self.reads_time_zones
    }

    /// The type of its value, as asked of [`Self::compile`].
    pub fn value_type(&self) -> ValueType {
        self.tree.value_type()
    }
}
