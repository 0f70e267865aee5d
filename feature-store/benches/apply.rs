//! Cost of `apply` and `read`.
fn main() {}
