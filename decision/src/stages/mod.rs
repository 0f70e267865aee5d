//! Stages of a decision, one file each, that need no more than the inputs and one action.
//!
//! Not here: their order, which `decide` alone has.

pub(crate) mod consent;
