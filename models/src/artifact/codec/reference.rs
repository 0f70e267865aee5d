//! The bytes of a reference section.
//!
//! ```text
//! input count u32, each: edge count u32, each f64; share count u32, each f64; missing share f64
//! 20 shares of scores f64 | base rate f64 | rows u64
//! ```
//! Not here: the rules that a reference must keep; they are checked once it is read.

use super::{Cursor, put_count, put_numbers};
use crate::Error;
use crate::artifact::{InputReference, MAX_EDGES, MAX_INPUTS, Reference};

pub(super) fn put(out: &mut Vec<u8>, reference: &Reference) {
    put_count(out, reference.inputs.len());
    for input in &reference.inputs {
        for list in [&input.edges, &input.shares] {
            put_count(out, list.len());
            put_numbers(out, list);
        }
        put_numbers(out, &[input.missing_share]);
    }
    put_numbers(out, &reference.scores);
    put_numbers(out, &[reference.base_rate]);
    out.extend_from_slice(&reference.rows.to_le_bytes());
}

pub(super) fn take(cursor: &mut Cursor<'_>) -> Result<Reference, Error> {
    let input = |cursor: &mut Cursor<'_>| {
        Ok(InputReference {
            edges: cursor.list(MAX_EDGES, Cursor::number)?,
            shares: cursor.list(MAX_EDGES + 1, Cursor::number)?,
            missing_share: cursor.number()?,
        })
    };
    Ok(Reference {
        inputs: cursor.list(MAX_INPUTS, input)?,
        scores: cursor.numbers()?,
        base_rate: cursor.number()?,
        rows: u64::from_le_bytes(cursor.array()?),
    })
}
