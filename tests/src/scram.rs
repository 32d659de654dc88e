//! The client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

/// Name of the method.
pub const METHOD: &str = "SCRAM-SHA-256";

/// One authentication.
pub struct Scram {
    user: String,
    password: String,
    /// What the server has to sign at the end.
    signature: Option<String>,
}

impl Scram {
    /// Of this user, with this password.
    pub fn new(user: &str, password: &str) -> Scram {
        Scram { user: user.into(), password: password.into(), signature: None }
    }

    fn bare(&self) -> String {
        format!("n={},r=fyko+d2lbbFgONRv9qkxdawL", self.user)
    }

    /// The first message.
    pub fn first(&self) -> String {
        format!("n,,{}", self.bare())
    }

    /// The last message, after what the server said.
    ///
    /// # Panics
    /// If the server said something else than it has to.
    pub fn last(&mut self, challenge: &str) -> String {
        let mut parts = challenge.split(',');
        let mut part = |key: &str| {
            let part = parts.next().and_then(|part| part.strip_prefix(key));
            part.unwrap_or_else(|| panic!("no {key} in its place: {challenge}")).to_owned()
        };
        let (nonce, salt, rounds) = (part("r="), part("s="), part("i="));
        assert!(
            nonce.len() > 40 && nonce.starts_with("fyko+d2lbbFgONRv9qkxdawL"),
            "both nonces: {challenge}"
        );
        let (salt, rounds) = (STANDARD.decode(salt).expect("base64"), rounds.parse().expect("a number"));
        let salted = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(self.password.as_bytes(), &salt, rounds);
        let client_key = sign(&salted, "Client Key");
        let said = format!("{},{challenge},c=biws,r={nonce}", self.bare());
        let mask = sign(&Sha256::digest(&client_key), &said);
        let proof: Vec<u8> = client_key.iter().zip(mask).map(|(key, mask)| key ^ mask).collect();
        self.signature = Some(STANDARD.encode(sign(&sign(&salted, "Server Key"), &said)));
        format!("c=biws,r={nonce},p={}", STANDARD.encode(proof))
    }

    /// Whether the server proved that it knows the password as well.
    pub fn trusts(&self, last_word: &str) -> bool {
        let signature = self.signature.as_deref().expect("both have said everything");
        last_word.strip_prefix("v=") == Some(signature)
    }
}

fn sign(key: &[u8], text: &str) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("keys may have any length");
    mac.chain_update(text).finalize().into_bytes().to_vec()
}
