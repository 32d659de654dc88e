//! Accounts: who may log in, and with which password.
//!
//! Hashing takes about 20 ms and 19 MiB on purpose. Callers on a busy thread hand it to a bounded pool.

mod mosquitto;

use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};

use hubbub_broker::clock::Millis;

use crate::scram::{NoVerifier, Verifier};
use crate::store::{Batch, Order, Store, StoreError, keys};

use mosquitto::Imported;
pub use mosquitto::{LineMistake, LineMistakes};

/// Longest user name in bytes, so that every topic made of it stays small.
pub const NAME_MAX: usize = 64;
/// Characters that separate or match levels of a topic, or the two halves of a conversation id.
const RESERVED: [char; 4] = ['/', '+', '#', '~'];
/// Accounts read from the store in one step.
const PAGE: usize = 1000;
/// OWASP's minimum for argon2id: memory in KiB, passes, lanes.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// More of both than any account is given: a damaged hash takes neither the memory nor the time of the server.
const MOST: (u32, u32) = (16 * MEMORY_KIB, 8 * PASSES);
/// Verified in place of an account that does not exist, so that both answers cost the same. No password has this hash.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$aHViYnViLW5vYm9keS4$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// What a look at a password says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// It is the one of the account.
    Right,
    /// It is; the account still has this hash of another program.
    RightButOld(Vec<u8>),
    /// It is another one, or there is no such account.
    Wrong,
}

