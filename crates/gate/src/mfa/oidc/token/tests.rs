use std::time::Duration;

use jsonwebtoken::{
    EncodingKey, Header,
    jwk::{Jwk, JwkSet, KeyAlgorithm},
};
use serde_json::json;

use super::*;

/// The keys of a provider, made once for all tests of a process.
struct Signer {
    algorithm: Algorithm,
    key: EncodingKey,
    public: Jwk,
}

fn signer(name: &str) -> Signer {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    let document = pair.to_pkcs8v1().expect("a document");
    let key = EncodingKey::from_ec_der(document.as_ref());
    let mut public = Jwk::from_encoding_key(&key, Algorithm::ES256).expect("a key");
    public.common.key_id = Some(name.to_owned());
    public.common.key_algorithm = Some(KeyAlgorithm::ES256);
    Signer { algorithm: Algorithm::ES256, key, public }
}

impl Signer {
    fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: self.public.common.key_id.clone(), ..Header::new(self.algorithm) };
        jsonwebtoken::encode(&header, claims, &self.key).expect("a token")
    }
}

fn policy() -> OidcPolicy {
    OidcPolicy {
        issuer: "https://login.example.org".to_owned(),
        client_id: "gate".to_owned(),
        secret: None,
        scopes: vec!["openid".to_owned()],
        claim: "preferred_username".to_owned(),
        acr_values: Vec::new(),
        redirect_uri: None,
        timeout: Duration::from_secs(1),
    }
}

fn expected() -> Expected {
    let once = Once { state: "state".to_owned(), nonce: "nonce".to_owned(), verifier: "verifier".to_owned() };
    Expected { once, begun: 1_000_000_000 }
}

/// A token of a login that began at 1 000 000 s, ten seconds before.
fn good() -> Value {
    json!({
        "iss": "https://login.example.org",
        "aud": "gate",
        "exp": 1_000_300,
        "nonce": "nonce",
        "auth_time": 1_000_005,
        "sub": "4711",
        "preferred_username": "Alice",
    })
}

#[test]
fn one_thing_is_wrong() {
    let signer = signer("a");
    let set = JwkSet { keys: vec![signer.public.clone()] };
    let now = Moment::at(1_000_010_000);
    let judge = |claims: &Value, policy: &OidcPolicy| {
        super::claims(&signer.sign(claims), &set, policy, &expected(), now).map(|claims| claims.user.name)
    };
    assert_eq!(judge(&good(), &policy()), Ok("Alice".to_owned()));
    let with = |name: &str, value: Value| {
        let mut claims = good();
        claims[name] = value;
        judge(&claims, &policy())
    };
    for (name, value) in [("aud", json!(["gate"])), ("azp", json!("gate")), ("exp", json!(999_951))] {
        assert_eq!(with(name, value.clone()), Ok("Alice".to_owned()), "{name} {value}");
    }
    for (name, value) in [
        ("iss", json!("https://login.example.org/")),
        ("iss", Value::Null),
        ("aud", json!("other")),
        ("aud", json!(["gate", "other"])),
        ("aud", json!([])),
        ("azp", json!("other")),
        ("exp", json!(999_950)),
        ("exp", Value::Null),
        ("exp", json!("1000300")),
        ("nbf", json!(1_000_071)),
        ("nonce", json!("other")),
        ("nonce", Value::Null),
        ("auth_time", json!(999_939)),
        ("auth_time", Value::Null),
        ("preferred_username", Value::Null),
        ("preferred_username", json!("a\u{0}b")),
        ("preferred_username", json!(["Alice"])),
    ] {
        assert!(with(name, value.clone()).is_err(), "{name} {value}");
    }
    let strict = OidcPolicy { acr_values: vec!["mfa".to_owned()], ..policy() };
    assert!(judge(&good(), &strict).is_err());
    let mut strong = good();
    strong["acr"] = json!("mfa");
    assert_eq!(judge(&strong, &strict), Ok("Alice".to_owned()));
}

#[test]
fn only_the_keys_of_the_provider_sign() {
    let (ours, other) = (signer("a"), signer("a"));
    let now = Moment::at(1_000_010_000);
    let set = JwkSet { keys: vec![ours.public.clone(), signer("b").public] };
    let judge = |token: &str| super::claims(token, &set, &policy(), &expected(), now).is_ok();
    let token = ours.sign(&good());
    assert!(judge(&token));
    assert!(!judge(&other.sign(&good())), "the same name, another key");
    assert!(!judge(&signer("c").sign(&good())), "a name that is not known");
    let nameless = Signer {
        public: {
            let mut key = ours.public.clone();
            key.common.key_id = None;
            key
        },
        ..ours
    };
    assert!(!judge(&nameless.sign(&good())), "no name, and two keys");
    // Not signed at all, or with what everybody knows.
    let parts: Vec<&str> = token.split('.').collect();
    for header in [r#"{"alg":"none","kid":"a"}"#, r#"{"alg":"none"}"#] {
        use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
        let header = URL_SAFE_NO_PAD.encode(header);
        assert!(!judge(&format!("{header}.{}.", parts[1])));
        assert!(!judge(&format!("{header}.{}.{}", parts[1], parts[2])));
    }
    let shared = EncodingKey::from_secret(&serde_json::to_vec(&set.keys[0]).expect("JSON")).expect("a key");
    let header = Header { kid: Some("a".to_owned()), ..Header::new(Algorithm::HS256) };
    assert!(!judge(&jsonwebtoken::encode(&header, &good(), &shared).expect("a token")));
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(bytes).expect("text");
        // The last letter has bits that count for nothing.
        assert!(forged == token || at + 1 == token.len() || !judge(&forged), "{at}");
    }
    for text in ["", ".", "..", "a.b.c", &token[..token.len() - 5]] {
        assert!(!judge(text));
    }
}
