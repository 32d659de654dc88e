//! Password files of Mosquitto: `name:hash`, one a line, as `mosquitto_passwd` writes them.
//!
//! | hash | since | how |
//! |---|---|---|
//! | `$6$salt$hash` | 1.0 | SHA-512 of password and salt, once |
//! | `$7$iterations$salt$hash` | 2.0 | PBKDF2 with HMAC-SHA-512, 101 times if nobody said otherwise |
//! | `$argon2id$…` | 2.1 | what we make ourselves |
//!
//! The first two are cheap to guess from a stolen store, so an account has one only until its password is seen.

use std::collections::HashSet;
use std::fmt;

use argon2::password_hash::PasswordHash;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::digest::CtOutput;
use sha2::{Digest, Sha512};

use super::{check_name, is_affordable};

/// Bytes of SHA-512.
const HASH_BYTES: usize = 64;
/// Bytes of a salt; Mosquitto makes 12 or 64.
const SALT_MAX: usize = 256;
/// PBKDF2 rounds that one login may cost, about half a second.
const ROUNDS_MAX: u32 = 1_000_000;

/// A hash that Mosquitto made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hash {
    Sha512 { salt: Vec<u8>, hash: [u8; HASH_BYTES] },
    Pbkdf2 { rounds: u32, salt: Vec<u8>, hash: [u8; HASH_BYTES] },
}

/// One account of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Imported {
    /// Where it stands, from 1.
    pub line: usize,
    /// The user.
    pub name: String,
    /// The hash as it stands there.
    pub hash: String,
}

/// One line that cannot be imported. Nothing of its hash is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineMistake {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for LineMistake {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}: {}", self.line, self.message)
    }
}

/// Everything wrong with a file, never empty; one line for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineMistakes(pub Vec<LineMistake>);

impl fmt::Display for LineMistakes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        out.write_str(&lines.join("\n"))
    }
}

impl Hash {
    /// Reads one of Mosquitto's own forms; nothing if it is none.
    pub fn read(value: &[u8]) -> Option<Hash> {
        let text = std::str::from_utf8(value).ok()?;
        let mut parts = text.strip_prefix('$')?.split('$');
        let kind = parts.next()?;
        let rounds = match kind {
            "6" => None,
            "7" => Some(parts.next()?.parse().ok().filter(|rounds| (1..=ROUNDS_MAX).contains(rounds))?),
            _ => return None,
        };
        let salt = STANDARD.decode(parts.next()?).ok().filter(|salt| (1..=SALT_MAX).contains(&salt.len()))?;
        let hash = STANDARD.decode(parts.next()?).ok()?.try_into().ok()?;
        if parts.next().is_some() {
            return None;
        }
        Some(rounds.map_or_else(
            || Hash::Sha512 { salt: salt.clone(), hash },
            |rounds| Hash::Pbkdf2 { rounds, salt: salt.clone(), hash },
        ))
    }

    /// Whether it is one of this password. Compared in a time that does not depend on where the difference is.
    pub fn is_of(&self, password: &[u8]) -> bool {
        let (made, hash): ([u8; HASH_BYTES], _) = match self {
            Hash::Sha512 { salt, hash } => {
                (Sha512::new().chain_update(password).chain_update(salt).finalize().into(), hash)
            }
            Hash::Pbkdf2 { rounds, salt, hash } => {
                (pbkdf2::pbkdf2_hmac_array::<Sha512, HASH_BYTES>(password, salt, *rounds), hash)
            }
        };
        CtOutput::<Sha512>::new(made.into()) == CtOutput::new((*hash).into())
    }
}

/// Reads a whole file: the accounts, and every mistake.
pub(super) fn parse(text: &[u8]) -> (Vec<Imported>, Vec<LineMistake>) {
    let (mut accounts, mut mistakes, mut names) = (Vec::new(), Vec::new(), HashSet::new());
    for (index, bytes) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = index + 1;
        match read_line(bytes) {
            Ok(None) => {}
            Ok(Some((name, _))) if !names.insert(name.clone()) => {
                let message = format!("user \"{}\" stands there twice", name.escape_debug());
                mistakes.push(LineMistake { line, message });
            }
            Ok(Some((name, hash))) => accounts.push(Imported { line, name, hash }),
            Err(message) => mistakes.push(LineMistake { line, message }),
        }
    }
    (accounts, mistakes)
}

