//! Keys of tokens, each for one algorithm: from PEM, from a JSON key set (RFC 7517), or a secret.

use std::fmt;
use std::path::{Path, PathBuf};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, Header};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;
use x509_cert::der::Decode;
use x509_cert::spki::{ObjectIdentifier, SubjectPublicKeyInfoRef};

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// Bytes of the modulus of an RSA key of 2048 bits.
const MODULUS_MIN: usize = 256;
/// Bytes of a secret: as many as the hash has (RFC 7518 §3.2).
const SECRET_MIN: usize = 32;
/// Keys of one set; more would only cost time for each token without `kid`.
const KEYS_MAX: usize = 64;

const UNFIT: &str = "a key is neither RSA of 2048 bits or more, nor P-256, nor Ed25519";

/// One key, and the one algorithm that it is for.
pub(super) struct Key {
    /// Its name, if it has one.
    pub kid: Option<String>,
    pub algorithm: Algorithm,
    pub key: DecodingKey,
}

/// Keys that count.
#[derive(Default)]
pub(super) struct KeySet(Vec<Key>);

/// One thing wrong with one file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{setting}: {}: {what}", .file.display())]
pub struct KeyMistake {
    /// The setting that names the file.
    pub setting: &'static str,
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it, without anything that stands in it.
    pub what: String,
}

/// Everything wrong with the files, never empty; one line for each.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct KeyMistakes(pub Vec<KeyMistake>);

impl fmt::Display for KeyMistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl KeySet {
    /// Keys that may have signed a token with this header: those for its algorithm, and of its name where both have one.
    pub fn candidates(&self, header: &Header) -> impl Iterator<Item = &Key> {
        self.0.iter().filter(|key| {
            let other = key.kid.as_ref().zip(header.kid.as_ref()).is_some_and(|(own, named)| own != named);
            key.algorithm == header.alg && !other
        })
    }

    /// From a JSON key set. Keys of other kinds are passed over (RFC 7517 §5), secrets too: they are not to lie about in a
    /// set.
    pub fn from_json(text: &[u8]) -> Result<KeySet, &'static str> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(text).map_err(|_| "it is not a JSON key set")?;
        if set.keys.len() > KEYS_MAX {
            return Err("it has more than 64 keys");
        }
        let keys = set.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
        Ok(KeySet(keys.filter_map(|key| Key::from_jwk(&key)).collect()))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    fn from_file(text: &[u8]) -> Result<KeySet, &'static str> {
        let keys = match text.trim_ascii_start().first() {
            Some(b'{') => KeySet::from_json(text)?,
            _ => KeySet::from_pem(text)?,
        };
        if keys.0.is_empty() { Err(UNFIT) } else { Ok(keys) }
    }

    fn from_pem(text: &[u8]) -> Result<KeySet, &'static str> {
        if String::from_utf8_lossy(text).contains("PRIVATE KEY") {
            return Err("it holds a private key, which nobody but who makes the tokens should have");
        }
        let keys = SubjectPublicKeyInfoDer::pem_slice_iter(text).map(|der| {
            let der = der.map_err(|_| "it is not PEM")?;
            Key::from_der(&der).ok_or(UNFIT)
        });
        let keys: Vec<Key> = keys.collect::<Result<_, _>>()?;
        match keys.len() {
            0 => Err("there is no \"PUBLIC KEY\" in it, and no JSON key set"),
            1..=KEYS_MAX => Ok(KeySet(keys)),
            _ => Err("it has more than 64 keys"),
        }
    }
}

impl Key {
    /// From what stands in a `PUBLIC KEY` of PEM (RFC 5280 §4.1.2.7).
    fn from_der(der: &[u8]) -> Option<Key> {
        let info = SubjectPublicKeyInfoRef::from_der(der).ok()?;
        let bytes = info.subject_public_key.as_bytes()?;
        let curve = || info.algorithm.parameters_oid().ok();
        let (algorithm, key) = match info.algorithm.oid {
            // The exponent comes on top of the modulus.
            RSA if bytes.len() > MODULUS_MIN => (Algorithm::RS256, DecodingKey::from_rsa_der(bytes)),
            EC if curve() == Some(P256) => (Algorithm::ES256, DecodingKey::from_ec_der(bytes)),
            ED25519 => (Algorithm::EdDSA, DecodingKey::from_ed_der(bytes)),
            _ => return None,
        };
        Some(Key { kid: None, algorithm, key })
    }

    fn from_jwk(jwk: &Jwk) -> Option<Key> {
        let (algorithm, named) = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
                (Algorithm::ES256, KeyAlgorithm::ES256)
            }
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
            }
            _ => return None,
        };
        let common = &jwk.common;
        let other_use = common.public_key_use.as_ref().is_some_and(|used| *used != PublicKeyUse::Signature);
        if other_use || common.key_algorithm.is_some_and(|own| own != named) {
            return None;
        }
        let key = DecodingKey::from_jwk(jwk).ok()?;
        let weak =
            matches!(key.kind(), DecodingKeyKind::RsaModulusExponent { n, .. } if n.len() < MODULUS_MIN);
        (!weak).then(|| Key { kid: common.key_id.clone(), algorithm, key })
    }

    fn from_secret(text: &[u8]) -> Result<Key, &'static str> {
        // An editor ends the last line.
        let secret = text.trim_ascii_end();
        if secret.len() < SECRET_MIN {
            return Err("the secret has less than 32 bytes");
        }
        if secret.starts_with(b"-----BEGIN") || secret.starts_with(b"{") {
            return Err("it holds a key and not a secret: whoever knows a public key could sign with it");
        }
        let key = DecodingKey::from_secret(secret).map_err(|_| "the secret is empty")?;
        Ok(Key { kid: None, algorithm: Algorithm::HS256, key })
    }
}

/// Everything that the settings name.
pub(super) fn read(settings: &hubbub_config::Login) -> Result<KeySet, KeyMistakes> {
    let (mut all, mut mistakes) = (KeySet::default(), Vec::new());
    if let Some(file) = &settings.token_secret_file {
        match contents("login.token_secret_file", file, Key::from_secret) {
            Ok(key) => all.0.push(key),
            Err(mistake) => mistakes.push(mistake),
        }
    }
    for file in &settings.token_keys {
        match contents("login.token_keys", file, KeySet::from_file) {
            Ok(keys) => all.0.extend(keys.0),
            Err(mistake) => mistakes.push(mistake),
        }
    }
    if mistakes.is_empty() { Ok(all) } else { Err(KeyMistakes(mistakes)) }
}

fn contents<T>(
    setting: &'static str,
    file: &Path,
    read: impl FnOnce(&[u8]) -> Result<T, &'static str>,
) -> Result<T, KeyMistake> {
    let wrong = |what: String| KeyMistake { setting, file: file.to_owned(), what };
    let text = std::fs::read(file).map_err(|error| wrong(error.to_string()))?;
    read(&text).map_err(|what| wrong(what.to_owned()))
}
