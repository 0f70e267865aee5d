//! Good tokens say who somebody is; every known way to forge, bend or borrow one is refused.

use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair,
};
use serde_json::json;

use super::*;

const NOW: Timestamp = Timestamp::from_unix_ms(1_795_366_965_000);
const NOW_S: i64 = 1_795_366_965;

/// Whoever makes tokens, with three keys.
struct Issuer {
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
    rsa: RsaKeyPair,
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Issuer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let ec = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let ed = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        let rsa: String = include_str!("testdata/rsa_key_for_tests_only.pem")
            .lines()
            .filter(|line| !line.starts_with('-'))
            .collect();
        Self {
            ec: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, ec.as_ref(), &random).unwrap(),
            ed: Ed25519KeyPair::from_pkcs8(ed.as_ref()).unwrap(),
            rsa: RsaKeyPair::from_pkcs8(&STANDARD.decode(rsa).unwrap()).unwrap(),
        }
    }

    fn jwks(&self) -> Value {
        let (x, y) = self.ec.public_key().as_ref()[1..].split_at(32);
        let rsa = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(self.rsa.public_key());
        json!({"keys": [
            {"kty": "EC", "crv": "P-256", "kid": "ec", "x": encoded(x), "y": encoded(y)},
            {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "use": "sig", "x": encoded(self.ed.public_key())},
            {"kty": "RSA", "kid": "rsa", "alg": "RS256",
             "n": encoded(rsa.n),
             "e": encoded(rsa.e)},
            {"kty": "EC", "crv": "P-521", "kid": "not understood", "x": "AA", "y": "AA"},
            {"kty": "OKP", "crv": "Ed25519", "kid": "for encryption", "use": "enc", "x": encoded([0; 32])},
        ]})
    }

    fn keys(&self) -> KeySet {
        KeySet::parse(&self.jwks().to_string()).unwrap()
    }

    fn signature(&self, algorithm: &str, message: &str) -> Vec<u8> {
        let random = SystemRandom::new();
        match algorithm {
            "ES256" => self.ec.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec(),
            "EdDSA" => self.ed.sign(message.as_bytes()).as_ref().to_vec(),
            "RS256" | "PS256" => {
                let padding: &dyn ring::signature::RsaEncoding = if algorithm == "RS256" {
                    &ring::signature::RSA_PKCS1_SHA256
                } else {
                    &ring::signature::RSA_PSS_SHA256
                };
                let mut signature = vec![0; self.rsa.public().modulus_len()];
                self.rsa.sign(padding, &random, message.as_bytes(), &mut signature).unwrap();
                signature
            }
            _ => Vec::new(),
        }
    }

    fn token(&self, header: &Value, claims: &Value, algorithm: &str) -> String {
        let signed = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
        format!("{signed}.{}", encoded(self.signature(algorithm, &signed)))
    }
}

fn expected() -> Expected {
    Expected {
        issuer: "https://id.shop.example".to_owned(),
        audience: "augur".to_owned(),
        algorithms: vec![Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256],
        skew_s: 30.0,
        roles_claim: "roles".to_owned(),
    }
}

fn good() -> Value {
    json!({"iss": "https://id.shop.example", "aud": "augur", "sub": "checkout", "exp": NOW_S + 600,
           "nbf": NOW_S - 1, "iat": NOW_S - 1, "roles": ["decide", "ingest"]})
}

/// The good claims with one changed, or taken away.
fn but(claim: &str, value: Value) -> Value {
    let mut claims = good();
    match value {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(claim)),
        value => claims[claim] = value,
    }
    claims
}

#[test]
fn tokens_of_each_kind_of_key_are_believed() {
    let issuer = Issuer::new();
    for (algorithm, kid) in [("ES256", "ec"), ("EdDSA", "ed"), ("RS256", "rsa")] {
        for header in [json!({"alg": algorithm, "kid": kid, "typ": "JWT"}), json!({"alg": algorithm})] {
            let token = issuer.token(&header, &good(), algorithm);
            let claims = verify(&token, &issuer.keys(), &expected(), NOW).unwrap();
            assert_eq!(claims.subject, "checkout");
            assert_eq!(claims.roles, ["decide", "ingest"]);
        }
    }
    let audiences = but("aud", json!(["other", "augur"]));
    let scope = but("roles", json!("decide  ingest"));
    for claims in [audiences, scope] {
        let token = issuer.token(&json!({"alg": "ES256"}), &claims, "ES256");
        assert_eq!(verify(&token, &issuer.keys(), &expected(), NOW).unwrap().roles, ["decide", "ingest"]);
    }
    let mut pss = issuer.jwks();
    pss["keys"][2]["alg"] = json!("PS256");
    let keys = KeySet::parse(&pss.to_string()).unwrap();
    let allowed = Expected { algorithms: vec![Algorithm::Ps256], ..expected() };
    let token = issuer.token(&json!({"alg": "PS256", "kid": "rsa"}), &good(), "PS256");
    assert!(verify(&token, &keys, &allowed, NOW).is_ok());
}

