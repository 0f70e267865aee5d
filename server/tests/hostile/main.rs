//! Callers that mean no good, or know no better, over a real socket: they are cut or refused, and honest callers go on
//! being answered. `docs/bad-inputs.md` lists each.
//!
//! `wire` writes frames of HTTP/2 by hand, since no library would. Not here: bad requests in good messages
//! (`tests/api/bad_input.rs`).

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::float_cmp,
        reason = "tests fail by panicking"
    )
)]

mod connections;
mod floods;
mod framing;
mod ids;
mod limits;
#[expect(dead_code, reason = "shared with the other tests over a socket, which use the rest of it")]
#[path = "../api/served.rs"]
mod served;
mod wire;
