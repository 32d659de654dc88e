//! The kinds of value that are text with a grammar: paths, origins, URLs, log levels; and secrets.

use crate::kind::{Kind, got, quoted};
use crate::raw::Raw;

/// Text that a check accepts: what is expected, and the check.
pub(crate) struct Word(pub &'static str, pub fn(&str) -> bool);

/// An http or https URL; what may be a credential in it is masked when shown.
pub(crate) struct Url;

/// Text that is never shown, not even when it is wrong.
pub(crate) struct Secret;

const MASK: &str = "***";
const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

impl Kind<String> for Word {
    fn expects(&self) -> String {
        self.0.into()
    }

    fn read(&self, raw: &Raw) -> Result<String, String> {
        match raw {
            Raw::Text(text) if (self.1)(text) => Ok(text.clone()),
            _ => Err(got(raw)),
        }
    }

    fn show(&self, value: &String) -> String {
        quoted(value)
    }
}

impl Kind<String> for Url {
    fn expects(&self) -> String {
        r#"a URL that begins with "http://" or "https://""#.into()
    }

    fn read(&self, raw: &Raw) -> Result<String, String> {
        match raw {
            Raw::Text(text) if is_http_url(text) => Ok(text.clone()),
            Raw::Text(text) => Err(format!("got {:?}", masked(text))),
            _ => Err(got(raw)),
        }
    }

    fn show(&self, value: &String) -> String {
        quoted(&masked(value))
    }
}

impl Kind<String> for Secret {
    fn expects(&self) -> String {
        "text that nobody can guess".into()
    }

    fn read(&self, raw: &Raw) -> Result<String, String> {
        match raw {
            Raw::Text(text) => Ok(text.clone()),
            _ => Err("not text".into()),
        }
    }

    fn show(&self, _: &String) -> String {
        quoted(MASK)
    }
}

/// The path of a request: begins with a slash, no query, nothing to escape.
pub(crate) fn check_path(text: &str) -> bool {
    text.starts_with('/') && text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '?' | '#'))
}

/// An Origin header as browsers send it: scheme and host in lower case, port unless it is the usual one (RFC
/// 6454, 6.2).
pub(crate) fn check_origin(text: &str) -> bool {
    let host = text.split_once("://").map_or("", |(_, host)| host);
    let odd =
        |c: char| !c.is_ascii_graphic() || c.is_ascii_uppercase() || matches!(c, '/' | '?' | '#' | '@' | '*');
    is_http_url(text) && !host.contains(odd) && !text.chars().any(|c| c.is_ascii_uppercase())
}

/// A host name or numeric address, and a port; an IPv6 address stands in brackets.
pub(crate) fn check_host_port(text: &str) -> bool {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let is_v6 = host.starts_with('[') && host.ends_with(']') && host.len() > 2;
    let is_name = !host.is_empty() && !host.contains(['[', ']', ':']);
    let is_plain = host.chars().all(|c| c.is_ascii_alphanumeric() || "-._:[]".contains(c));
    (is_v6 || is_name) && is_plain && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// The name of a user, as accounts have it: one topic level of at most 64 bytes.
pub(crate) fn check_user(text: &str) -> bool {
    let bad = |c: char| matches!(c, '/' | '+' | '#' | '~') || c.is_control();
    (1..=64).contains(&text.len()) && !text.starts_with('$') && !text.contains(bad)
}

/// The name of a claim of a token, or what has to stand in one: printable, not empty.
pub(crate) fn check_claim(text: &str) -> bool {
    !text.is_empty() && text.len() <= 1024 && !text.contains(char::is_control)
}

/// A filter of `tracing`, less the form that bites: a bare word must be a level, or a mistyped level would be
/// taken for the name of a module and silence everything else.
pub(crate) fn check_log_filter(text: &str) -> bool {
    let is_level = |word: &str| LEVELS.contains(&word.to_ascii_lowercase().as_str());
    let check = |part: &str| match part.rsplit_once('=') {
        Some((target, level)) => !target.is_empty() && is_level(level),
        None => is_level(part),
    };
    // Filters on spans may hold commas; they are left to tracing itself.
    text.contains('[') || text.split(',').all(|part| check(part.trim()))
}

fn is_http_url(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).unwrap_or("");
    let host = rest.split(['/', '?', '#']).next().unwrap_or("");
    let host = host.rsplit('@').next().unwrap_or("");
    !host.is_empty() && !host.starts_with(':') && text.chars().all(|c| c.is_ascii_graphic())
}

/// Masks user, password and query.
fn masked(url: &str) -> String {
    let (url, query) = match url.split_once('?') {
        Some((url, _)) => (url, format!("?{MASK}")),
        None => (url, String::new()),
    };
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find('/').map_or(url.len(), |at| start + at);
    match url[start..end].rfind('@') {
        Some(at) => format!("{}{MASK}{}{query}", &url[..start], &url[start + at..]),
        None => format!("{url}{query}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_written_as_browsers_send_them() {
        for good in ["https://chat.example", "http://localhost:5173", "https://[::1]:8443"] {
            assert!(check_origin(good), "{good}");
        }
        for bad in [
            "",
            "*",
            "chat.example",
            "https://chat.example/",
            "https://Chat.example",
            "https://*.example",
            "ws://a",
        ] {
            assert!(!check_origin(bad), "{bad}");
        }
    }

    #[test]
    fn a_mistyped_level_is_not_taken_for_a_module() {
        for good in
            ["info", "WARN", "info,hubbub_broker=debug", "hubbub_broker::edge=trace", "a[span{x=1,y=2}]=info"]
        {
            assert!(check_log_filter(good), "{good}");
        }
        for bad in ["", "inof", "info,", "hubbub_broker", "hubbub_broker=loud", "=info"] {
            assert!(!check_log_filter(bad), "{bad}");
        }
    }

    #[test]
    fn users_are_named_as_accounts_are() {
        assert!(check_user("alice") && check_user("小明") && check_user("o'neil the 2nd"));
        for bad in ["", "~anonymous", "a/b", "+", "#", "$SYS", "a\n", &"x".repeat(65)] {
            assert!(!check_user(bad), "{bad:?}");
        }
    }

    #[test]
    fn another_server_is_a_host_and_a_port() {
        for good in ["mqtt.example:1883", "10.0.0.2:8883", "[::1]:1883", "other-host:1"] {
            assert!(check_host_port(good), "{good}");
        }
        for bad in
            ["", "mqtt.example", ":1883", "a:0", "a:65536", "a:b", "::1:1883", "[]:1", "a b:1", "mqtt://a:1"]
        {
            assert!(!check_host_port(bad), "{bad}");
        }
    }

    #[test]
    fn paths_and_urls() {
        assert!(check_path("/mqtt") && !check_path("mqtt") && !check_path("/mqtt?x") && !check_path("/a b"));
        assert!(is_http_url("https://push.example/hook?k=1") && is_http_url("http://127.0.0.1:9"));
        for bad in
            ["push.example", "ftp://push.example", "https://", "https:///x", "http://:80/", "http://a b/"]
        {
            assert!(!is_http_url(bad), "{bad}");
        }
    }

    #[test]
    fn credentials_in_a_url_are_masked() {
        let check = |url: &str, shown: &str| assert_eq!(masked(url), shown);
        check("https://push.example/hook", "https://push.example/hook");
        check("https://me:pw@push.example/hook?token=t", "https://***@push.example/hook?***");
        check("me:pw@push.example", "***@push.example");
    }
}
