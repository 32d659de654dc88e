use bytes::Bytes;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::json;

use hubbub_broker::clock::Millis;
use hubbub_broker::policy::Door;

use super::*;
use crate::store::MemoryStore;

const NOW: Millis = 1_700_000_000_000;
/// The same in seconds.
const SECONDS: u64 = NOW / 1000;
const SECRET: &[u8] = b"a secret that has more than 32 bytes";

/// Somebody who signs tokens.
enum Signer {
    Secret(Vec<u8>),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Signer {
    fn ec() -> Signer {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        Signer::Ec(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_ref(), &random).unwrap())
    }

    fn ed() -> Signer {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Signer::Ed(Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap())
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Signer::Secret(_) => "HS256",
            Signer::Ec(_) => "ES256",
            Signer::Ed(_) => "EdDSA",
        }
    }

    fn jwk(&self, more: Value) -> Value {
        let public = |key: &[u8]| URL_SAFE_NO_PAD.encode(key);
        let mut jwk = match self {
            Signer::Secret(secret) => json!({ "kty": "oct", "k": public(secret) }),
            Signer::Ec(key) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "x": public(x), "y": public(y) })
            }
            Signer::Ed(key) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": public(key.public_key().as_ref()) })
            }
        };
        jwk.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        jwk
    }

    fn signs(&self, header: Value, claims: Value) -> String {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let bytes = message.as_bytes();
        let signature = match self {
            Signer::Secret(secret) => {
                let key = ::ring::hmac::Key::new(::ring::hmac::HMAC_SHA256, secret);
                ::ring::hmac::sign(&key, bytes).as_ref().to_vec()
            }
            Signer::Ec(key) => key.sign(&SystemRandom::new(), bytes).unwrap().as_ref().to_vec(),
            Signer::Ed(key) => key.sign(bytes).as_ref().to_vec(),
        };
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn says(&self, claims: Value) -> String {
        self.signs(json!({ "alg": self.algorithm(), "typ": "JWT" }), claims)
    }
}

/// Keys as they stand in files: a secret and a key set.
fn tokens(settings: &str, keys: Value) -> Tokens {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("secret"), [SECRET, b"\n"].concat()).unwrap();
    std::fs::write(path("keys"), keys.to_string()).unwrap();
    let text = format!(
        "[login]\ntoken_secret_file = '{}'\ntoken_keys = ['{}']\n{settings}",
        path("secret"),
        path("keys")
    );
    let config = hubbub_config::Config::parse("hubbub.toml", &text).unwrap();
    Tokens::open(
        &config.login,
        Arc::new(MemoryStore::default()),
        TopicLimits { levels: 8, bytes: 64 },
        Clock::start(),
    )
    .unwrap()
}

fn secret() -> Signer {
    Signer::Secret(SECRET.to_vec())
}

/// A key set of somebody else, where only the secret is of interest.
fn some_keys() -> Value {
    json!({ "keys": [Signer::ed().jwk(json!({}))] })
}

fn judge(tokens: &Tokens, token: &str) -> Result<Accepted, LoginRefusal> {
    let header = decode_header(token).map_err(|_| FOREIGN)?;
    let claims = tokens.attempt(token, &header, &tokens.files.read().unwrap()).claims()?;
    let (accepted, _) = tokens.rules.accept(claims, NOW).map_err(LoginRefusal::NotAuthorized)?;
    Ok(accepted)
}

fn says_no(tokens: &Tokens, token: &str) -> &'static str {
    match judge(tokens, token) {
        Err(LoginRefusal::NotAuthorized(why)) => why,
        other => panic!("{other:?}"),
    }
}

const NOT_OURS: &str = "the token is not signed by a key that counts here";

