//! The key layout of format 1: one tree, a letter for each kind of record.
//!
//! | key | value |
//! |---|---|
//! | `meta/version` | format version, u32 |
//! | `meta/commits` | number of commits so far, u64 |
//! | `meta/epoch` | number of the run of the server, u64 |
//! | `meta/scram` | key for the salts of users who do not exist, 32 random bytes |
//! | `a/{topic}` | retained message of a topic |
//! | `b/{client}{filter}` | subscription of a session |
//! | `c/{cid}` | conversation: next seq and the like |
//! | `d/{uid}{client}` | inbox cursor of one device |
//! | `e/{time}{uid}{cmid}` | what `k` forgets at `time`, milliseconds |
//! | `f/{uid}{client}` | device that is kept out, since when, milliseconds |
//! | `g/{n}` | message of a share group that a member without a kept session has on loan, or for which one is looked for |
//! | `h/{uid}` | inbox: next n |
//! | `i/{uid}{n}` | inbox entry |
//! | `j/{client}{packet}` | QoS 2 packet id received, not yet completed |
//! | `k/{uid}{cmid}` | first answer to a client's message id |
//! | `l/{client}` | will that may still have to be published |
//! | `m/{cid}{seq}` | message of a conversation |
//! | `n/{uid}` | time before which tokens of a user do not count, milliseconds |
//! | `o/{uid}{n}` | notification to be sent |
//! | `p/{uid}{class}` | client that has the place of a device class |
//! | `q/{client}{pos}` | queued delivery of a session |
//! | `r/{client}{packet}` | QoS 2 packet id sent and received by the client (PUBREC seen) |
//! | `s/{client}` | session |
//! | `t/{uid}` | inbox watermark taken by any device |
//! | `u/{uid}` | account |
//! | `v/{uid}` | what SCRAM has to know of the password of an account |
//! | `w/{client}` | queue: next pos |
//! | `x/{cid}{uid}` | last seq of a conversation that left an inbox after every device took it |
//!
//! Numbers are big-endian. Text is ended by 00 01, with 00 inside it written 00 FF: keys then sort by their fields in
//! turn, and no id, whatever it contains, reaches into the keys of another.

use std::ops::{Range, RangeInclusive};

const END_OF_TEXT: [u8; 2] = [0, 1];
const ZERO_IN_TEXT: [u8; 2] = [0, 0xFF];

/// Bytes of an ordinary key, so that putting one together does not move it again and again.
const KEY: usize = 64;

/// Every key there is.
pub fn everything() -> Range<Vec<u8>> {
    // Kinds are ASCII letters, so this lies behind all of them.
    vec![]..vec![0xFF; 4]
}

/// Every key that begins with `prefix`.
pub fn under(prefix: Vec<u8>) -> Range<Vec<u8>> {
    let mut end = prefix.clone();
    while end.last() == Some(&0xFF) {
        end.pop();
    }
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    prefix..end
}

/// Version of the layout.
pub fn version() -> Vec<u8> {
    b"meta/version".to_vec()
}

/// Number of commits so far.
pub fn commits() -> Vec<u8> {
    b"meta/commits".to_vec()
}

/// Number of the run of the server.
pub fn epoch() -> Vec<u8> {
    b"meta/epoch".to_vec()
}

/// Key for the salts of users who do not exist.
pub fn scram() -> Vec<u8> {
    b"meta/scram".to_vec()
}

/// Declares the functions for one kind each: the key, and the range of all keys of that kind.
macro_rules! kinds {
    ($($letter:literal $what:literal: $key:ident($($field:ident: $kind:ty),+), all $all:ident;)+) => { $(
        #[doc = concat!("Key of ", $what, ".")]
        pub fn $key($($field: $kind),+) -> Vec<u8> {
            let mut key = Vec::with_capacity(KEY);
            key.extend_from_slice(&[$letter, b'/']);
            $(Field::write($field, &mut key);)+
            key
        }

        #[doc = concat!("All keys of the kind: ", $what, ".")]
        pub fn $all() -> Range<Vec<u8>> {
            under(vec![$letter, b'/'])
        }
    )+

    /// Every kind that has keys of its own, in the order of its letters.
    pub const KINDS: &[Kind] = &[
        $(Kind { letter: $letter as char, name: $what, fields: &[$(<$kind as Field>::SHAPE),+] }),+
    ]; };
}

