//! What must hold between the ways of logging in.

use super::longer;
use crate::Config;
use crate::kind::Choices;
use crate::settings::LoginMethod;

/// An order lists exactly what is set up: a method that is missing from it would be taken for one that counts.
pub(super) fn order(config: &Config) -> Option<String> {
    let listed = config.login.order.as_ref()?;
    let count = |method| listed.iter().filter(|one| **one == method).count();
    let wrong = LoginMethod::ALL.iter().find_map(|(name, method)| {
        match (count(*method), config.login.is_set_up(*method, &config.tls)) {
            (2.., _) => Some(format!("\"{name}\" is listed twice")),
            (1, false) => Some(format!("\"{name}\" is listed and not set up: it needs {}", needs(*method))),
            (0, true) => Some(format!("\"{name}\" is set up and not listed")),
            _ => None,
        }
    });
    wrong.filter(|_| !config.login.dev)
}

fn needs(method: LoginMethod) -> &'static str {
    match method {
        LoginMethod::Certificate => "tls.client_user",
        LoginMethod::Token => "login.token_secret_file, login.token_keys or login.token_jwks",
        LoginMethod::Users => "login.users = true",
        LoginMethod::Hook => "login.hook",
    }
}

/// SCRAM knows accounts only: it must not let somebody in whom the application, asked first, would refuse.
pub(super) fn scram_past_the_hook(config: &Config) -> Option<String> {
    let methods = config.login.methods(&config.tls);
    let at = |method| methods.iter().position(|one| *one == method);
    let past = at(LoginMethod::Hook) < at(LoginMethod::Users) && at(LoginMethod::Hook).is_some();
    (config.login.scram && past).then(|| {
        "asks the accounts and not the application: it needs \"users\" before \"hook\" in login.order".into()
    })
}

pub(super) fn unsigned_hook(config: &Config) -> Option<String> {
    let secret = config.login.hook_secret.as_deref().unwrap_or("");
    let unsigned = config.login.hook.is_some() && secret.is_empty();
    unsigned.then(|| {
        "needs login.hook_secret, or your application could not tell our calls from anybody's".into()
    })
}

/// An answer that comes after the deadline is an answer to nobody.
pub(super) fn hook_too_slow(config: &Config) -> Option<String> {
    config.login.hook.as_ref()?;
    longer(config.login.hook_timeout, config.limits.connect_deadline, "limits.connect_deadline")
}

pub(super) fn keys_too_slow(config: &Config) -> Option<String> {
    config.login.token_jwks.as_ref()?;
    longer(config.login.token_jwks_timeout, config.limits.connect_deadline, "limits.connect_deadline")
}

pub(super) fn keys_forgotten_too_soon(config: &Config) -> Option<String> {
    longer(config.login.token_jwks_refresh, config.login.token_jwks_keep, "login.token_jwks_keep")
}

pub(super) fn lock_before_pause(config: &Config) -> Option<String> {
    let (pause, lock) = (config.login.cooldown_after, config.login.lock_after);
    (pause > lock).then(|| format!("{pause} is more than login.lock_after ({lock})"))
}

#[cfg(test)]
mod tests {
    use crate::Config;

    #[track_caller]
    fn check(login: &str, message: &str) {
        let mistakes = Config::parse("hubbub.toml", &format!("[login]\n{login}")).unwrap_err();
        assert_eq!(mistakes.to_string(), format!("hubbub.toml:2: {message}"), "{login}");
    }

    #[track_caller]
    fn methods(login: &str) -> Vec<&'static str> {
        let config = Config::parse("hubbub.toml", &format!("[login]\n{login}")).unwrap();
        config.login.methods(&config.tls).into_iter().map(|method| method.name()).collect()
    }

    const TOKENS: &str = "token_secret_file = 'secret'";
    const HOOK: &str = "hook = 'http://127.0.0.1:1/login'\nhook_secret = 'sesame'";

    #[test]
    fn methods_are_asked_in_the_order_that_is_written_or_the_usual_one() {
        assert_eq!(methods(""), ["users"]);
        assert_eq!(methods(&format!("{TOKENS}\n{HOOK}")), ["token", "users", "hook"]);
        let order = "order = ['hook', 'users', 'token']";
        assert_eq!(methods(&format!("{order}\n{TOKENS}\n{HOOK}")), ["hook", "users", "token"]);
        assert_eq!(methods(&format!("users = false\n{HOOK}")), ["hook"]);
    }

    #[test]
    fn an_order_lists_what_is_set_up_and_nothing_else() {
        check(
            "order = ['token', 'users']",
            "login.order: \"token\" is listed and not set up: it needs login.token_secret_file, login.token_keys or \
             login.token_jwks",
        );
        check(
            "order = ['certificate', 'users']",
            "login.order: \"certificate\" is listed and not set up: it needs tls.client_user",
        );
        check(&format!("order = ['users']\n{TOKENS}"), "login.order: \"token\" is set up and not listed");
        check(&format!("order = ['token']\n{TOKENS}"), "login.order: \"users\" is set up and not listed");
        check("order = ['users', 'users']", "login.order: \"users\" is listed twice");
        check("order = []", "login.order: \"users\" is set up and not listed");
        check(
            "order = ['ldap']",
            "login.order: got \"ldap\"; expected a list, each \"certificate\" or \"token\" or \"users\" or \"hook\", or \
             \"off\"",
        );
    }

    #[test]
    fn the_hook_is_signed_and_answers_while_somebody_waits() {
        let unsigned = "needs login.hook_secret, or your application could not tell our calls from anybody's";
        check("hook = 'https://app.example/login'", &format!("login.hook: {unsigned}"));
        check(
            &format!("hook_timeout = '11s'\n{HOOK}"),
            "login.hook_timeout: 11s is more than limits.connect_deadline (10s)",
        );
        check(
            "token_jwks_timeout = '11s'\ntoken_jwks = 'https://app.example/keys'",
            "login.token_jwks_timeout: 11s is more than limits.connect_deadline (10s)",
        );
        assert!(Config::parse("hubbub.toml", "[limits]\nconnect_deadline = '1s'").is_ok());
    }

    #[test]
    fn scram_does_not_go_past_the_hook() {
        check(
            &format!("scram = true\norder = ['hook', 'users']\n{HOOK}"),
            "login.scram: asks the accounts and not the application: it needs \"users\" before \"hook\" in login.order",
        );
        assert!(Config::parse("hubbub.toml", &format!("[login]\nscram = true\n{HOOK}")).is_ok());
    }

    #[test]
    fn times_and_counts_fit_into_each_other() {
        check(
            "token_jwks_keep = '1min'",
            "login.token_jwks_keep: 10min is more than login.token_jwks_keep (1min)",
        );
        check("lock_after = 2", "login.lock_after: 3 is more than login.lock_after (2)");
    }

    #[test]
    fn secrets_are_masked() {
        let hook = "hook = 'https://me:pass@app.example/login?k=v'\nhook_secret = 'sesame'";
        let config = Config::parse("hubbub.toml", &format!("[login]\n{hook}")).unwrap();
        for shown in [config.describe(), format!("{config:?}")] {
            assert!(!["sesame", "pass@", "k=v"].iter().any(|secret| shown.contains(secret)), "{shown}");
        }
    }
}
