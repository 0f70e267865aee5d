//! Identifiers, and the one place where an outside id becomes a storage key.
//!
//! Not here: who a person is (identity linking) or where a key is stored (the store's key layout).

use std::fmt;
use std::str::FromStr;

/// Writes at most 32 bytes as lower-case hexadecimal, in one piece: ids are written once per answer, and a
/// formatter call per byte was 4 % of the time of a decision.
fn write_hex(bytes: &[u8], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble & 15)).copied().unwrap_or(b'?');
    let mut text = [0; 64];
    for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *pair = [digit(byte >> 4), digit(*byte)];
    }
    let written = text.get(..bytes.len() * 2).and_then(|text| std::str::from_utf8(text).ok());
    formatter.write_str(written.unwrap_or_default())
}

/// Reads exactly `N` bytes of hexadecimal.
fn read_hex<const N: usize>(text: &str) -> Result<[u8; N], ParseIdError> {
    let error = || ParseIdError { found: text.chars().take(80).collect(), expected_digits: N * 2 };
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect::<Option<_>>().ok_or_else(error)?;
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return Err(error());
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = high << 4 | low;
    }
    Ok(bytes)
}

/// A hexadecimal identifier that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not an identifier; expected {expected_digits} hexadecimal digits")]
pub struct ParseIdError {
    found: String,
    expected_digits: usize,
}

macro_rules! byte_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// Wraps raw bytes.
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The raw bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, formatter)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                read_hex(text).map(Self)
            }
        }
    };
}

byte_id! {
    /// The pseudonym under which everything about a person is stored: a keyed hash of the outside id.
    UserKey, 16
}
byte_id! {
    /// The pseudonym of an event's `message_id`; two events with the same key are the same event.
    MessageKey, 16
}
byte_id! {
    /// The pseudonym of a report's `outcome_id`; two reports with the same key are the same outcome.
    OutcomeKey, 16
}
byte_id! {
    /// The pseudonym of an idempotency key, under which an answer is kept.
    AnswerKey, 16
}
byte_id! {
    /// Names one decision. Ordered by time (48 bits of milliseconds first) so that logs and indexes stay sorted.
    DecisionId, 16
}
byte_id! {
    /// BLAKE3 hash of the content that it names: a feature set, a policy, a model artifact.
    ContentHash, 32
}

impl MessageKey {
    /// The key under which the retraction of this event is stored.
    #[must_use]
    pub fn of_retraction(&self) -> Self {
        let ContentHash(hash) = ContentHash::of(&[b"retraction", &self.0]);
        let mut key = [0; 16];
        for (byte, hashed) in key.iter_mut().zip(hash) {
            *byte = hashed;
        }
        Self(key)
    }
}

impl DecisionId {
    /// Names no decision.
    pub const NONE: Self = Self([0; 16]);

    /// Builds an id from the instant of the decision and 80 bits that make it unique.
    pub fn new(now: crate::Timestamp, unique: [u8; 10]) -> Self {
        let mut bytes = [0; 16];
        let [_, _, time @ ..] = now.unix_ms().to_be_bytes();
        let (head, tail) = bytes.split_at_mut(6);
        head.copy_from_slice(&time);
        tail.copy_from_slice(&unique);
        Self(bytes)
    }

    /// The instant of the decision, as the id tells it.
    pub fn made_at(&self) -> crate::Timestamp {
        let mut bytes = [0; 8];
        for (to, from) in bytes.iter_mut().skip(2).zip(self.as_bytes()) {
            *to = *from;
        }
        crate::Timestamp::from_unix_ms(i64::from_be_bytes(bytes))
    }
}

impl ContentHash {
    /// Hashes `parts` one after another, each with its length in front, so that no two lists collide by shifting
    /// a border.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// The first twelve hexadecimal digits: enough for people to tell versions apart.
    pub fn short(&self) -> String {
        self.to_string().chars().take(12).collect()
    }
}