/// A kind of record.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// What its keys begin with, before a `/`.
    pub letter: char,
    /// What one record of it is.
    pub name: &'static str,
    fields: &'static [Shape],
}

/// How a field of a key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Text,
    Number,
    Packet,
}

kinds! {
    b'a' "the retained message of a topic": retained(topic: &str), all all_retained;
    b'b' "a subscription of a session": subscription(client: &str, filter: &str), all all_subscriptions;
    b'c' "a conversation": conversation(cid: &str), all all_conversations;
    b'd' "the inbox cursor of a device": cursor(uid: &str, client: &str), all all_cursors;
    b'e' "what is forgotten at a time in milliseconds": expiry(time_ms: u64, uid: &str, cmid: &str), all all_expiries;
    b'f' "a device that is kept out": barred(uid: &str, client: &str), all all_barred;
    b'g' "a message on loan to a member of a share group": loan(number: u64), all all_loans;
    b'h' "the head of an inbox": inbox_head(uid: &str), all all_inbox_heads;
    b'i' "an inbox entry": inbox(uid: &str, n: u64), all all_inboxes;
    b'j' "a QoS 2 packet id received from a client": inbound(client: &str, packet: u16), all all_inbound;
    b'k' "the first answer to a client's own message id": dedupe(uid: &str, cmid: &str), all all_dedupes;
    b'l' "the will of a connection": will(client: &str), all all_wills;
    b'm' "a message of a conversation": message(cid: &str, seq: u64), all all_messages;
    b'n' "the time before which tokens of a user do not count": not_before(uid: &str), all all_not_before;
    b'o' "a notification to be sent": pending(uid: &str, n: u64), all all_pending;
    b'p' "the device that has the place of its class": place(uid: &str, class: &str), all all_places;
    b'q' "a queued delivery": queued(client: &str, pos: u64), all all_queued;
    b'r' "a QoS 2 packet id that the client has": released(client: &str, packet: u16), all all_released;
    b's' "a session": session(client: &str), all all_sessions;
    b't' "the watermark that any device has taken": taken(uid: &str), all all_taken;
    b'u' "an account": user(uid: &str), all all_users;
    b'v' "what SCRAM has to know of a password": verifier(uid: &str), all all_verifiers;
    b'w' "the head of a queue": queue_head(client: &str), all all_queue_heads;
    b'x' "the last message of a conversation that left an inbox": left(cid: &str, uid: &str), all all_left;
}

/// Declares ranges over the last field of a kind, for one owner.
macro_rules! numbered {
    ($($what:literal: $range:ident($owner:ident, $number:ty) of $key:ident;)+) => { $(
        #[doc = concat!($what, " of one owner, both ends of the range included.")]
        pub fn $range($owner: &str, numbers: RangeInclusive<$number>) -> Range<Vec<u8>> {
            $key($owner, *numbers.start())..behind($key($owner, *numbers.end()))
        }
    )+ };
}

numbered! {
    "Inbox entries": inbox_of(uid, u64) of inbox;
    "Messages": messages_of(cid, u64) of message;
    "Notifications to be sent": pending_of(uid, u64) of pending;
    "Queued deliveries": queued_of(client, u64) of queued;
    "QoS 2 packet ids received": inbound_of(client, u16) of inbound;
    "QoS 2 packet ids that the client has": released_of(client, u16) of released;
}

/// The subscriptions of one session.
pub fn subscriptions_of(client: &str) -> Range<Vec<u8>> {
    under(owned(b'b', client))
}

/// The inbox cursors of one user's devices.
pub fn cursors_of(uid: &str) -> Range<Vec<u8>> {
    under(owned(b'd', uid))
}

/// The remembered message ids of one user.
pub fn dedupes_of(uid: &str) -> Range<Vec<u8>> {
    under(owned(b'k', uid))
}

