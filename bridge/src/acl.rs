//! Rights on topics, in the syntax of Mosquitto's ACL file.
//!
//! ```text
//! # Before the first user line: for everyone, also without a login.
//! topic read $SYS/#
//! user alice
//! # The rest of the line is the filter, spaces included; without read, write, readwrite or deny it is readwrite.
//! topic write 出租车/红 色
//! # Deny wins over every other rule.
//! topic deny 出租车/秘密
//! # For everyone again, wherever it stands: %u is the user, %c the client id.
//! pattern readwrite cars/%u/%c/#
//! ```
//!
//! What no rule allows is denied, and a text with any mistake gives no rules at all. With an id that is empty or contains
//! `+ # /`, a pattern grants nothing; it still denies.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use bytestring::ByteString;

/// MQTT's limit for a filter in bytes (MQTT 5, 1.5.4).
const FILTER_MAX: usize = 65_535;

/// All rules of one text. The default value denies everything.
#[derive(Clone, Debug, Default)]
pub struct Acl {
    everyone: Vec<Rule>,
    users: HashMap<String, Vec<Rule>>,
}

/// What someone wants to do with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Receive messages of it.
    Read,
    /// Publish to it.
    Write,
}

/// One line that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclMistake {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong, and what is expected.
    pub message: String,
}

impl fmt::Display for AclMistake {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}: {}", self.line, self.message)
    }
}

impl Acl {
    /// Reads a whole file, or reports every mistake in it.
    pub fn parse(text: &str) -> Result<Acl, Vec<AclMistake>> {
        let (mut acl, mut mistakes, mut section) = (Acl::default(), Vec::new(), None);
        // Some editors put a byte order mark at the start.
        for (index, line) in text.trim_start_matches('\u{FEFF}').lines().enumerate() {
            if let Err(message) = acl.read(line.trim(), &mut section) {
                mistakes.push(AclMistake { line: index + 1, message });
            }
        }
        if mistakes.is_empty() { Ok(acl) } else { Err(mistakes) }
    }

    /// Whether a message of this topic name may go to, or come from, that user and client. An anonymous client has the
    /// empty string as user.
    pub fn allows(&self, user: &str, client: &str, access: Access, topic: &str) -> bool {
        let asker = Asker { user, client };
        let mut granted = false;
        for rule in self.rules_for(user).filter(|rule| rule.covers(asker, topic)) {
            match rule.grant {
                Grant::Deny => return false,
                grant => granted |= grant.includes(access),
            }
        }
        granted
    }

    /// Whether a subscription makes sense: some topic that it matches may be read, and no rule denies all of it.
    ///
    /// The filter may still be wider than the rules, so each delivery must ask [`Acl::allows`] again. A shared
    /// subscription is decided by the filter behind its group.
    pub fn allows_filter(&self, user: &str, client: &str, filter: &str) -> bool {
        let asker = Asker { user, client };
        let filter = behind_group(filter);
        let mut granted = false;
        for rule in self.rules_for(user) {
            match rule.grant {
                Grant::Deny if rule.covers(asker, filter) => return false,
                grant => granted |= grant.includes(Access::Read) && rule.overlaps(asker, filter),
            }
        }
        granted
    }

    /// Whether a rule denies all topics that this filter matches, whatever else grants them. A topic name is the filter of
    /// itself.
    pub fn denies(&self, user: &str, client: &str, filter: &str) -> bool {
        let (asker, filter) = (Asker { user, client }, behind_group(filter));
        self.rules_for(user).any(|rule| rule.grant == Grant::Deny && rule.covers(asker, filter))
    }

    fn rules_for(&self, user: &str) -> impl Iterator<Item = &Rule> {
        self.everyone.iter().chain(self.users.get(user).into_iter().flatten())
    }

    /// Takes in one line; `section` is the user that `topic` lines are for.
    fn read(&mut self, line: &str, section: &mut Option<String>) -> Result<(), String> {
        let (keyword, rest) = first_word(line);
        match keyword {
            comment if comment.is_empty() || comment.starts_with('#') => {}
            "user" if rest.is_empty() => return Err("user needs a name".into()),
            "user" => *section = Some(rest.into()),
            "topic" => self.section(section).push(Rule::plain(rest)?),
            "pattern" => self.everyone.push(Rule::pattern(rest)?),
            other => return Err(format!("\"{}\" is none of user, topic, pattern", other.escape_debug())),
        }
        Ok(())
    }

