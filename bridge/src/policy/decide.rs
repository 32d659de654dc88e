//! May they do that? One function for every path that a message takes.

use std::sync::PoisonError;

use hubbub_broker::lane::{Device, Errand};
use hubbub_broker::policy::{Door, Identity, PublishVerdict, RetainRule};
use hubbub_broker::topic::check_id;

use super::{ANONYMOUS, CANARY, House};
use crate::acl::{self, Access, Acl};
use crate::{location, users};

/// Where the health check publishes.
const CANARY_TOPICS: &str = "$SYS/canary/";

/// What the server tells of itself.
const SYS: &str = "$SYS";

/// With nothing special about it.
const ALLOWED: PublishVerdict = PublishVerdict::Plain(RetainRule::AsSent);

/// What somebody wants to do with a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action<'a> {
    /// Publish this there, in a packet or as a will. The payload is looked at for live location only.
    Publish(&'a [u8]),
    /// Subscribe to it, then it is a filter: alone or behind a share group. Whether there is a topic among those that it
    /// matches which they may read; each message of it is asked for again.
    Subscribe,
    /// Be given a message of it: live, retained, out of a queue or an inbox, or sent again.
    Receive,
}

impl House {
    /// The one decision. It allocates nothing and waits for nothing but a read lock that is never held for long, except for
    /// direct messages, whose addressee is looked up.
    pub fn decide(&self, who: &Identity, action: Action<'_>, topic: &str) -> PublishVerdict {
        use Action::{Publish, Receive, Subscribe};
        if who.door == Door::BareClientId {
            return at_the_bare_door(who, action, topic);
        }
        let me = &*who.device.user;
        let (first, rest) = topic.split_once('/').unwrap_or((topic, ""));
        match (first, action) {
            ("dm", Publish(_)) => self.direct_message(who, rest),
            ("rpc", Publish(_)) if is_person(who) => PublishVerdict::Errand(Errand::Rpc),
            ("p", Publish(_)) if is_person(who) && rest.strip_suffix("/set") == Some(me) => {
                PublishVerdict::Errand(Errand::Presence)
            }
            ("owntracks", Publish(payload)) if self.location && is_person(who) && is_under(me, rest) => {
                PublishVerdict::Plain(location::retain_rule(topic, payload))
            }
            ("u", Subscribe | Receive) if is_under(me, rest) => ALLOWED,
            ("p" | "owntracks", Subscribe | Receive) if is_person(who) => ALLOWED,
            ("dm" | "rpc" | "c" | "p" | "owntracks", Subscribe | Receive) => {
                PublishVerdict::Denied("nothing is delivered there")
            }
            ("u" | "rpc" | "c" | "p" | "owntracks", _) => PublishVerdict::Denied("this topic is not yours"),
            _ if me == CANARY && topic.starts_with(CANARY_TOPICS) => ALLOWED,
            (SYS, Subscribe | Receive) if self.is_admin(who) => ALLOWED,
            _ => self.by_the_rules(who, action, first, topic),
        }
    }

    /// Everything that is not of the chat. Topics that begin with `$` are for the use of the server (§4.7.2). It uses `$SYS` and
    /// `$share`; others may be opened by a rule that names them, for no wildcard of a rule matches `$`.
    fn by_the_rules(&self, who: &Identity, action: Action<'_>, first: &str, topic: &str) -> PublishVerdict {
        let rules = self.acl.read().unwrap_or_else(PoisonError::into_inner);
        let allowed = match (&*rules, first) {
            (_, SYS) if matches!(action, Action::Publish(_)) => false,
            (Some(_), "$share") => false,
            (Some(rules), _) => {
                let opened = is_opened(who, action, topic) && !is_denied(rules, who, topic);
                opened || is_in_the_rules(rules, who, action, topic)
            }
            (None, _) if is_opened(who, action, topic) => true,
            (None, _) => self.dev && (first == SYS || !first.starts_with('$')),
        };
        PublishVerdict::Denied(match first {
            _ if allowed => return ALLOWED,
            SYS if action == Action::Subscribe => "only admins read $SYS",
            _ if first.starts_with('$') => "topics that begin with $ are the server's",
            _ => "no rule allows it",
        })
    }

    fn is_admin(&self, who: &Identity) -> bool {
        self.admins.iter().any(|admin| *admin == *who.device.user)
    }

    fn direct_message(&self, who: &Identity, peer: &str) -> PublishVerdict {
        if !is_person(who) {
            return PublishVerdict::Denied("only users can send direct messages");
        }
        if check_id(peer).is_err() {
            return PublishVerdict::Denied("a direct message goes to dm/{user}");
        }
        // In dev mode whoever is named exists, and where the application says who the users are only it could tell. An
        // unreadable store refuses.
        let known_here = !self.dev && self.login.knows_all_users();
        if known_here && !users::exists(&*self.store, peer).unwrap_or(false) {
            return PublishVerdict::Denied("there is no such user");
        }
        PublishVerdict::Errand(Errand::Chat)
    }
}

/// Whoever has no name but the client id publishes to others by theirs, and hears what is published to the own.
fn at_the_bare_door(who: &Identity, action: Action<'_>, topic: &str) -> PublishVerdict {
    match action {
        Action::Publish(_) if !topic.contains('/') && !topic.starts_with('$') => ALLOWED,
        Action::Publish(_) => PublishVerdict::Denied("this door only knows client ids as topics"),
        _ if topic == &*who.device.client => ALLOWED,
        _ => PublishVerdict::Denied("this door only knows one's own client id"),
    }
}

fn is_in_the_rules(rules: &Acl, who: &Identity, action: Action<'_>, topic: &str) -> bool {
    let (user, client) = names(who);
    match action {
        Action::Publish(_) => rules.allows(user, client, Access::Write, topic),
        Action::Receive => rules.allows(user, client, Access::Read, topic),
        Action::Subscribe => rules.allows_filter(user, client, topic),
    }
}

fn is_denied(rules: &Acl, who: &Identity, topic: &str) -> bool {
    let (user, client) = names(who);
    rules.denies(user, client, topic)
}

/// Whether the login of this connection opened it. No filter of a login reaches topics that begin with `$`.
fn is_opened(who: &Identity, action: Action<'_>, topic: &str) -> bool {
    who.rights.as_ref().is_some_and(|rights| match action {
        Action::Publish(_) => acl::opens(&rights.publish, topic),
        Action::Receive => acl::opens(&rights.subscribe, topic),
        Action::Subscribe => acl::opens_some(&rights.subscribe, topic),
    })
}

/// User and client id for the rules: the syntax of Mosquitto knows the anonymous user by an empty name.
fn names(who: &Identity) -> (&str, &str) {
    let Device { user, client } = &who.device;
    (if **user == *ANONYMOUS { "" } else { user }, client)
}

fn is_person(who: &Identity) -> bool {
    !who.device.user.starts_with('~')
}

/// Whether the levels begin with this one.
fn is_under(level: &str, rest: &str) -> bool {
    rest.split('/').next() == Some(level)
}