/// What is to be forgotten from one time to another, milliseconds, both included.
pub fn expiries(times: RangeInclusive<u64>) -> Range<Vec<u8>> {
    let at = |time: u64| {
        let mut key = vec![b'e', b'/'];
        time.write(&mut key);
        key
    };
    at(*times.start())..under(at(*times.end())).end
}

/// Reads the fields of a key again, in the order they were written.
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Starts behind the letter of the kind; `None` for `meta/…` and foreign keys.
    pub fn of(key: &'a [u8]) -> Option<Fields<'a>> {
        match key {
            [_, b'/', fields @ ..] => Some(Fields(fields)),
            _ => None,
        }
    }

    /// The next field as text; `None` if there is none or it is damaged.
    pub fn text(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        loop {
            let zero = self.0.iter().position(|byte| *byte == 0)?;
            let (before, rest) = self.0.split_at(zero);
            bytes.extend_from_slice(before);
            self.0 = rest.get(2..)?;
            match rest {
                [0, 1, ..] => return String::from_utf8(bytes).ok(),
                [0, 0xFF, ..] => bytes.push(0),
                _ => return None,
            }
        }
    }

    /// The next field as a number of eight bytes.
    pub fn number(&mut self) -> Option<u64> {
        self.0.split_off(..8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes)
    }

    /// The next field as a packet id.
    pub fn packet(&mut self) -> Option<u16> {
        self.0.split_off(..2).and_then(|bytes| bytes.try_into().ok()).map(u16::from_be_bytes)
    }
}

/// A key, read whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Which kind of record.
    pub kind: &'static Kind,
    /// Its fields of text, in order.
    pub texts: Vec<String>,
    /// Its number, or packet identifier; 0 if keys of the kind have none.
    pub number: u64,
}

impl Key {
    /// Reads every field; `None` for `meta/…`, unknown kinds, and keys that are damaged, too short or too long.
    pub fn read(key: &[u8]) -> Option<Key> {
        let kind = KINDS.iter().find(|kind| key.first() == Some(&(kind.letter as u8)))?;
        let mut fields = Fields::of(key)?;
        let mut read = Key { kind, texts: Vec::new(), number: 0 };
        for shape in kind.fields {
            match shape {
                Shape::Text => read.texts.push(fields.text()?),
                Shape::Number => read.number = fields.number()?,
                Shape::Packet => read.number = fields.packet()?.into(),
            }
        }
        fields.0.is_empty().then_some(read)
    }

    /// The field of text that stands at this place; empty if keys of the kind have fewer.
    pub fn text(&self, at: usize) -> &str {
        self.texts.get(at).map_or("", String::as_str)
    }
}

/// A key for people: `m/"alice~bob"/7`. What is no key of ours is shown byte by byte.
pub fn show(key: &[u8]) -> String {
    let Some(read) = Key::read(key) else { return key.escape_ascii().to_string() };
    let mut shown = read.kind.letter.to_string();
    let mut texts = read.texts.iter();
    for shape in read.kind.fields {
        shown.push_str(&match shape {
            Shape::Text => format!("/{:?}", texts.next().map_or("", String::as_str)),
            Shape::Number | Shape::Packet => format!("/{}", read.number),
        });
    }
    shown
}

/// One part of a key.
trait Field {
    const SHAPE: Shape;

    fn write(self, key: &mut Vec<u8>);
}

impl Field for u64 {
    const SHAPE: Shape = Shape::Number;

    fn write(self, key: &mut Vec<u8>) {
        key.extend_from_slice(&self.to_be_bytes());
    }
}

impl Field for u16 {
    const SHAPE: Shape = Shape::Packet;

    fn write(self, key: &mut Vec<u8>) {
        key.extend_from_slice(&self.to_be_bytes());
    }
}

impl Field for &str {
    const SHAPE: Shape = Shape::Text;

    fn write(self, key: &mut Vec<u8>) {
        for (nth, part) in self.as_bytes().split(|byte| *byte == 0).enumerate() {
            if nth > 0 {
                key.extend_from_slice(&ZERO_IN_TEXT);
            }
            key.extend_from_slice(part);
        }
        key.extend_from_slice(&END_OF_TEXT);
    }
}

fn owned(letter: u8, owner: &str) -> Vec<u8> {
    let mut key = vec![letter, b'/'];
    owner.write(&mut key);
    key
}

