//! Live location as OwnTracks sends it: the last position of a device is retained, whatever else is said on its topic.

use hubbub_broker::policy::RetainRule;
use serde::Deserialize;

/// What becomes of a message on `owntracks/{user}/{device}[/…]`.
///
/// On the base topic a position is retained even if the client did not ask for it, and nothing else replaces it: the
/// will of the app (`_type` `lwt`) goes to the same topic. An empty retained message still clears it.
pub fn retain_rule(topic: &str, payload: &[u8]) -> RetainRule {
    let is_base = topic.bytes().filter(|&b| b == b'/').count() == 2;
    if !is_base || payload.is_empty() {
        return RetainRule::AsSent;
    }
    #[derive(Deserialize)]
    struct Report<'a> {
        #[serde(rename = "_type")]
        kind: &'a str,
    }
    match serde_json::from_slice::<Report<'_>>(payload) {
        Ok(Report { kind: "location" }) => RetainRule::Always,
        _ => RetainRule::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_stay_and_nothing_replaces_them() {
        for (topic, payload, rule) in [
            ("owntracks/bob/phone", r#"{"_type":"location","lat":1,"lon":2,"tst":3}"#, RetainRule::Always),
            ("owntracks/bob/phone", r#"{"_type":"lwt","tst":3}"#, RetainRule::Never),
            ("owntracks/bob/phone", "offline", RetainRule::Never),
            ("owntracks/bob/phone", "", RetainRule::AsSent),
            ("owntracks/bob/phone/event", r#"{"_type":"transition"}"#, RetainRule::AsSent),
        ] {
            assert_eq!(retain_rule(topic, payload.as_bytes()), rule, "{topic} {payload}");
        }
    }
}
