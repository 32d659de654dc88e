//! The conversation of one login.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use hubbub_broker::policy::{Answer, Exchange, LoginRefusal, LoginRequest, Step};

use super::message::{ClientFinal, ClientFirst};
use super::{Scram, Verifier, random};
use crate::login::{Guard, Trier, identity_of};
use crate::store::Store;
use crate::users;

/// Random bytes of our part of the nonce: 24 letters.
const NONCE_BYTES: usize = 18;

/// One login. A user who does not exist is answered like any other and fails at the end (T39).
pub(crate) struct Login {
    store: Arc<dyn Store>,
    scram: Scram,
    guard: Arc<Guard>,
    request: LoginRequest,
    stage: Stage,
}

enum Stage {
    First,
    Last(Challenge),
    Over,
}

/// What was said so far.
struct Challenge {
    name: String,
    header: String,
    /// The first message without its header.
    first: String,
    /// Our answer.
    answer: String,
    nonce: String,
}

impl Login {
    /// A login that begins.
    pub fn new(store: Arc<dyn Store>, scram: Scram, guard: Arc<Guard>, request: LoginRequest) -> Login {
        Login { store, scram, guard, request, stage: Stage::First }
    }

    fn next(&mut self, message: &[u8]) -> Result<Step, LoginRefusal> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::First => {
                let nonce = STANDARD.encode(random::<NONCE_BYTES>().map_err(|_| LoginRefusal::Unavailable)?);
                self.challenge(message, &nonce)
            }
            Stage::Last(challenge) => self.finish(&challenge, message),
            Stage::Over => Err(LoginRefusal::NotAuthorized("the login is over")),
        }
    }

    fn challenge(&mut self, message: &[u8], ours: &str) -> Result<Step, LoginRefusal> {
        let first = ClientFirst::read(message).map_err(LoginRefusal::NotAuthorized)?;
        if first.authorization.as_ref().is_some_and(|other| *other != first.name) {
            return Err(LoginRefusal::NotAuthorized("nobody can act as another user"));
        }
        if self.request.certificate.as_deref().is_some_and(|other| *other != *first.name) {
            return Err(LoginRefusal::NotAuthorized("the client certificate is that of another user"));
        }
        if self.request.username.as_deref().is_some_and(|other| *other != *first.name) {
            return Err(LoginRefusal::NotAuthorized("the method names another user than the connection"));
        }
        self.guard.ask(&self.trier(&first.name))?;
        let verifier = self.verifier(&first.name)?;
        let nonce = format!("{}{ours}", first.nonce);
        let answer = format!("r={nonce},s={},i={}", STANDARD.encode(verifier.salt), verifier.rounds);
        let data = Bytes::from(answer.clone());
        let (header, said) = (first.header.to_owned(), first.bare.to_owned());
        self.stage = Stage::Last(Challenge { name: first.name, header, first: said, answer, nonce });
        Ok(Step::Continue(data))
    }

    /// The verifier is read anew: an account that changed meanwhile has changed.
    fn finish(&self, challenge: &Challenge, message: &[u8]) -> Result<Step, LoginRefusal> {
        let last = ClientFinal::read(message).map_err(LoginRefusal::NotAuthorized)?;
        let who = self.trier(&challenge.name);
        // Others may have guessed since the first message.
        self.guard.ask(&who)?;
        let verifier = self.verifier(&challenge.name)?;
        let Challenge { name, header, first, answer, nonce } = challenge;
        let said = [first.as_bytes(), b",", answer.as_bytes(), b",", last.signed.as_bytes()];
        let proven = verifier.accepts(&said, &last.proof);
        if !(proven && last.nonce == nonce && last.header == header.as_bytes()) {
            self.guard.failed(&who, &last.proof);
            return Err(LoginRefusal::BadCredentials);
        }
        self.guard.succeeded(&who);
        let LoginRequest { client, class, door, .. } = &self.request;
        let identity = identity_of(name.as_str().into(), client.clone(), class.clone(), *door);
        let data = format!("v={}", STANDARD.encode(verifier.signature(&said))).into();
        Ok(Step::Done { identity, data })
    }

    fn trier(&self, name: &str) -> Trier {
        Trier { user: name.into(), ..Trier::of(&self.request) }
    }

    /// Of this user, or one that no password fits, after the same work.
    fn verifier(&self, name: &str) -> Result<Verifier, LoginRefusal> {
        let nobody = self.scram.nobody(name);
        match users::verifier(&*self.store, name) {
            Ok(verifier) => Ok(verifier.unwrap_or(nobody)),
            Err(error) => {
                tracing::error!(%error, "account could not be read, login refused");
                Err(LoginRefusal::Unavailable)
            }
        }
    }
}

impl Exchange for Login {
    fn step(&mut self, data: Bytes) -> Answer<'_, Step> {
        let step = self.next(&data).unwrap_or_else(Step::Refused);
        Box::pin(std::future::ready(step))
    }
}