/// Why an account was not changed.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The name cannot be one level of a topic.
    #[error("\"{}\" cannot be a user name: {reason}", .name.escape_debug())]
    Name {
        /// The name as given.
        name: String,
        /// What is wrong with it, as a clause.
        reason: &'static str,
    },
    /// There is no password to protect the account.
    #[error("a password cannot be empty")]
    EmptyPassword,
    /// The name is taken.
    #[error("user \"{0}\" exists already; `hubbub user passwd {0}` sets another password")]
    Exists(String),
    /// There is no such account.
    #[error("there is no user \"{}\"", .0.escape_debug())]
    Unknown(String),
    /// The password could not be hashed.
    #[error("the password could not be hashed: {0}")]
    Hash(String),
    /// There can be no SCRAM verifier of the password.
    #[error(transparent)]
    Scram(#[from] NoVerifier),
    /// A file cannot be imported.
    #[error("nothing was imported:\n{0}")]
    File(LineMistakes),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes an account. With a number of SCRAM rounds, what SCRAM has to know is stored beside the hash.
pub fn add(
    store: &dyn Store,
    name: &str,
    password: impl AsRef<[u8]>,
    scram: Option<u32>,
) -> Result<(), UserError> {
    check_name(name)?;
    if exists(store, name)? {
        return Err(UserError::Exists(name.into()));
    }
    write(store, name, password.as_ref(), scram)
}

/// Sets another password for an account. Without SCRAM rounds nothing of it is left for SCRAM.
pub fn passwd(
    store: &dyn Store,
    name: &str,
    password: impl AsRef<[u8]>,
    scram: Option<u32>,
) -> Result<(), UserError> {
    must_exist(store, name)?;
    write(store, name, password.as_ref(), scram)
}

/// Removes an account; tokens of the user made up to now do not count any more. Messages stay. Connections and sessions have to
/// be ended by the server or, without one, in the store.
pub fn remove(store: &dyn Store, name: &str, now: Millis) -> Result<(), UserError> {
    must_exist(store, name)?;
    let mut batch = Batch::new();
    batch.delete(keys::user(name));
    batch.delete(keys::verifier(name));
    batch.put(keys::not_before(name), now.to_be_bytes());
    Ok(store.commit(batch)?)
}

/// Tokens of a user made up to now do not count any more. There need be no account: a token can be all that a user has.
pub fn revoke_tokens(store: &dyn Store, name: &str, now: Millis) -> Result<(), UserError> {
    check_name(name)?;
    let mut batch = Batch::new();
    batch.put(keys::not_before(name), now.to_be_bytes());
    Ok(store.commit(batch)?)
}

/// The time before which tokens of a user do not count, in milliseconds since the Unix epoch; nothing if all do. If it cannot
/// be read, none do.
pub fn tokens_not_before(store: &dyn Store, name: &str) -> Result<Option<Millis>, StoreError> {
    let stored = store.get(&keys::not_before(name))?;
    Ok(stored.map(|bytes| bytes.try_into().map_or(Millis::MAX, Millis::from_be_bytes)))
}

/// The names of all accounts, sorted by their bytes.
pub fn list(store: &dyn Store) -> Result<Vec<String>, UserError> {
    let mut names = Vec::new();
    let mut rest = keys::all_users();
    loop {
        let page = store.scan(rest.clone(), Order::Forward, PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(names) };
        rest.start = [last.as_slice(), &[0]].concat();
        names.extend(page.iter().filter_map(|(key, _)| keys::Fields::of(key)?.text()));
    }
}

/// Whether there is an account of that name.
pub fn exists(store: &dyn Store, name: &str) -> Result<bool, UserError> {
    Ok(store.get(&keys::user(name))?.is_some())
}

/// Whether that is the password of that account. An unknown name costs as much time as a wrong password, also one of an
/// account whose hash another program made: those are cheaper, so a hash of ours is checked besides.
pub fn check(store: &dyn Store, name: &str, password: impl AsRef<[u8]>) -> Result<Check, StoreError> {
    let (stored, password) = (store.get(&keys::user(name))?, password.as_ref());
    let Some(stored) = stored else {
        matches(name, NOBODY.as_bytes(), password);
        return Ok(Check::Wrong);
    };
    if let Some(foreign) = mosquitto::Hash::read(&stored) {
        if foreign.is_of(password) {
            return Ok(Check::RightButOld(stored));
        }
        matches(name, NOBODY.as_bytes(), password);
        return Ok(Check::Wrong);
    }
    Ok(if matches(name, &stored, password) { Check::Right } else { Check::Wrong })
}

/// Hashes a password that was right in our way, if the account still has the hash that it was checked against.
pub fn renew(
    store: &dyn Store,
    name: &str,
    old: &[u8],
    password: &[u8],
    scram: Option<u32>,
) -> Result<(), UserError> {
    if store.get(&keys::user(name))?.as_deref() != Some(old) {
        return Ok(());
    }
    match write(store, name, password, scram) {
        // SCRAM cannot have it, a login by password can.
        Err(UserError::Scram(_)) => write(store, name, password, None),
        written => written,
    }
}

/// Makes the accounts of a password file of Mosquitto, all of them or none; how many.
///
/// # Errors
/// Every mistake of the file at once, names that are taken among them.
pub fn import(store: &dyn Store, file: &[u8]) -> Result<usize, UserError> {
    let (accounts, mut mistakes) = mosquitto::parse(file);
    let mut batch = Batch::new();
    for Imported { line, name, hash } in &accounts {
        if exists(store, name)? {
            mistakes.push(LineMistake { line: *line, message: format!("user \"{name}\" exists already") });
        }
        batch.put(keys::user(name), hash.clone());
        batch.delete(keys::verifier(name));
    }
    if !mistakes.is_empty() {
        mistakes.sort_by_key(|mistake| mistake.line);
        return Err(UserError::File(LineMistakes(mistakes)));
    }
    store.commit(batch)?;
    Ok(accounts.len())
}

/// Whether a value is a hash that a login can be checked against.
pub(crate) fn is_hash(value: &[u8]) -> bool {
    let ours = || std::str::from_utf8(value).is_ok_and(|text| PasswordHash::new(text).is_ok());
    mosquitto::Hash::read(value).is_some() || ours()
}

/// What SCRAM has to know of the password of that account; nothing if it has none, or it is of an earlier password.
pub fn verifier(store: &dyn Store, name: &str) -> Result<Option<Verifier>, StoreError> {
    let (account, stored) = (store.get(&keys::user(name))?, store.get(&keys::verifier(name))?);
    let (Some(account), Some(stored)) = (account, stored) else { return Ok(None) };
    let Ok(verifier) = postcard::from_bytes::<Verifier>(&stored) else {
        tracing::error!(user = name, "stored SCRAM verifier is damaged, login refused");
        return Ok(None);
    };
    Ok(Some(verifier).filter(|verifier| verifier.belongs_to(&account)))
}

/// Whether a name can be a user id: 1 to 64 bytes of UTF-8 without `/ + # ~`, control characters, or a leading `$`.
pub fn check_name(name: &str) -> Result<(), UserError> {
    let reason = match name {
        "" => "it is empty",
        long if long.len() > NAME_MAX => "it is longer than 64 bytes",
        system if system.starts_with('$') => "a leading $ is reserved for the server",
        odd if odd.contains(RESERVED) => "it contains one of / + # ~",
        odd if odd.contains(char::is_control) => "it contains a control character",
        _ => return Ok(()),
    };
    Err(UserError::Name { name: name.into(), reason })
}

fn must_exist(store: &dyn Store, name: &str) -> Result<(), UserError> {
    match exists(store, name)? {
        true => Ok(()),
        false => Err(UserError::Unknown(name.into())),
    }
}

fn write(store: &dyn Store, name: &str, password: &[u8], scram: Option<u32>) -> Result<(), UserError> {
    if password.is_empty() {
        return Err(UserError::EmptyPassword);
    }
    let hash = hash(password).map_err(|error| UserError::Hash(error.to_string()))?;
    let mut batch = Batch::new();
    match scram {
        Some(rounds) => {
            let verifier = Verifier::make(hash.as_bytes(), password, rounds)?;
            let encoded =
                postcard::to_stdvec(&verifier).map_err(|error| UserError::Hash(error.to_string()))?;
            batch.put(keys::verifier(name), encoded);
        }
        None => batch.delete(keys::verifier(name)),
    }
    batch.put(keys::user(name), hash);
    Ok(store.commit(batch)?)
}

fn hash(password: &[u8]) -> argon2::password_hash::Result<String> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None)?;
    let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let salt = SaltString::generate(&mut OsRng);
    Ok(hasher.hash_password(password, &salt)?.to_string())
}