    fn section(&mut self, section: &Option<String>) -> &mut Vec<Rule> {
        match section {
            Some(user) => self.users.entry(user.clone()).or_default(),
            None => &mut self.everyone,
        }
    }
}

/// Whether a login opened this topic. None of its filters begins with `$`, so that no wildcard of a token reaches such
/// topics (MQTT 5, 4.7.2).
pub fn opens(filters: &[ByteString], topic: &str) -> bool {
    !topic.starts_with('$') && filters.iter().any(|opened| covers(opened, topic))
}

/// Whether a login opened some topic that this filter matches.
pub fn opens_some(filters: &[ByteString], filter: &str) -> bool {
    !filter.starts_with('$') && filters.iter().any(|opened| overlap(opened, filter))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grant {
    Read,
    Write,
    ReadWrite,
    Deny,
}

impl Grant {
    fn of(word: &str) -> Option<Grant> {
        match word {
            "read" => Some(Grant::Read),
            "write" => Some(Grant::Write),
            "readwrite" => Some(Grant::ReadWrite),
            "deny" => Some(Grant::Deny),
            _ => None,
        }
    }

    fn includes(self, access: Access) -> bool {
        match access {
            Access::Read => matches!(self, Grant::Read | Grant::ReadWrite),
            Access::Write => matches!(self, Grant::Write | Grant::ReadWrite),
        }
    }
}

/// Who asks.
#[derive(Clone, Copy)]
struct Asker<'a> {
    user: &'a str,
    client: &'a str,
}

#[derive(Clone, Debug)]
struct Rule {
    grant: Grant,
    filter: String,
    /// `%u` and `%c` stand for something.
    is_pattern: bool,
}

impl Rule {
    fn plain(text: &str) -> Result<Rule, String> {
        match Rule::parse(text, false)? {
            rule if mentions_ids(&rule.filter) => {
                Err("%u and %c need a pattern line instead of topic".into())
            }
            rule => Ok(rule),
        }
    }

    fn pattern(text: &str) -> Result<Rule, String> {
        Rule::parse(text, true)
    }

    fn parse(text: &str, is_pattern: bool) -> Result<Rule, String> {
        let (word, rest) = first_word(text);
        let (grant, filter) = match Grant::of(word) {
            Some(grant) => (grant, rest),
            None => (Grant::ReadWrite, text),
        };
        check_filter(filter)?;
        Ok(Rule { grant, filter: filter.into(), is_pattern })
    }

    /// Whether every topic that `filter` matches is matched by this rule. A topic name is the filter of itself.
    fn covers(&self, asker: Asker<'_>, filter: &str) -> bool {
        self.may_meet(filter) && self.filter_for(asker).is_some_and(|rule| covers(&rule, filter))
    }

    /// Whether some topic is matched by both.
    fn overlaps(&self, asker: Asker<'_>, filter: &str) -> bool {
        self.may_meet(filter) && self.filter_for(asker).is_some_and(|rule| overlap(&rule, filter))
    }

    /// Only a written `$` reaches the topics that begin with one: no wildcard does (MQTT 5, 4.7.2), and no id.
    fn may_meet(&self, filter: &str) -> bool {
        self.filter.starts_with('$') == filter.starts_with('$')
    }

    /// The filter with ids filled in; `None` if they could make it grant more than one level each.
    fn filter_for(&self, asker: Asker<'_>) -> Option<Cow<'_, str>> {
        let fits = |mark: &str, id: &str| !self.filter.contains(mark) || is_one_level(id);
        match self.is_pattern {
            false => Some(self.filter.as_str().into()),
            true if self.grant == Grant::Deny || (fits("%u", asker.user) && fits("%c", asker.client)) => {
                Some(fill_in(&self.filter, asker).into())
            }
            true => None,
        }
    }
}

fn covers(rule: &str, filter: &str) -> bool {
    let (mut rule, mut filter) = (rule.split('/'), filter.split('/'));
    loop {
        match (rule.next(), filter.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(level)) if level != "#" => {}
            (Some(one), Some(other)) if one == other => {}
            _ => return false,
        }
    }
}

