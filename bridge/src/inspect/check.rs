//! Is everything whole?

use std::collections::{BTreeMap, HashMap, VecDeque};

use ahash::RandomState;

use crate::store::keys::{self, Key};

use super::numbers::Numbers;
use super::value::{self, Said};

/// Something that is not as the server left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The key that it is about, for people.
    pub key: String,
    /// What is wrong, in words.
    pub what: String,
    /// Key or value cannot be read: the record is of no use, and may be taken out.
    pub unreadable: bool,
}

/// Looks at every record. Call [`Check::record`] for each in the order of the keys, then [`Check::end`]; take
/// [`Check::next_finding`] in between as often as you like.
#[derive(Default)]
pub struct Check {
    findings: VecDeque<Finding>,
    conversations: Streams,
    inboxes: Streams,
    /// Messages to which inboxes point, and one of the users.
    wanted: HashMap<String, (Numbers, String), RandomState>,
    /// Cursors of devices and users: key, user, where.
    cursors: Vec<(Vec<u8>, String, u64)>,
    queues: HashMap<String, Queue, RandomState>,
    counts: BTreeMap<char, u64>,
}

/// Numbered records of many owners, each with a record that knows the last number.
#[derive(Default)]
struct Streams(HashMap<String, Stream, RandomState>);

#[derive(Default)]
struct Stream {
    head: Option<u64>,
    kept: Numbers,
}

/// What is stored for a session.
#[derive(Default)]
struct Queue {
    session: bool,
    head: Option<u64>,
    last: Option<u64>,
    /// For each kind how many, and the first of them.
    parts: BTreeMap<char, (u64, Vec<u8>)>,
}

impl Check {
    /// Takes a record in; gives back whether it can be read.
    pub fn record(&mut self, key: &[u8], value: &[u8]) -> bool {
        let Some(read) = Key::read(key) else { return self.other(key, value) };
        *self.counts.entry(read.kind.letter).or_default() += 1;
        match value::read(&read, value) {
            Ok(said) => self.known(key, &read, said),
            Err(why) => {
                self.known(key, &read, Said::Nothing);
                self.unreadable(key, why.to_owned());
                return false;
            }
        }
        true
    }

    /// Everything was shown.
    pub fn end(&mut self) {
        self.check_streams();
        self.check_inbox_entries();
        self.check_cursors();
        self.check_queues();
    }

    /// The next thing that is wrong.
    pub fn next_finding(&mut self) -> Option<Finding> {
        self.findings.pop_front()
    }

    /// Records so far of each kind, by its letter.
    pub fn counts(&self) -> &BTreeMap<char, u64> {
        &self.counts
    }

    /// `meta/…`, and what is no key of ours.
    fn other(&mut self, key: &[u8], value: &[u8]) -> bool {
        if !key.starts_with(b"meta/") {
            self.unreadable(key, "the key cannot be read".to_owned());
            return false;
        }
        match value::read_meta(key, value) {
            Ok(()) => true,
            Err(why) => {
                self.unreadable(key, why.to_owned());
                false
            }
        }
    }

    fn known(&mut self, key: &[u8], read: &Key, said: Said) {
        let (owner, letter) = (read.text(0).to_owned(), read.kind.letter);
        match (letter, said) {
            ('c', Said::Number(head)) => self.conversations.of(owner).head = Some(head),
            ('h', Said::Number(head)) => self.inboxes.of(owner).head = Some(head),
            ('m', _) => self.conversations.of(owner).kept.insert(read.number),
            ('i', said) => {
                if let Said::Entry(cid, seq) = said {
                    let first = || (Numbers::default(), owner.clone());
                    self.wanted.entry(cid).or_insert_with(first).0.insert(seq);
                }
                self.inboxes.of(owner).kept.insert(read.number);
            }
            ('d' | 't', Said::Number(at)) => self.cursors.push((key.to_vec(), owner, at)),
            ('w', Said::Number(head)) => self.queues.entry(owner).or_default().head = Some(head),
            ('s', _) => self.queues.entry(owner).or_default().session = true,
            ('b' | 'j' | 'q' | 'r', _) => {
                let queue = self.queues.entry(owner).or_default();
                queue.parts.entry(letter).or_insert_with(|| (0, key.to_vec())).0 += 1;
                if letter == 'q' {
                    queue.last = Some(read.number);
                }
            }
            _ => {}
        }
    }

