//! What a token or the application may say besides who somebody is: a name for the device, an end, topics.

use std::sync::Arc;

use bytestring::ByteString;

use hubbub_broker::clock::Millis;
use hubbub_broker::policy::TopicRights;
use hubbub_broker::topic::{TopicFilter, TopicLimits, check_id};

/// Topics that are open besides the rules; nothing if there are none.
///
/// # Errors
/// What is wrong, if any filter is: half of what was meant is granted to nobody. Topics that begin with `$` are the
/// server's, and opened by its own rules only.
pub(super) fn rights(
    publish: Vec<String>,
    subscribe: Vec<String>,
    limits: &TopicLimits,
) -> Result<Option<Arc<TopicRights>>, &'static str> {
    if publish.is_empty() && subscribe.is_empty() {
        return Ok(None);
    }
    let checked = |filters: Vec<String>| -> Result<Vec<ByteString>, &'static str> {
        filters.into_iter().map(|text| filter(text.into(), limits)).collect()
    };
    Ok(Some(Arc::new(TopicRights { publish: checked(publish)?, subscribe: checked(subscribe)? })))
}

fn filter(text: ByteString, limits: &TopicLimits) -> Result<ByteString, &'static str> {
    if text.starts_with('$') {
        return Err("it grants a topic that begins with $");
    }
    TopicFilter::parse(&text, limits).map_err(|_| "it grants what is no topic filter")?;
    Ok(text)
}

/// The class of the device: one level of a topic, as when the client says it.
pub(super) fn class(text: Option<String>) -> Result<Option<ByteString>, &'static str> {
    match text {
        Some(text) if check_id(&text).is_err() => Err("its class is no level of a topic"),
        text => Ok(text.map(ByteString::from)),
    }
}

/// Milliseconds of a number of seconds, which may have a fraction (RFC 7519 §2, NumericDate); nothing if it is no time.
pub(super) fn millis(seconds: f64) -> Option<Millis> {
    // What is too large becomes the largest.
    (seconds.is_finite() && seconds >= 0.0).then_some((seconds * 1000.0) as Millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: TopicLimits = TopicLimits { levels: 8, bytes: 64 };

    fn granted(publish: &[&str], subscribe: &[&str]) -> Result<Option<Arc<TopicRights>>, &'static str> {
        let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        rights(own(publish), own(subscribe), &LIMITS)
    }

    #[test]
    fn all_filters_are_right_or_nothing_is_granted() {
        assert_eq!(granted(&[], &[]), Ok(None));
        let both = granted(&["room/1"], &["room/#", "+/x"]).unwrap().unwrap();
        assert_eq!((both.publish.len(), both.subscribe.len()), (1, 2));
        for bad in ["", "a#", "a/#/b", "a\0", "1/2/3/4/5/6/7/8/9"] {
            assert_eq!(granted(&["fine"], &["fine", bad]), Err("it grants what is no topic filter"), "{bad}");
        }
        for system in ["$SYS/#", "$share/g/t", "$x"] {
            assert_eq!(granted(&[system], &[]), Err("it grants a topic that begins with $"), "{system}");
        }
    }

    #[test]
    fn times_are_seconds_with_a_fraction() {
        assert_eq!((millis(1.5), millis(0.0), millis(1e300)), (Some(1500), Some(0), Some(Millis::MAX)));
        assert_eq!((millis(-1.0), millis(f64::NAN), millis(f64::INFINITY)), (None, None, None));
    }
}
