//! API keys: what a caller holds, what is kept of it, and how the one is compared with the other.
//!
//! A key is `augur_`, twelve hexadecimal digits that name it, `_`, and sixty-four that prove it. What is kept is a hash
//! of both under a key of the data directory, so that nobody who reads the file can call. Not here: the file (`file`)
//! or what the server holds in memory (`ring`).

mod file;
pub(crate) mod ring;

use augur_domain::Timestamp;

pub use file::KeyFile;

use super::roles::Roles;
use crate::{Error, entropy};

/// What every key begins with, so that a leaked one is recognised.
pub(crate) const PREFIX: &str = "augur_";
/// Longest name of a key.
const MAX_NAME_BYTES: usize = 64;
/// Length of a key's text.
const TEXT_BYTES: usize = PREFIX.len() + 12 + 1 + 64;

/// Names one key; nothing secret.
pub(crate) type KeyId = [u8; 6];

/// A key as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub(crate) id: KeyId,
    /// Whose it is, as its maker says.
    pub name: String,
    /// What it allows.
    pub roles: Roles,
    pub(crate) hash: blake3::Hash,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is refused, if ever.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
}

/// Whether a key opens anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// It does.
    Active,
    /// Its time is over.
    Expired,
    /// It was revoked.
    Revoked,
}

impl KeyState {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl ApiKey {
    /// What names it, in hexadecimal.
    pub fn id(&self) -> String {
        hex(&self.id)
    }

    /// Whether it opens anything at `now`.
    pub fn state(&self, now: Timestamp) -> KeyState {
        if self.revoked_at.is_some() {
            KeyState::Revoked
        } else if self.expires_at.is_some_and(|until| until <= now) {
            KeyState::Expired
        } else {
            KeyState::Active
        }
    }
}

/// A key just made: the only moment at which its text is known.
pub struct NewKey {
    /// What is kept.
    pub key: ApiKey,
    /// What the caller must send. Show it once, and keep it nowhere.
    pub text: String,
}

impl std::fmt::Debug for NewKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("NewKey").field("key", &self.key).finish_non_exhaustive()
    }
}

/// Draws a key and its hash.
fn draw(hashing: &[u8; 32]) -> Result<(KeyId, blake3::Hash, String), Error> {
    let [drawn, secret] = [entropy::system_bytes()?, entropy::system_bytes()?];
    let mut id = KeyId::default();
    id.iter_mut().zip(drawn).for_each(|(to, from)| *to = from);
    let text = format!("{PREFIX}{}_{}", hex(&id), hex(&secret));
    Ok((id, hash(hashing, &id, &secret), text))
}

/// What is kept of a key.
fn hash(hashing: &[u8; 32], id: &KeyId, secret: &[u8; 32]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_keyed(hashing);
    hasher.update(id).update(secret);
    hasher.finalize()
}

/// The two parts of a key's text; nothing for any other text.
fn parts(text: &str) -> Option<(KeyId, [u8; 32])> {
    if text.len() != TEXT_BYTES {
        return None;
    }
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    Some((unhex(id)?, unhex(secret)?))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('?'));
        }
        text
    })
}

/// Exactly `N` bytes of lower-case hexadecimal: one key has one spelling.
fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