fn overlap(rule: &str, filter: &str) -> bool {
    let (mut rule, mut filter) = (rule.split('/'), filter.split('/'));
    loop {
        match (rule.next(), filter.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some("+"), Some(_)) | (Some(_), Some("+")) => {}
            (Some(one), Some(other)) if one == other => {}
            _ => return false,
        }
    }
}

fn mentions_ids(text: &str) -> bool {
    text.contains("%u") || text.contains("%c")
}

fn is_one_level(id: &str) -> bool {
    !id.is_empty() && !id.contains(['+', '#', '/'])
}

/// In one pass, so that a user named `%c` stays just that.
fn fill_in(pattern: &str, asker: Asker<'_>) -> String {
    let mut parts = pattern.split('%');
    let mut filled = String::from(parts.next().unwrap_or_default());
    for part in parts {
        match (part.strip_prefix('u'), part.strip_prefix('c')) {
            (Some(rest), _) => filled.extend([asker.user, rest]),
            (_, Some(rest)) => filled.extend([asker.client, rest]),
            _ => filled.extend(["%", part]),
        }
    }
    filled
}

/// `$share/group/filter` gives `filter` (MQTT 5, 4.8.2).
fn behind_group(filter: &str) -> &str {
    filter
        .strip_prefix("$share/")
        .and_then(|shared| shared.split_once('/'))
        .map_or(filter, |(_, filter)| filter)
}

fn first_word(text: &str) -> (&str, &str) {
    text.split_once([' ', '\t']).map_or((text, ""), |(word, rest)| (word, rest.trim_start()))
}

