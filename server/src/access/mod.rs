//! Who calls, and what they may do: credentials in, a [`Principal`] with roles out, everything else refused.
//!
//! ```text
//! roles         the closed words, and which of them each method asks for: declared once, default deny
//! keys          API keys: text, hash, the file in the data directory, the ring that is asked
//! tokens        JSON Web Tokens: fixed algorithms, public keys from a file
//! identities    which name of a certificate, or which claim of a token, stands for which roles
//! tls           certificates, and the connection that speaks TLS
//! fault         why a credential is refused
//! gate          one call: find its credential, judge it, compare its roles with the method's
//! reload        all these files, read again when they change
//! layer         where calls pass it
//! ```
//! Not here: the rest that calls pass (`layers`), how much a caller may do (`limits`).

pub(crate) mod fault;
pub(crate) mod gate;
pub(crate) mod identities;
pub(crate) mod keys;
pub(crate) mod layer;
pub(crate) mod reload;
pub(crate) mod roles;
pub(crate) mod tls;
pub(crate) mod tokens;

pub(crate) use layer::GateLayer;
pub use reload::check;
pub(crate) use reload::{Access, keep_current};