#[cfg(test)]
mod tests {
    use hubbub_broker::policy::Door;

    use super::super::hmac;
    use super::*;
    use crate::store::{Batch, MemoryStore, keys};
    use sha2::{Digest, Sha256};

    const ROUNDS: u32 = 4096;

    fn house(users: &[(&str, &str)]) -> (Arc<MemoryStore>, Scram) {
        let store = Arc::new(MemoryStore::default());
        users.iter().for_each(|(name, password)| users::add(&*store, name, password, Some(ROUNDS)).unwrap());
        let scram = Scram::open(&*store, ROUNDS).unwrap();
        (store, scram)
    }

    fn login(house: &(Arc<MemoryStore>, Scram), username: Option<&'static str>) -> Login {
        let request = LoginRequest {
            door: Door::Mqtt,
            peer: ([127, 0, 0, 1], 1).into(),
            client: "alice-phone".into(),
            class: None,
            certificate: None,
            username: username.map(Into::into),
            password: None,
        };
        Login::new(house.0.clone(), house.1, Guard::usual().into(), request)
    }

    fn step(login: &mut Login, message: &str) -> Result<Step, LoginRefusal> {
        login.next(message.as_bytes())
    }

    fn challenge(login: &mut Login, message: &str) -> String {
        match step(login, message) {
            Ok(Step::Continue(data)) => String::from_utf8(data.to_vec()).unwrap(),
            other => panic!("{message}: {other:?}"),
        }
    }

    fn nonce_of(challenge: &str) -> &str {
        challenge[2..].split(',').next().unwrap()
    }

    /// The last message of a client with this password, whose first one was `n,,{bare}`.
    fn last(bare: &str, challenge: &str, password: &str) -> String {
        last_for(bare, challenge, nonce_of(challenge), password)
    }

