//! Load and life for an Augur server: gRPC client, simulated shoppers, open-loop decide load, ingest load.
//!
//! Everything here talks to a server through its public API; nothing links to it. Not here: what to print about a
//! run (`cli`) or micro-benchmarks of single crates (their own `benches/`).

pub mod client;
pub mod compare;
pub mod credentials;
pub mod echo;
pub mod ingest;
pub mod latency;
pub mod mix;
pub mod open_loop;
pub mod patient;
pub mod popularity;
pub mod process;
pub mod shop;
pub mod slo;

mod error;

pub use client::Client;
pub use credentials::Credentials;
pub use error::Error;
pub use shop::Shop;

// The types of this crate's interface, so that a caller can name them without depending on their crates.
pub use augur_domain as domain;
pub use augur_proto::{convert, v1};
