//! The bytes of an ensemble of trees, as laid out in the format above.
//!
//! Not here: the rules that an ensemble must keep; they are checked once it is read.

use super::{Cursor, malformed, put_count, put_numbers};
use crate::Error;
use crate::trees::{Ensemble, Link, MAX_NODES, MAX_TREES, Node, Split, Tree};

const LEAF: u8 = 0;
const MISSING_LEFT: u8 = 1;
const MISSING_RIGHT: u8 = 2;

pub(super) fn put(out: &mut Vec<u8>, ensemble: &Ensemble) {
    put_numbers(out, &[ensemble.base]);
    out.push(ensemble.link as u8);
    put_count(out, ensemble.trees.len());
    for tree in &ensemble.trees {
        put_count(out, tree.nodes.len());
        for node in &tree.nodes {
            put_numbers(out, &[node.value]);
            let Some(split) = node.split else {
                out.push(LEAF);
                continue;
            };
            out.push(if split.missing_right { MISSING_RIGHT } else { MISSING_LEFT });
            out.extend_from_slice(&split.input.to_le_bytes());
            put_numbers(out, &[split.threshold]);
            out.extend_from_slice(&split.left.to_le_bytes());
        }
    }
}

pub(super) fn take(cursor: &mut Cursor<'_>) -> Result<Ensemble, Error> {
    let base = cursor.number()?;
    let offset = cursor.offset;
    let [number] = cursor.array()?;
    let link = Link::from_u8(number)
        .ok_or_else(|| malformed(offset, format!("link {number}"), "a known link, 1 or 2"))?;
    let tree = |cursor: &mut Cursor<'_>| Ok(Tree { nodes: cursor.list(MAX_NODES, node)? });
    Ok(Ensemble { base, link, trees: cursor.list(MAX_TREES, tree)? })
}

fn node(cursor: &mut Cursor<'_>) -> Result<Node, Error> {
    let value = cursor.number()?;
    let offset = cursor.offset;
    let [tag] = cursor.array()?;
    let missing_right = match tag {
        LEAF => return Ok(Node { value, split: None }),
        MISSING_LEFT => false,
        MISSING_RIGHT => true,
        _ => return Err(malformed(offset, format!("split {tag}"), "a known split, 0 to 2")),
    };
    let input = u16::from_le_bytes(cursor.array()?);
    let threshold = cursor.number()?;
    let left = u32::from_le_bytes(cursor.array()?);
    Ok(Node { value, split: Some(Split { input, threshold, missing_right, left }) })
}
