//! What must hold between settings.

mod login;

use std::net::SocketAddr;
use std::time::Duration;

use crate::Config;
use crate::settings::{ClientAuth, ClientUser};
use crate::unit::{show_size, show_time};

/// Characters of a token that lets an operator in.
const SHORTEST_TOKEN: usize = 16;

/// A rule over several settings.
pub(crate) struct Rule {
    /// The settings it looks at; a mistake is reported where the first of them was written.
    pub keys: &'static [&'static str],
    /// What is wrong, if anything.
    pub broken: fn(&Config) -> Option<String>,
}

/// Every rule; [`Config::default`] breaks none.
pub(crate) static RULES: &[Rule] = &[
    Rule {
        keys: &["listen.mqtt", "login.dev", "login.users", "login.hook"],
        broken: |c| needs_login(&c.listen.mqtt, c),
    },
    Rule {
        keys: &["listen.websocket", "login.dev", "login.users", "login.hook"],
        broken: |c| needs_login(&c.listen.websocket, c),
    },
    Rule {
        keys: &["listen.mqtts", "login.dev", "login.users", "login.hook", "tls.client_user"],
        broken: |c| needs_login_or_certificate(&c.listen.mqtts, c),
    },
    Rule {
        keys: &["listen.wss", "login.dev", "login.users", "login.hook", "tls.client_user"],
        broken: |c| needs_login_or_certificate(&c.listen.wss, c),
    },
    Rule {
        keys: &["login.users", "login.dev", "compat.bare_client_id", "tls.client_user"],
        broken: nobody_may_enter,
    },
    Rule {
        keys: &["listen.mqtt", "listen.websocket", "listen.mqtts", "listen.wss", "compat.bare_client_id"],
        broken: nowhere_to_enter,
    },
    Rule { keys: &["listen.mqtts", "tls.certificates"], broken: |c| needs_certificate(&c.listen.mqtts, c) },
    Rule { keys: &["listen.wss", "tls.certificates"], broken: |c| needs_certificate(&c.listen.wss, c) },
    Rule { keys: &["tls.keys", "tls.certificates"], broken: unequal_keys },
    Rule { keys: &["tls.client_auth", "tls.client_ca"], broken: clients_without_authority },
    Rule { keys: &["tls.client_user", "tls.client_auth"], broken: users_without_certificates },
    Rule { keys: &["login.scram", "login.users"], broken: scram_without_accounts },
    Rule {
        keys: &[
            "login.order",
            "login.users",
            "login.hook",
            "login.token_keys",
            "login.token_jwks",
            "login.token_secret_file",
            "tls.client_user",
        ],
        broken: login::order,
    },
    Rule { keys: &["login.hook", "login.hook_secret"], broken: login::unsigned_hook },
    Rule { keys: &["login.scram", "login.order"], broken: login::scram_past_the_hook },
    Rule {
        keys: &["login.hook_timeout", "limits.connect_deadline", "login.hook"],
        broken: login::hook_too_slow,
    },
    Rule {
        keys: &["login.token_jwks_timeout", "limits.connect_deadline", "login.token_jwks"],
        broken: login::keys_too_slow,
    },
    Rule {
        keys: &["login.token_jwks_refresh", "login.token_jwks_keep"],
        broken: login::keys_forgotten_too_soon,
    },
    Rule { keys: &["login.cooldown_after", "login.lock_after"], broken: login::lock_before_pause },
    Rule { keys: &["listen.http", "listen.http_token"], broken: open_pages },
    Rule { keys: &["listen.http_token"], broken: short_token },
    Rule {
        keys: &["compat.listen"],
        broken: |c| local_only(c.compat.listen, "clients there have no password"),
    },
    Rule { keys: &["compat.bare_client_id", "compat.listen"], broken: compat_without_address },
    Rule {
        keys: &["listen.websocket", "listen.mqtt"],
        broken: |c| shared(&c.listen.websocket, &c.listen.mqtt),
    },
    Rule {
        keys: &["listen.http", "listen.mqtt"],
        broken: |c| shared(c.listen.http.as_slice(), &c.listen.mqtt),
    },
    Rule {
        keys: &["listen.http", "listen.websocket"],
        broken: |c| shared(c.listen.http.as_slice(), &c.listen.websocket),
    },
    Rule {
        keys: &["listen.mqtts", "listen.mqtt", "listen.websocket", "listen.http"],
        broken: |c| shared(&c.listen.mqtts, &in_the_clear(c)),
    },
    Rule {
        keys: &["listen.wss", "listen.mqtts", "listen.mqtt", "listen.websocket", "listen.http"],
        broken: |c| shared(&c.listen.wss, &[in_the_clear(c), c.listen.mqtts.clone()].concat()),
    },
    Rule {
        keys: &["compat.listen", "listen.mqtt", "compat.bare_client_id"],
        broken: |c| shared(c.compat.listen.filter(|_| c.compat.bare_client_id).as_slice(), &c.listen.mqtt),
    },
    Rule { keys: &["notify.webhook", "notify.secret"], broken: unsigned_webhook },
    Rule {
        keys: &["notify.retry_first", "notify.retry_max"],
        broken: |c| longer(c.notify.retry_first, c.notify.retry_max, "notify.retry_max"),
    },
    Rule {
        keys: &["limits.packet_before_login_bytes", "limits.packet_bytes"],
        broken: |c| larger(c.limits.packet_before_login_bytes, c.limits.packet_bytes, "limits.packet_bytes"),
    },
    Rule {
        keys: &["chat.body_max_bytes", "limits.packet_bytes"],
        broken: |c| larger(c.chat.body_max_bytes, c.limits.packet_bytes, "limits.packet_bytes"),
    },
    Rule {
        keys: &["limits.packet_bytes", "limits.outbound_bytes"],
        broken: |c| larger(c.limits.packet_bytes, c.limits.outbound_bytes, "limits.outbound_bytes"),
    },
    Rule {
        keys: &["limits.packet_bytes", "spine.credit_bytes"],
        broken: |c| larger(c.limits.packet_bytes, c.spine.credit_bytes, "spine.credit_bytes"),
    },
    Rule { keys: &["spine.credit_bytes", "spine.segment_bytes", "spine.segments"], broken: too_much_credit },
    Rule { keys: &["spine.heartbeat", "spine.stall"], broken: heartbeat_too_slow },
];