fn matches(name: &str, hash: &[u8], password: &[u8]) -> bool {
    let parsed = std::str::from_utf8(hash).ok().and_then(|text| PasswordHash::new(text).ok());
    let Some(hash) = parsed.filter(is_affordable) else {
        tracing::error!(user = name, "stored password is damaged, login refused");
        return false;
    };
    // The parameters come from the stored hash, so accounts outlive a change of the constants above.
    Argon2::default().verify_password(password, &hash).is_ok()
}

fn is_affordable(hash: &PasswordHash<'_>) -> bool {
    let (memory, passes) = MOST;
    Params::try_from(hash).is_ok_and(|asked| asked.m_cost() <= memory && asked.t_cost() <= passes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    fn verify(store: &MemoryStore, name: &str, password: &str) -> bool {
        check(store, name, password).unwrap() != Check::Wrong
    }

    fn with_alice() -> MemoryStore {
        let store = MemoryStore::default();
        add(&store, "alice", "wonderland", None).unwrap();
        store
    }

    #[test]
    fn only_the_right_password_of_a_known_user_opens_the_door() {
        let store = with_alice();
        assert!(verify(&store, "alice", "wonderland"));
        assert!(!verify(&store, "alice", "Wonderland"));
        assert!(!verify(&store, "alice", ""));
        assert!(!verify(&store, "bob", "wonderland"));
        assert!(!verify(&store, "", ""));
    }

    #[test]
    fn a_new_password_replaces_the_old_one_and_removal_ends_it() {
        let store = with_alice();
        passwd(&store, "alice", b"looking glass", None).unwrap();
        assert!(verify(&store, "alice", "looking glass") && !verify(&store, "alice", "wonderland"));
        remove(&store, "alice", 7).unwrap();
        assert!(!verify(&store, "alice", "looking glass"));
        assert!(list(&store).unwrap().is_empty());
    }

    #[test]
    fn tokens_count_from_when_they_were_revoked_and_not_at_all_if_nobody_knows() {
        let store = with_alice();
        let known = |store: &MemoryStore| tokens_not_before(store, "alice").unwrap();
        assert_eq!(known(&store), None);
        revoke_tokens(&store, "alice", 7).unwrap();
        assert_eq!(known(&store), Some(7));
        remove(&store, "alice", 9).unwrap();
        assert_eq!(known(&store), Some(9), "those of a user who is gone as well");
        let mut batch = Batch::new();
        batch.put(keys::not_before("alice"), "?");
        store.commit(batch).unwrap();
        assert_eq!(known(&store), Some(Millis::MAX));
    }

    #[test]
    fn hashes_are_salted_and_cost_what_owasp_asks() {
        let store = with_alice();
        add(&store, "bob", "wonderland", None).unwrap();
        let hash = |name| String::from_utf8(store.get(&keys::user(name)).unwrap().unwrap()).unwrap();
        assert!(hash("alice").starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert_ne!(hash("alice"), hash("bob"));
    }

    #[test]
    fn nobody_costs_what_a_real_account_costs() {
        let store = with_alice();
        let real = String::from_utf8(store.get(&keys::user("alice")).unwrap().unwrap()).unwrap();
        let (nobody, real) = (PasswordHash::new(NOBODY).unwrap(), PasswordHash::new(&real).unwrap());
        assert_eq!((nobody.algorithm, nobody.version), (real.algorithm, real.version));
        assert_eq!(nobody.params.to_string(), real.params.to_string());
        assert_eq!(nobody.hash.unwrap().len(), real.hash.unwrap().len());
    }

    #[test]
    fn a_verifier_comes_and_goes_with_the_password_that_it_is_of() {
        let has = |store: &MemoryStore| verifier(store, "alice").unwrap().is_some();
        let stored = |store: &MemoryStore| store.get(&keys::verifier("alice")).unwrap().is_some();
        let store = with_alice();
        assert!(!stored(&store), "an account made without it");
        passwd(&store, "alice", "looking glass", Some(4096)).unwrap();
        assert!(has(&store) && verify(&store, "alice", "looking glass"));
        passwd(&store, "alice", "looking glass", None).unwrap();
        assert!(!stored(&store));
        passwd(&store, "alice", "looking glass", Some(4096)).unwrap();
        remove(&store, "alice", 7).unwrap();
        assert!(!stored(&store));
    }

    #[test]
    fn a_verifier_does_not_outlive_its_password_if_an_older_program_changes_that() {
        let store = MemoryStore::default();
        add(&store, "alice", "wonderland", Some(4096)).unwrap();
        let mut batch = Batch::new();
        batch.put(keys::user("alice"), hash(b"looking glass").unwrap());
        store.commit(batch).unwrap();
        assert_eq!(verifier(&store, "alice").unwrap(), None);
    }

    #[test]
    fn a_damaged_verifier_lets_nobody_in() {
        let store = with_alice();
        let mut batch = Batch::new();
        batch.put(keys::verifier("alice"), [1, 2, 3]);
        store.commit(batch).unwrap();
        assert_eq!(verifier(&store, "alice").unwrap(), None);
    }

    #[test]
    fn a_password_that_scram_cannot_take_is_refused_and_changes_nothing() {
        let store = with_alice();
        for bad in ["tab\there", "\u{ad}", "🫠"] {
            let said = passwd(&store, "alice", bad, Some(4096)).unwrap_err().to_string();
            assert_eq!(
                said,
                "with login.scram a password is text of Unicode 3.2 without control characters (RFC 4013)"
            );
        }
        passwd(&store, "alice", [0xff], Some(4096)).unwrap_err();
        assert!(verify(&store, "alice", "wonderland"));
    }

    #[test]
    fn a_damaged_account_lets_nobody_in() {
        let store = MemoryStore::default();
        let mut batch = Batch::new();
        batch.put(keys::user("alice"), [0xFF, 0xFE]);
        batch.put(keys::user("bob"), "not a hash");
        store.commit(batch).unwrap();
        assert!(!verify(&store, "alice", "x") && !verify(&store, "bob", "not a hash"));
    }

    #[test]
    fn a_damaged_account_takes_neither_memory_nor_time() {
        let store = with_alice();
        let real = String::from_utf8(store.get(&keys::user("alice")).unwrap().unwrap()).unwrap();
        for cost in ["m=4294967295,t=2,p=1", "m=19456,t=4294967295,p=1"] {
            let mut batch = Batch::new();
            batch.put(keys::user("alice"), real.replace("m=19456,t=2,p=1", cost));
            store.commit(batch).unwrap();
            assert!(!verify(&store, "alice", "wonderland"), "{cost}");
        }
    }

    /// `mosquitto_passwd -b` of Mosquitto 2.0.11 with the password `wonderland`, by both of its algorithms.
    const FOREIGN: [&str; 2] = [
        "$7$101$SAsILZEMUIMNoe+i$az9ycI21leJR/II8XDp/qDmbm6CIVx2eO7xocH2GYzo0jjq8Oj3Q4omccw8XXZM2Z9wm2JSdg9iQ+PZUKljuyg==",
        "$6$nBWj9XpMjZL32q/F$T2GOjXuXLRBxQ9Juc0EPdRB/SP1pjQdSFVvqS380Y+AMSw5A5Sz5jS2aZU8T8Sah+ZQZTaihDRhcZqX+dRnqCw==",
    ];

    #[test]
    fn an_imported_account_is_hashed_anew_once_its_password_is_known() {
        for foreign in FOREIGN {
            let store = MemoryStore::default();
            assert_eq!(import(&store, format!("alice:{foreign}\n").as_bytes()).unwrap(), 1);
            assert_eq!(check(&store, "alice", "Wonderland").unwrap(), Check::Wrong);
            let Check::RightButOld(old) = check(&store, "alice", "wonderland").unwrap() else {
                panic!("{foreign} is not of wonderland")
            };
            renew(&store, "alice", &old, b"wonderland", Some(4096)).unwrap();
            assert_eq!(check(&store, "alice", "wonderland").unwrap(), Check::Right);
            assert_eq!(check(&store, "alice", "Wonderland").unwrap(), Check::Wrong);
            assert!(verifier(&store, "alice").unwrap().is_some(), "SCRAM knows it too");
        }
    }

    #[test]
    fn an_account_that_changed_meanwhile_is_not_hashed_anew() {
        let store = MemoryStore::default();
        import(&store, format!("alice:{}", FOREIGN[0]).as_bytes()).unwrap();
        passwd(&store, "alice", "looking glass", None).unwrap();
        renew(&store, "alice", FOREIGN[0].as_bytes(), b"wonderland", None).unwrap();
        remove(&store, "alice", 7).unwrap();
        renew(&store, "alice", FOREIGN[0].as_bytes(), b"wonderland", None).unwrap();
        assert!(!exists(&store, "alice").unwrap());
    }

    #[test]
    fn a_password_that_scram_cannot_take_is_hashed_anew_all_the_same() {
        let store = with_alice();
        let old = store.get(&keys::user("alice")).unwrap().unwrap();
        renew(&store, "alice", &old, b"tab\there", Some(4096)).unwrap();
        assert!(verify(&store, "alice", "tab\there"));
    }

    #[test]
    fn all_accounts_are_imported_or_none() {
        let store = with_alice();
        let hash = FOREIGN[0];
        let file = format!("bob:{hash}\nalice:{hash}\ncarol:plain\n");
        assert_eq!(
            import(&store, file.as_bytes()).unwrap_err().to_string(),
            "nothing was imported:\nline 2: user \"alice\" exists already\n\
             line 3: a password that is not hashed: `mosquitto_passwd -U` hashes those of a file"
        );
        assert_eq!(list(&store).unwrap(), ["alice"]);
        assert!(verify(&store, "alice", "wonderland"));
    }

    #[test]
    fn names_are_listed_in_order() {
        let store = MemoryStore::default();
        let mut batch = Batch::new();
        (0..2500).for_each(|n| batch.put(keys::user(&format!("user{n:04}")), "hash"));
        batch.put(keys::user("爱丽丝"), "hash");
        store.commit(batch).unwrap();
        let names = list(&store).unwrap();
        assert_eq!(names.len(), 2501);
        assert!(names.is_sorted());
        assert_eq!(names[2500], "爱丽丝");
    }

    #[test]
    fn refusals_are_sentences() {
        let store = with_alice();
        let said = |result: Result<(), UserError>| result.unwrap_err().to_string();
        assert_eq!(
            said(add(&store, "alice", "x", None)),
            "user \"alice\" exists already; `hubbub user passwd alice` sets another password"
        );
        assert_eq!(said(passwd(&store, "bob", "x", None)), "there is no user \"bob\"");
        assert_eq!(said(remove(&store, "a\nb", 7)), "there is no user \"a\\nb\"");
        assert_eq!(said(add(&store, "bob", "", None)), "a password cannot be empty");
        assert_eq!(
            said(add(&store, "a/b", "x", None)),
            "\"a/b\" cannot be a user name: it contains one of / + # ~"
        );
    }

    #[test]
    fn names_are_one_level_of_a_topic() {
        let longest = "é".repeat(32);
        for good in ["a", "alice", "爱丽丝", "🚕", "a b", "a$", "o'neil", "a@b.c", longest.as_str()] {
            check_name(good).unwrap();
        }
        let too_long = "é".repeat(33);
        for bad in ["", "$SYS", "a/b", "+", "a#", "a~b", "a\0", "a\u{7f}", "a\u{85}", too_long.as_str()] {
            check_name(bad).unwrap_err();
        }
    }
}