#[test]
fn every_algorithm_has_its_keys() {
    let (ec, ed) = (Signer::ec(), Signer::ed());
    let tokens =
        tokens("", json!({ "keys": [ec.jwk(json!({})), ed.jwk(json!({ "use": "sig", "alg": "EdDSA" }))] }));
    let strangers = [Signer::Secret(vec![7; 40]), Signer::ec(), Signer::ed()];
    for (ours, stranger) in [secret(), ec, ed].iter().zip(&strangers) {
        let claims = json!({ "sub": "alice", "exp": SECONDS + 60 });
        let accepted = judge(&tokens, &ours.says(claims.clone())).unwrap();
        assert_eq!((&*accepted.user, accepted.until), ("alice", Some(NOW + 90_000)), "{}", ours.algorithm());
        assert_eq!(says_no(&tokens, &stranger.says(claims.clone())), NOT_OURS);
        let token = ours.says(claims);
        let (message, signature) = token.rsplit_once('.').unwrap();
        let (head, _) = message.split_once('.').unwrap();
        let other = URL_SAFE_NO_PAD.encode(json!({ "sub": "mallory", "exp": SECONDS + 60 }).to_string());
        assert_eq!(says_no(&tokens, &format!("{head}.{other}.{signature}")), NOT_OURS);
        assert_eq!(says_no(&tokens, &format!("{message}.")), NOT_OURS);
    }
}

#[test]
fn a_key_is_for_one_algorithm_whatever_the_token_says() {
    let (ec, ed) = (Signer::ec(), Signer::ed());
    let keys = json!({ "keys": [ec.jwk(json!({})), ed.jwk(json!({}))] });
    let claims = || json!({ "sub": "alice", "exp": SECONDS + 60 });
    let point = match &ec {
        Signer::Ec(key) => key.public_key().as_ref().to_vec(),
        _ => unreachable!(),
    };
    let ed_key = match &ed {
        Signer::Ed(key) => key.public_key().as_ref().to_vec(),
        _ => unreachable!(),
    };
    let tokens = tokens("", keys.clone());
    // Public keys as secrets, in every form in which somebody may know them.
    for public in [point, ed_key, keys.to_string().into_bytes(), keys["keys"][0].to_string().into_bytes()] {
        assert_eq!(says_no(&tokens, &Signer::Secret(public).says(claims())), NOT_OURS);
    }
    for algorithm in ["none", "None", "HS384", "HS512", "RS256", "ES384", "PS256", "", "ES256K"] {
        let token = secret().signs(json!({ "alg": algorithm }), claims());
        assert_eq!(says_no(&tokens, &token), NOT_OURS, "{algorithm}");
        assert!(is_token(&token), "{algorithm}: not a password for others");
    }
    let unsigned = secret().signs(json!({ "alg": "none" }), claims());
    let (message, _) = unsigned.rsplit_once('.').unwrap();
    assert_eq!(says_no(&tokens, &format!("{message}.")), NOT_OURS);
}

#[test]
fn keys_of_other_kinds_and_other_uses_do_not_count() {
    let (ed, secret) = (Signer::ed(), Signer::Secret(vec![9; 40]));
    let claims = || json!({ "sub": "alice", "exp": SECONDS + 60 });
    for more in [json!({ "use": "enc" }), json!({ "alg": "ES256" }), json!({ "alg": "RSA-OAEP" })] {
        let set = json!({ "keys": [ed.jwk(more.clone()), Signer::ec().jwk(json!({}))] });
        assert_eq!(says_no(&tokens("", set), &ed.says(claims())), NOT_OURS, "{more}");
    }
    let set = json!({ "keys": [secret.jwk(json!({})), { "kty": "weird" }, 5, Signer::ec().jwk(json!({}))] });
    assert_eq!(says_no(&tokens("", set), &secret.says(claims())), NOT_OURS, "a secret in a set");
}

#[test]
fn a_name_of_a_key_is_looked_at_where_both_have_one() {
    let (one, two) = (Signer::ed(), Signer::ed());
    let set = json!({ "keys": [one.jwk(json!({ "kid": "1" })), two.jwk(json!({ "kid": "2" }))] });
    let tokens = tokens("", set);
    let claims = || json!({ "sub": "alice", "exp": SECONDS + 60 });
    for (kid, fine) in [(json!("1"), true), (json!(null), true), (json!("2"), false), (json!("3"), false)] {
        let header = json!({ "alg": "EdDSA", "kid": kid });
        assert_eq!(judge(&tokens, &one.signs(header, claims())).is_ok(), fine, "{kid}");
    }
}

