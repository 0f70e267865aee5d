//! The public keys that tokens are checked with: a JSON Web Key Set in a file.
//!
//! A key that is not understood is left out, as the standard has it; one that is secret spoils the file, since it has no
//! place in one that says who may sign. Not here: what a token says.

use std::path::Path;

use augur_domain::Diagnostic;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use serde_json::{Map, Value};

use super::Algorithm;
use crate::Error;
use crate::access::fault::Fault;

/// Most keys of one file.
const MAX_KEYS: usize = 100;
/// First byte of an uncompressed point of a curve.
const UNCOMPRESSED: u8 = 4;

/// The keys of one file.
#[derive(Debug, Default)]
pub(crate) struct KeySet {
    keys: Vec<PublicKey>,
}

/// One of them; it checks in one way only.
#[derive(Debug)]
pub(crate) struct PublicKey {
    kid: Option<String>,
    algorithm: Algorithm,
    material: Material,
}

#[derive(Debug)]
enum Material {
    /// A point of a curve, as the algorithm reads it.
    Point(Vec<u8>),
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
}

impl KeySet {
    /// Reads the file at `path`.
    pub(crate) fn load(path: &Path) -> Result<Self, Error> {
        let text = crate::files::read_text(path)?;
        Self::parse(&text).map_err(|(message, expected)| {
            let file = path.display().to_string();
            let (line, column, hint) = (0, 0, String::new());
            Error::Diagnostics(vec![Diagnostic { file, line, column, message, expected, hint }])
        })
    }

    /// Reads `text`; what is wrong and what was expected otherwise.
    pub(crate) fn parse(text: &str) -> Result<Self, (String, String)> {
        let expected = || "a JSON Web Key Set: `{\"keys\": [..]}` with public keys".to_owned();
        let problem = |problem: String| (problem, expected());
        let set: Value = serde_json::from_str(text).map_err(|error| problem(error.to_string()))?;
        let list = set.get("keys").and_then(Value::as_array);
        let list = list.ok_or_else(|| problem("there is no list called `keys`".to_owned()))?;
        if list.len() > MAX_KEYS {
            return Err(problem(format!("{} keys, more than {MAX_KEYS}", list.len())));
        }
        let mut keys = Vec::new();
        for (index, value) in list.iter().enumerate() {
            let key = value.as_object().ok_or_else(|| problem(format!("key {index} is no object")))?;
            if key.get("kty").and_then(Value::as_str) == Some("oct") || key.contains_key("d") {
                return Err(problem(format!("key {index} is secret, and whoever reads it could sign")));
            }
            keys.extend(public_key(key));
        }
        if keys.is_empty() {
            return Err(problem("no key can be used".to_owned()));
        }
        Ok(Self { keys })
    }

    /// The key called `kid`, or without a name the only one, that checks signatures by `algorithm`.
    pub(super) fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<&PublicKey, Fault> {
        match kid {
            Some(kid) => {
                let named = self.keys.iter().find(|key| key.kid.as_deref() == Some(kid));
                let named = named.ok_or(Fault::UnknownTokenKey)?;
                // The algorithm is the key's: a token cannot choose another one for it.
                if named.algorithm == algorithm { Ok(named) } else { Err(Fault::TokenAlgorithm) }
            }
            None => {
                let mut fitting = self.keys.iter().filter(|key| key.algorithm == algorithm);
                match (fitting.next(), fitting.next()) {
                    (Some(only), None) => Ok(only),
                    _ => Err(Fault::UnknownTokenKey),
                }
            }
        }
    }
}

impl PublicKey {
    /// Whether `signature` of `message` was made with the secret half of this key.
    pub(super) fn holds(&self, message: &[u8], signature: &[u8]) -> bool {
        let by = |algorithm: &'static dyn VerificationAlgorithm, point: &Vec<u8>| {
            UnparsedPublicKey::new(algorithm, point).verify(message, signature).is_ok()
        };
        match (&self.material, self.algorithm) {
            (Material::Point(point), Algorithm::Es256) => by(&signature::ECDSA_P256_SHA256_FIXED, point),
            (Material::Point(point), Algorithm::Es384) => by(&signature::ECDSA_P384_SHA384_FIXED, point),
            (Material::Point(point), Algorithm::EdDsa) => by(&signature::ED25519, point),
            (Material::Rsa { modulus, exponent }, Algorithm::Rs256) => {
                let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                key.verify(&signature::RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
            }
            (Material::Rsa { modulus, exponent }, Algorithm::Ps256) => {
                let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                key.verify(&signature::RSA_PSS_2048_8192_SHA256, message, signature).is_ok()
            }
            _ => false,
        }
    }
}

/// A key that is understood and meant for signatures.
fn public_key(key: &Map<String, Value>) -> Option<PublicKey> {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
    if text("use").is_some_and(|usage| usage != "sig") {
        return None;
    }
    let point = |length: usize| {
        let (x, y) = (bytes("x")?, bytes("y")?);
        let fits = x.len() == length && y.len() == length;
        fits.then(|| Material::Point([&[UNCOMPRESSED][..], &x, &y].concat()))
    };
    let (algorithm, material) = match (text("kty")?, text("crv"), text("alg")) {
        ("EC", Some("P-256"), None | Some("ES256")) => (Algorithm::Es256, point(32)?),
        ("EC", Some("P-384"), None | Some("ES384")) => (Algorithm::Es384, point(48)?),
        ("OKP", Some("Ed25519"), None | Some("EdDSA")) => {
            (Algorithm::EdDsa, Material::Point(bytes("x").filter(|x| x.len() == 32)?))
        }
        ("RSA", _, alg @ (None | Some("RS256" | "PS256"))) => {
            let algorithm = if alg == Some("PS256") { Algorithm::Ps256 } else { Algorithm::Rs256 };
            (algorithm, Material::Rsa { modulus: bytes("n")?, exponent: bytes("e")? })
        }
        _ => return None,
    };
    Some(PublicKey { kid: text("kid").map(str::to_owned), algorithm, material })
}