/// The smallest key larger than `key`.
fn behind(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Ids that are likely to be prefixes of one another, with the bytes that matter to the encoding.
    fn id() -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(vec!['\0', '\u{1}', 'a', '/', '~', 'ÿ', '聊', '🚕']), 0..5)
            .prop_map(|letters| letters.into_iter().collect())
    }

    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![Just(0), Just(1), Just(255), Just(256), Just(u64::MAX), any::<u64>()]
    }

    proptest! {
        #[test]
        fn keys_sort_by_their_fields_and_never_collide(a in (id(), number()), b in (id(), number())) {
            prop_assert_eq!(message(&a.0, a.1).cmp(&message(&b.0, b.1)), a.cmp(&b));
        }

        #[test]
        fn two_texts_sort_by_both(a in (id(), id()), b in (id(), id())) {
            prop_assert_eq!(cursor(&a.0, &a.1).cmp(&cursor(&b.0, &b.1)), a.cmp(&b));
        }

        #[test]
        fn a_range_of_one_owner_holds_exactly_its_keys(a in id(), b in id(), n in number(), from in number(), to in number()) {
            prop_assert_eq!(inbox_of(&a, from..=to).contains(&inbox(&b, n)), a == b && (from..=to).contains(&n));
            prop_assert_eq!(subscriptions_of(&a).contains(&subscription(&b, "f")), a == b);
            prop_assert_eq!(expiries(0..=from).contains(&expiry(n, &a, &b)), n <= from);
            prop_assert_eq!(expiries(from..=u64::MAX).contains(&expiry(n, &a, &b)), n >= from);
        }

        #[test]
        fn fields_read_back_what_was_written(a in id(), b in id(), n in number(), packet in any::<u16>()) {
            let key = expiry(n, &a, &b);
            let mut fields = Fields::of(&key).unwrap();
            prop_assert_eq!((fields.number(), fields.text(), fields.text()), (Some(n), Some(a.clone()), Some(b)));
            prop_assert_eq!((fields.text(), fields.number()), (None, None));
            let key = released(&a, packet);
            let mut fields = Fields::of(&key).unwrap();
            prop_assert_eq!((fields.text(), fields.packet()), (Some(a), Some(packet)));
        }

        #[test]
        fn damaged_keys_are_none_not_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            let _ = Fields::of(&bytes).map(|mut fields| (fields.text(), fields.number(), fields.packet()));
        }
    }

    #[test]
    fn keys_are_read_whole_and_shown_with_their_fields() {
        for (key, shown) in [
            (message("alice~bob", 7), r#"m/"alice~bob"/7"#),
            (expiry(5, "a\0b", "c"), r#"e/5/"a\0b"/"c""#),
            (inbound("phone", 9), r#"j/"phone"/9"#),
            (user("聊"), r#"u/"聊""#),
            (version(), "meta/version"),
            (b"m/alice\0\x01\0\0".to_vec(), r"m/alice\x00\x01\x00\x00"),
        ] {
            assert_eq!(show(&key), shown);
        }
        let read = Key::read(&cursor("bob", "phone")).unwrap();
        assert_eq!((read.kind.letter, read.text(0), read.text(1), read.text(2)), ('d', "bob", "phone", ""));
        let longer = [inbox("bob", 1), vec![0]].concat();
        for bad in [longer, version(), b"y/bob\0\x01".to_vec(), b"i/bob\0\x01\0".to_vec(), vec![]] {
            assert_eq!(Key::read(&bad), None, "{}", show(&bad));
        }
    }

    #[test]
    fn kinds_do_not_overlap() {
        let long = "x".repeat(65_535);
        let samples =
            [retained(""), message("", 0), message(&long, u64::MAX), user(&long), version(), epoch()];
        let kinds = [all_retained(), all_messages(), all_users(), all_sessions(), all_conversations()];
        for key in &samples {
            assert!(kinds.iter().filter(|kind| kind.contains(key)).count() <= 1);
            assert!(everything().contains(key));
        }
        assert!(!kinds.iter().any(|kind| kind.contains(&version()) || kind.contains(&epoch())));
    }
}
