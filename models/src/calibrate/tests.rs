//! Tests of [`super`]; see the parent file for what it is.
