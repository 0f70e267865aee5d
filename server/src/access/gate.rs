//! One call at the gate: which credential it shows, who that is, and whether the method is theirs to call.
//!
//! A bearer credential wins over a certificate: whoever shows a bad one is refused whatever the connection has proved.
//! Not here: the layers that ask (`crate::layers`), or where credentials come from.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use augur_domain::Timestamp;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use parking_lot::Mutex;

use super::fault::Fault;
use super::identities::Identities;
use super::keys::ring::KeyRing;
use super::keys::{ApiKey, PREFIX};
use super::roles::{Admission, Roles, audited, rule};
use super::tokens::{self, Claims, Expected, KeySet, MAX_TOKEN_BYTES};
use crate::Error;
use crate::metrics::Metrics;

/// Tokens that were checked are remembered, twice this many at most: to check a signature takes a hundred times as long.
const REMEMBERED_TOKENS: usize = 2_048;

/// Who a credential stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Principal {
    name: String,
    key_id: Option<String>,
    roles: Roles,
}

impl Principal {
    /// Whoever reaches a server that asks for no credentials.
    fn of_development() -> Self {
        Self { name: "anyone".to_owned(), key_id: None, roles: Roles::all() }
    }

    /// Whoever asks what everybody may ask.
    fn unknown() -> Self {
        Self { name: "unknown".to_owned(), key_id: None, roles: Roles::NONE }
    }

    pub(super) fn of_key(key: &ApiKey) -> Self {
        Self { name: format!("key:{}", key.name), key_id: Some(key.id()), roles: key.roles }
    }

    /// What names it in limits and in the log: `key:`, `certificate:` or `token:` and a name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Which of a name's keys it was.
    pub(crate) fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    pub(crate) const fn roles(&self) -> Roles {
        self.roles
    }
}

/// Tokens as they are taken.
pub(super) struct Tokens {
    pub(super) keys: KeySet,
    pub(super) expected: Expected,
    remembered: Mutex<Remembered>,
}

/// Tokens that were checked, by hash, in two halves: when the newer is full, it becomes the older, which goes.
#[derive(Default)]
struct Remembered {
    newer: BTreeMap<[u8; 32], (Arc<Principal>, Claims)>,
    older: BTreeMap<[u8; 32], (Arc<Principal>, Claims)>,
}

impl Tokens {
    pub(super) fn new(keys: KeySet, expected: Expected) -> Self {
        Self { keys, expected, remembered: Mutex::default() }
    }

    fn principal(
        &self,
        token: &str,
        identities: &Identities,
        now: Timestamp,
    ) -> Result<Arc<Principal>, Fault> {
        let hash = *blake3::hash(token.as_bytes()).as_bytes();
        let known = {
            let remembered = self.remembered.lock();
            remembered.newer.get(&hash).or_else(|| remembered.older.get(&hash)).cloned()
        };
        if let Some((principal, claims)) = known {
            tokens::check_time(&claims, self.expected.skew_s, now)?;
            return Ok(principal);
        }
        let claims = tokens::verify(token, &self.keys, &self.expected, now)?;
        let roles = identities.of_claims(claims.roles.iter().map(String::as_str));
        let name = format!("token:{}", claims.subject);
        let principal = Arc::new(Principal { name, key_id: None, roles });
        let mut remembered = self.remembered.lock();
        if remembered.newer.len() >= REMEMBERED_TOKENS {
            remembered.older = std::mem::take(&mut remembered.newer);
        }
        remembered.newer.insert(hash, (Arc::clone(&principal), claims));
        Ok(principal)
    }
}

/// What certificates and tokens are compared with.
pub(super) struct Names {
    pub(super) identities: Identities,
    pub(super) tokens: Option<Tokens>,
}

/// Everything that credentials are compared with; each part is replaced by itself.
pub(super) struct Credentials {
    pub(super) keys: ArcSwap<KeyRing>,
    pub(super) names: ArcSwap<Names>,
}

/// Lets calls in, or says why not.
pub(crate) struct Gate {
    /// `None` asks for no credentials.
    credentials: Option<Credentials>,
    metrics: Arc<Metrics>,
    development: Arc<Principal>,
    unknown: Arc<Principal>,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Gate").field("open", &self.credentials.is_none()).finish_non_exhaustive()
    }
}

