//! Why a credential is refused. Metrics say it in these words; a caller is told less: whether it showed a credential at
//! all, and whether the credential's roles fall short, but never what is wrong with one, or whether it exists.
//!
//! Not here: what the caller is told (`crate::error`).

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// None was shown.
    Missing,
    /// It is neither a key nor a token, or there are several.
    Malformed,
    /// No such key.
    UnknownKey,
    /// The key's time is over.
    ExpiredKey,
    /// The key was revoked.
    RevokedKey,
    /// The token cannot be read, or lacks a claim that it must have.
    MalformedToken,
    /// The token is signed in a way that is not allowed.
    TokenAlgorithm,
    /// The token names a public key that there is not.
    UnknownTokenKey,
    /// The token's signature does not hold.
    TokenSignature,
    /// The token's time is over.
    ExpiredToken,
    /// The token's time has not come.
    EarlyToken,
    /// The token is valid for longer than any may be.
    EndlessToken,
    /// Somebody else made the token.
    TokenIssuer,
    /// The token is for somebody else.
    TokenAudience,
    /// The certificate's names stand for nobody.
    UnknownCertificate,
    /// The method asks for a role that the caller has not.
    MissingRole,
}

impl Fault {
    /// All of them.
    pub(crate) const ALL: [Self; 16] = [
        Self::Missing,
        Self::Malformed,
        Self::UnknownKey,
        Self::ExpiredKey,
        Self::RevokedKey,
        Self::MalformedToken,
        Self::TokenAlgorithm,
        Self::UnknownTokenKey,
        Self::TokenSignature,
        Self::ExpiredToken,
        Self::EarlyToken,
        Self::EndlessToken,
        Self::TokenIssuer,
        Self::TokenAudience,
        Self::UnknownCertificate,
        Self::MissingRole,
    ];

    /// The word for it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "CREDENTIAL_MISSING",
            Self::Malformed => "CREDENTIAL_MALFORMED",
            Self::UnknownKey => "KEY_UNKNOWN",
            Self::ExpiredKey => "KEY_EXPIRED",
            Self::RevokedKey => "KEY_REVOKED",
            Self::MalformedToken => "TOKEN_MALFORMED",
            Self::TokenAlgorithm => "TOKEN_ALGORITHM",
            Self::UnknownTokenKey => "TOKEN_KEY_UNKNOWN",
            Self::TokenSignature => "TOKEN_SIGNATURE",
            Self::ExpiredToken => "TOKEN_EXPIRED",
            Self::EarlyToken => "TOKEN_NOT_YET_VALID",
            Self::EndlessToken => "TOKEN_ENDLESS",
            Self::TokenIssuer => "TOKEN_ISSUER",
            Self::TokenAudience => "TOKEN_AUDIENCE",
            Self::UnknownCertificate => "CERTIFICATE_UNKNOWN",
            Self::MissingRole => "ROLE_MISSING",
        }
    }
}