#[test]
fn claims_that_do_not_fit_are_refused() {
    let issuer = Issuer::new();
    for (claims, fault) in [
        (but("iss", json!("https://id.elsewhere.example")), Fault::TokenIssuer),
        (but("iss", Value::Null), Fault::TokenIssuer),
        (but("aud", json!("other")), Fault::TokenAudience),
        (but("aud", json!(["other"])), Fault::TokenAudience),
        (but("aud", json!([["augur"]])), Fault::TokenAudience),
        (but("aud", Value::Null), Fault::TokenAudience),
        (but("sub", Value::Null), Fault::MalformedToken),
        (but("sub", json!("")), Fault::MalformedToken),
        (but("exp", Value::Null), Fault::MalformedToken),
        (but("exp", json!((NOW_S + 600).to_string())), Fault::MalformedToken),
        (but("exp", json!(-1)), Fault::MalformedToken),
        (but("exp", json!(NOW_S - 30)), Fault::ExpiredToken),
        (but("exp", json!(0)), Fault::ExpiredToken),
        (but("exp", json!(253_402_300_799_i64)), Fault::EndlessToken),
        (but("exp", json!(1e300)), Fault::EndlessToken),
        (but("nbf", json!(NOW_S + 31)), Fault::EarlyToken),
        (but("nbf", json!("now")), Fault::MalformedToken),
        (but("iat", json!(NOW_S + 31)), Fault::EarlyToken),
    ] {
        let token = issuer.token(&json!({"alg": "EdDSA"}), &claims, "EdDSA");
        assert_eq!(verify(&token, &issuer.keys(), &expected(), NOW), Err(fault), "{claims}");
    }
    for claims in [but("exp", json!(NOW_S - 29)), but("nbf", json!(NOW_S + 29))] {
        let token = issuer.token(&json!({"alg": "EdDSA"}), &claims, "EdDSA");
        assert!(verify(&token, &issuer.keys(), &expected(), NOW).is_ok(), "within the skew: {claims}");
    }
    for roles in [json!(7), json!({"decide": true}), json!([["decide"], 1]), Value::Null] {
        let token = issuer.token(&json!({"alg": "EdDSA"}), &but("roles", roles), "EdDSA");
        assert!(verify(&token, &issuer.keys(), &expected(), NOW).unwrap().roles.is_empty());
    }
}

#[test]
fn headers_cannot_talk_it_into_another_algorithm_or_key() {
    let issuer = Issuer::new();
    let stranger = Issuer::new();
    let (keys, expected) = (issuer.keys(), expected());
    let check =
        |token: &str, fault: Fault| assert_eq!(verify(token, &keys, &expected, NOW), Err(fault), "{token}");
    for name in ["none", "None", "nOnE", "HS256", "ES256K", "ES384", "PS256", "RS512", ""] {
        check(&issuer.token(&json!({"alg": name}), &good(), "none"), Fault::TokenAlgorithm);
    }
    // A public key taken for a shared secret: HMAC over the token with the bytes that everybody knows.
    let hs = json!({"alg": "HS256", "kid": "rsa"});
    let signed = format!("{}.{}", encoded(hs.to_string()), encoded(good().to_string()));
    let public = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, issuer.rsa.public_key().as_ref());
    let mac = ring::hmac::sign(&public, signed.as_bytes());
    check(&format!("{signed}.{}", encoded(mac)), Fault::TokenAlgorithm);
    // Another algorithm than the key's.
    check(&issuer.token(&json!({"alg": "ES256", "kid": "rsa"}), &good(), "ES256"), Fault::TokenAlgorithm);
    check(&issuer.token(&json!({"alg": "RS256", "kid": "ec"}), &good(), "RS256"), Fault::TokenAlgorithm);
    check(&issuer.token(&json!({"alg": "ES256", "kid": "gone"}), &good(), "ES256"), Fault::UnknownTokenKey);
    check(&issuer.token(&json!({"alg": "ES256", "kid": 7}), &good(), "ES256"), Fault::MalformedToken);
    check(&issuer.token(&json!({"alg": "ES256", "crit": ["exp"]}), &good(), "ES256"), Fault::MalformedToken);
    check(&issuer.token(&json!({"alg": ["ES256"]}), &good(), "ES256"), Fault::MalformedToken);
    check(&issuer.token(&json!({}), &good(), "ES256"), Fault::MalformedToken);
    // A key that the token brings along.
    let jwk = stranger.jwks()["keys"][1].clone();
    check(
        &stranger.token(&json!({"alg": "EdDSA", "jwk": jwk, "jku": "https://x"}), &good(), "EdDSA"),
        Fault::TokenSignature,
    );
    for (algorithm, kid) in [("ES256", "ec"), ("EdDSA", "ed")] {
        check(
            &stranger.token(&json!({"alg": algorithm, "kid": kid}), &good(), algorithm),
            Fault::TokenSignature,
        );
    }
}

