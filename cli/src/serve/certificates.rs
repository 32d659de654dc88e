//! Certificates of the TLS listeners: read at the start and on SIGHUP, and watched for their end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hubbub_broker::audit::{Action, Entry};
use hubbub_broker::clock::Millis;
use hubbub_broker::shared::Shared;
use hubbub_broker::tls::TlsAcceptor;
use hubbub_config::{Config, Tls};

use crate::exit::{Exit, Failure};

/// An operator who reads this a day late can still act.
const WARN_DAYS: i64 = 14;

/// How often the ends are looked at.
const PERIOD: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads what the configuration names; every mistake at once, each with its file.
pub fn read(config: &Config) -> Result<Option<TlsAcceptor>, Failure> {
    TlsAcceptor::read(&config.tls).map_err(|mistakes| {
        Failure::new(Exit::Configuration, format!("the configuration has mistakes:\n{mistakes}"))
    })
}

/// Reads them again for new connections; with a mistake in any of them everything stays as it is. Connections that stand
/// keep theirs.
pub fn reload(settings: &Tls, shared: &Shared) {
    match TlsAcceptor::read(settings) {
        Ok(acceptor) => {
            if let Some(acceptor) = &acceptor {
                warn_of_ends(acceptor, shared.clock.now());
                tracing::debug!(certificates = acceptor.certificates(), "certificates in use");
                Entry::of(Action::Certificates).write();
            }
            shared.set_tls(acceptor);
        }
        Err(mistakes) => {
            let reason = Some("a mistake in the files, nothing changed");
            Entry { reason, ..Entry::of(Action::Certificates) }.write();
            for mistake in mistakes.0 {
                tracing::error!(%mistake, "certificates not changed");
            }
        }
    }
}

/// Looks at the ends now and once a day.
pub async fn watch(shared: Arc<Shared>) {
    let mut period = tokio::time::interval(PERIOD);
    loop {
        period.tick().await;
        if let Some(acceptor) = shared.tls() {
            warn_of_ends(&acceptor, shared.clock.now());
        }
    }
}

fn warn_of_ends(acceptor: &TlsAcceptor, now: Millis) {
    for certificate in acceptor.expiring(now, WARN_DAYS) {
        let (file, days) = (certificate.file.display(), certificate.days);
        match days {
            ..0 => tracing::error!(%file, "the certificate has expired"),
            _ => tracing::warn!(%file, days, "the certificate expires soon"),
        }
    }
}

/// Passwords that others can read on the way deserve a word.
pub fn warn_of_clear_text(config: &Config) {
    if let Some(address) = config.listen.http.filter(is_reachable) {
        tracing::warn!(%address, setting = "listen.http", "the token and passwords of accounts travel unencrypted here; TLS is the matter of a proxy in front");
    }
    for (setting, address) in clear_text(config) {
        tracing::warn!(%address, setting, "passwords and messages travel unencrypted here; TLS is listen.mqtts and listen.wss");
    }
}

/// The addresses without TLS that others than this machine can reach.
fn clear_text(config: &Config) -> Vec<(&'static str, SocketAddr)> {
    let lists = [("listen.mqtt", &config.listen.mqtt), ("listen.websocket", &config.listen.websocket)];
    let all = lists.into_iter().flat_map(|(setting, list)| list.iter().map(move |at| (setting, *at)));
    all.filter(|(_, address)| is_reachable(address)).collect()
}

/// By others than this machine.
fn is_reachable(address: &SocketAddr) -> bool {
    !address.ip().to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_others_can_reach_without_tls_is_named() {
        let text = "[listen]\nmqtt = ['127.0.0.1:1', '[::ffff:127.0.0.1]:1', '0.0.0.0:1883']\nwebsocket = ['[::]:8083']\n\
                    mqtts = ['0.0.0.0:8883']\n[tls]\ncertificates = ['a']\nkeys = ['a']";
        let named = clear_text(&Config::parse("hubbub.toml", text).unwrap());
        let at = |address: &str| address.parse().unwrap();
        assert_eq!(named, [("listen.mqtt", at("0.0.0.0:1883")), ("listen.websocket", at("[::]:8083"))]);
        assert_eq!(clear_text(&Config::default()), []);
    }
}
