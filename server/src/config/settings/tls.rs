//! The keys of `[tls]`.
//!
//! Not here: what they do (`crate::access`).

use std::net::SocketAddr;
use std::path::Path;

use super::{Problem, Written};
use crate::config;

/// The section's keys, in the order of the shipped file.
pub(in crate::config) const KEYS: &[&str] =
    &["certificate", "private_key", "client_ca", "require_client_certificate"];

pub(super) fn set(tls: &mut config::Tls, key: &str, value: &Written<'_>, base: &Path) -> Result<(), Problem> {
    match key {
        "certificate" => tls.certificate = value.path(base)?,
        "private_key" => tls.private_key = value.path(base)?,
        "client_ca" => tls.client_ca = value.path(base)?,
        _ => tls.require_client_certificate = value.boolean()?,
    }
    Ok(())
}

/// What is missing beside what is set, at which key.
pub(super) fn incomplete(tls: &config::Tls) -> Option<(&'static str, Problem)> {
    let lacks = |key, message: &str, expected: &str| {
        let (message, expected, hint) = (message.to_owned(), expected.to_owned(), String::new());
        Some((key, Problem { message, expected, hint }))
    };
    match tls {
        config::Tls { certificate: Some(_), private_key: None, .. } => {
            lacks("certificate", "`certificate` is set without `private_key`", "both or neither")
        }
        config::Tls { certificate: None, private_key: Some(_), .. } => {
            lacks("private_key", "`private_key` is set without `certificate`", "both or neither")
        }
        config::Tls { certificate: None, client_ca: Some(_), .. } => lacks(
            "client_ca",
            "`client_ca` is set, but connections are not encrypted",
            "`certificate` and `private_key` beside it",
        ),
        config::Tls { client_ca: None, require_client_certificate: true, .. } => lacks(
            "require_client_certificate",
            "client certificates are required, but none is believed",
            "`client_ca` beside it",
        ),
        _ => None,
    }
}

/// Why an address that other machines reach must not be listened on, unless the network is trusted.
pub(super) fn exposed(config: &config::Config, key: &str, address: SocketAddr) -> Option<Problem> {
    let missing = match (key, config.tls.certificate.is_some(), config.access.required) {
        ("listen", true, true) => return None,
        ("listen", true, false) => "connections are not authenticated",
        ("listen", false, true) => "connections are not encrypted",
        _ => "connections are neither encrypted nor authenticated",
    };
    let expected = match key {
        "listen" => {
            "a loopback address like 127.0.0.1, or `certificate` and `private_key` in [tls] and `required = true` in [access]"
        }
        _ => "a loopback address like 127.0.0.1, with a proxy that does both in front",
    };
    Some(Problem {
        message: format!("`{key}` is {address}, which other machines can reach, but {missing}"),
        expected: expected.to_owned(),
        hint: "set `allow_insecure = true` if the network itself is trusted".to_owned(),
    })
}
