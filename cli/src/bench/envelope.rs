//! Finding the text of a chat message in its JSON envelope without parsing the rest.

/// The text behind the key `"body"`, up to the end of the envelope; the caller knows where its own text ends.
///
/// A quote inside a JSON string is always written `\"`, so the bytes `"body"` and a colon can only be a key.
pub fn body(envelope: &[u8]) -> Option<&[u8]> {
    let mut rest = envelope;
    loop {
        let at = find(rest, KEY)?;
        let behind_key = &rest[at + KEY.len()..];
        if let Some(text) = string_value(behind_key) {
            return Some(text);
        }
        rest = behind_key;
    }
}

const KEY: &[u8] = b"\"body\"";

/// Behind a key: a colon, a quote, and what follows.
fn string_value(bytes: &[u8]) -> Option<&[u8]> {
    bytes.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start().strip_prefix(b"\"")
}

/// Goes from quote to quote, which are rarer than other bytes.
fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + haystack[from..].iter().position(|&byte| byte == needle[0])?;
        if haystack[at..].starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(envelope: &str, expected: Option<&str>) {
        let found = body(envelope.as_bytes()).map(|text| String::from_utf8_lossy(text).into_owned());
        assert_eq!(found.as_deref(), expected, "{envelope}");
    }

    #[test]
    fn the_body_of_a_full_envelope_is_found() {
        check(
            r#"{"n":42,"cid":"alice~bob","seq":7,"mid":"01J","from":"alice","ts":1,"type":"text","body":"hi","cmid":"x"}"#,
            Some(r#"hi","cmid":"x"}"#),
        );
    }

    #[test]
    fn spaces_around_the_colon_do_no_harm() {
        check("{ \"body\" :\n \"hi\" }", Some("hi\" }"));
    }

    #[test]
    fn body_as_a_value_or_inside_a_string_is_not_the_key() {
        check(r#"{"type":"body","from":"\"body\":\"no","body":"yes"}"#, Some(r#"yes"}"#));
    }

    #[test]
    fn a_body_that_is_no_text_is_skipped() {
        check(r#"{"body":{"a":1}}"#, None);
        check(r#"{"receipt":1}"#, None);
        check("", None);
        check(r#"{"body"#, None);
    }
}