/// Without passwords nobody but this machine may connect.
fn needs_login(addresses: &[SocketAddr], config: &Config) -> Option<String> {
    let open = addresses.iter().find(|address| !is_loopback(address))?;
    if config.login.dev {
        return Some(format!(
            "{open} is not on loopback, and login.dev believes every user name; use one or the other"
        ));
    }
    (!config.login.takes_credentials())
        .then(|| format!("{open} is not on loopback and needs login.users, tokens, or login.hook"))
}

/// Behind TLS a certificate may be the login, if everybody has to show one.
fn needs_login_or_certificate(addresses: &[SocketAddr], config: &Config) -> Option<String> {
    if everybody_shows_who_they_are(config) && !config.login.dev {
        return None;
    }
    needs_login(addresses, config)
}

fn everybody_shows_who_they_are(config: &Config) -> bool {
    config.tls.client_auth == ClientAuth::Required && config.tls.client_user != ClientUser::Off
}

fn needs_certificate(addresses: &[SocketAddr], config: &Config) -> Option<String> {
    let first = addresses.first()?;
    config.tls.certificates.is_empty().then(|| format!("{first} needs a certificate in tls.certificates"))
}

fn unequal_keys(config: &Config) -> Option<String> {
    let (certificates, keys) = (config.tls.certificates.len(), config.tls.keys.len());
    (certificates != keys)
        .then(|| format!("each certificate has one key, in the same order: {certificates} and {keys}"))
}

fn clients_without_authority(config: &Config) -> Option<String> {
    let missing = config.tls.client_auth != ClientAuth::Off && config.tls.client_ca.is_none();
    missing.then(|| "needs tls.client_ca, which says whose certificates count".into())
}

fn users_without_certificates(config: &Config) -> Option<String> {
    let never = config.tls.client_user != ClientUser::Off && config.tls.client_auth == ClientAuth::Off;
    never.then(|| "needs tls.client_auth = \"optional\" or \"required\"".into())
}

/// Every address without TLS.
fn in_the_clear(config: &Config) -> Vec<SocketAddr> {
    [&config.listen.mqtt[..], &config.listen.websocket, config.listen.http.as_slice()].concat()
}

fn nobody_may_enter(config: &Config) -> Option<String> {
    let any = config.login.takes_credentials()
        || config.login.dev
        || config.compat.bare_client_id
        || config.tls.client_user != ClientUser::Off;
    (!any)
        .then(|| "with login.users and login.dev both off, no tokens and no hook, nobody could log in".into())
}

fn scram_without_accounts(config: &Config) -> Option<String> {
    let none = config.login.scram && !config.login.users;
    none.then(|| "needs the accounts of login.users".into())
}

