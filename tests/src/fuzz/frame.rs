//! Frames of the spine.

use std::fmt::Debug;

use bytes::{BufMut, Bytes, BytesMut};
use hubbub_broker::lane::{self, ToBridge, ToEdge};
use hubbub_broker::message::Message;
use serde::{Serialize, de::DeserializeOwned};

/// What travels in front of a message.
trait Head: Serialize + DeserializeOwned + PartialEq + Debug {
    const HEARTBEAT: Self;
}

impl Head for ToBridge {
    const HEARTBEAT: ToBridge = ToBridge::Heartbeat;
}

impl Head for ToEdge {
    const HEARTBEAT: ToEdge = ToEdge::Heartbeat;
}

/// A batch of these bytes, and a frame whose head and message are these bytes: in both directions.
pub fn spine_frame(data: &[u8]) {
    read_batch::<ToBridge>(data);
    read_batch::<ToEdge>(data);
    read_frame::<ToBridge>(data);
    read_frame::<ToEdge>(data);
}

/// Ends, whatever the lengths claim; what could be read is the same after another journey.
fn read_batch<H: Head>(data: &[u8]) {
    let mut batch = Bytes::copy_from_slice(data);
    loop {
        let before = batch.len();
        match lane::take::<H>(&mut batch) {
            Ok(None) => break,
            Ok(Some((head, message))) => comes_back(&head, message.as_ref()),
            Err(_) => {}
        }
        assert!(batch.len() < before, "every frame takes something away");
    }
}

/// The first byte of the data is the length of the head; the lengths of the frame are right.
fn read_frame<H: Head>(data: &[u8]) {
    let Some((head_len, content)) = data.split_first() else { return };
    let mut batch = BytesMut::new();
    batch.put_u32(content.len() as u32 + 4);
    batch.put_u32(u32::from(*head_len));
    batch.put_slice(content);
    lane::put(&mut batch, &H::HEARTBEAT, None);
    let mut batch = batch.freeze();
    if let Ok(Some((head, message))) = lane::take::<H>(&mut batch) {
        comes_back(&head, message.as_ref());
    }
    assert_eq!(lane::take(&mut batch), Ok(Some((H::HEARTBEAT, None))), "the frame behind it is readable");
}

fn comes_back<H: Head>(head: &H, message: Option<&Message>) {
    let mut batch = BytesMut::new();
    lane::put(&mut batch, head, message);
    let mut batch = batch.freeze();
    let frame = lane::take::<H>(&mut batch).expect("our own frames can be read").expect("there is one");
    assert_eq!((&frame.0, frame.1.as_ref()), (head, message));
    assert!(batch.is_empty());
}
