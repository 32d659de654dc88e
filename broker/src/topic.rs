//! Topic names, topic filters and the ids that stand in topics: parsed once into types that cannot be wrong.

use bytestring::ByteString;
use thiserror::Error;

/// How deep and how long a topic may be; both come from the configuration.
#[derive(Debug, Clone, Copy)]
pub struct TopicLimits {
    /// Levels, counted as slashes plus one.
    pub levels: usize,
    /// Bytes of UTF-8.
    pub bytes: usize,
}

/// Why a string is no topic name, topic filter or id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TopicError {
    /// Topics have at least one character (MQTT 5 §4.7.3).
    #[error("the topic is empty")]
    Empty,
    /// Names have no wildcards (§3.3.2.1).
    #[error("a topic name must not contain + or #")]
    WildcardInName,
    /// `+` and `#` stand alone in their level, `#` in the last one (§4.7.1).
    #[error("+ and # must fill a whole level, and # must be the last")]
    MisplacedWildcard,
    /// U+0000 is never allowed (§1.5.4).
    #[error("the topic contains U+0000")]
    Null,
    /// Beyond `limits.topic_levels`.
    #[error("the topic has more than {0} levels")]
    TooManyLevels(usize),
    /// Beyond `limits.topic_bytes`.
    #[error("the topic is longer than {0} bytes")]
    TooLong(usize),
    /// `$share/{group}/{filter}` (§4.8.2).
    #[error("a shared subscription is $share/{{group}}/{{filter}} with a group without + # /")]
    BadShare,
    /// See [`check_id`].
    #[error("an id is 1 to 64 bytes without / + # ~, control characters or a leading $")]
    BadId,
}

/// Checks a topic name (§4.7).
pub fn check_name(topic: &str, limits: &TopicLimits) -> Result<(), TopicError> {
    check_common(topic, limits)?;
    if topic.bytes().any(|b| b == b'+' || b == b'#') {
        return Err(TopicError::WildcardInName);
    }
    Ok(())
}

/// A topic filter, apart from the share group that may stand in front of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicFilter {
    /// The group of a shared subscription.
    pub share: Option<ByteString>,
    /// The filter that topics are matched against.
    pub filter: ByteString,
}

impl TopicFilter {
    /// Parses a filter as it stands in SUBSCRIBE.
    pub fn parse(text: &ByteString, limits: &TopicLimits) -> Result<TopicFilter, TopicError> {
        if text.len() > limits.bytes {
            return Err(TopicError::TooLong(limits.bytes));
        }
        let parsed = match text.strip_prefix("$share/") {
            Some(rest) => {
                let (group, filter) = rest.split_once('/').ok_or(TopicError::BadShare)?;
                if group.is_empty() || filter.is_empty() || group.contains(['+', '#']) {
                    return Err(TopicError::BadShare);
                }
                TopicFilter { share: Some(group.into()), filter: filter.into() }
            }
            None if &**text == "$share" => return Err(TopicError::BadShare),
            None => TopicFilter { share: None, filter: text.clone() },
        };
        check_filter(&parsed.filter, limits)?;
        Ok(parsed)
    }

    /// Whether this is the text of SUBSCRIBE.
    pub fn has_text(&self, text: &str) -> bool {
        let Some(group) = &self.share else { return *self.filter == *text };
        let rest = text.strip_prefix("$share/").and_then(|rest| rest.strip_prefix(&**group));
        rest.and_then(|rest| rest.strip_prefix('/')) == Some(&*self.filter)
    }

    /// The text of SUBSCRIBE again; subscriptions are known by it.
    pub fn text(&self) -> ByteString {
        match &self.share {
            Some(group) => format!("$share/{group}/{}", self.filter).into(),
            None => self.filter.clone(),
        }
    }
}

fn check_filter(filter: &str, limits: &TopicLimits) -> Result<(), TopicError> {
    check_common(filter, limits)?;
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let wild = level.contains(['+', '#']);
        if wild && (level.len() != 1 || (level == "#" && levels.peek().is_some())) {
            return Err(TopicError::MisplacedWildcard);
        }
    }
    Ok(())
}

fn check_common(topic: &str, limits: &TopicLimits) -> Result<(), TopicError> {
    if topic.is_empty() {
        return Err(TopicError::Empty);
    }
    if topic.len() > limits.bytes {
        return Err(TopicError::TooLong(limits.bytes));
    }
    if topic.bytes().any(|b| b == 0) {
        return Err(TopicError::Null);
    }
    if topic.bytes().filter(|&b| b == b'/').count() >= limits.levels {
        return Err(TopicError::TooManyLevels(limits.levels));
    }
    Ok(())
}

