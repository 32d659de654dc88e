//! Chat messages: deduplicated, numbered, stored and put into the inbox of everybody in the conversation, in one batch.

use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use serde::{Deserialize, Serialize};

use hubbub_broker::clock::Millis;
use hubbub_broker::codec::QoS;
use hubbub_broker::counters::Counters;
use hubbub_broker::lane::Device;
use hubbub_broker::message::Message;
use hubbub_broker::topic::{check_id, direct_conversation};

use crate::envelope::{Content, Envelope, with_position};
use crate::inbox::{InboxEntry, Inboxes};
use crate::push::Push;
use crate::store::{StoreError, keys};
use crate::transaction::{Reply, Transaction};

/// Bytes of a sender's own message id.
const MAX_CMID: usize = 128;

/// Rules of chat; see the section `chat` of the configuration.
#[derive(Debug, Clone, Copy)]
pub struct ChatRules {
    /// How long a sender's own message id is remembered.
    pub dedupe_window: Duration,
    /// Bytes of a payload.
    pub body_max: usize,
}

/// The first answer to a message, kept to be given again.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    cid: String,
    seq: u64,
    mid: String,
    ts: Millis,
}

/// Numbers and stores chat messages.
pub struct Chat {
    rules: ChatRules,
}

/// Who says something, and as which kind of device.
pub struct Sender<'a> {
    /// User and client id.
    pub device: &'a Device,
    /// Name of the device.
    pub kind: &'a str,
}

impl Chat {
    /// With these rules.
    pub fn new(rules: ChatRules) -> Chat {
        Chat { rules }
    }

    /// A message published to `dm/{peer}`.
    pub fn accept(
        &self,
        tx: &mut Transaction<'_>,
        inboxes: &mut Inboxes,
        push: &mut Push,
        counters: &Counters,
        sender: &Sender<'_>,
        message: &Message,
    ) -> Result<Reply, StoreError> {
        let Some(peer) = message.topic.strip_prefix("dm/").filter(|peer| check_id(peer).is_ok()) else {
            return Ok(Reply::refused(0x90, "a direct message goes to dm/{user}"));
        };
        if message.payload.len() > self.rules.body_max {
            return Ok(Reply::refused(0x97, "the message is longer than chat.body_max_bytes"));
        }
        let content = Content::read(&message.payload);
        let cmid =
            message.properties.user("cmid").map(|cmid| cmid.to_string()).or_else(|| content.cmid.clone());
        if cmid.as_ref().is_some_and(|cmid| cmid.len() > MAX_CMID) {
            return Ok(Reply::refused(0x97, "cmid is longer than 128 bytes"));
        }
        let user = &*sender.device.user;
        if let Some(cmid) = &cmid
            && let Some(answer) = self.known(tx, user, cmid)?
        {
            counters.chat_repeats_total.add(1);
            return Ok(answer.reply(true));
        }
        let cid = direct_conversation(user, peer);
        let answer = self.store(tx, &cid, sender, &content, cmid.as_deref())?;
        counters.chat_messages_total.add(1);
        for member in members(user, peer) {
            let entry = InboxEntry {
                cid: cid.clone(),
                seq: answer.seq,
                from: user.to_owned(),
                client: sender.device.client.to_string(),
            };
            let n = inboxes.append(tx, member, &entry)?;
            if member != user {
                push.expect(tx, member, n, &entry, &answer.mid, answer.ts, content.text());
            }
        }
        Ok(answer.reply(false))
    }

    fn known(&self, tx: &Transaction<'_>, user: &str, cmid: &str) -> Result<Option<Answer>, StoreError> {
        let known: Option<Answer> = tx.record(&keys::dedupe(user, cmid))?;
        let window = self.rules.dedupe_window.as_millis() as Millis;
        Ok(known.filter(|answer| answer.ts.saturating_add(window) > tx.now))
    }

    fn store(
        &self,
        tx: &mut Transaction<'_>,
        cid: &str,
        sender: &Sender<'_>,
        content: &Content,
        cmid: Option<&str>,
    ) -> Result<Answer, StoreError> {
        let head = keys::conversation(cid);
        let seq = tx.next_number(&head)?;
        let mid = ulid::Ulid::from_parts(tx.now, ulid::Ulid::new().random()).to_string();
        let envelope = Envelope {
            cid,
            seq,
            mid: &mid,
            from: &sender.device.user,
            device: sender.kind,
            ts: tx.now,
            kind: &content.kind,
            body: &content.body,
            enc: content.base64.then_some("base64"),
            cmid,
            more: &content.more,
        };
        tx.put_number(head, seq);
        tx.put(keys::message(cid, seq), envelope.json().into_bytes());
        let answer = Answer { cid: cid.to_owned(), seq, mid, ts: tx.now };
        if let Some(cmid) = cmid {
            let until = tx.now + self.rules.dedupe_window.as_millis() as Millis;
            tx.put_record(keys::dedupe(&sender.device.user, cmid), &answer);
            tx.put(keys::expiry(until, &sender.device.user, cmid), Vec::new());
        }
        Ok(answer)
    }
}

/// Forgets the answer to a sender's own message id, unless the id was used again since.
pub fn forget_answer(
    tx: &mut Transaction<'_>,
    user: &str,
    cmid: &str,
    window: Millis,
) -> Result<(), StoreError> {
    let key = keys::dedupe(user, cmid);
    let answer: Option<Answer> = tx.record(&key)?;
    match answer.map(|answer| answer.ts.saturating_add(window)) {
        // Used again since, or the window is longer than it was.
        Some(until) if until > tx.now => tx.put(keys::expiry(until, user, cmid), Vec::new()),
        _ => tx.delete(key),
    }
    Ok(())
}

