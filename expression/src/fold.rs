//! Operations on constants, carried out while compiling by the evaluator itself, so they mean what they would mean
//! at run time. One that has no result, like `1 / 0`, is refused: no row could ever mend it.
//!
//! Not here: which operands are constants (the callers say).

use crate::evaluate::Fault;
use crate::tree::{Boolean, Millis, Number};
use crate::{CompileError, Operand, Row, Slot};

/// A row for operations on constants: they read nothing.
struct NoRow;

impl Row for NoRow {
    fn operand(&self, _slot: Slot) -> Option<Operand<'_>> {
        None
    }
}

fn no_result(fault: Fault, at: usize) -> CompileError {
    let why = match fault {
        Fault::Undefined(cause) => cause.text(),
        Fault::Missing(_) => "a missing value",
    };
    CompileError::new(at, format!("this operation on constants has no result: {why}"), "")
}

pub(crate) fn fold_boolean(tree: Boolean, constant: bool, at: usize) -> Result<Boolean, CompileError> {
    if !constant {
        return Ok(tree);
    }
    tree.evaluate(&NoRow).map(Boolean::Constant).map_err(|fault| no_result(fault, at))
}

pub(crate) fn fold_number(tree: Number, constant: bool, at: usize) -> Result<Number, CompileError> {
    if !constant {
        return Ok(tree);
    }
    tree.evaluate(&NoRow).map(Number::Constant).map_err(|fault| no_result(fault, at))
}

pub(crate) fn fold_millis(tree: Millis, constant: bool, at: usize) -> Result<Millis, CompileError> {
    if !constant {
        return Ok(tree);
    }
    tree.evaluate(&NoRow).map(Millis::Constant).map_err(|fault| no_result(fault, at))
}