fn check_filter(filter: &str) -> Result<(), String> {
    let levels = || filter.split('/');
    let is_mixed = |level: &str| level.len() > 1 && level.contains(['+', '#']);
    let reason = match filter {
        "" => "there is no topic filter",
        long if long.len() > FILTER_MAX => "the topic filter is longer than 65,535 bytes",
        zero if zero.contains('\0') => "a topic filter cannot contain U+0000",
        _ if levels().any(is_mixed) => "+ and # must have a level for themselves",
        _ if levels().rev().skip(1).any(|level| level == "#") => "# must be the last level",
        _ => return Ok(()),
    };
    Err(reason.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RULES: &str = "\
        # the whole syntax\r\n\
        topic read $SYS/broker/#\n\
        topic lobby\n\
        \n\
        user alice\n\
        topic write 出租车/红 色\n\
        \ttopic\tread  rooms/+/msg \n\
        topic readwrite deny/it\n\
        user o'neil the 2nd\n\
        topic readwrite #\n\
        topic deny secret/#\n\
        pattern readwrite cars/%u/%c/#\n\
        pattern write log/car-%c\n\
        pattern read %c/own\n\
        pattern deny %u/forbidden\n";

    fn acl(text: &str) -> Acl {
        Acl::parse(text).unwrap()
    }

    #[test]
    fn the_table_of_rights() {
        let acl = acl(RULES);
        let neil = "o'neil the 2nd";
        for (user, client, topic, rights) in [
            ("", "c", "lobby", "rw"),
            ("", "c", "lobby/x", ""),
            ("", "c", "$SYS/broker/uptime", "r"),
            ("", "c", "$SYS/broker", "r"),
            ("", "c", "$SYS/other", ""),
            ("alice", "c", "lobby", "rw"),
            ("alice", "c", "出租车/红 色", "w"),
            ("alice", "c", "出租车/红", ""),
            ("bob", "c", "出租车/红 色", ""),
            ("alice", "c", "rooms/1/msg", "r"),
            ("alice", "c", "rooms//msg", "r"),
            ("alice", "c", "rooms/1/2/msg", ""),
            ("alice", "c", "deny/it", "rw"),
            (neil, "c", "anything/at/all", "rw"),
            (neil, "c", "/", "rw"),
            (neil, "c", "secret", ""),
            (neil, "c", "secret/plan", ""),
            (neil, "c", "$SYS/broker/x", "r"),
            (neil, "c", "$other", ""),
            ("bob", "c", "cars/bob/c", "rw"),
            ("bob", "c", "cars/bob/c/x/y", "rw"),
            ("bob", "c", "cars/alice/c", ""),
            ("bob", "c", "cars/bob/d", ""),
            ("bob", "7", "log/car-7", "w"),
            ("bob", "7", "log/car-8", ""),
            ("bob", "7", "7/own", "r"),
            ("bob", "$7", "$7/own", ""),
            ("bob", "bob", "bob/forbidden", ""),
            (neil, "c", "o'neil the 2nd/forbidden", ""),
            (neil, "c", "bob/forbidden", "rw"),
        ] {
            let right = |access, letter| if acl.allows(user, client, access, topic) { letter } else { "" };
            let found = right(Access::Read, "r").to_owned() + right(Access::Write, "w");
            assert_eq!(found, rights, "{user} as {client} on {topic}");
        }
    }

    #[test]
    fn the_table_of_subscriptions() {
        let acl = acl(RULES);
        let neil = "o'neil the 2nd";
        for (user, client, filter, allowed) in [
            ("", "c", "#", true),
            ("", "c", "+/x", false),
            ("", "c", "lobby/#", true),
            ("", "c", "lobby/+", false),
            ("", "c", "$SYS/#", true),
            ("", "c", "$SYS/+/+", true),
            ("", "c", "$SYS/other/#", false),
            ("", "c", "+/broker/#", false),
            ("alice", "c", "rooms/#", true),
            ("alice", "c", "+/1/+", true),
            ("alice", "c", "出租车/+", false),
            (neil, "c", "secret/plan", false),
            (neil, "c", "secret/#", false),
            (neil, "c", "secret", false),
            (neil, "c", "+/plan", true),
            (neil, "c", "$share/g/secret/#", false),
            (neil, "c", "$share/g/open/#", true),
            ("bob", "c", "$share/g", false),
            ("bob", "c", "cars/+/+/x", true),
            ("bob", "c", "cars/alice/#", false),
            ("bob", "c", "$share/secret/cars/bob/c", true),
        ] {
            assert_eq!(acl.allows_filter(user, client, filter), allowed, "{user} subscribes to {filter}");
        }
    }

    #[test]
    fn ids_never_widen_a_pattern() {
        let acl = acl("pattern readwrite a/%u/%c\npattern readwrite b/x/%u");
        for bad in ["+", "#", "x/y", "", "a+", "/"] {
            assert!(!acl.allows_filter(bad, "c", "#"), "{bad:?} as user");
            assert!(!acl.allows_filter("u", bad, "a/#"), "{bad:?} as client");
            assert!(!acl.allows("u", bad, Access::Read, &format!("a/u/{bad}")), "{bad:?} as client");
        }
        assert!(acl.allows("%c", "c", Access::Read, "a/%c/c"));
        assert!(!acl.allows("%c", "c", Access::Read, "a/c/c"));
    }

    #[test]
    fn ids_never_narrow_a_denial() {
        let acl = acl("topic #\npattern deny box/%c/key");
        assert!(!acl.allows("u", "c", Access::Read, "box/c/key"));
        assert!(acl.allows("u", "c", Access::Read, "box/d/key"));
        assert!(!acl.allows("u", "c/d", Access::Read, "box/c/d/key"));
        assert!(!acl.allows("u", "", Access::Read, "box//key"));
        assert!(!acl.allows("u", "#", Access::Read, "box/anything"));
    }

    #[test]
    fn a_login_opens_topics_by_filters_and_none_that_begins_with_dollar() {
        let filters: Vec<ByteString> = vec!["room/+/msg".into(), "wide/#".into()];
        for (topic, open) in
            [("room/1/msg", true), ("room/1", false), ("wide", true), ("wide/a/b", true), ("other", false)]
        {
            assert_eq!(opens(&filters, topic), open, "{topic}");
        }
        for (filter, some) in
            [("room/#", true), ("+/1/msg", true), ("#", true), ("other/#", false), ("$SYS/#", false)]
        {
            assert_eq!(opens_some(&filters, filter), some, "{filter}");
        }
        assert!(!opens(&["#".into()], "$SYS/broker/uptime") && !opens_some(&["#".into()], "$SYS/#"));
    }

    #[test]
    fn what_a_rule_denies_altogether_is_known() {
        let acl = acl("topic #\nuser alice\ntopic deny secret/#\npattern deny box/%c");
        for (topic, denied) in
            [("secret/a", true), ("secret/#", true), ("+/a", false), ("box/c", true), ("x", false)]
        {
            assert_eq!(acl.denies("alice", "c", topic), denied, "{topic}");
        }
        assert!(!acl.denies("bob", "d", "secret/a") && acl.denies("alice", "c", "$share/g/secret/a"));
    }

    #[test]
    fn nothing_is_allowed_without_rules() {
        assert!(!Acl::default().allows("a", "c", Access::Read, "x"));
        assert!(!acl("").allows_filter("a", "c", "#"));
    }

    #[test]
    fn all_mistakes_are_reported_at_once() {
        let text = "\u{FEFF}topics x\nuser\nuser a\ntopic\ntopic deny\ntopic read a/#/b\ntopic a+/b\ntopic x/%u\ntopic ok\n";
        let mistakes: Vec<String> = Acl::parse(text).unwrap_err().iter().map(ToString::to_string).collect();
        let expected = [
            "line 1: \"topics\" is none of user, topic, pattern",
            "line 2: user needs a name",
            "line 4: there is no topic filter",
            "line 5: there is no topic filter",
            "line 6: # must be the last level",
            "line 7: + and # must have a level for themselves",
            "line 8: %u and %c need a pattern line instead of topic",
        ];
        assert_eq!(mistakes, expected);
    }

    /// Every name of up to three levels over a small alphabet; `z` stands in no filter, so it is "any other".
    fn all_topics() -> Vec<String> {
        let levels = ["a", "b", "z", "$a", ""];
        let mut topics: Vec<String> = levels.iter().map(ToString::to_string).collect();
        for from in [0, levels.len()] {
            let longer: Vec<String> = topics[from..]
                .iter()
                .flat_map(|topic| levels.map(|level| format!("{topic}/{level}")))
                .collect();
            topics.extend(longer);
        }
        topics
    }

    fn filter() -> impl Strategy<Value = String> {
        let level = prop::sample::select(vec!["a", "b", "$a", "+", ""]);
        (prop::collection::vec(level, 0..3), prop::sample::select(vec!["a", "+", "#"])).prop_map(
            |(mut levels, last)| {
                levels.push(last);
                levels.join("/")
            },
        )
    }

    /// The definition in the specification, written another way: recursion over slices.
    fn matches(filter: &[&str], topic: &[&str], first: bool) -> bool {
        let hidden = first && topic.first().is_some_and(|level| level.starts_with('$'));
        match (filter, topic) {
            (["#"], _) => !hidden,
            (["+", filter @ ..], [_, topic @ ..]) => !hidden && matches(filter, topic, false),
            ([one, filter @ ..], [other, topic @ ..]) => one == other && matches(filter, topic, false),
            (filter, topic) => filter.is_empty() && topic.is_empty(),
        }
    }

    fn is_match(filter: &str, topic: &str) -> bool {
        matches(&filter.split('/').collect::<Vec<_>>(), &topic.split('/').collect::<Vec<_>>(), true)
    }

    proptest! {
        #[test]
        fn one_rule_allows_exactly_what_its_filter_matches(rule in filter(), wanted in filter()) {
            let acl = acl(&format!("topic read {rule}"));
            let mut overlap = false;
            for topic in all_topics() {
                prop_assert_eq!(acl.allows("u", "c", Access::Read, &topic), is_match(&rule, &topic), "{}", topic);
                overlap |= is_match(&rule, &topic) && is_match(&wanted, &topic);
            }
            prop_assert_eq!(acl.allows_filter("u", "c", &wanted), overlap);
        }

        #[test]
        fn what_is_delivered_could_be_subscribed_and_is_never_denied(
            grants in prop::collection::vec(filter(), 0..4), denials in prop::collection::vec(filter(), 0..3), wanted in filter(),
        ) {
            let line = |kind: &'static str| move |filter: &String| format!("topic {kind} {filter}\n");
            let acl = acl(&(grants.iter().map(line("read")).chain(denials.iter().map(line("deny")))).collect::<String>());
            for topic in all_topics() {
                let expected = grants.iter().any(|rule| is_match(rule, &topic)) && !denials.iter().any(|rule| is_match(rule, &topic));
                prop_assert_eq!(acl.allows("u", "c", Access::Read, &topic), expected);
                prop_assert!(!acl.allows("u", "c", Access::Write, &topic));
                if expected && is_match(&wanted, &topic) {
                    prop_assert!(acl.allows_filter("u", "c", &wanted));
                }
            }
        }
    }
}