/// Whether a filter contains a wildcard.
pub fn has_wildcard(filter: &str) -> bool {
    filter.bytes().any(|b| b == b'+' || b == b'#')
}

/// Whether a topic name matches a filter (§4.7); `+` and `#` in front do not match names that begin with `$`.
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && (filter.starts_with('+') || filter.starts_with('#')) {
        return false;
    }
    let mut levels = topic.split('/');
    for part in filter.split('/') {
        match (part, levels.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (part, Some(level)) if part == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

/// Checks the id of a user or conversation: one topic level that can stand in any pattern.
///
/// 1 to 64 bytes of UTF-8 without `/ + # ~`, control characters or a leading `$`.
pub fn check_id(id: &str) -> Result<(), TopicError> {
    let bad = |c: char| matches!(c, '/' | '+' | '#' | '~') || c.is_control();
    if id.is_empty() || id.len() > 64 || id.starts_with('$') || id.chars().any(bad) {
        return Err(TopicError::BadId);
    }
    Ok(())
}

/// The conversation of two users: both ids, sorted, joined by `~`.
pub fn direct_conversation(a: &str, b: &str) -> String {
    if a <= b { format!("{a}~{b}") } else { format!("{b}~{a}") }
}

/// The users of a direct conversation; once, for notes to oneself.
pub fn conversation_members(cid: &str) -> impl Iterator<Item = &str> {
    let (a, b) = cid.split_once('~').unwrap_or((cid, cid));
    std::iter::once(a).chain(Some(b).filter(|b| *b != a))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: TopicLimits = TopicLimits { levels: 8, bytes: 64 };

    #[test]
    fn names() {
        for good in ["a", "/", "a//b", "聊天/大厅", "🚕/上海", "$SYS/x", " "] {
            assert_eq!(check_name(good, &LIMITS), Ok(()), "{good}");
        }
        for bad in ["", "a/+", "#", "a\0b", "1/2/3/4/5/6/7/8/9", &"x".repeat(65)] {
            assert!(check_name(bad, &LIMITS).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn filters() {
        for good in ["#", "+", "a/+/b", "a/#", "+/+", "/+", "$share/g/a/#", "$shared/x"] {
            assert!(TopicFilter::parse(&good.into(), &LIMITS).is_ok(), "{good}");
        }
        for bad in
            ["", "a#", "#/a", "a+/b", "$share", "$share/g", "$share//a", "$share/g/", "$share/+/a", "a/b#"]
        {
            assert!(TopicFilter::parse(&bad.into(), &LIMITS).is_err(), "{bad}");
        }
        let shared = TopicFilter::parse(&"$share/g/a/+".into(), &LIMITS).unwrap();
        assert_eq!((shared.share.as_deref(), &*shared.filter), (Some("g"), "a/+"));
        assert_eq!(&*shared.text(), "$share/g/a/+");
        assert!(shared.has_text("$share/g/a/+"));
        assert!(
            !["a/+", "$share/g/a/+/b", "$share/g2/a/+", "$share/ga/+"]
                .iter()
                .any(|text| shared.has_text(text))
        );
    }

    #[test]
    fn matching() {
        for (filter, topic) in [
            ("a/#", "a"),
            ("a/#", "a/b/c"),
            ("#", "a"),
            ("+/b", "a/b"),
            ("+/+", "/x"),
            ("/+", "/x"),
            ("a/+", "a/"),
        ] {
            assert!(matches(filter, topic), "{filter} {topic}");
        }
        for (filter, topic) in
            [("#", "$SYS/a"), ("+/a", "$SYS/a"), ("a/+", "a"), ("a", "a/b"), ("a/b", "a"), ("+", "/x")]
        {
            assert!(!matches(filter, topic), "{filter} {topic}");
        }
    }

    #[test]
    fn ids() {
        assert!(check_id("alice").is_ok() && check_id("张伟").is_ok() && check_id("a b").is_ok());
        for bad in ["", "a/b", "a+", "#", "a~b", "$x", "a\u{7}", &"x".repeat(65)] {
            assert!(check_id(bad).is_err(), "{bad:?}");
        }
        assert_eq!(direct_conversation("bob", "alice"), "alice~bob");
        let members = |cid| conversation_members(cid).collect::<Vec<_>>();
        assert_eq!((members("alice~bob"), members("bob~bob")), (vec!["alice", "bob"], vec!["bob"]));
    }
}