#[test]
fn bent_tokens_are_refused() {
    let issuer = Issuer::new();
    let (keys, expected) = (issuer.keys(), expected());
    let token = issuer.token(&json!({"alg": "ES256"}), &good(), "ES256");
    let [header, payload, signature] = <[&str; 3]>::try_from(token.split('.').collect::<Vec<_>>()).unwrap();
    let admin = encoded(but("roles", json!(["operator"])).to_string());
    for (bent, fault) in [
        (format!("{header}.{admin}.{signature}"), Fault::TokenSignature),
        (format!("{header}.{payload}."), Fault::TokenSignature),
        (format!("{header}.{payload}"), Fault::MalformedToken),
        (format!("{token}.{signature}"), Fault::TokenSignature),
        (format!("{header}.{payload}.{signature}=="), Fault::MalformedToken),
        (format!("{header}.{payload}.{}", encoded([0; 64])), Fault::TokenSignature),
        (String::new(), Fault::MalformedToken),
        ("..".to_owned(), Fault::MalformedToken),
        ("a".repeat(MAX_TOKEN_BYTES + 1), Fault::MalformedToken),
    ] {
        assert_eq!(verify(&bent, &keys, &expected, NOW), Err(fault), "{bent}");
    }
    for index in 0..token.len() {
        let mut bent = token.clone().into_bytes();
        bent[index] = if bent[index] == b'A' { b'B' } else { b'A' };
        let bent = String::from_utf8(bent).unwrap();
        assert!(verify(&bent, &keys, &expected, NOW).is_err(), "byte {index}");
    }
}

#[test]
fn key_sets_hold_public_keys_alone() {
    for (text, problem) in [
        ("", "EOF"),
        ("[]", "no list called `keys`"),
        ("{\"keys\": []}", "no key can be used"),
        ("{\"keys\": [{\"kty\": \"oct\", \"k\": \"c2VjcmV0\"}]}", "key 0 is secret"),
        ("{\"keys\": [{\"kty\": \"EC\", \"d\": \"AA\"}]}", "key 0 is secret"),
        ("{\"keys\": [7]}", "key 0 is no object"),
        (
            "{\"keys\": [{\"kty\": \"EC\", \"crv\": \"P-256\", \"x\": \"AA\", \"y\": \"AA\"}]}",
            "no key can be used",
        ),
    ] {
        let (told, _) = KeySet::parse(text).unwrap_err();
        assert!(told.contains(problem), "{text}: {told}");
    }
}

proptest::proptest! {
    #[test]
    fn any_text_is_judged_without_a_panic(text in "[A-Za-z0-9_.-]{0,200}", bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80)) {
        let keys = KeySet::default();
        proptest::prop_assert!(verify(&text, &keys, &expected(), NOW).is_err());
        let token = format!("{}.{}.{}", encoded(b"{\"alg\":\"ES256\"}"), encoded(&bytes), encoded(&bytes));
        proptest::prop_assert!(verify(&token, &keys, &expected(), NOW).is_err());
        let _ = KeySet::parse(&String::from_utf8_lossy(&bytes));
    }
}
