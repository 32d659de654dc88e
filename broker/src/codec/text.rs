//! UTF-8 strings (§1.5.4) and topic names (§4.7) as far as the codec judges them.

use super::error::CodecError;

/// The bytes as text: well-formed UTF-8, which excludes surrogates and overlong forms, without U+0000
/// (MQTT-1.5.4-1 and -2; 3.1.1 MQTT-1.5.3-1 and -2).
pub(super) fn check(bytes: &[u8]) -> Result<&str, CodecError> {
    if bytes.contains(&0) {
        return Err(CodecError::Malformed("U+0000 in a string"));
    }
    str::from_utf8(bytes).map_err(|_| CodecError::Malformed("string is not UTF-8"))
}

/// Whether `topic` can be published to (MQTT-3.3.2-2, MQTT-4.7.3-1).
pub(super) fn check_topic_name(topic: &str) -> Result<(), CodecError> {
    if topic.is_empty() {
        return Err(CodecError::TopicInvalid("empty"));
    }
    if topic.bytes().any(|byte| matches!(byte, b'+' | b'#')) {
        return Err(CodecError::TopicInvalid("has a wildcard"));
    }
    Ok(())
}