#[test]
fn a_token_has_an_end_and_counts_between_its_times() {
    let tokens = tokens("token_leeway = '30s'", some_keys());
    for (exp, nbf, said) in [
        (json!(SECONDS + 1), json!(null), None),
        (json!(SECONDS - 29), json!(SECONDS + 30), None),
        (json!(SECONDS as f64 - 29.5), json!(SECONDS as f64 + 29.5), None),
        (json!(SECONDS - 30), json!(null), Some("the token has expired")),
        (json!(0), json!(null), Some("the token has expired")),
        (json!(SECONDS + 1), json!(SECONDS + 31), Some("the token does not count yet")),
        (json!(SECONDS + 1), json!(-5), Some("the token does not count yet")),
        (json!(SECONDS + 1), json!("now"), Some("a claim of the token cannot be read")),
        (json!(null), json!(null), Some("the token lacks exp, or the issuer or audience that is asked for")),
        (
            json!("never"),
            json!(null),
            Some("the token lacks exp, or the issuer or audience that is asked for"),
        ),
    ] {
        let token = secret().says(json!({ "sub": "alice", "exp": exp, "nbf": nbf }));
        assert_eq!(judge(&tokens, &token).err(), said.map(LoginRefusal::NotAuthorized), "{exp} {nbf}");
    }
    let long = secret().says(json!({ "sub": "alice", "exp": 1e15 }));
    assert_eq!(judge(&tokens, &long).unwrap().until, Some(1_000_000_000_000_030_000));
}

#[test]
fn issuer_and_audience_are_those_that_are_asked_for() {
    let asked = tokens("token_issuer = 'app'\ntoken_audience = ['chat', 'test']", some_keys());
    let open = tokens("", some_keys());
    let token = |issuer: Value, audience: Value| {
        secret().says(json!({ "sub": "alice", "exp": SECONDS + 60, "iss": issuer, "aud": audience }))
    };
    assert!(judge(&asked, &token(json!("app"), json!("chat"))).is_ok());
    assert!(judge(&asked, &token(json!("app"), json!(["other", "test"]))).is_ok());
    let lacks = "the token lacks exp, or the issuer or audience that is asked for";
    assert_eq!(says_no(&asked, &token(json!("other"), json!("chat"))), "the token is by another issuer");
    assert_eq!(says_no(&asked, &token(json!("app"), json!("other"))), "the token is for another audience");
    assert_eq!(says_no(&asked, &token(json!(null), json!("chat"))), lacks);
    assert_eq!(says_no(&asked, &token(json!("app"), json!(null))), lacks);
    assert!(judge(&open, &token(json!("anybody"), json!(null))).is_ok());
    assert_eq!(says_no(&open, &token(json!(null), json!("chat"))), "the token is for another audience");
}

#[test]
fn a_token_says_who_as_what_and_for_which_topics() {
    let named = tokens("token_user = 'preferred_username'", some_keys());
    let claims = |more: Value| {
        let mut claims = json!({ "sub": "4711", "preferred_username": "alice", "exp": SECONDS + 60 });
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        secret().says(claims)
    };
    let whole = json!({ "class": "phone", "publish": ["a/#"], "subscribe": ["b", "c"] });
    let Accepted { user, class, rights, .. } = judge(&named, &claims(whole)).unwrap();
    let rights = rights.unwrap();
    assert_eq!((&*user, class.as_deref()), ("alice", Some("phone")));
    assert_eq!((rights.publish.len(), rights.subscribe.len()), (1, 2));
    assert_eq!(judge(&named, &claims(json!({}))).unwrap().rights, None);
    for nobody in
        [json!(""), json!("a/b"), json!("+"), json!("~canary"), json!("$SYS"), json!(5), json!(null)]
    {
        let token = claims(json!({ "preferred_username": nobody }));
        assert_eq!(says_no(&named, &token), "the token names nobody who can be a user", "{nobody}");
    }
    for bad in [json!({ "publish": ["a#"] }), json!({ "subscribe": ["$SYS/#"] })] {
        assert_eq!(says_no(&named, &claims(bad)), "the token grants topics that cannot be granted");
    }
    assert_eq!(says_no(&named, &claims(json!({ "publish": "a" }))), "a claim of the token cannot be read");
}

