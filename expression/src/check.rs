//! Types and names: from the written tree to the lowered one, or the first thing that does not go together.
//!
//! Checking and lowering are one pass, so nothing can be accepted by the one and misread by the other. Operations
//! on constants are carried out at once (`fold`).
//! Not here: functions (`call`) and syntax (`parse`).

use augur_domain::ValueType;

use crate::fold::{fold_boolean, fold_millis, fold_number};
use crate::syntax::{Arithmetic, Binary, Comparison, Kind, Node};
use crate::tree::{Boolean, Choice, Millis, Number, Text, Tree};
use crate::{CompileError, Names, Slot, suggest};

/// Checks against a caller's names; keeps the slots of the names it met.
pub(crate) struct Checker<'a> {
    pub(crate) names: &'a dyn Names,
    pub(crate) slots: Vec<Slot>,
    /// Whether the answer hangs on tables of time zones.
    pub(crate) reads_time_zones: bool,
}

impl Checker<'_> {
    /// The lowered form of `node`, which must be of type `expected`.
    pub(crate) fn check_root(&mut self, node: &Node, expected: ValueType) -> Result<Tree, CompileError> {
        let tree = self.check(node)?;
        if tree.value_type() == expected {
            return Ok(tree);
        }
        let message = format!("the expression is a {}", tree.value_type());
        let hint = match (expected, tree.value_type()) {
            (ValueType::Boolean, ValueType::Number) => "compare it, e.g. `.. > 0`",
            (ValueType::Boolean, ValueType::Text) => "compare it, e.g. `.. == 'DE'`",
            (ValueType::Boolean, ValueType::Duration) => "compare it, e.g. `.. > duration('24h')`",
            (ValueType::Boolean, ValueType::Timestamp) => "compare it, e.g. `now - .. > duration('24h')`",
            (ValueType::Number, ValueType::Boolean) => "choose numbers by it, e.g. `.. ? 1 : 0`",
            (ValueType::Number, ValueType::Duration) => "use `seconds(..)`",
            _ => "",
        };
        Err(CompileError::new(node.start, message, format!("a {expected}")).with_hint(hint))
    }

    pub(crate) fn check(&mut self, node: &Node) -> Result<Tree, CompileError> {
        match &node.kind {
            Kind::Boolean(boolean) => Ok(Tree::Boolean(Boolean::Constant(*boolean))),
            Kind::Number(number) => Ok(Tree::Number(Number::Constant(*number))),
            Kind::Text(text) => Ok(Tree::Text(Text::Constant(text.as_str().into()))),
            Kind::Path(path) => self.path(path, node.start),
            Kind::List(_) => Err(CompileError::new(
                node.start,
                "a list can only stand after `in`",
                "e.g. `user.country in ['DE', 'FR']`",
            )),
            Kind::Not(operand) => {
                let operand = self.boolean(operand, "`!`")?;
                let constant = operand.is_constant();
                Ok(Tree::Boolean(fold_boolean(Boolean::Not(Box::new(operand)), constant, node.start)?))
            }
            Kind::Negate(operand) => {
                let operand = self.number(operand, "`-`")?;
                let constant = operand.is_constant();
                Ok(Tree::Number(fold_number(Number::Negate(Box::new(operand)), constant, node.start)?))
            }
            Kind::All(terms) => self.junction(terms, false),
            Kind::Any(terms) => self.junction(terms, true),
            Kind::Binary { operator, at, operands } => {
                let [left, right] = &**operands;
                match operator {
                    Binary::Arithmetic(operator) => self.arithmetic(*operator, *at, left, right),
                    Binary::Compare(comparison) => self.compare(*comparison, *at, left, right),
                    Binary::In => self.membership(*at, left, right),
                }
            }
            Kind::Choose(parts) => {
                let [condition, then, otherwise] = &**parts;
                self.choose(condition, then, otherwise)
            }
            Kind::Call { function, arguments } => self.call(function, arguments, node.start),
        }
    }

    /// The slot and type of a declared path.
    pub(crate) fn resolve(&mut self, path: &str, start: usize) -> Result<(Slot, ValueType), CompileError> {
        if let Some((slot, value_type)) = self.names.lookup(path) {
            self.slots.push(slot);
            return Ok((slot, value_type));
        }
        let known = self.names.known();
        let group = format!("{path}.");
        if let Some(member) = known.iter().filter(|name| name.starts_with(&group)).min() {
            let message = format!("`{path}` is a group of names, not a value");
            return Err(CompileError::new(start, message, format!("one of its members, e.g. `{member}`")));
        }
        Err(CompileError::new(start, format!("`{path}` is not a known name"), "")
            .with_hint(suggest::hint(path, &known)))
    }

    fn path(&mut self, path: &str, start: usize) -> Result<Tree, CompileError> {
        let (slot, value_type) = self.resolve(path, start)?;
        Ok(match value_type {
            ValueType::Boolean => Tree::Boolean(Boolean::Read(slot)),
            ValueType::Number => Tree::Number(Number::Read(slot)),
            ValueType::Text => Tree::Text(Text::Read(slot)),
            ValueType::Timestamp => Tree::Timestamp(Millis::ReadTimestamp(slot)),
            ValueType::Duration => Tree::Duration(Millis::ReadDuration(slot)),
        })
    }

    /// `node` as an operand of `user` that must be true or false.
    fn boolean(&mut self, node: &Node, user: &str) -> Result<Boolean, CompileError> {
        match self.check(node)? {
            Tree::Boolean(boolean) => Ok(boolean),
            other => Err(unfit(node, user, &other, ValueType::Boolean)),
        }
    }

    /// `node` as an operand of `user` that must be a number.
    pub(crate) fn number(&mut self, node: &Node, user: &str) -> Result<Number, CompileError> {
        match self.check(node)? {
            Tree::Number(number) => Ok(number),
            other => Err(unfit(node, user, &other, ValueType::Number)),
        }
    }

    fn junction(&mut self, nodes: &[Node], deciding: bool) -> Result<Tree, CompileError> {
        let user = if deciding { "`||`" } else { "`&&`" };
        let mut terms = Vec::with_capacity(nodes.len());
        let mut decided = false;
        for node in nodes {
            match self.boolean(node, user)? {
                Boolean::Constant(constant) => decided |= constant == deciding,
                term => terms.push(term),
            }
        }
        if decided || terms.is_empty() {
            return Ok(Tree::Boolean(Boolean::Constant(deciding == decided)));
        }
        Ok(Tree::Boolean(match <[Boolean; 1]>::try_from(terms) {
            Ok([only]) => only,
            Err(terms) if deciding => Boolean::Any(terms.into()),
            Err(terms) => Boolean::All(terms.into()),
        }))
    }

    fn arithmetic(
        &mut self,
        operator: Arithmetic,
        at: usize,
        left: &Node,
        right: &Node,
    ) -> Result<Tree, CompileError> {
        use Arithmetic::{Add, Subtract};
        let operands = (self.check(left)?, self.check(right)?);
        let plus = operator == Add;
        match (operator, operands) {
            (_, (Tree::Number(left), Tree::Number(right))) => {
                let constant = left.is_constant() && right.is_constant();
                let tree = Number::Arithmetic { operator, operands: Box::new([left, right]) };
                Ok(Tree::Number(fold_number(tree, constant, at)?))
            }
            (Add | Subtract, (Tree::Duration(left), Tree::Duration(right)))
            | (Subtract, (Tree::Timestamp(left), Tree::Timestamp(right))) => {
                let constant = left.is_constant() && right.is_constant();
                let tree = Millis::Length { plus, operands: Box::new([left, right]) };
                Ok(Tree::Duration(fold_millis(tree, constant, at)?))
            }
            (Add | Subtract, (Tree::Timestamp(left), Tree::Duration(right)))
            | (Add, (Tree::Duration(left), Tree::Timestamp(right))) => {
                let tree = Millis::Moved { forward: plus, operands: Box::new([left, right]) };
                Ok(Tree::Timestamp(tree))
            }
            (_, (left, right)) => Err(CompileError::new(
                at,
                format!(
                    "`{}` does not take a {} and a {}",
                    operator.symbol(),
                    left.value_type(),
                    right.value_type()
                ),
                match operator {
                    Add => "two numbers, two durations, or a timestamp and a duration",
                    Subtract => "two numbers, two durations, two timestamps, or a timestamp and a duration",
                    _ => "two numbers",
                },
            )
            .with_hint(length_hint(left.value_type(), right.value_type()))),
        }
    }

    fn compare(
        &mut self,
        comparison: Comparison,
        at: usize,
        left_node: &Node,
        right_node: &Node,
    ) -> Result<Tree, CompileError> {
        let (left, right) = (self.check(left_node)?, self.check(right_node)?);
        let constant = left.is_constant() && right.is_constant();
        let wanted = comparison == Comparison::Equal;
        let (left_type, right_type) = (left.value_type(), right.value_type());
        let tree = match (left, right) {
            (Tree::Number(left), Tree::Number(right)) => compare_numbers(comparison, left, right),
            (Tree::Timestamp(left), Tree::Timestamp(right))
            | (Tree::Duration(left), Tree::Duration(right)) => {
                Boolean::MillisCompared { comparison, operands: Box::new([left, right]) }
            }
            (Tree::Text(left), Tree::Text(right)) if comparison.is_equality() => {
                self.check_text(left_node, right_node)?;
                self.check_text(right_node, left_node)?;
                Boolean::TextsEqual { wanted, operands: Box::new([left, right]) }
            }
            (Tree::Boolean(left), Tree::Boolean(right)) if comparison.is_equality() => {
                Boolean::BooleansEqual { wanted, operands: Box::new([left, right]) }
            }
            _ if left_type == right_type => {
                let message = format!("`{}` does not order {left_type}s", comparison.symbol());
                return Err(CompileError::new(at, message, "`==` or `!=`"));
            }
            _ => {
                let symbol = comparison.symbol();
                let message = format!("`{symbol}` cannot compare a {left_type} with a {right_type}");
                return Err(CompileError::new(at, message, "two values of one type")
                    .with_hint(length_hint(left_type, right_type)));
            }
        };
        Ok(Tree::Boolean(fold_boolean(tree, constant, at)?))
    }

    /// Refuses the text literal `literal` where `path` is known never to hold it.
    fn check_text(&self, path: &Node, literal: &Node) -> Result<(), CompileError> {
        let (Kind::Path(path), Kind::Text(text)) = (&path.kind, &literal.kind) else {
            return Ok(());
        };
        let Some(allowed) = self.names.allowed_texts(path) else {
            return Ok(());
        };
        if allowed.contains(text) {
            return Ok(());
        }
        let shown: Vec<String> = allowed.iter().take(8).map(|text| format!("'{text}'")).collect();
        let more = if allowed.len() > shown.len() { ", .." } else { "" };
        Err(CompileError::new(
            literal.start,
            format!("`{path}` is never '{text}'"),
            format!("one of {}{more}", shown.join(", ")),
        )
        .with_hint(suggest::hint(text, &allowed)))
    }

    fn membership(&mut self, at: usize, value_node: &Node, list_node: &Node) -> Result<Tree, CompileError> {
        let value = self.check(value_node)?;
        let Kind::List(elements) = &list_node.kind else {
            let message = "`in` asks for a list";
            return Err(CompileError::new(
                list_node.start,
                message,
                "literals in brackets, e.g. `['DE', 'FR']`",
            ));
        };
        if elements.is_empty() {
            return Err(CompileError::new(list_node.start, "the list is empty", "at least one literal"));
        }
        let constant = value.is_constant();
        let tree = match value {
            Tree::Number(value) => {
                let mut list = Vec::with_capacity(elements.len());
                for element in elements {
                    match self.check(element)? {
                        // Adding zero turns a negative zero into zero.
                        Tree::Number(Number::Constant(number)) => list.push(number + 0.0),
                        other => return Err(unfit_element(element, &other, ValueType::Number)),
                    }
                }
                list.sort_by(f64::total_cmp);
                list.dedup_by(|left, right| left.to_bits() == right.to_bits());
                Boolean::NumberIn { value: Box::new(value), list: list.into() }
            }
            Tree::Text(value) => {
                let mut list = Vec::with_capacity(elements.len());
                for element in elements {
                    self.check_text(value_node, element)?;
                    match self.check(element)? {
                        Tree::Text(Text::Constant(text)) => list.push(text),
                        other => return Err(unfit_element(element, &other, ValueType::Text)),
                    }
                }
                list.sort();
                list.dedup();
                Boolean::TextIn { value: Box::new(value), list: list.into() }
            }
            other => {
                let message = format!("`in` does not look for a {}", other.value_type());
                return Err(CompileError::new(at, message, "a number or a text"));
            }
        };
        Ok(Tree::Boolean(fold_boolean(tree, constant, at)?))
    }

    fn choose(&mut self, condition: &Node, then: &Node, otherwise: &Node) -> Result<Tree, CompileError> {
        let condition = self.boolean(condition, "`? :`")?;
        let (then_tree, otherwise_tree) = (self.check(then)?, self.check(otherwise)?);
        Ok(match (then_tree, otherwise_tree) {
            (Tree::Boolean(then), Tree::Boolean(otherwise)) => {
                Tree::Boolean(chosen(condition, then, otherwise, Boolean::Choose))
            }
            (Tree::Number(then), Tree::Number(otherwise)) => {
                Tree::Number(chosen(condition, then, otherwise, Number::Choose))
            }
            (Tree::Text(then), Tree::Text(otherwise)) => {
                Tree::Text(chosen(condition, then, otherwise, Text::Choose))
            }
            (Tree::Timestamp(then), Tree::Timestamp(otherwise)) => {
                Tree::Timestamp(chosen(condition, then, otherwise, Millis::Choose))
            }
            (Tree::Duration(then), Tree::Duration(otherwise)) => {
                Tree::Duration(chosen(condition, then, otherwise, Millis::Choose))
            }
            (left, right) => {
                let (left, right) = (left.value_type(), right.value_type());
                let message = format!("the branches of `? :` are a {left} and a {right}");
                return Err(CompileError::new(otherwise.start, message, "two values of one type")
                    .with_hint(length_hint(left, right)));
            }
        })
    }
}

