//! The wire: generated `augur.v1` messages, clients and servers, and the conversions between them and the domain.
//!
//! Validation of shapes and sizes happens in `convert`, once; nothing behind it sees a wire type. Not here: time
//! rules (they need the server's clock) and gRPC status codes (`server` owns that map).

pub mod convert;

/// Generated code for package `augur.v1`.
#[expect(
    missing_docs,
    clippy::allow_attributes,
    clippy::large_enum_variant,
    reason = "generated from the proto files, which carry the documentation"
)]
pub mod v1 {
    tonic::include_proto!("augur.v1");
}

/// The compiled descriptor set of `augur.v1` and all it imports, for reflection.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