/// Name and hash; nothing of an empty line or a comment.
fn read_line(bytes: &[u8]) -> Result<Option<(String, String)>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8")?.trim_end_matches('\r');
    if text.trim().is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    let (name, hash) = text.split_once(':').ok_or("expected name:hash")?;
    check_name(name).map_err(|error| error.to_string())?;
    let hash = hash.trim_end();
    match hash {
        "" => return Err("there is no hash".into()),
        plain if !plain.starts_with('$') => {
            return Err("a password that is not hashed: `mosquitto_passwd -U` hashes those of a file".into());
        }
        _ => {}
    }
    let argon2id =
        || hash.starts_with("$argon2id$") && PasswordHash::new(hash).is_ok_and(|hash| is_affordable(&hash));
    match Hash::read(hash.as_bytes()).is_some() || argon2id() {
        true => Ok(Some((name.to_owned(), hash.to_owned()))),
        false => Err("the hash is none of $6$, $7$ with at most 1000000 rounds, $argon2id$".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `mosquitto_passwd` of Mosquitto 2.0.11.
    const PBKDF2: &str = "$7$101$SAsILZEMUIMNoe+i$az9ycI21leJR/II8XDp/qDmbm6CIVx2eO7xocH2GYzo0jjq8Oj3Q4omccw8XXZM2Z9wm2JSdg9iQ+PZUKljuyg==";
    const SHA512: &str = "$6$nBWj9XpMjZL32q/F$T2GOjXuXLRBxQ9Juc0EPdRB/SP1pjQdSFVvqS380Y+AMSw5A5Sz5jS2aZU8T8Sah+ZQZTaihDRhcZqX+dRnqCw==";

    #[test]
    fn hashes_of_mosquitto_are_of_their_password_only() {
        for text in [PBKDF2, SHA512] {
            let hash = Hash::read(text.as_bytes()).unwrap();
            assert!(hash.is_of(b"wonderland"), "{text}");
            for other in ["", "Wonderland", "wonderland "] {
                assert!(!hash.is_of(other.as_bytes()), "{text} and {other:?}");
            }
        }
    }

    #[test]
    fn a_file_is_read_with_comments_and_lines_of_any_system() {
        let argon2id =
            "$argon2id$v=19$m=47104,t=1,p=1$aHViYnViLW5vYm9keS4$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let text = format!("# people\nalice:{PBKDF2}\r\n\n爱丽丝:{SHA512}\ncarol:{argon2id}");
        let (accounts, mistakes) = parse(text.as_bytes());
        assert_eq!(mistakes, []);
        let found: Vec<_> = accounts.iter().map(|one| (one.line, &*one.name, &*one.hash)).collect();
        assert_eq!(found, [(2, "alice", PBKDF2), (4, "爱丽丝", SHA512), (5, "carol", argon2id)]);
    }

    #[test]
    fn every_mistake_is_named_with_its_line_and_without_the_hash() {
        let text = format!(
            "alice:{PBKDF2}\nbob\nc/d:{SHA512}\ncarol:\ndave:sesame\neve:$7$0$c2Vz$c2VzYW1l\nalice:{SHA512}\nfred:$6$c2VzYW1l$c2VzYW1l\n\
             gil:$1$sesame$sesame\nhal:$argon2id$v=19$m=4194304,t=1,p=1$c2VzYW1lc2VzYW1l$c2VzYW1lc2VzYW1l\n"
        );
        let mut text = text.into_bytes();
        text.extend(b"\xff:x");
        let (_, mistakes) = parse(&text);
        let said: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        let unknown = "the hash is none of $6$, $7$ with at most 1000000 rounds, $argon2id$";
        assert_eq!(
            said,
            [
                "line 2: expected name:hash".to_owned(),
                "line 3: \"c/d\" cannot be a user name: it contains one of / + # ~".to_owned(),
                "line 4: there is no hash".to_owned(),
                "line 5: a password that is not hashed: `mosquitto_passwd -U` hashes those of a file"
                    .to_owned(),
                format!("line 6: {unknown}"),
                "line 7: user \"alice\" stands there twice".to_owned(),
                format!("line 8: {unknown}"),
                format!("line 9: {unknown}"),
                format!("line 10: {unknown}"),
                "line 11: not UTF-8".to_owned(),
            ]
        );
    }
}