    fn check_streams(&mut self) {
        let conversations = std::mem::take(&mut self.conversations);
        for (cid, stream) in conversations.sorted() {
            self.check_stream(stream, &keys::conversation(cid), "message", |seq| keys::message(cid, seq));
        }
        let inboxes = std::mem::take(&mut self.inboxes);
        for (user, stream) in inboxes.sorted() {
            self.check_stream(stream, &keys::inbox_head(user), "inbox entry", |n| keys::inbox(user, n));
        }
        (self.conversations, self.inboxes) = (conversations, inboxes);
    }

    /// What was kept may have been trimmed, always from the front; if it is all gone, that is no gap either.
    fn check_stream(&mut self, stream: &Stream, head_key: &[u8], what: &str, key: impl Fn(u64) -> Vec<u8>) {
        let Some((first, last)) = stream.kept.ends() else { return };
        for (from, to) in stream.kept.missing(first..=stream.head.unwrap_or(last).max(last)) {
            self.find(&key(from), format!("{what} {} missing", spoken(from, to)));
        }
        match stream.head {
            Some(head) if head >= last => {}
            Some(head) => {
                self.find(head_key, format!("says that {head} was the last, but there is {what} {last}"));
            }
            None => self.find(head_key, format!("is missing, but there is {what} {last}")),
        }
    }

    fn check_inbox_entries(&mut self) {
        let mut wanted: Vec<_> = std::mem::take(&mut self.wanted).into_iter().collect();
        wanted.sort_by(|a, b| a.0.cmp(&b.0));
        for (cid, (numbers, user)) in wanted {
            let conversation = self.conversations.0.get(&cid);
            let none = Numbers::default();
            let kept = conversation.map_or(&none, |stream| &stream.kept);
            // Before the first that is kept they were trimmed.
            let trimmed = match (kept.ends(), conversation.and_then(|stream| stream.head)) {
                (Some((first, _)), _) => first - first.min(1),
                (None, head) => head.unwrap_or(0),
            };
            let missing = numbers.ranges().iter().filter(|(_, last)| *last > trimmed);
            let missing: Vec<(u64, u64)> = missing
                .flat_map(|(first, last)| kept.missing((*first).max(trimmed.saturating_add(1))..=*last))
                .collect();
            for (from, to) in missing {
                let what = format!("message {} missing, but in the inbox of {user:?}", spoken(from, to));
                self.find(&keys::message(&cid, from), what);
            }
        }
    }

    fn check_cursors(&mut self) {
        for (key, user, at) in std::mem::take(&mut self.cursors) {
            let head = self.inboxes.0.get(&user).and_then(|stream| stream.head).unwrap_or(0);
            if at > head {
                self.find(&key, format!("stands at {at}, but the inbox ends at {head}"));
            }
        }
    }

    fn check_queues(&mut self) {
        let mut queues: Vec<_> = std::mem::take(&mut self.queues).into_iter().collect();
        queues.sort_by(|a, b| a.0.cmp(&b.0));
        for (client, queue) in queues {
            if let Some(last) = queue.last.filter(|last| queue.head.is_none_or(|head| head < *last)) {
                let says = queue.head.map_or("is missing".to_owned(), |head| format!("says {head}"));
                let what = format!("{says}, but the queue has an entry {last}");
                self.find(&keys::queue_head(&client), what);
            }
            if queue.session {
                continue;
            }
            for (letter, (count, first)) in queue.parts {
                let name = keys::KINDS.iter().find(|kind| kind.letter == letter).map_or("", |kind| kind.name);
                let more = if count == 1 { String::new() } else { format!(", and {} more", count - 1) };
                self.find(&first, format!("{name}, but there is no such session{more}"));
            }
        }
    }

