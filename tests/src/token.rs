//! Tokens (JWT) as an application makes them, with keys made on the spot. Only the RSA key lies in a file: nothing here makes
//! such keys.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use ring::{hmac, rsa};
use serde_json::{Value, json};

use crate::binary::repository;

/// Somebody who signs tokens.
pub struct Signer {
    key: Key,
    kid: Option<String>,
}

enum Key {
    Secret(Vec<u8>),
    Rsa(RsaKeyPair, String),
    Ec(EcdsaKeyPair, String),
    Ed(Ed25519KeyPair, String),
}

/// Seconds since the epoch, so long from now.
pub fn in_time(time: Duration) -> u64 {
    (SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + time).as_secs()
}

impl Signer {
    /// With a secret of its own.
    pub fn hs256() -> Signer {
        let (one, two) = (Signer::eddsa(), Signer::eddsa());
        let text = format!("{}{}", one.public_pem(), two.public_pem());
        Signer::with_secret(&URL_SAFE_NO_PAD.encode(text))
    }

    /// With this secret.
    pub fn with_secret(secret: &str) -> Signer {
        Signer { key: Key::Secret(secret.as_bytes().to_vec()), kid: None }
    }

    /// With the RSA key of the fixtures.
    pub fn rs256() -> Signer {
        let file = repository().join("tests/fixture/rsa-for-tests-only.pem");
        let pair = rcgen::KeyPair::from_pem(&std::fs::read_to_string(file).unwrap()).unwrap();
        let key = RsaKeyPair::from_pkcs8(&pair.serialize_der()).unwrap();
        Signer { key: Key::Rsa(key, pair.public_key_pem()), kid: None }
    }

    /// With a new P-256 key.
    pub fn es256() -> Signer {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = EcdsaKeyPair::from_pkcs8(algorithm, &pair.serialize_der(), &SystemRandom::new()).unwrap();
        Signer { key: Key::Ec(key, pair.public_key_pem()), kid: None }
    }

    /// With a new Ed25519 key.
    pub fn eddsa() -> Signer {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pair.serialize_der()).unwrap();
        Signer { key: Key::Ed(key, pair.public_key_pem()), kid: None }
    }

    /// Under this name.
    pub fn called(mut self, kid: &str) -> Signer {
        self.kid = Some(kid.into());
        self
    }

    /// The algorithm of its key.
    pub fn algorithm(&self) -> &'static str {
        match self.key {
            Key::Secret(_) => "HS256",
            Key::Rsa(..) => "RS256",
            Key::Ec(..) => "ES256",
            Key::Ed(..) => "EdDSA",
        }
    }

    /// What others need to check its tokens, as PEM; a secret as it is.
    pub fn public_pem(&self) -> String {
        match &self.key {
            Key::Secret(secret) => String::from_utf8(secret.clone()).unwrap(),
            Key::Rsa(_, pem) | Key::Ec(_, pem) | Key::Ed(_, pem) => pem.clone(),
        }
    }

    /// The same in a file.
    pub fn file_in(&self, folder: &Path) -> PathBuf {
        let file = folder.join(format!("{}.key", self.algorithm()));
        std::fs::write(&file, self.public_pem()).unwrap();
        file
    }

    /// The same as a JSON key.
    pub fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match &self.key {
            Key::Secret(secret) => json!({ "kty": "oct", "k": text(secret) }),
            Key::Rsa(key, _) => {
                let rsa::PublicKeyComponents::<Vec<u8>> { n, e } = key.public().into();
                json!({ "kty": "RSA", "n": text(&n), "e": text(&e) })
            }
            Key::Ec(key, _) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "x": text(x), "y": text(y) })
            }
            Key::Ed(key, _) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": text(key.public_key().as_ref()) })
            }
        };
        if let Some(kid) = &self.kid {
            jwk["kid"] = kid.as_str().into();
        }
        jwk
    }

    /// A token with these claims.
    pub fn says(&self, claims: Value) -> String {
        self.says_as(self.algorithm(), claims)
    }

    /// A token for this user that counts for a minute.
    pub fn lets_in(&self, user: &str) -> String {
        self.says(json!({ "sub": user, "exp": in_time(Duration::from_secs(60)) }))
    }

    /// A token that names another algorithm than the one that it is signed by.
    pub fn says_as(&self, algorithm: &str, claims: Value) -> String {
        let mut header = json!({ "alg": algorithm, "typ": "JWT" });
        if let Some(kid) = &self.kid {
            header["kid"] = kid.as_str().into();
        }
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.signature(message.as_bytes()));
        format!("{message}.{signature}")
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.key {
            Key::Secret(secret) => {
                hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec()
            }
            Key::Rsa(key, _) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            Key::Ec(key, _) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Key::Ed(key, _) => key.sign(message).as_ref().to_vec(),
        }
    }
}