impl Gate {
    /// A gate that asks for `credentials`, or lets everybody in.
    pub(super) fn new(credentials: Option<Credentials>, metrics: &Arc<Metrics>) -> Self {
        // A rate of failures can be told from the first one on only if there was a zero before.
        Fault::ALL.iter().for_each(|fault| metrics.count_auth_failures(fault.as_str(), 0));
        Self {
            credentials,
            metrics: Arc::clone(metrics),
            development: Arc::new(Principal::of_development()),
            unknown: Arc::new(Principal::unknown()),
        }
    }

    pub(super) const fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// Who calls `method`, if they may. `certificate` has the names that the connection has proved.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] or [`Error::NotAllowed`].
    pub(crate) fn admit(
        &self,
        method: &str,
        headers: &HeaderMap,
        certificate: Option<&[String]>,
        now: Timestamp,
    ) -> Result<Arc<Principal>, Error> {
        let Some(credentials) = &self.credentials else { return Ok(Arc::clone(&self.development)) };
        let rule = rule(method);
        if rule.admission == Admission::Anyone {
            return Ok(Arc::clone(&self.unknown));
        }
        let principal = credentials.principal(headers, certificate, now).map_err(|fault| {
            self.metrics.count_auth_failures(fault.as_str(), 1);
            Error::Unauthenticated { shown: fault != Fault::Missing }
        })?;
        match rule.admission {
            Admission::OneOf(roles) if !roles.iter().any(|role| principal.roles().has(*role)) => {
                self.metrics.count_auth_failures(Fault::MissingRole.as_str(), 1);
                if rule.audited {
                    audit(&principal, method, 7);
                }
                Err(Error::NotAllowed { roles: roles.iter().copied().collect() })
            }
            _ => Ok(principal),
        }
    }

    /// The name of `method` if its calls are told in the log: it changes how the server works, or reads across users.
    pub(crate) fn audited(method: &str) -> Option<&'static str> {
        audited(method)
    }

    /// Tells such a call, with the status that it got. Where nobody is asked who they are, there is nobody to tell of.
    pub(crate) fn tell(&self, principal: &Principal, method: &str, code: i32) {
        if self.credentials.is_some() {
            audit(principal, method, code);
        }
    }
}

impl Credentials {
    pub(super) fn new(keys: KeyRing, names: Names) -> Self {
        Self { keys: ArcSwap::from_pointee(keys), names: ArcSwap::from_pointee(names) }
    }

    fn principal(
        &self,
        headers: &HeaderMap,
        certificate: Option<&[String]>,
        now: Timestamp,
    ) -> Result<Arc<Principal>, Fault> {
        if let Some(bearer) = bearer(headers)? {
            if bearer.starts_with(PREFIX) {
                return self.keys.load().principal(bearer, now);
            }
            let names = self.names.load();
            return match &names.tokens {
                Some(tokens) => tokens.principal(bearer, &names.identities, now),
                None => Err(Fault::Malformed),
            };
        }
        let shown = certificate.ok_or(Fault::Missing)?;
        let names = self.names.load();
        let (name, roles) = names.identities.of_certificate(shown).ok_or(Fault::UnknownCertificate)?;
        Ok(Arc::new(Principal { name: format!("certificate:{name}"), key_id: None, roles }))
    }
}

/// The one credential of `authorization: Bearer`; nothing if there is no such header.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Fault> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() || value.len() > MAX_TOKEN_BYTES + 16 {
        return Err(Fault::Malformed);
    }
    let text = value.to_str().map_err(|_| Fault::Malformed)?;
    let (scheme, credential) = text.split_once(' ').ok_or(Fault::Malformed)?;
    let is_bearer = scheme.eq_ignore_ascii_case("bearer") && !credential.trim().is_empty();
    if is_bearer { Ok(Some(credential.trim())) } else { Err(Fault::Malformed) }
}

fn audit(principal: &Principal, method: &str, code: i32) {
    let code = crate::error::code_name(code);
    // A token's subject is written by its issuer: quoted, it cannot look like another line.
    tracing::info!(
        target: "augur::audit",
        who = ?principal.name(),
        key_id = principal.key_id().unwrap_or_default(),
        method,
        code,
        "audited call"
    );
}

#[cfg(test)]
mod tests;