    fn find(&mut self, key: &[u8], what: String) {
        self.findings.push_back(Finding { key: keys::show(key), what, unreadable: false });
    }

    fn unreadable(&mut self, key: &[u8], what: String) {
        self.findings.push_back(Finding { key: keys::show(key), what, unreadable: true });
    }
}

/// A range with its verb.
fn spoken(from: u64, to: u64) -> String {
    if from == to { format!("{from} is") } else { format!("{from} to {to} are") }
}

impl Streams {
    fn of(&mut self, owner: String) -> &mut Stream {
        self.0.entry(owner).or_default()
    }

    fn sorted(&self) -> Vec<(&String, &Stream)> {
        let mut sorted: Vec<_> = self.0.iter().collect();
        sorted.sort_by_key(|(owner, _)| *owner);
        sorted
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use hubbub_broker::codec::{QoS, SubscribeOptions};
    use hubbub_broker::lane::Device;
    use hubbub_broker::message::Message;
    use hubbub_broker::topic::TopicLimits;

    use super::*;
    use crate::chat::{Chat, ChatRules, Sender};
    use crate::inbox::Inboxes;
    use crate::push::{Push, PushRules};
    use crate::queue::{QueueLimits, Queues};
    use crate::store::{Batch, MemoryStore, Store};
    use crate::transaction::Transaction;
    use crate::users;

    /// What a server leaves behind: three messages between alice and bob, a session of bob with two queued messages.
    fn whole() -> MemoryStore {
        let store = MemoryStore::default();
        users::add(&store, "alice", "wonderland", Some(4096)).unwrap();
        let mut tx = Transaction::new(&store, 1000);
        talk(&mut tx);
        let bob = Device { user: "bob".into(), client: "phone".into() };
        let mut queues =
            Queues::new(TopicLimits { levels: 9, bytes: 99 }, QueueLimits::messages(9), Arc::default());
        queues.open(&mut tx, &store, &bob, 60, false).unwrap();
        let options = SubscribeOptions { qos: QoS::ExactlyOnce, ..SubscribeOptions::default() };
        queues.subscribe(&mut tx, &bob.client, &[("news/#".into(), options)], None);
        let news = Message { topic: "news/1".into(), qos: QoS::AtLeastOnce, ..Message::default() };
        (0..2).for_each(|_| queues.enqueue(&mut tx, &news).unwrap());
        queues.received(&mut tx, &bob.client, 1, 7).unwrap();
        tx.put(keys::inbound("phone", 3), Vec::new());
        tx.put_number(keys::epoch(), 1);
        tx.put_number(keys::cursor("bob", "phone"), 2);
        tx.commit().unwrap();
        store
    }

    fn talk(tx: &mut Transaction<'_>) {
        let chat = Chat::new(ChatRules { dedupe_window: Duration::from_secs(60), body_max: 100 });
        let rules = PushRules { enabled: true, ..PushRules::default() };
        let (mut inboxes, mut push) = (Inboxes::new(u64::MAX), Push::new(rules, Arc::default()));
        let alice = Device { user: "alice".into(), client: "laptop".into() };
        let sender = Sender { device: &alice, kind: "laptop" };
        for body in ["one", r#"{"body":"two","cmid":"x"}"#, "three"] {
            let message = Message { topic: "dm/bob".into(), payload: body.into(), ..Message::default() };
            chat.accept(tx, &mut inboxes, &mut push, &Arc::default(), &sender, &message).unwrap();
        }
    }

    fn findings(store: &MemoryStore) -> Vec<String> {
        let mut check = Check::default();
        store
            .walk(&mut |key, value| {
                check.record(key, value);
                Ok(())
            })
            .unwrap();
        check.end();
        std::iter::from_fn(|| check.next_finding())
            .map(|found| format!("{}: {}", found.key, found.what))
            .collect()
    }

    fn spoiled(spoil: impl FnOnce(&mut Batch)) -> Vec<String> {
        let store = whole();
        let mut batch = Batch::new();
        spoil(&mut batch);
        store.commit(batch).unwrap();
        findings(&store)
    }

    #[test]
    fn what_the_server_wrote_is_whole() {
        assert_eq!(findings(&whole()), [""; 0]);
        assert_eq!(findings(&MemoryStore::default()), [""; 0]);
    }

    #[test]
    fn what_was_trimmed_from_the_front_is_no_gap() {
        assert_eq!(spoiled(|batch| batch.delete(keys::message("alice~bob", 1))), [""; 0]);
        assert_eq!(
            spoiled(|batch| (1..=3).for_each(|seq| batch.delete(keys::message("alice~bob", seq)))),
            [""; 0]
        );
        assert_eq!(spoiled(|batch| batch.delete(keys::inbox("bob", 1))), [""; 0]);
    }

    #[test]
    fn a_value_that_cannot_be_read_is_named_by_its_key_whatever_its_kind() {
        let store = whole();
        let mut kinds = 0;
        for (key, value) in store.scan(keys::everything(), crate::store::Order::Forward, 99).unwrap() {
            kinds += 1;
            for bad in [&[0xFF; 5][..], &[&value[..], &[0, 0xFF]].concat()] {
                let found = spoiled(|batch| batch.put(key.clone(), bad));
                let named = found.iter().any(|found| found.starts_with(&keys::show(&key)));
                assert!(named, "{}: {found:?}", keys::show(&key));
            }
        }
        assert!(kinds > 20);
    }

    #[test]
    fn keys_that_cannot_be_read_are_found() {
        let found = spoiled(|batch| {
            batch.put("y/what", "");
            batch.put("m/alice", "");
        });
        assert_eq!(found, ["m/alice: the key cannot be read", "y/what: the key cannot be read"]);
    }

    #[test]
    fn gaps_and_heads_that_fell_behind_are_found() {
        assert_eq!(
            spoiled(|batch| batch.delete(keys::message("alice~bob", 2))),
            [
                r#"m/"alice~bob"/2: message 2 is missing"#,
                r#"m/"alice~bob"/2: message 2 is missing, but in the inbox of "alice""#
            ]
        );
        assert_eq!(
            spoiled(|batch| batch.delete(keys::message("alice~bob", 3))),
            [
                r#"m/"alice~bob"/3: message 3 is missing"#,
                r#"m/"alice~bob"/3: message 3 is missing, but in the inbox of "alice""#
            ]
        );
        assert_eq!(
            spoiled(|batch| batch.delete(keys::inbox("bob", 2))),
            [r#"i/"bob"/2: inbox entry 2 is missing"#]
        );
        assert_eq!(
            spoiled(|batch| batch.put(keys::conversation("alice~bob"), 2u64.to_be_bytes())),
            [r#"c/"alice~bob": says that 2 was the last, but there is message 3"#]
        );
        assert_eq!(
            spoiled(|batch| batch.delete(keys::conversation("alice~bob"))),
            [r#"c/"alice~bob": is missing, but there is message 3"#]
        );
        assert_eq!(
            spoiled(|batch| batch.put(keys::queue_head("phone"), 1u64.to_be_bytes())),
            [r#"w/"phone": says 1, but the queue has an entry 2"#]
        );
        assert_eq!(
            spoiled(|batch| batch.put(keys::cursor("bob", "phone"), 9u64.to_be_bytes())),
            [r#"d/"bob"/"phone": stands at 9, but the inbox ends at 3"#]
        );
    }

    #[test]
    fn what_belongs_to_no_session_is_found_once_for_each_kind() {
        assert_eq!(
            spoiled(|batch| batch.delete(keys::session("phone"))),
            [
                r#"b/"phone"/"news/#": a subscription of a session, but there is no such session"#,
                r#"j/"phone"/3: a QoS 2 packet id received from a client, but there is no such session"#,
                r#"q/"phone"/2: a queued delivery, but there is no such session"#,
                r#"r/"phone"/7: a QoS 2 packet id that the client has, but there is no such session"#,
            ]
        );
    }
}
