//! JSON Web Tokens, as far as they are taken: signed with a public-key algorithm of a fixed list, by a key of the JWKS
//! file, made by the declared issuer for the declared audience, within their time.
//!
//! There is no code here that could check a shared secret or no signature at all, so neither `none` nor a public key
//! taken for a secret can be talked into. The algorithm is the key's, never the token's: a header that says another one
//! is refused. Keys, certificates and addresses that a header carries are not looked at. Not here: the keys (`jwks`),
//! what roles a claim stands for (`super::identities`).

mod jwks;

use augur_domain::Timestamp;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

pub(crate) use jwks::KeySet;

use super::fault::Fault;

/// Longest token, in bytes.
pub(crate) const MAX_TOKEN_BYTES: usize = 8 << 10;
/// Longest time that a token may still be valid for, in seconds: what is to last longer is a key, which can be revoked.
const MAX_LIFETIME_S: f64 = 366.0 * 86_400.0;
/// Longest subject that is told in the log, in characters.
const MAX_SUBJECT_CHARS: usize = 128;

/// How a token may be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
    /// RSA as in PKCS 1 version 1.5 with SHA-256, of 2048 bits at least.
    Rs256,
    /// RSA-PSS with SHA-256, of 2048 bits at least.
    Ps256,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Es256, Self::Es384, Self::EdDsa, Self::Rs256, Self::Ps256];

    /// Its name in a token's header.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
        }
    }
}

/// What every token must say.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    pub(crate) issuer: String,
    pub(crate) audience: String,
    pub(crate) algorithms: Vec<Algorithm>,
    /// How far the issuer's clock may be off, in seconds.
    pub(crate) skew_s: f64,
    pub(crate) roles_claim: String,
}

/// What a token says, once it is believed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Claims {
    pub(crate) subject: String,
    /// The entries of the claim that names roles.
    pub(crate) roles: Vec<String>,
    /// Seconds since 1970.
    pub(crate) expires_s: f64,
    pub(crate) not_before_s: f64,
}

/// Checks `token` and reads it.
pub(crate) fn verify(
    token: &str,
    keys: &KeySet,
    expected: &Expected,
    now: Timestamp,
) -> Result<Claims, Fault> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Fault::MalformedToken);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(Fault::MalformedToken)?;
    let (header, payload) = signed.split_once('.').ok_or(Fault::MalformedToken)?;
    let header = object(header)?;
    let algorithm = algorithm(&header, expected)?;
    let kid = match header.get("kid") {
        None => None,
        Some(Value::String(kid)) => Some(kid.as_str()),
        Some(_) => return Err(Fault::MalformedToken),
    };
    let key = keys.find(kid, algorithm)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Fault::MalformedToken)?;
    if !key.holds(signed.as_bytes(), &signature) {
        return Err(Fault::TokenSignature);
    }
    let claims = claims(&object(payload)?, expected)?;
    check_time(&claims, expected.skew_s, now)?;
    Ok(claims)
}

/// Whether it is the time of `claims`; also asked of tokens that were checked before.
pub(crate) fn check_time(claims: &Claims, skew_s: f64, now: Timestamp) -> Result<(), Fault> {
    let now_s = now.unix_ms() as f64 / 1e3;
    if claims.expires_s + skew_s <= now_s {
        return Err(Fault::ExpiredToken);
    }
    if claims.not_before_s - skew_s > now_s {
        return Err(Fault::EarlyToken);
    }
    if claims.expires_s - now_s > MAX_LIFETIME_S {
        return Err(Fault::EndlessToken);
    }
    Ok(())
}

fn object(part: &str) -> Result<Map<String, Value>, Fault> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Fault::MalformedToken)?;
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(Fault::MalformedToken),
    }
}

fn algorithm(header: &Map<String, Value>, expected: &Expected) -> Result<Algorithm, Fault> {
    // What must be understood is not understood.
    if header.contains_key("crit") {
        return Err(Fault::MalformedToken);
    }
    let name = header.get("alg").and_then(Value::as_str).ok_or(Fault::MalformedToken)?;
    let allowed = expected.algorithms.iter().find(|algorithm| algorithm.name() == name);
    allowed.copied().ok_or(Fault::TokenAlgorithm)
}

fn claims(payload: &Map<String, Value>, expected: &Expected) -> Result<Claims, Fault> {
    if payload.get("iss").and_then(Value::as_str) != Some(expected.issuer.as_str()) {
        return Err(Fault::TokenIssuer);
    }
    let audience = Value::String(expected.audience.clone());
    let is_for_us = match payload.get("aud") {
        Some(Value::Array(audiences)) => audiences.contains(&audience),
        Some(one) => *one == audience,
        None => false,
    };
    if !is_for_us {
        return Err(Fault::TokenAudience);
    }
    let subject = payload.get("sub").and_then(Value::as_str).filter(|subject| !subject.is_empty());
    let subject = subject.ok_or(Fault::MalformedToken)?.chars().take(MAX_SUBJECT_CHARS).collect();
    let expires_s = seconds(payload, "exp")?.ok_or(Fault::MalformedToken)?;
    let not_before_s = seconds(payload, "nbf")?.unwrap_or(f64::MIN);
    let issued_s = seconds(payload, "iat")?.unwrap_or(f64::MIN);
    Ok(Claims {
        subject,
        roles: roles(payload.get(&expected.roles_claim)),
        expires_s,
        not_before_s: not_before_s.max(issued_s),
    })
}

/// A list of words, or words with spaces between them, as OAuth's `scope` has it. Anything else names no role.
fn roles(claim: Option<&Value>) -> Vec<String> {
    match claim {
        Some(Value::String(words)) => words.split_ascii_whitespace().map(str::to_owned).collect(),
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// An instant in seconds since 1970. One that is no number, or none that time can be reckoned with, spoils the token.
fn seconds(payload: &Map<String, Value>, claim: &str) -> Result<Option<f64>, Fault> {
    let Some(value) = payload.get(claim) else { return Ok(None) };
    let seconds = value.as_f64().filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    seconds.map(Some).ok_or(Fault::MalformedToken)
}

#[cfg(test)]
mod tests;
