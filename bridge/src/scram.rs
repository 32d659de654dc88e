//! SCRAM-SHA-256 (RFC 5802, RFC 7677), the side of the server: what is stored of a password, and how it is checked.
//!
//! Our own, over RustCrypto and `stringprep`, because no library serves. rsasl 2.3.1 panics on first messages such as
//! `n,,,r=x`, puts the signed text together anew instead of taking what was sent, and gives unknown users another salt each
//! time. scram 0.6, scram-2 0.7 and scram-rs 0.25 want the salted password or the client key stored, with which a thief
//! logs in at once.

mod exchange;
mod message;

use argon2::password_hash::rand_core::{OsRng, RngCore};
use hmac::digest::{CtOutput, KeyInit};
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::store::{Batch, Store, StoreError, keys};

pub(crate) use exchange::Login;

/// Its name as an authentication method.
pub const METHOD: &str = "SCRAM-SHA-256";

/// A key, a hash or a proof.
type Bytes32 = [u8; 32];

const SALT_BYTES: usize = 16;

/// How this server does it.
#[derive(Debug, Clone, Copy)]
pub struct Scram {
    rounds: u32,
    /// Makes the salts of users who do not exist.
    key: Bytes32,
}

/// What is stored of a password: it can be checked against this, but this is no password (RFC 5802 §3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verifier {
    /// Hash of the account beside which it was made: a verifier does not outlive that password, whoever changes it.
    account: Bytes32,
    salt: [u8; SALT_BYTES],
    rounds: u32,
    stored_key: Bytes32,
    server_key: Bytes32,
}

/// Why there is no verifier of a password.
#[derive(Debug, thiserror::Error)]
pub enum NoVerifier {
    /// SASLprep (RFC 4013) leaves nothing of it, or does not know what to make of it.
    #[error("with login.scram a password is text of Unicode 3.2 without control characters (RFC 4013)")]
    Password,
    /// The system has no random numbers.
    #[error("no random numbers: {0}")]
    Random(String),
}

impl Scram {
    /// With so many PBKDF2 rounds; the key is made at the first start.
    pub fn open(store: &dyn Store, rounds: u32) -> Result<Scram, StoreError> {
        if let Some(Ok(key)) = store.get(&keys::scram())?.map(Bytes32::try_from) {
            return Ok(Scram { rounds, key });
        }
        let key = random().map_err(|error| StoreError::Failed(error.to_string()))?;
        let mut batch = Batch::new();
        batch.put(keys::scram(), key);
        store.commit(batch)?;
        Ok(Scram { rounds, key })
    }

    /// PBKDF2 rounds of new verifiers.
    pub fn rounds(&self) -> u32 {
        self.rounds
    }

    /// In place of a user who does not exist: the same salt each time, and no password fits, as nothing is known whose
    /// hash is zero.
    fn nobody(&self, name: &str) -> Verifier {
        let mut salt = [0; SALT_BYTES];
        salt.copy_from_slice(&hmac(&self.key, &[name.as_bytes()])[..SALT_BYTES]);
        Verifier { account: [0; 32], salt, rounds: self.rounds, stored_key: [0; 32], server_key: [0; 32] }
    }
}

impl Verifier {
    /// Of a password, to be stored beside this account. Takes as long as the rounds say.
    pub fn make(account: &[u8], password: &[u8], rounds: u32) -> Result<Verifier, NoVerifier> {
        let password = std::str::from_utf8(password).map_err(|_| NoVerifier::Password)?;
        let password = stringprep::saslprep(password).map_err(|_| NoVerifier::Password)?;
        if password.is_empty() {
            return Err(NoVerifier::Password);
        }
        Ok(Verifier::salted(account, &password, random()?, rounds))
    }

    fn salted(account: &[u8], password: &str, salt: [u8; SALT_BYTES], rounds: u32) -> Verifier {
        let salted: Bytes32 = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password.as_bytes(), &salt, rounds);
        let client_key = hmac(&salted, &[b"Client Key"]);
        Verifier {
            account: Sha256::digest(account).into(),
            salt,
            rounds,
            stored_key: Sha256::digest(client_key).into(),
            server_key: hmac(&salted, &[b"Server Key"]),
        }
    }

    /// Whether it was made beside this account.
    pub fn belongs_to(&self, account: &[u8]) -> bool {
        self.account == Bytes32::from(Sha256::digest(account))
    }

    /// Whether the proof is one of the password, for what was said (RFC 5802 §3).
    fn accepts(&self, said: &[&[u8]], proof: &Bytes32) -> bool {
        let mut client_key = hmac(&self.stored_key, said);
        client_key.iter_mut().zip(proof).for_each(|(byte, proof)| *byte ^= proof);
        let stored_key: Bytes32 = Sha256::digest(client_key).into();
        // Compared in a time that does not depend on where the difference is.
        CtOutput::<Hmac<Sha256>>::new(stored_key.into()) == CtOutput::new(self.stored_key.into())
    }

    /// The proof that the server knows the password as well.
    fn signature(&self, said: &[&[u8]]) -> Bytes32 {
        hmac(&self.server_key, said)
    }
}

fn hmac(key: &Bytes32, parts: &[&[u8]]) -> Bytes32 {
    // A key that is shorter than a block is padded with zeros (RFC 2104); one of this size cannot be refused.
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let mut mac = <Hmac<Sha256> as KeyInit>::new(&block.into());
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

fn random<const N: usize>() -> Result<[u8; N], NoVerifier> {
    let mut bytes = [0; N];
    OsRng.try_fill_bytes(&mut bytes).map_err(|error| NoVerifier::Random(error.to_string()))?;
    Ok(bytes)
}