#[tokio::test]
async fn the_user_name_of_the_connection_is_empty_or_that_of_the_token() {
    let tokens = tokens("", some_keys());
    let token = secret().says(json!({ "sub": "alice", "exp": 9_999_999_999u64 }));
    let request = |user: Option<&str>, password: &str| LoginRequest {
        door: Door::Mqtt,
        peer: ([192, 0, 2, 1], 1).into(),
        client: "phone".into(),
        class: None,
        certificate: None,
        username: user.map(Into::into),
        password: Some(Bytes::copy_from_slice(password.as_bytes())),
    };
    for user in [None, Some(""), Some("alice")] {
        assert!(matches!(tokens.ask(&request(user, &token)).await, Verdict::Accept(_)), "{user:?}");
    }
    let other = tokens.ask(&request(Some("bob"), &token)).await;
    assert!(matches!(
        other,
        Verdict::Refuse(LoginRefusal::NotAuthorized("the token is that of another user"))
    ));
    for password in ["wonderland", "a.b.c", "", "e30.e30.x", "eyJhbGciOiJIUzI1NiJ9"] {
        assert!(
            matches!(tokens.ask(&request(Some("alice"), password)).await, Verdict::NotMine),
            "{password}"
        );
    }
}

#[tokio::test]
async fn tokens_count_that_were_made_after_those_of_the_user_were_revoked() {
    let tokens = tokens("", some_keys());
    let comes = |iat: Value| {
        let token = secret().says(json!({ "sub": "alice", "exp": 9_999_999_999u64, "iat": iat }));
        let tokens = &tokens;
        async move { tokens.judge(&token).await.map(|_| ()) }
    };
    assert_eq!(comes(json!(null)).await, Ok(()));
    users::revoke_tokens(&*tokens.store, "alice", NOW).unwrap();
    let revoked = Err(LoginRefusal::NotAuthorized("the tokens of this user were revoked"));
    for iat in [json!(null), json!(SECONDS - 1), json!(SECONDS)] {
        assert_eq!(comes(iat).await, revoked);
    }
    assert_eq!(comes(json!(SECONDS + 1)).await, Ok(()));
}

#[test]
fn files_that_hold_something_else_are_named_without_what_stands_in_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let write = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
    write("short", "sesame");
    write("private", "-----BEGIN PRIVATE KEY-----\nc2VzYW1l\n-----END PRIVATE KEY-----\n");
    write("public", "-----BEGIN PUBLIC KEY-----\nc2VzYW1l\n-----END PUBLIC KEY-----\n");
    write("empty", "{\"keys\":[]}");
    write("words", "sesame, sesame, sesame, sesame, sesame");
    let mistakes = |secret: &str, keys: &[&str]| {
        let keys: Vec<String> = keys.iter().map(|name| format!("'{}'", path(name))).collect();
        let text =
            format!("[login]\ntoken_secret_file = '{}'\ntoken_keys = [{}]", path(secret), keys.join(","));
        let config = hubbub_config::Config::parse("hubbub.toml", &text).unwrap();
        let opened = Tokens::open(
            &config.login,
            Arc::new(MemoryStore::default()),
            TopicLimits { levels: 8, bytes: 64 },
            Clock::start(),
        );
        opened.err().unwrap().to_string().replace(&format!("{}/", folder.path().display()), "")
    };
    let said = mistakes("short", &["private", "public", "empty", "words", "missing"]);
    let unfit = "a key is neither RSA of 2048 bits or more, nor P-256, nor Ed25519";
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        [
            "login.token_secret_file: short: the secret has less than 32 bytes",
            "login.token_keys: private: it holds a private key, which nobody but who makes the tokens should have",
            &format!("login.token_keys: public: {unfit}"),
            &format!("login.token_keys: empty: {unfit}"),
            "login.token_keys: words: there is no \"PUBLIC KEY\" in it, and no JSON key set",
            "login.token_keys: missing: No such file or directory (os error 2)",
        ]
    );
    let public = "login.token_secret_file: public: it holds a key and not a secret: whoever knows a public key could sign with it";
    assert_eq!(mistakes("public", &[]).lines().next(), Some(public));
}