fn compare_numbers(comparison: Comparison, left: Number, right: Number) -> Boolean {
    match (left, right) {
        (Number::Read(slot), Number::Constant(constant)) => {
            Boolean::SlotCompared { comparison, slot, constant }
        }
        (Number::Constant(constant), Number::Read(slot)) => {
            Boolean::SlotCompared { comparison: comparison.flipped(), slot, constant }
        }
        (left, right) => Boolean::NumbersCompared { comparison, operands: Box::new([left, right]) },
    }
}

fn chosen<T>(condition: Boolean, then: T, otherwise: T, choose: impl Fn(Box<Choice<T>>) -> T) -> T {
    match condition {
        Boolean::Constant(true) => then,
        Boolean::Constant(false) => otherwise,
        condition => choose(Box::new(Choice { condition, then, otherwise })),
    }
}

/// What to write when a length of time meets a bare number.
fn length_hint(left: ValueType, right: ValueType) -> &'static str {
    match (left, right) {
        (ValueType::Number, ValueType::Duration) | (ValueType::Duration, ValueType::Number) => {
            "write a length of time as `duration('24h')`, or take its `seconds(..)`"
        }
        _ => "",
    }
}

fn unfit(node: &Node, user: &str, found: &Tree, wanted: ValueType) -> CompileError {
    CompileError::new(
        node.start,
        format!("{user} does not take a {}", found.value_type()),
        format!("a {wanted}"),
    )
}

fn unfit_element(node: &Node, found: &Tree, wanted: ValueType) -> CompileError {
    let message = if found.value_type() == wanted {
        "the list holds something that is not a literal".to_owned()
    } else {
        format!("the list holds a {}", found.value_type())
    };
    CompileError::new(node.start, message, format!("{wanted} literals"))
}