    fn last_for(bare: &str, challenge: &str, nonce: &str, password: &str) -> String {
        let mut parts = challenge.split(',').skip(1).map(|part| &part[2..]);
        let (salt, rounds) = (parts.next().unwrap(), parts.next().unwrap().parse().unwrap());
        let salt = STANDARD.decode(salt).unwrap();
        let salted = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password.as_bytes(), &salt, rounds);
        let client_key = hmac(&salted, &[b"Client Key"]);
        let signed = format!("c=biws,r={nonce}");
        let said = format!("{bare},{challenge},{signed}");
        let signature = hmac(&Sha256::digest(client_key).into(), &[said.as_bytes()]);
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(key, sign)| key ^ sign).collect();
        format!("{signed},p={}", STANDARD.encode(proof))
    }

    #[test]
    fn the_example_of_rfc_7677() {
        let house = house(&[]);
        let mut batch = Batch::new();
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap().try_into().unwrap();
        let verifier = Verifier::salted(b"hash", "pencil", salt, 4096);
        batch.put(keys::user("user"), "hash");
        batch.put(keys::verifier("user"), postcard::to_stdvec(&verifier).unwrap());
        house.0.commit(batch).unwrap();

        let mut login = login(&house, Some("user"));
        let answer =
            login.challenge(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0").unwrap();
        let expected =
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        assert_eq!(answer, Step::Continue(expected.into()));
        let last = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let Ok(Step::Done { identity, data }) = step(&mut login, last) else { panic!("not let in") };
        assert_eq!(&*identity.device.user, "user");
        assert_eq!(data, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        assert!(matches!(step(&mut login, last), Err(LoginRefusal::NotAuthorized(_))), "once");
    }

    #[test]
    fn only_the_password_of_the_user_proves_anything() {
        let house = house(&[("alice", "wonderland"), ("bob", "wonderland")]);
        for (name, password, right) in [
            ("alice", "wonderland", true),
            ("alice", "Wonderland", false),
            ("carol", "wonderland", false),
            ("carol", "", false),
        ] {
            let mut login = login(&house, None);
            let bare = format!("n={name},r=abc");
            let answer = challenge(&mut login, &format!("n,,{bare}"));
            let outcome = step(&mut login, &last(&bare, &answer, password));
            match right {
                true => assert!(
                    matches!(&outcome, Ok(Step::Done { identity, .. }) if &*identity.device.user == name)
                ),
                false => assert_eq!(outcome, Err(LoginRefusal::BadCredentials), "{name} {password}"),
            }
        }
    }

    #[test]
    fn guesses_are_counted_also_by_this_method_and_for_those_who_do_not_exist() {
        for name in ["alice", "nobody"] {
            let (store, scram) = house(&[("alice", "wonderland")]);
            let guard = Arc::new(Guard::usual());
            let comes = |password: &str| {
                let request = login(&(store.clone(), scram), None).request;
                let mut login = Login::new(store.clone(), scram, guard.clone(), request);
                let bare = format!("n={name},r=abc");
                let Ok(Step::Continue(answer)) = step(&mut login, &format!("n,,{bare}")) else { return None };
                let answer = String::from_utf8(answer.to_vec()).unwrap();
                Some(step(&mut login, &last(&bare, &answer, password)).is_ok())
            };
            for guess in ["one", "two", "three"] {
                assert_eq!(comes(guess), Some(false), "{name}");
            }
            assert_eq!(comes("wonderland"), None, "{name}: not asked for a proof any more");
        }
    }

    #[test]
    fn what_was_tampered_with_proves_nothing() {
        let house = house(&[("alice", "wonderland")]);
        let tampers: [fn(&str) -> String; 4] = [
            |last| last.replace("r=abc", "r=abd"),
            |last| last.replace("c=biws", "c=eSws"),
            |last| last.replace("c=biws", "c=biwsbg=="),
            |last| {
                let (said, proof) = last.split_once(",p=").unwrap();
                let mut proof = STANDARD.decode(proof).unwrap();
                proof[31] ^= 1;
                format!("{said},p={}", STANDARD.encode(proof))
            },
        ];
        for tamper in tampers {
            let mut login = login(&house, None);
            let answer = challenge(&mut login, "n,,n=alice,r=abc");
            let last = tamper(&last("n=alice,r=abc", &answer, "wonderland"));
            assert_eq!(step(&mut login, &last), Err(LoginRefusal::BadCredentials), "{last}");
        }
    }

    #[test]
    fn a_proof_holds_for_one_nonce_and_one_header_only() {
        let house = house(&[("alice", "wonderland")]);
        // Signed by somebody who knows the password, but not for what was shown.
        let (mut one, mut two) = (login(&house, None), login(&house, None));
        let (first, second) =
            (challenge(&mut one, "n,,n=alice,r=abc"), challenge(&mut two, "n,,n=alice,r=abc"));
        assert_ne!(nonce_of(&first), nonce_of(&second), "our part is new each time");
        for nonce in [nonce_of(&second), "abc", ""] {
            let mut login = login(&house, None);
            let answer = challenge(&mut login, "n,,n=alice,r=abc");
            let outcome = step(&mut login, &last_for("n=alice,r=abc", &answer, nonce, "wonderland"));
            assert_eq!(outcome, Err(LoginRefusal::BadCredentials), "{nonce}");
        }
        let mut login = login(&house, None);
        let answer = challenge(&mut login, "y,,n=alice,r=abc");
        let outcome = step(&mut login, &last("n=alice,r=abc", &answer, "wonderland"));
        assert_eq!(outcome, Err(LoginRefusal::BadCredentials), "y, was said and n, is repeated");
    }

    #[test]
    fn nobody_can_tell_who_exists() {
        let house = house(&[("alice", "wonderland")]);
        let salt_of = |name: &str, scram| {
            let mut login = login(&(house.0.clone(), scram), None);
            let answer = challenge(&mut login, &format!("n,,n={name},r=abc"));
            let salt = answer.split(',').nth(1).unwrap().to_owned();
            (salt, answer.len())
        };
        let again = Scram::open(&*house.0, ROUNDS).unwrap();
        for name in ["alice", "nobody", "a/b", "~canary"] {
            assert_eq!(salt_of(name, house.1), salt_of(name, again), "{name}: the same after a restart");
            assert_eq!(salt_of(name, house.1).1, salt_of("alice", house.1).1, "{name}: as long");
        }
        assert_ne!(salt_of("nobody", house.1), salt_of("nobodi", house.1));
    }

    #[test]
    fn nobody_comes_in_as_somebody_else() {
        let house = house(&[("alice", "wonderland"), ("bob", "builder")]);
        let refused = |outcome| matches!(outcome, Err(LoginRefusal::NotAuthorized(_)));
        assert!(
            refused(step(&mut login(&house, Some("bob")), "n,,n=alice,r=abc")),
            "another name in CONNECT"
        );
        assert!(refused(step(&mut login(&house, None), "n,a=bob,n=alice,r=abc")), "to act as another");
        assert!(refused(step(&mut login(&house, None), "p=tls-exporter,,n=alice,r=abc")), "channel binding");
        challenge(&mut login(&house, Some("alice")), "n,a=alice,n=alice,r=abc");
    }

    #[test]
    fn an_account_that_changes_meanwhile_has_changed() {
        let changes: [fn(&MemoryStore); 2] = [
            |store| users::remove(store, "alice", 7).unwrap(),
            |store| users::passwd(store, "alice", "looking glass", Some(ROUNDS)).unwrap(),
        ];
        for change in changes {
            let house = house(&[("alice", "wonderland")]);
            let mut login = login(&house, None);
            let answer = challenge(&mut login, "n,,n=alice,r=abc");
            change(&house.0);
            let outcome = step(&mut login, &last("n=alice,r=abc", &answer, "wonderland"));
            assert_eq!(outcome, Err(LoginRefusal::BadCredentials));
        }
    }
}
