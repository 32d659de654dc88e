//! What must hold of everything that anybody heard.

use std::collections::BTreeMap;

use crate::cast::Cast;
use crate::device::{Device, Heard, InboxPlace, Stream};

/// # Panics
/// With the promise that was broken.
pub fn holds(cast: &Cast) {
    let devices = || cast.present.iter().chain(&cast.away);
    let streams: BTreeMap<&str, &Stream> =
        devices().flat_map(|device| &device.streams).map(|stream| (&*stream.name, stream)).collect();
    for device in devices() {
        for stream in streams.values().filter(|stream| is_for(device, stream)) {
            nothing_is_missing(device, stream);
        }
        inbox_is_dense(device);
    }
    conversations_are_dense(devices(), &streams);
    users_agree_on_their_inbox(devices());
}

fn is_for(device: &Device, stream: &Stream) -> bool {
    match stream.topic.strip_prefix("dm/") {
        Some(peer) => device.has_inbox() && device.user() == peer,
        None => device.has_feed() && stream.topic.starts_with("feed/"),
    }
}

/// Everything that was sent was acknowledged in the end, so all of it arrives: in order, and at QoS 2 once. (A message at
/// QoS 1 may come again, together with those after it.)
fn nothing_is_missing(device: &Device, stream: &Stream) {
    let what = format!("{} hears {}", device.name(), stream.name);
    assert_eq!(stream.acknowledged.len() as u64, stream.sent, "{what}: all acknowledged");
    let heard: Vec<&Heard> = device.heard.iter().filter(|heard| heard.stream == stream.name).collect();
    let mut next = 1;
    for Heard { number, qos, .. } in heard {
        if *number == next {
            next += 1;
        } else {
            assert!(*number < next, "{what}: {number} comes where {next} should");
            assert_eq!(*qos, 1, "{what}: {number} comes twice at QoS 2");
        }
    }
    assert_eq!(next, stream.sent + 1, "{what}: up to the last one");
}

/// `n` has no gaps but for what the device said itself, and once delivered names the same message for ever.
fn inbox_is_dense(device: &Device) {
    let mut known: BTreeMap<u64, &InboxPlace> = BTreeMap::new();
    for place in device.heard.iter().filter_map(|heard| heard.place.as_ref()) {
        let first = known.entry(place.n).or_insert(place);
        assert_eq!(*first, place, "{}: two messages have n {}", device.name(), place.n);
    }
    let speaks = device.streams.iter().any(|stream| stream.topic.starts_with("dm/"));
    if device.has_inbox() && !speaks {
        let numbers: Vec<u64> = known.into_keys().collect();
        assert_dense(&numbers, &format!("n of {}", device.name()));
    }
}

/// `seq` has no gaps; each number is one message, the same for everybody; what has to be stored once is stored once, at the
/// place that the acknowledgement named.
fn conversations_are_dense<'a>(devices: impl Iterator<Item = &'a Device>, streams: &BTreeMap<&str, &Stream>) {
    let mut conversations: BTreeMap<&str, BTreeMap<u64, (&str, &str, u64)>> = BTreeMap::new();
    for heard in devices.flat_map(|device| &device.heard) {
        let Some(place) = &heard.place else { continue };
        let message = (&*place.mid, &*heard.stream, heard.number);
        let conversation = conversations.entry(&place.cid).or_default();
        let first = conversation.entry(place.seq).or_insert(message);
        assert_eq!(*first, message, "two messages have seq {} in {}", place.seq, place.cid);
    }
    for (cid, messages) in &conversations {
        let numbers: Vec<u64> = messages.keys().copied().collect();
        assert_dense(&numbers, &format!("seq of {cid}"));
        let mut places: BTreeMap<(&str, u64), Vec<u64>> = BTreeMap::new();
        for (seq, (_, stream, number)) in messages {
            places.entry((stream, *number)).or_default().push(*seq);
        }
        for ((name, number), seqs) in places {
            let Some(stream) = streams.get(name) else { continue };
            assert!(
                seqs.len() == 1 || stream.qos == 1 && !stream.cmid,
                "{name}-{number} is stored at {seqs:?}"
            );
            if let Some(Some(named)) = stream.acknowledged.get(&number) {
                assert!(
                    seqs.contains(named),
                    "{name}-{number} was acknowledged as {named} and is at {seqs:?}"
                );
            }
        }
    }
}

/// All devices of a user see the same message under the same `n`.
fn users_agree_on_their_inbox<'a>(devices: impl Iterator<Item = &'a Device>) {
    let mut inboxes: BTreeMap<(&str, u64), &InboxPlace> = BTreeMap::new();
    for device in devices {
        for place in device.heard.iter().filter_map(|heard| heard.place.as_ref()) {
            let first = inboxes.entry((device.user(), place.n)).or_insert(place);
            assert_eq!(*first, place, "devices of {} disagree about n {}", device.user(), place.n);
        }
    }
}

fn assert_dense(numbers: &[u64], what: &str) {
    let gap = numbers.iter().zip(1..).find(|(number, expected)| **number != *expected);
    assert_eq!(gap, None, "{what} has a gap");
    assert!(!numbers.is_empty(), "{what}: there is something");
}