fn nowhere_to_enter(config: &Config) -> Option<String> {
    let listen = &config.listen;
    let mut lists = [&listen.mqtt, &listen.websocket, &listen.mqtts, &listen.wss].into_iter();
    let none = lists.all(Vec::is_empty) && !config.compat.bare_client_id;
    none.then(|| "there is no address for MQTT and none for WebSocket".into())
}

fn local_only(address: Option<SocketAddr>, reason: &str) -> Option<String> {
    let open = address.filter(|address| !is_loopback(address))?;
    Some(format!("{open} is not on loopback; {reason}"))
}

/// Whoever reaches the pages may read the numbers and change the accounts.
fn open_pages(config: &Config) -> Option<String> {
    let address = config.listen.http.filter(|_| config.listen.http_token.is_none());
    local_only(address, "without listen.http_token metrics and accounts are for this machine")
}

/// It can be tried from everywhere, as often as somebody likes.
fn short_token(config: &Config) -> Option<String> {
    let short = config.listen.http_token.as_ref().is_some_and(|token| token.chars().count() < SHORTEST_TOKEN);
    short.then(|| format!("shorter than {SHORTEST_TOKEN} characters, so it can be guessed"))
}

fn compat_without_address(config: &Config) -> Option<String> {
    let missing = config.compat.bare_client_id && config.compat.listen.is_none();
    missing.then(|| "needs an address in compat.listen".into())
}

/// Two listeners on one address; port 0 is another port each time.
fn shared(some: &[SocketAddr], others: &[SocketAddr]) -> Option<String> {
    let twice = some.iter().find(|address| address.port() != 0 && others.contains(address))?;
    Some(format!("{twice} is given to two listeners"))
}

fn unsigned_webhook(config: &Config) -> Option<String> {
    let secret = config.notify.secret.as_deref().unwrap_or("");
    let unsigned = config.notify.webhook.is_some() && secret.is_empty();
    unsigned.then(|| "needs notify.secret, or its receiver could not tell our calls from anybody's".into())
}

/// The bridge lane must hold every unanswered byte, and as much again, so that it can never overrun.
fn too_much_credit(config: &Config) -> Option<String> {
    let half = config.spine.segment_bytes.saturating_mul(config.spine.segments) / 2;
    larger(config.spine.credit_bytes, half, "half of spine.segments times spine.segment_bytes")
}

fn heartbeat_too_slow(config: &Config) -> Option<String> {
    let (heartbeat, stall) = (config.spine.heartbeat, config.spine.stall);
    (heartbeat >= stall)
        .then(|| format!("{} is not less than spine.stall ({})", show_time(heartbeat), show_time(stall)))
}

fn longer(time: Duration, most: Duration, name: &str) -> Option<String> {
    (time > most).then(|| format!("{} is more than {name} ({})", show_time(time), show_time(most)))
}

fn larger(bytes: usize, most: usize, name: &str) -> Option<String> {
    (bytes > most)
        .then(|| format!("{} is more than {name} ({})", show_size(bytes as u64), show_size(most as u64)))
}

fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::find;

    /// The text breaks exactly the rule with this message.
    #[track_caller]
    fn check(text: &str, message: &str) {
        let mistakes = Config::parse("hubbub.toml", text).unwrap_err();
        assert_eq!(mistakes.to_string(), message, "{text}");
    }

    #[track_caller]
    fn check_fine(text: &str) {
        assert!(Config::parse("hubbub.toml", text).is_ok(), "{:?}", Config::parse("hubbub.toml", text));
    }

    #[test]
    fn rules_name_settings_that_exist_and_the_defaults_break_none() {
        for rule in RULES {
            assert!(rule.keys.iter().all(|key| find(key).is_some()), "{:?}", rule.keys);
            assert_eq!((rule.broken)(&Config::default()), None, "{:?}", rule.keys);
        }
    }

    #[test]
    fn dev_login_stays_on_loopback() {
        let refused = "is not on loopback, and login.dev believes every user name; use one or the other";
        let dev = "[login]\ndev = true\n";
        check(
            &format!("{dev}[listen]\nmqtt = ['127.0.0.1:1', '0.0.0.0:1883']"),
            &format!("hubbub.toml:4: listen.mqtt: 0.0.0.0:1883 {refused}"),
        );
        check(
            &format!("{dev}[listen]\nwebsocket = ['[::]:8083']"),
            &format!("hubbub.toml:4: listen.websocket: [::]:8083 {refused}"),
        );
        check_fine(&format!("{dev}[listen]\nmqtt = ['127.9.9.9:1', '[::1]:1', '[::ffff:127.0.0.1]:1']"));
    }

    #[test]
    fn everybody_else_needs_a_login() {
        let open = "[listen]\nmqtt = ['192.0.2.1:1883']\nwebsocket = ['192.0.2.1:8083']\n";
        check_fine(open);
        // The compatibility listener lets somebody in, so that only this rule is broken.
        check(
            &format!("{open}[login]\nusers = false\n[compat]\nbare_client_id = true"),
            "hubbub.toml:2: listen.mqtt: 192.0.2.1:1883 is not on loopback and needs login.users, tokens, or login.hook\n\
             hubbub.toml:3: listen.websocket: 192.0.2.1:8083 is not on loopback and needs login.users, tokens, or login.hook",
        );
    }

    #[test]
    fn somebody_can_enter_somewhere() {
        check(
            "[login]\nusers = false",
            "hubbub.toml:2: login.users: with login.users and login.dev both off, no tokens and no hook, nobody could log in",
        );
        check(
            "[listen]\nmqtt = []\nwebsocket = []",
            "hubbub.toml:2: listen.mqtt: there is no address for MQTT and none for WebSocket",
        );
        check_fine("[listen]\nmqtt = []");
        check_fine("[listen]\nmqtt = []\nwebsocket = []\n[compat]\nbare_client_id = true");
    }

    #[test]
    fn scram_is_a_way_to_prove_the_password_of_an_account() {
        check(
            "[login]\ndev = true\nusers = false\nscram = true",
            "hubbub.toml:4: login.scram: needs the accounts of login.users",
        );
        check_fine("[login]\nscram = true");
    }

    #[test]
    fn tls_needs_its_files() {
        let pair = "[tls]\ncertificates = ['a.pem']\nkeys = ['a.key']\n";
        let check = |text: &str, message: &str| check(text, &format!("hubbub.toml:2: {message}"));
        check(
            "[listen]\nmqtts = ['127.0.0.1:8883']",
            "listen.mqtts: 127.0.0.1:8883 needs a certificate in tls.certificates",
        );
        check(
            "[listen]\nwss = ['[::1]:8084']",
            "listen.wss: [::1]:8084 needs a certificate in tls.certificates",
        );
        check(
            "[tls]\ncertificates = ['a.pem', 'b.pem']",
            "tls.certificates: each certificate has one key, in the same order: 2 and 0",
        );
        check(
            "[tls]\nclient_auth = 'optional'",
            "tls.client_auth: needs tls.client_ca, which says whose certificates count",
        );
        check(
            "[tls]\nclient_user = 'cn'",
            "tls.client_user: needs tls.client_auth = \"optional\" or \"required\"",
        );
        check_fine(&format!("{pair}[listen]\nmqtt = []\nwebsocket = []\nmqtts = ['0.0.0.0:8883']"));
        check_fine(&format!(
            "{pair}client_ca = 'ca.pem'\nclient_auth = 'required'\nclient_user = 'cn'\n[login]\nusers = false\n\
             [listen]\nmqtts = ['0.0.0.0:8883']"
        ));
    }

    #[test]
    fn tls_does_not_replace_a_login() {
        let pair = "certificates = ['a.pem']\nkeys = ['a.key']\nclient_ca = 'ca.pem'\n";
        for (key, address) in [("mqtts", "0.0.0.0:8883"), ("wss", "[::]:8084")] {
            let listen = format!("[listen]\n{key} = ['{address}']\n[tls]\n{pair}");
            check(
                &format!("{listen}[login]\ndev = true"),
                &format!(
                    "hubbub.toml:2: listen.{key}: {address} is not on loopback, and login.dev believes every user name; \
                     use one or the other"
                ),
            );
            // Whoever shows no certificate would be nobody.
            check(
                &format!("{listen}client_auth = 'optional'\nclient_user = 'cn'\n[login]\nusers = false"),
                &format!(
                    "hubbub.toml:2: listen.{key}: {address} is not on loopback and needs login.users, tokens, or login.hook"
                ),
            );
        }
    }

    #[test]
    fn http_and_compatibility_stay_on_loopback() {
        check(
            "[listen]\nhttp = '0.0.0.0:8080'",
            "hubbub.toml:2: listen.http: 0.0.0.0:8080 is not on loopback; without listen.http_token metrics and accounts \
             are for this machine",
        );
        check_fine("[listen]\nhttp = '0.0.0.0:8080'\nhttp_token = 'sixteen letters.'");
        check(
            "[listen]\nhttp_token = 'fifteen letters'",
            "hubbub.toml:2: listen.http_token: shorter than 16 characters, so it can be guessed",
        );
        check(
            "[compat]\nlisten = '0.0.0.0:6969'",
            "hubbub.toml:2: compat.listen: 0.0.0.0:6969 is not on loopback; clients there have no password",
        );
        check(
            "[compat]\nlisten = 'off'\nbare_client_id = true",
            "hubbub.toml:3: compat.bare_client_id: needs an address in compat.listen",
        );
    }

    #[test]
    fn an_address_is_given_once() {
        let check = |text: &str, key: &str, address: &str| {
            check(text, &format!("hubbub.toml:2: {key}: {address} is given to two listeners"));
        };
        check("[listen]\nmqtt = ['127.0.0.1:8083']", "listen.mqtt", "127.0.0.1:8083");
        check("[listen]\nhttp = '127.0.0.1:1883'", "listen.http", "127.0.0.1:1883");
        check("[listen]\nhttp = '127.0.0.1:8083'", "listen.http", "127.0.0.1:8083");
        check(
            "[compat]\nlisten = '127.0.0.1:1883'\nbare_client_id = true",
            "compat.listen",
            "127.0.0.1:1883",
        );
        check(
            "[listen]\nmqtts = ['127.0.0.1:1883']\n[tls]\ncertificates = ['a']\nkeys = ['a']",
            "listen.mqtts",
            "127.0.0.1:1883",
        );
        check(
            "[listen]\nwss = ['127.0.0.1:8883']\nmqtts = ['127.0.0.1:8883']\n[tls]\ncertificates = ['a']\nkeys = ['a']",
            "listen.wss",
            "127.0.0.1:8883",
        );
        check_fine("[compat]\nlisten = '127.0.0.1:1883'");
        check_fine("[listen]\nmqtt = ['127.0.0.1:0']\nwebsocket = ['127.0.0.1:0']\nhttp = '127.0.0.1:0'");
    }

    #[test]
    fn webhooks_are_signed() {
        let unsigned = "needs notify.secret, or its receiver could not tell our calls from anybody's";
        let webhook = "[notify]\nwebhook = 'https://push.example'\n";
        check(webhook, &format!("hubbub.toml:2: notify.webhook: {unsigned}"));
        check_fine(&format!("{webhook}secret = 'sesame'"));
        // A secret that could not be read is one mistake, not two.
        let secret = r#"expected text that nobody can guess, or "off""#;
        check(&format!("{webhook}secret = 5"), &format!("hubbub.toml:3: notify.secret: not text; {secret}"));
    }

    #[test]
    fn limits_fit_into_each_other() {
        let check = |text: &str, message: &str| check(text, &format!("hubbub.toml:2: {message}"));
        check(
            "[limits]\npacket_before_login_bytes = '2MiB'",
            "limits.packet_before_login_bytes: 2MiB is more than limits.packet_bytes (1MiB)",
        );
        check(
            "[chat]\nbody_max_bytes = '2MiB'",
            "chat.body_max_bytes: 2MiB is more than limits.packet_bytes (1MiB)",
        );
        check(
            "[limits]\npacket_bytes = '5MiB'",
            "limits.packet_bytes: 5MiB is more than limits.outbound_bytes (4MiB)",
        );
        check(
            "[limits]\npacket_bytes = '17MiB'\noutbound_bytes = '20MiB'",
            "limits.packet_bytes: 17MiB is more than spine.credit_bytes (16MiB)",
        );
        check("[notify]\nretry_first = '1h'", "notify.retry_first: 1h is more than notify.retry_max (10min)");
    }

    #[test]
    fn the_spine_holds_what_it_promises() {
        let half = "half of spine.segments times spine.segment_bytes";
        check(
            "[spine]\ncredit_bytes = 33554433",
            &format!("hubbub.toml:2: spine.credit_bytes: 33554433B is more than {half} (32MiB)"),
        );
        check_fine("[spine]\ncredit_bytes = '32MiB'");
        check(
            "[spine]\nsegments = 2",
            &format!("hubbub.toml:2: spine.segments: 16MiB is more than {half} (8MiB)"),
        );
        check(
            "[spine]\nheartbeat = '10s'",
            "hubbub.toml:2: spine.heartbeat: 10s is not less than spine.stall (10s)",
        );
    }
}