/// Both sides; once, for a note to oneself.
fn members<'a>(user: &'a str, peer: &'a str) -> impl Iterator<Item = &'a str> {
    [peer, user].into_iter().take(if user == peer { 1 } else { 2 })
}

impl Answer {
    /// Tells an MQTT 5 sender where the message went.
    fn reply(&self, repeat: bool) -> Reply {
        let text = |name: &'static str, value: String| (ByteString::from_static(name), value.into());
        let mut user = vec![
            text("cid", self.cid.clone()),
            text("seq", self.seq.to_string()),
            text("mid", self.mid.clone()),
            text("ts", self.ts.to_string()),
        ];
        if repeat {
            user.push(text("dup", "1".to_owned()));
        }
        Reply { user, ..Reply::default() }
    }
}

/// A stored message as it is delivered to the inbox of a user.
pub fn delivery(user: &str, n: u64, entry: &InboxEntry, stored: &[u8]) -> Message {
    Message {
        topic: format!("u/{user}/inbox").into(),
        // Only the sender's own device is to be left out, and only in the sender's own inbox.
        publisher: if entry.from == user { entry.client.as_str().into() } else { ByteString::new() },
        qos: QoS::AtLeastOnce,
        payload: Bytes::from(with_position(n, stored)),
        ..Message::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::PushRules;
    use crate::store::{MemoryStore, Order, Store};
    use hubbub_broker::codec::Properties;
    use std::sync::Arc;

    struct Room {
        store: MemoryStore,
        chat: Chat,
        inboxes: Inboxes,
        push: Push,
        counters: Counters,
    }

    fn room() -> Room {
        let rules = ChatRules { dedupe_window: Duration::from_secs(60), body_max: 100 };
        Room {
            store: MemoryStore::default(),
            chat: Chat::new(rules),
            inboxes: Inboxes::new(u64::MAX),
            push: Push::new(PushRules::default(), Arc::default()),
            counters: Counters::default(),
        }
    }

    impl Room {
        fn say(&mut self, now: Millis, from: &str, to: &str, payload: &str, cmid: Option<&str>) -> Reply {
            let device = Device { user: from.into(), client: format!("{from}-phone").into() };
            let properties = match cmid {
                Some(cmid) => Properties::builder().user("cmid", cmid).build(),
                None => Properties::default(),
            };
            let message = Message {
                topic: format!("dm/{to}").into(),
                payload: Bytes::copy_from_slice(payload.as_bytes()),
                properties,
                ..Message::default()
            };
            let mut tx = Transaction::new(&self.store, now);
            let sender = Sender { device: &device, kind: "phone" };
            let Room { chat, inboxes, push, counters, .. } = self;
            let reply = chat.accept(&mut tx, inboxes, push, counters, &sender, &message).unwrap();
            tx.commit().unwrap();
            reply
        }
    }

    fn property(reply: &Reply, name: &str) -> String {
        let found = reply.user.iter().find(|(key, _)| &**key == name);
        found.map_or(String::new(), |(_, value)| value.to_string())
    }

    #[test]
    fn numbers_are_dense_in_a_conversation_whoever_speaks() {
        let mut room = room();
        for (n, (from, to)) in [("alice", "bob"), ("bob", "alice"), ("alice", "bob")].into_iter().enumerate()
        {
            let reply = room.say(1, from, to, "hi", None);
            assert_eq!(
                (property(&reply, "cid").as_str(), property(&reply, "seq")),
                ("alice~bob", (n + 1).to_string())
            );
        }
        let stored = room.store.scan(keys::all_messages(), Order::Forward, 10).unwrap();
        assert_eq!(stored.len(), 3);
        assert_eq!(room.store.scan(keys::all_inboxes(), Order::Forward, 10).unwrap().len(), 6);
    }

    #[test]
    fn a_repeat_gets_the_first_answer_until_the_window_is_over() {
        let mut room = room();
        let first = room.say(1000, "alice", "bob", "hi", Some("x"));
        let repeat = room.say(2000, "alice", "bob", "hi", Some("x"));
        assert_eq!(property(&repeat, "mid"), property(&first, "mid"));
        assert_eq!((property(&first, "dup").as_str(), property(&repeat, "dup").as_str()), ("", "1"));
        let other = room.say(2000, "carol", "bob", "hi", Some("x"));
        assert_eq!(property(&other, "dup"), "", "another sender's id is another id");
        let late = room.say(61_001, "alice", "bob", "hi", Some("x"));
        assert_eq!((property(&late, "seq").as_str(), property(&late, "dup").as_str()), ("2", ""));
    }

    #[test]
    fn too_long_or_nowhere_is_refused_and_nothing_is_stored() {
        let mut room = room();
        assert_eq!(room.say(1, "alice", "bob", &"x".repeat(101), None).code, 0x97);
        assert_eq!(room.say(1, "alice", "bob/x", "hi", None).code, 0x90);
        assert_eq!(room.say(1, "alice", "bob", "hi", Some(&"x".repeat(129))).code, 0x97);
        assert!(room.store.scan(keys::everything(), Order::Forward, 10).unwrap().is_empty());
    }

    #[test]
    fn a_note_to_oneself_is_one_inbox_entry() {
        let mut room = room();
        room.say(1, "alice", "alice", "milk", None);
        assert_eq!(room.store.scan(keys::all_inboxes(), Order::Forward, 10).unwrap().len(), 1);
    }
}
