//! Rights that change while the server runs: the ACL file and the keys of tokens on SIGHUP, and accounts.

use hubbub_bridge::bridge::{BridgeError, read_acl};
use hubbub_bridge::policy::House;
use hubbub_broker::audit::{Action, Entry};
use hubbub_broker::edge::{Dismissal, Sessions, Whose};
use hubbub_broker::goodbye::Goodbye;
use hubbub_broker::shared::Shared;

/// Reads the ACL file again, as a whole or not at all: with any mistake in it the rules stay as they are. Nobody is dropped;
/// subscriptions that are not allowed any more end.
pub fn reload(settings: &hubbub_config::Acl, house: &House, shared: &Shared) {
    match read_acl(settings) {
        Ok(None) => {}
        Ok(acl) => {
            house.set_acl(acl);
            shared.rights_changed();
            tracing::info!("rules read again");
            Entry::of(Action::Rights).write();
        }
        Err(BridgeError::Acl { mistakes, .. }) => {
            let reason = Some("a mistake in the rules, nothing changed");
            Entry { reason, ..Entry::of(Action::Rights) }.write();
            for mistake in mistakes.lines() {
                tracing::error!(%mistake, "rules not changed");
            }
        }
        Err(error) => tracing::error!(%error, "rules not changed"),
    }
}

/// Reads the files with keys of tokens again, all or none.
pub fn reload_keys(settings: &hubbub_config::Login, house: &House) {
    match house.logins().reload_keys(settings) {
        Ok(false) => {}
        Ok(true) => Entry::of(Action::Keys).write(),
        Err(mistakes) => {
            let reason = Some("a mistake in the files, nothing changed");
            Entry { reason, ..Entry::of(Action::Keys) }.write();
            for mistake in mistakes.0 {
                tracing::error!(%mistake, "keys of tokens not changed");
            }
        }
    }
}

/// Who has to go when an account changes in this way; nobody if it is a new one.
pub fn dismissal(operation: &str, user: &str) -> Option<Dismissal> {
    let (why, sessions) = match operation {
        "remove" => ("the account was removed", Sessions::EndUnheard),
        "passwd" => ("the password was changed", Sessions::Stay),
        "revoke-tokens" => ("the tokens of the user were revoked", Sessions::Stay),
        _ => return None,
    };
    Some(Dismissal { whose: Whose::User(user.into()), goodbye: Goodbye::NotAuthenticated(why), sessions })
}