/// Who an event or a request is about, as the caller named them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject<'a> {
    /// A known person: Segment's `userId`.
    User(&'a str),
    /// A browser or device: Segment's `anonymousId`.
    Anonymous(&'a str),
}

/// Turns outside ids into storage keys with a keyed hash, so that nothing stored names a person and nobody
/// without the key can test a guess. Pseudonyms, tenants and shards all pass through here.
#[derive(Clone)]
pub struct Pseudonymiser {
    key: [u8; 32],
}

impl fmt::Debug for Pseudonymiser {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Pseudonymiser(key withheld)")
    }
}

impl Pseudonymiser {
    /// Uses `key`, which must stay the same for the life of a data directory.
    pub const fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// The storage key of a subject. A user and an anonymous id with the same spelling are two subjects.
    pub fn user_key(&self, subject: Subject<'_>) -> UserKey {
        match subject {
            Subject::User(id) => UserKey(self.keyed(b"user", id.as_bytes())),
            Subject::Anonymous(id) => UserKey(self.keyed(b"anonymous", id.as_bytes())),
        }
    }

    /// The key under which an event is remembered so that a retry is recognised.
    pub fn message_key(&self, message_id: &str) -> MessageKey {
        MessageKey(self.keyed(b"message", message_id.as_bytes()))
    }

    /// The key under which a reported outcome is kept so that a repetition is recognised.
    pub fn outcome_key(&self, outcome_id: &str) -> OutcomeKey {
        OutcomeKey(self.keyed(b"outcome", outcome_id.as_bytes()))
    }

    /// The key under which an answer is kept for a caller's idempotency key.
    pub fn answer_key(&self, idempotency_key: &str) -> AnswerKey {
        AnswerKey(self.keyed(b"answer", idempotency_key.as_bytes()))
    }

    /// Tells one request from another without keeping it.
    pub fn fingerprint(&self, request: &[u8]) -> [u8; 16] {
        self.keyed(b"request", request)
    }

    fn keyed(&self, kind: &[u8], id: &[u8]) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(kind).update(&[0]).update(id);
        let mut out = [0; 16];
        hasher.finalize_xof().fill(&mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trips_and_rejects() {
        let key = UserKey::from_bytes(*b"0123456789abcdef");
        assert_eq!(key.to_string().parse::<UserKey>().unwrap(), key);
        for bad in ["", "00", "zz123456789012345678901234567890", "0011223344556677889900112233445566"] {
            assert!(bad.parse::<UserKey>().unwrap_err().to_string().contains("32 hexadecimal digits"));
        }
    }

    #[test]
    fn subjects_and_keys_separate_pseudonyms() {
        let ours = Pseudonymiser::new([7; 32]);
        let theirs = Pseudonymiser::new([8; 32]);
        let user = ours.user_key(Subject::User("ada"));
        assert_eq!(user, ours.user_key(Subject::User("ada")));
        assert_ne!(user, ours.user_key(Subject::Anonymous("ada")));
        assert_ne!(user, theirs.user_key(Subject::User("ada")));
        assert_eq!(user.to_string(), "c3d89f44add194e7a582ab0886a3e9ab", "stored keys depend on these bytes");
    }

    #[test]
    fn retractions_have_keys_of_their_own() {
        let original = Pseudonymiser::new([7; 32]).message_key("m1");
        assert_ne!(original.of_retraction(), original);
        assert_eq!(
            MessageKey([1; 16]).of_retraction().to_string(),
            "3ff6a443747a595239df1330fca5b397",
            "stored marks depend on these bytes"
        );
    }

    #[test]
    fn content_hash_feels_borders() {
        assert_ne!(ContentHash::of(&[b"ab", b"c"]), ContentHash::of(&[b"a", b"bc"]));
    }

    #[test]
    fn decision_ids_sort_by_time() {
        let early = DecisionId::new(crate::Timestamp::from_unix_ms(1_000), [255; 10]);
        let late = DecisionId::new(crate::Timestamp::from_unix_ms(1_001), [0; 10]);
        assert!(early < late);
    }
}
